"""Discovery across content types: lists of a type for listeners who are known from another type alone.

    .venv/bin/python -m benchmarks.discovery data/cdr-douban-music-book.tar.xz [--seed 1] [--json]
    .venv/bin/python -m benchmarks.discovery simulated [--listeners 4000] [--items 4000] [--seed 1] [--json]

Douban, an archive or its folder: those who rated both music and books are dealt out to five folds; each fold's entries
of one type are left out in turn, and lists of that type are scored on them. Simulated: of each fold, only plays of one
type are known, and lists of another are scored on the twenty items of it that the listener's true taste makes most
likely; markets, seasons and sessions are left aside. Folds are pooled.

What is tuned is tuned inside the training folds: two fifths of their listeners are asked in turn, and the best NDCG
counts. Popularity is of all listeners of the type. Joint ALS learns from all types, the listener's factors are solved
for what is known of them; "weights per type" scales confidences so that each type has as many. Cross-domain item-kNN
sums what those who heard the same heard of the type, weighed against popular items and active listeners. Intervals:
bootstrap over listeners of the paired difference of ours to each (95 %). Tables go to stderr; with --json, a line per
direction and system to stdout. Seconds are of the processor, tuning included.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice, permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix, diags, hstack
from threadpoolctl import threadpool_limits

from benchmarks.splits import FORMS
from nocturne.core.arrays import Floats, Mask, Positions
from nocturne.core.console import print_rows
from nocturne.evaluation.baselines import Requests, best_lists
from nocturne.evaluation.metrics import accuracy
from nocturne.evaluation.significance import differences
from nocturne.evaluation.splits import sort_ids
from nocturne.ingestion.importers.archive import open_source
from nocturne.ingestion.simulator.names import TOPICS
from nocturne.ingestion.simulator.world import CONTENT_TYPES, Items, Scenario, make_items, make_listeners
from nocturne.kernel.solve import solve_users
from nocturne.training.bridge import Bridge, choose_bridge, listener_vectors, taste_axes
from nocturne.training.confidences import Confidences
from nocturne.training.neighbours import best_of_each
from nocturne.training.principal_axes import principal_axes

SIMULATED = "simulated"
OURS = "bridge"
TOP_K = 20
METRIC = f"ndcg@{TOP_K}"
FOLDS, ASKED_INSIDE = 5, 2
NIGHTS = 10
DRAWS = 8
"""Stream of random numbers of the simulated plays, beside those of the simulator."""

ALS_RECIPES = ((20.0, 20.0, 0.3), (5.0, 5.0, 0.0), (1.0, 5.0, 0.0))
"""Alpha, regularization, and the exponent of confidences against popular items."""

ALS_FACTORS, ALS_ITERATIONS = 64, 10

KNN_WEIGHTS = tuple(product((0.0, 0.5, 1.0), (0.0, 0.25, 0.5, 0.75), (0.0, 0.1, 0.25)))
"""Exponents against active listeners, popular items heard and popular items listed."""

KNN_NEIGHBOURS = (None, 200)
"""Items of the other types that an item of this one keeps; None: all."""


@dataclass(frozen=True)
class Domains:
    """Listening that is known, and the listeners who are asked about a type.

    Attributes:
        user_ids: of all listeners.
        source: 1 where a listener heard an item of another type; shape (listeners, source items).
        target: the same for this type, without those who are asked; shape (listeners, items).
        asked: places among the listeners.
        relevant: items of this type to find for each of them; shape (asked, items).
    """

    user_ids: pa.Array
    source: csr_matrix
    target: csr_matrix
    asked: Positions
    relevant: csr_matrix

    @property
    def both(self) -> Positions:
        """Listeners of this type and of others."""
        return listeners_of_both(self.source, self.target)

    def inside(self) -> Iterator["Domains"]:
        """Parts of the training listeners asked in their turn."""
        return islice(folds_of(self.user_ids, self.source, self.target, 1), ASKED_INSIDE)


def listeners_of_both(source: csr_matrix, target: csr_matrix) -> Positions:
    """Listeners of two types."""
    return np.flatnonzero((np.diff(source.indptr) > 0) & (np.diff(target.indptr) > 0))


def folds_of(user_ids: pa.Array, source: csr_matrix, target: csr_matrix, seed: int) -> Iterator[Domains]:
    """Listeners of both types dealt into FOLDS parts, each asked in its turn."""
    both = listeners_of_both(source, target)
    dealt = np.random.default_rng(seed).permutation(len(both)) % FOLDS
    for fold in range(FOLDS):
        asked = both[dealt == fold]
        yield Domains(user_ids, source, _without(target, asked), asked, target[asked])


Score = Callable[[Domains], Floats]
"""Scores of this type's items; shape (asked, items)."""


def values(domains: Domains, scores: Floats) -> Floats:
    """NDCG@20 of each who was asked."""
    asked, items = domains.relevant.shape
    everything = Requests.for_everyone(csr_matrix((asked, items)))
    lists = best_lists(lambda some: scores[some], domains.target, everything, TOP_K)
    return accuracy(lists, domains.relevant)[METRIC]


def tuned(recipes: Sequence[Any], score: Callable[[Domains, Any], Floats], domains: Domains) -> Any:
    """The recipe of most NDCG inside the training listeners."""
    inside = list(domains.inside())

    def quality(recipe: Any) -> float:
        return float(np.concatenate([values(part, score(part, recipe)) for part in inside]).mean())

    return max(recipes, key=quality)


def popularity(domains: Domains) -> Floats:
    """Listeners of each item, the same for everyone."""
    return np.tile(_listeners(domains.target), (len(domains.asked), 1))


def bridged(domains: Domains, notes: list[Bridge]) -> Floats:
    """Scores of the bridge, which is noted."""
    vectors = listener_vectors(domains.source, taste_axes(domains.source))
    both = domains.both
    bridge = choose_bridge(vectors[both], domains.target[both], domains.user_ids.take(pa.array(both)))
    notes.append(bridge)
    return vectors[domains.asked] @ bridge.factors[:, :-1].T + bridge.factors[:, -1]


def joint_als(domains: Domains, recipe: tuple[float, float, float], *, per_type: bool = False) -> Floats:
    """Scores of one model of all types for listeners solved on what is known of them."""
    alpha, regularization, exponent = recipe
    parts = [_scaled(part, exponent) for part in (domains.source, domains.target)]
    if per_type:
        mean = np.mean([part.sum() for part in parts])
        parts = [part * (mean / part.sum()) for part in parts]
    matrix = (hstack(parts, format="csr") * alpha).astype(np.float32)
    model = AlternatingLeastSquares(
        factors=ALS_FACTORS,
        regularization=regularization,
        alpha=1.0,
        iterations=ALS_ITERATIONS,
        random_state=1,
        num_threads=1,
    )
    model.fit(matrix, show_progress=False)
    factors, spectrum = principal_axes(model.item_factors)
    known = matrix[domains.asked]
    rows = Confidences(known.indptr.astype(np.int64), known.indices, known.data.astype(np.float64))
    solved = solve_users(factors, spectrum, regularization, rows)
    return np.asarray(solved @ factors[domains.source.shape[1] :].T)


def item_knn(domains: Domains, recipe: tuple[tuple[float, float, float], int | None]) -> Floats:
    """Sums of what was heard of this type by those who heard the same of others."""
    (activity, heard_exponent, listed_exponent), neighbours = recipe
    both, items = domains.both, domains.target.shape[1]
    source, target = domains.source[both], domains.target[both]
    counted = diags(np.maximum(np.diff(source.indptr), 1) ** -activity) @ source
    asked = _scaled(domains.source[domains.asked], heard_exponent, _listeners(domains.source))
    listed = np.maximum(_listeners(domains.target), 1) ** -listed_exponent
    if neighbours is None:
        return np.asarray(((asked @ counted.T) @ target).toarray() * listed)
    pairs = _scaled((target.T @ counted).tocsr(), heard_exponent, _listeners(domains.source)).tocoo()
    places, weights = best_of_each(pairs.row, pairs.col, pairs.data, items, neighbours)
    kept = places >= 0
    rows = np.repeat(np.arange(items), kept.sum(axis=1))
    similar = csr_matrix((weights[kept], (rows, places[kept])), (items, source.shape[1]))
    return np.asarray((domains.source[domains.asked] @ similar.T).toarray() * listed)


def tuned_item_knn(domains: Domains) -> Floats:
    """Scores by the best weights, then by the best number of neighbours."""
    weights = tuned([(weights, None) for weights in KNN_WEIGHTS], item_knn, domains)[0]
    return item_knn(domains, tuned([(weights, neighbours) for neighbours in KNN_NEIGHBOURS], item_knn, domains))


def measure(direction: str, folds: Iterator[Domains]) -> list[dict[str, object]]:
    """A row a system, of the pooled folds."""
    notes: list[Bridge] = []
    systems: Mapping[str, Score] = {
        OURS: lambda domains: bridged(domains, notes),
        "popularity": popularity,
        "joint ALS": lambda domains: joint_als(domains, tuned(ALS_RECIPES, joint_als, domains)),
        "joint ALS, weights per type": lambda domains: joint_als(
            domains,
            tuned(ALS_RECIPES, lambda part, recipe: joint_als(part, recipe, per_type=True), domains),
            per_type=True,
        ),
        "cross-domain item-kNN": tuned_item_knn,
    }
    scores: defaultdict[str, list[Floats]] = defaultdict(list)
    seconds: defaultdict[str, float] = defaultdict(float)
    for domains in folds:
        for name, score in systems.items():
            started = time.process_time()
            scored = score(domains)
            seconds[name] += time.process_time() - started
            scores[name].append(values(domains, scored))
    pooled = {name: {METRIC: np.concatenate(parts)} for name, parts in scores.items()}
    gains = {row.system: row for row in differences(pooled, OURS, {})}
    rows: list[dict[str, object]] = []
    for name in systems:
        mean = float(pooled[name][METRIC].mean())
        row: dict[str, object] = {"direction": direction, "system": name, METRIC: round(mean, 4)}
        if name in gains:
            row |= {"gain": round(-gains[name].difference, 4)}
            row |= {"low": round(-gains[name].high, 4), "high": round(-gains[name].low, 4)}
        rows.append(row | {"processor seconds": round(seconds[name], 1)})
    rows[0] |= {
        "listeners": len(pooled[OURS][METRIC]),
        "penalties": [note.penalty for note in notes],
        "folds above popularity": sum(note.beats_popularity for note in notes),
        "gain as held out inside": round(float(np.mean([note.difference for note in notes])), 4),
    }
    return rows


def douban(path: Path, seed: int) -> Iterator[tuple[str, Iterator[Domains]]]:
    """Music from books and books from music, both in five folds."""
    kinds = ("music", "book")
    with open_source(path, folders_below=2) as files:
        folders = [files.find(f"douban_{kind}/ratings.dat").parent for kind in kinds]
        pairs = [sorted({pair[:2] for pair in FORMS[folder.name](folder)}) for folder in folders]
    users = sort_ids({user for part in pairs for user, _ in part})
    place = {user: index for index, user in enumerate(users)}
    heard = {}
    for kind, part in zip(kinds, pairs, strict=True):
        columns = np.unique([item for _, item in part], return_inverse=True)[1]
        rows = [place[user] for user, _ in part]
        heard[kind] = csr_matrix((np.ones(len(part)), (rows, columns)), (len(users), columns.max() + 1))
    for known, wanted in permutations(kinds):
        yield f"{known} to {wanted}", folds_of(pa.array(users), heard[known], heard[wanted], seed)


def simulated(listeners: int, items: int, seed: int) -> Iterator[tuple[str, Iterator[Domains]]]:
    """Every type from every other, of a simulated service."""
    scenario = Scenario(listeners, items, seed, date(2026, 1, 1), 0.0)
    catalogue = make_items(scenario)
    user_ids, tastes, heard = _simulate_plays(scenario, catalogue)
    kinds = np.array([topic.content_type for topic in TOPICS])[catalogue.topics[:, 0]]
    for known, wanted in permutations(CONTENT_TYPES, 2):
        likely = catalogue.factors()[kinds == wanted].astype(np.float64)
        folds = _simulated_folds(user_ids, heard, kinds, known, wanted, tastes @ likely.T, seed)
        yield f"{known} to {wanted}", folds


def _simulate_plays(scenario: Scenario, catalogue: Items) -> tuple[pa.Array, Floats, csr_matrix]:
    """Ids and tastes of people, and 1 where one played an item; shape (people, items)."""
    blocks = [make_listeners(scenario, catalogue, first) for first in scenario.blocks()]
    people = np.concatenate([~block.bot for block in blocks])
    user_ids = pa.concat_arrays([block.ids for block in blocks]).filter(pa.array(people))
    tastes = np.concatenate([block.tastes for block in blocks])[people]
    rng = scenario.rng(DRAWS)
    plays = rng.poisson(np.concatenate([block.rate for block in blocks])[people] * NIGHTS)
    listener = np.repeat(np.arange(len(tastes)), plays)
    limits = np.cumsum(tastes, axis=1) + np.arange(len(tastes))[:, None]
    width = tastes.shape[1]
    topic = np.searchsorted(limits.ravel(), listener + rng.random(len(listener)), side="right") - listener * width
    item = catalogue.draw(np.clip(topic, 0, width - 1), rng)
    heard = csr_matrix((np.ones(len(item)), (listener, item)), (len(tastes), len(catalogue.topics)))
    heard.data[:] = 1
    return user_ids, tastes, heard


def _simulated_folds(
    user_ids: pa.Array, heard: csr_matrix, kinds: Any, known: str, wanted: str, likely: Floats, seed: int
) -> Iterator[Domains]:
    best = np.argpartition(-likely, TOP_K - 1, axis=1)[:, :TOP_K]
    people = len(likely)
    truth = csr_matrix((np.ones(best.size), best.ravel(), np.arange(people + 1) * TOP_K), likely.shape)
    others = kinds != wanted
    known_alone = (heard @ diags((kinds == known).astype(float))).tocsr()
    known_alone.eliminate_zeros()
    dealt = np.random.default_rng(seed).permutation(people) % FOLDS
    for fold in range(FOLDS):
        asked = np.flatnonzero((dealt == fold) & (np.diff(known_alone.indptr) > 0))
        source = (_without(heard, asked) + _without(known_alone, np.setdiff1d(np.arange(people), asked))).tocsr()
        target = _without(heard, np.flatnonzero(dealt == fold))[:, ~others]
        yield Domains(user_ids, source[:, others], target, asked, truth[asked])


def _without(matrix: csr_matrix, listeners: Positions) -> csr_matrix:
    """The same without the rows of some listeners."""
    kept: Mask = np.ones(matrix.shape[0], np.bool_)
    kept[listeners] = False
    left = (diags(kept.astype(np.float64)) @ matrix).tocsr()
    left.eliminate_zeros()
    return left


def _listeners(matrix: csr_matrix) -> Floats:
    return np.bincount(matrix.indices, minlength=matrix.shape[1]).astype(np.float64)


def _scaled(matrix: csr_matrix, exponent: float, listeners: Floats | None = None) -> csr_matrix:
    """Columns divided by listeners ^ exponent."""
    counts = _listeners(matrix) if listeners is None else listeners
    return (matrix @ diags(np.maximum(counts, 1) ** -exponent)).tocsr()


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help=f"archive or folder of Douban, or '{SIMULATED}'")
    parser.add_argument("--listeners", type=int, default=4_000, help="of the simulation")
    parser.add_argument("--items", type=int, default=4_000, help="of the simulation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.source == SIMULATED:
        directions = simulated(options.listeners, options.items, options.seed)
    else:
        directions = douban(Path(options.source), options.seed)
    with threadpool_limits(1, user_api="blas"):
        for direction, folds in directions:
            rows = measure(direction, folds)
            for row in rows if options.json else ():
                print(json.dumps({"source": Path(options.source).name, "seed": options.seed} | row), flush=True)
            found = ", ".join(f"{name} {value}" for name, value in list(rows[0].items())[4:])
            shown = [{name: row.get(name) for name in rows[1] if name != "direction"} for row in rows]
            print_rows(shown, f"{direction}: {found}; gain of {OURS}, 95 %", stream=sys.stderr)


if __name__ == "__main__":
    main()
