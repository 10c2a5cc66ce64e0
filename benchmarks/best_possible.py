"""Share of what a list could hold at best: simulated nights with no setting touched, beside an oracle and the popular.

    .venv/bin/python -m benchmarks.best_possible [--listeners 10000] [--items 20000] [--nights 2] [--seed 1]
                                        [--set section.key=value] [--json]

A service is simulated, its nights are run whole, and the published lists of the last one are held against the law that
its plays were drawn from: the probability that the listener's next play, whatever plays now, is one of the 20 items of
a list, over that of the 20 most probable ones. Everybody with a row is asked; no list may hold what its listener heard,
what the market may not get, or what nobody heard yet. The oracle knows that law of the items, P(item | topic), and the
mean taste of all listeners, and infers a listener's tastes from the same nights as everyone else, by variational Bayes
(Blei, Ng and Jordan 2003, section 5.2, the topics given); of some strengths of the prior it has the one that turns out
best. Coverage is the share of the items that may be listed which any list holds. Intervals: bootstrap over listeners of
the paired difference to ours (95 %). The table goes to stderr; with --json, a line per system to stdout.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import digamma

from nocturne.core.arrays import Floats
from nocturne.core.console import print_rows
from nocturne.core.csr import CsrRows
from nocturne.core.list_arrays import Lists, lists_array
from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import Settings, load_settings
from nocturne.evaluation import baselines
from nocturne.evaluation.baselines import Requests
from nocturne.evaluation.metrics import coverage
from nocturne.evaluation.session_truth import SessionTruth, read_truth
from nocturne.evaluation.significance import differences, summary_rows
from nocturne.ingestion.simulator.simulate import simulate
from nocturne.pipeline.runner import run_nights
from nocturne.ranking import eligibility
from nocturne.storage import tables
from nocturne.training.confidences import strengths

OURS = "nocturne"
ORACLE = "knows the items"
TOP_K = 20
START = date(2025, 1, 1)
PRIOR_STRENGTHS = (0.3, 1.0, 3.0)
_ROUNDS = 40
_AT_ONCE = 1_000


@dataclass(frozen=True)
class Service:
    """A simulated night, its truth, and what every system may list.

    Attributes:
        plays: of every listener with a row; shape (listeners, items).
        lists: as the night published them.
    """

    truth: SessionTruth
    plays: csr_matrix
    requests: Requests
    lists: Lists

    @classmethod
    def read(cls, night: Night, truth: Path) -> "Service":
        """The last night that was run."""
        item_ids = tables.night_rows(night, "item_index").sort_by("item_index")["item_id"].combine_chunks()
        markets = eligibility.markets(item_ids, tables.night_rows(night, "items"), night.run_date, ())
        columns = ["user_id", "market", "period", "item_indexes", "play_sums", "second_sums"]
        rows = tables.night_rows(night, "interactions", columns).sort_by("user_id").combine_chunks().to_batches()[0]
        settings = night.settings.als.model_copy(update={"play_weight": 1.0, "minute_weight": 0.0})
        half_life = night.settings.interactions.half_life_days
        offsets, items, amounts = strengths(rows, night.run_date, half_life, settings)
        plays = csr_matrix((amounts, items.copy(), offsets), (rows.num_rows, len(item_ids)))
        user_ids = rows.column("user_id")
        classes = markets.of(rows.column("market"))
        published = tables.night_rows(night, "ranked_lists", ["user_id", "items"])
        return cls(
            read_truth(truth, user_ids, item_ids),
            plays,
            Requests(np.arange(rows.num_rows), plays, markets.masks, classes),
            lists_array(published, user_ids, item_ids, TOP_K),
        )

    def blocks(self) -> Iterator[np.ndarray]:
        """Listeners, some at a time, of one class of markets."""
        for number in np.unique(self.requests.classes):
            of_class = np.flatnonzero(self.requests.classes == number)
            yield from (of_class[start : start + _AT_ONCE] for start in range(0, len(of_class), _AT_ONCE))

    def law(self, tastes: Floats, listeners: np.ndarray) -> Floats:
        """Probability of each item to be played next, by tastes; 0 of what may not be listed; (listeners, items)."""
        mask = self.requests.masks[self.requests.classes[listeners[0]]]
        supposed = SessionTruth(self.truth.stay, tastes, self.truth.shares)
        law = supposed.next_items(np.arange(len(listeners)), CsrRows.empty(len(listeners)), mask)
        law *= mask
        heard = self.plays[listeners]
        law[np.repeat(np.arange(len(law)), np.diff(heard.indptr)), heard.indices] = 0
        return law

    def best_by(self, tastes: Floats) -> Lists:
        """The most probable items of each listener, by tastes."""
        lists = np.full((len(tastes), TOP_K), -1, np.int32)
        for some in self.blocks():
            law = self.law(tastes[some], some)
            top = np.argpartition(-law, TOP_K, axis=1)[:, :TOP_K]
            order = np.argsort(-np.take_along_axis(law, top, 1), axis=1, kind="stable")
            lists[some] = np.take_along_axis(top, order, 1)
        return lists

    def captured(self, lists: Mapping[str, Lists]) -> dict[str, Floats]:
        """Share of the best possible probability that each list holds, by system; shape (listeners,)."""
        shares = {name: np.zeros(len(each)) for name, each in lists.items()}
        for some in self.blocks():
            law = self.law(self.truth.tastes[some], some)
            best = -np.partition(-law, TOP_K, axis=1)[:, :TOP_K].sum(axis=1)
            for name, each in lists.items():
                held = np.take_along_axis(law, np.maximum(each[some], 0), 1) * (each[some] >= 0)
                shares[name][some] = held.sum(axis=1) / best
        return shares

    @cached_property
    def mean_taste(self) -> Floats:
        """Mean of the tastes of all listeners; shape (topics,)."""
        mean: Floats = self.truth.tastes.mean(axis=0)
        return mean / mean.sum()

    def inferred(self, strength: float) -> Floats:
        """Tastes as one infers them who knows P(item | topic); shape (listeners, topics).

        Args:
            strength: of the prior: plays that it counts for.
        """
        shares = self.truth.shares
        prior = strength * self.mean_taste + 1e-9
        of = np.repeat(np.arange(self.plays.shape[0]), np.diff(self.plays.indptr))
        belief = prior + np.diff(self.plays.indptr)[:, None] * self.mean_taste
        for _ in range(_ROUNDS):
            weight = np.exp(digamma(belief))
            likely = np.einsum("et,et->e", weight[of], shares[self.plays.indices])
            per = np.divide(self.plays.data, likely, out=np.zeros_like(likely), where=likely > 0)
            seen = csr_matrix((per, self.plays.indices, self.plays.indptr), self.plays.shape)
            belief = prior + weight * (seen @ shares)
        tastes: Floats = belief / belief.sum(axis=1, keepdims=True)
        return tastes


def measure(service: Service) -> list[dict[str, object]]:
    """A row a system."""
    lists = {
        OURS: service.lists,
        "popular": baselines.popular(service.plays.astype(np.float32), service.requests, TOP_K),
    }
    oracles = {f"{ORACLE}, prior {strength}": strength for strength in PRIOR_STRENGTHS}
    for name, strength in oracles.items():
        lists[name] = service.best_by(service.inferred(strength))
    captured = service.captured(lists)
    best = max(oracles, key=lambda name: captured[name].mean())
    kept = [OURS, "popular", best]
    scores = {name: {"captured": captured[name]} for name in kept}
    listable = int(service.requests.masks.any(axis=0).sum())
    means = {name: {"captured": float(captured[name].mean())} for name in kept}
    rows = summary_rows(means, differences(scores, OURS, {}))
    return [row | {"coverage": round(coverage(lists[str(row["system"])], listable), 4)} for row in rows]


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listeners", type=int, default=10_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--nights", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="section.key=value")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    settings: Settings = load_settings(overrides=options.overrides)
    with tempfile.TemporaryDirectory() as name:
        folder, landing = Path(name), Path(name) / "landing"
        simulate(landing, options.listeners, options.items, options.nights, options.seed, START)
        warehouse = Warehouse(str(folder / "warehouse"), settings)
        days = [START + timedelta(days=night) for night in range(options.nights)]
        nights = [Night(warehouse, day, str(landing), f"lmdb:{folder / 'cache'}") for day in days]
        run_nights(nights)
        service = Service.read(nights[-1], landing.with_name(f"{landing.name}-truth"))
        rows = measure(service)
    for row in rows if options.json else ():
        print(json.dumps(row))
    title = f"{service.plays.shape[0]:,} listeners, {service.plays.shape[1]:,} items; differences to {OURS}, 95 %"
    print_rows(rows, title, stream=sys.stderr)


if __name__ == "__main__":
    main()
