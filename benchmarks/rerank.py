"""Cost of each way of re-ranking in accuracy, and its gain in its own measure.

    .venv/bin/python -m benchmarks.rerank [data/sets/lastfm-2k] [--seed 1] [--json]

lastfm: a tenth of each listener's artists withheld, as in benchmarks.lastfm; the artists' tags are the genres.
simulated: a service of `nocturne simulate`; what was first heard on four nights after the ten that are trained on.

A model is trained on what is left; candidates come from the pipeline's own ranking, and every re-ranker gets the same
ones. Lists hold 20 of 100 candidates; time is that of lists of 50 of 100. Measures of a list, all of them means over
listeners: diversity, one minus the mean Jaccard similarity of tags and creator; the divergence of the listener's mix
of genres and of content types, in nats, 0 where the list has the same; most items of one creator; new items. Coverage
is the share of the model's items that are in any list. The difference in NDCG is to the plain list, with its 95 %
interval over listeners. The tables go to stderr; with --json, a line per re-ranker to stdout.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix, diags_array

from benchmarks import lastfm
from benchmarks.load import tell_load
from benchmarks.train import rows
from nocturne.core.console import print_rows
from nocturne.core.csr import CsrRows
from nocturne.core.sections import RerankingSettings
from nocturne.core.settings import Settings, load_settings
from nocturne.evaluation import metrics
from nocturne.evaluation.significance import differences
from nocturne.ingestion.importers import IMPORTERS
from nocturne.ingestion.interactions import EPOCH
from nocturne.ingestion.simulator.simulate import simulate
from nocturne.kernel.arguments import Traits
from nocturne.kernel.layout import lay_out_items
from nocturne.kernel.rerank import SMOOTHING
from nocturne.ranking.eligibility import markets
from nocturne.ranking.item_traits import NONE, UNTAGGED, traits
from nocturne.ranking.ranker import Ranker
from nocturne.ranking.reranker import Reranker
from nocturne.ranking.spark_tasks import Aligned
from nocturne.ranking.stats import RankingStats
from nocturne.storage.contracts import contract
from nocturne.training import als
from nocturne.training.confidences import Confidences
from nocturne.training.model import Model

K = 20
TIMED = 50
FRESH_NIGHTS = 7
START = date(2025, 1, 1)
TRAINED_NIGHTS, HELD_OUT_NIGHTS = 10, 4
Line = dict[str, object]

MEASURES = {
    "lastfm": ("diversity", "genre divergence", "coverage"),
    "simulated": ("diversity", "genre divergence", "type divergence", "most of a creator", "new items", "coverage"),
}
"""Measures of each data set: Last.fm's items are artists, with a creator each, one content type and no dates."""

RERANKERS: dict[str, dict[str, dict[str, object]]] = {
    "lastfm": {
        "plain": {},
        "diversity .1": {"diversity": 0.1},
        "diversity .3": {"diversity": 0.3},
        "diversity .5": {"diversity": 0.5},
        "genre calibration .1": {"genre_calibration": 0.1},
        "genre calibration .3": {"genre_calibration": 0.3},
        "genre calibration .5": {"genre_calibration": 0.5},
        "exploration, 1 of 20, softmax": {"exploration_places": [10], "exploration": "softmax"},
        "exploration, 1 of 20, uniform": {"exploration_places": [10]},
        "exploration, 4 of 20, uniform": {"exploration_places": [5, 10, 15, 20]},
    },
    "simulated": {
        "plain": {},
        "3 of a creator": {"max_per_creator": 3},
        "1 of a creator": {"max_per_creator": 1},
        "type calibration .1": {"type_calibration": 0.1},
        "type calibration .5": {"type_calibration": 0.5},
        "1 fresh slot": {"fresh_slots": 1},
        "3 fresh slots": {"fresh_slots": 3},
        "genre calibration .1": {"genre_calibration": 0.1},
        "all of it": {
            "max_per_creator": 3, "type_calibration": 0.1, "genre_calibration": 0.1, "fresh_slots": 1,
            "exploration_places": [10],
        },
    },
}  # fmt: skip


@dataclass(frozen=True)
class Data:
    """Plays to train on, and those to ask for.

    Attributes:
        heard: plays; shape (listeners, items).
        held_out: what was withheld or heard later, and not before; same shape.
        item_ids: of the columns.
        catalogue: rows of `items` of the night.
    """

    name: str
    heard: csr_matrix
    held_out: csr_matrix
    item_ids: pa.Array
    catalogue: pa.Table
    night: date


def read_lastfm(source: Path, folder: Path, seed: int) -> Data:
    """Last.fm, with a tenth of each listener's artists withheld."""
    landing = folder / "lastfm"
    IMPORTERS["lastfm-2k"](source, landing, lastfm.DAY)
    withheld = lastfm.withhold(landing, seed).to_pylist()
    lines = (landing / "events" / f"date={lastfm.DAY}" / "events.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    plays = [(event["user_id"], event["item_id"], int(event["plays"])) for event in events]
    later = [(taken["user_id"], taken["item_id"], 1) for taken in withheld]
    items = (landing / "items" / "items.jsonl").read_text(encoding="utf-8").splitlines()
    return _data("lastfm", plays, later, [json.loads(item) for item in items], lastfm.DAY)


def read_simulated(folder: Path, seed: int) -> Data:
    """A simulated service; the last nights are held out."""
    landing = folder / "simulated"
    simulate(landing, 3_000, 3_000, TRAINED_NIGHTS + HELD_OUT_NIGHTS, seed, START, corruption=0.0)

    def plays(nights: range) -> list[tuple[str, str, int]]:
        folders = [landing / "events" / f"date={START + timedelta(days=night)}" for night in nights]
        events = pa.concat_tables(
            pq.read_table(file, columns=["user_id", "item_id"])
            for each in folders
            for file in sorted(each.glob("events-*.parquet"))
        )
        return [(row["user_id"], row["item_id"], 1) for row in events.to_pylist()]

    items = pq.read_table(landing / "items" / "items.parquet").to_pylist()
    trained, held_out = range(TRAINED_NIGHTS), range(TRAINED_NIGHTS, TRAINED_NIGHTS + HELD_OUT_NIGHTS)
    return _data("simulated", plays(trained), plays(held_out), items, START + timedelta(days=TRAINED_NIGHTS - 1))


def _data(
    name: str,
    plays: list[tuple[str, str, int]],
    later: list[tuple[str, str, int]],
    catalogue: list[dict[str, object]],
    night: date,
) -> Data:
    user_of = {user: place for place, user in enumerate(sorted({user for user, _, _ in plays}))}
    item_of = {item: place for place, item in enumerate(sorted({item for _, item, _ in plays}))}

    def matrix(entries: list[tuple[str, str, int]]) -> csr_matrix:
        known = [(user_of[u], item_of[i], count) for u, i, count in entries if u in user_of and i in item_of]
        users, items, counts = np.array(known).T
        made = csr_matrix((counts, (users, items)), shape=(len(user_of), len(item_of)))
        made.sum_duplicates()
        made.sort_indices()
        return made

    heard, asked = matrix(plays), matrix(later)
    held_out = csr_matrix(asked - asked.multiply(heard > 0))
    held_out.eliminate_zeros()
    held_out.sort_indices()
    schema = contract("items").arrow_schema
    table = pa.Table.from_pylist([dict.fromkeys(schema.names) | row | {"run_date": night} for row in catalogue], schema)
    return Data(name, heard, held_out, pa.array(list(item_of)), table, night)


@dataclass(frozen=True)
class Candidates:
    """Pools that re-rankers choose from, and all that they know of the items in them."""

    model: Model
    traits: Traits
    users: pa.Array
    rows: Confidences
    pools: CsrRows
    scores: np.ndarray


def candidates(data: Data, settings: Settings) -> Candidates:
    """Every listener's candidates, second stage included, by a model trained on what was heard."""
    listeners = pa.Table.from_batches(rows(data.heard))
    days = pa.repeat(pa.scalar(EPOCH), data.heard.nnz)
    offsets = pa.array(data.heard.indptr.astype(np.int32))
    listeners = listeners.append_column("last_heard", pa.ListArray.from_arrays(offsets, days))
    listeners = listeners.append_column("digest", pa.repeat("", len(listeners)))
    model = als.train(listeners.to_batches(), data.item_ids, EPOCH, 90.0, settings.als).model
    (batch,) = listeners.combine_chunks().to_batches()
    wide = settings.ranking.model_copy(update={"top_k": settings.ranking.candidates})
    ids = model.item_ids.to_numpy(zero_copy_only=False)
    laid_out = lay_out_items(model.factors, model.score_multipliers, np.argsort(np.argsort(ids)))
    may = markets(model.item_ids, data.catalogue, data.night, ())
    ranker = Ranker(model, laid_out, may, None, data.night, wide, audit_share=0.0).prepare()
    lists = ranker.rank(batch, Aligned(iter(())).of(batch.column("user_id")), RankingStats()).lists
    found = lists["items"].combine_chunks()
    entries = found.flatten()
    places = {item: place for place, item in enumerate(model.item_ids.to_pylist())}
    positions = np.array([places[item] for item in entries.field("item_id").to_pylist()], np.int32)
    pools = CsrRows(found.offsets.to_numpy().astype(np.int64), positions)
    of_items = traits(
        model.item_ids, data.catalogue, pa.nulls(len(ids), pa.date32()), data.night, FRESH_NIGHTS
    )  # fmt: skip
    scores = entries.field("score").to_numpy()
    return Candidates(model, of_items, batch.column("user_id"), model.confidence_rows(batch), pools, scores)


def measure(data: Data, settings: Settings) -> Iterator[Line]:
    """A line for each re-ranker, the plain list first."""
    given = candidates(data, settings)
    asked = np.flatnonzero(np.diff(data.held_out.indptr))
    plain: dict[str, np.ndarray] = {}
    for name, changes in RERANKERS[data.name].items():
        chosen = RerankingSettings.model_validate(settings.reranking.model_dump() | changes)
        made = Reranker(chosen, given.traits, (data.night - EPOCH).days)
        lists, _, chances = made.rerank(given.users, given.pools, given.scores, given.rows, K)
        square = np.full((len(lists.lengths), K), -1)
        square[np.arange(K) < lists.lengths[:, None]] = lists.positions
        indexes = np.where(square >= 0, given.model.item_indexes[square], -1)
        each = metrics.accuracy(indexes[asked], data.held_out[asked])
        scored = {metric: each[metric] for metric in (f"recall@{K}", f"ndcg@{K}")}
        plain = plain or scored
        (gap,) = [
            found
            for found in differences({"plain": plain, name + "'": scored}, "plain", {})
            if found.metric == f"ndcg@{K}"
        ]
        yield {
            "data": data.name,
            "re-ranker": name,
            **{metric: round(float(values.mean()), 4) for metric, values in scored.items()},
            "ndcg minus plain": [round(edge, 4) for edge in (gap.difference, gap.low, gap.high)],
            **{measure: qualities(square, given)[measure] for measure in MEASURES[data.name]},
            "least propensity": round(float(chances.min()), 4),
            "microseconds a listener": round(microseconds(made, given), 1),
        }


def microseconds(made: Reranker, given: Candidates) -> float:
    """Processor time of a list of TIMED items, the best of three runs; the code is compiled by then."""
    taken = []
    for _ in range(3):
        started = time.thread_time()
        made.rerank(given.users, given.pools, given.scores, given.rows, TIMED)
        taken.append(time.thread_time() - started)
    return min(taken) / len(given.users) * 1e6


def qualities(lists: np.ndarray, given: Candidates) -> Line:
    """Means over listeners of what re-rankers are for."""
    of_items, items = given.traits, len(given.traits.creators)
    tags = csr_matrix((np.ones(len(of_items.tags)), of_items.tags, of_items.tag_offsets))
    tags = diags_array(1 / np.diff(of_items.tag_offsets)) @ tags
    types = csr_matrix((np.ones(items), of_items.types, np.arange(items + 1)))
    row, place = np.nonzero(lists >= 0)
    listed = csr_matrix((np.ones(len(row)), (row, lists[row, place])), shape=(len(lists), items))
    heard = csr_matrix((given.rows.confidences, given.rows.columns, given.rows.offsets), shape=(len(lists), items))
    there = of_items.creators[lists[row, place]] != NONE
    pairs = row[there] * (of_items.creators.max() + 2) + of_items.creators[lists[row, place]][there]
    of_pair, counts = np.unique(pairs, return_counts=True)
    most = np.zeros(len(lists))
    np.maximum.at(most, of_pair // (of_items.creators.max() + 2), counts)
    return {
        "diversity": round(float(np.nanmean(metrics.diversity(lists, labels(of_items)))), 4),
        "genre divergence": round(divergence(heard @ tags, listed @ tags), 4),
        "type divergence": round(divergence(heard @ types, listed @ types), 4),
        "most of a creator": round(float(most.mean()), 2),
        "new items": round(float((listed @ of_items.fresh).mean()), 2),
        "coverage": round(metrics.coverage(lists, items), 4),
    }


def labels(of_items: Traits) -> csr_matrix:
    """Tags and creator of each item, as ones."""
    items = np.repeat(np.arange(len(of_items.creators)), np.diff(of_items.tag_offsets))
    tagged, made = of_items.tags != UNTAGGED, np.flatnonzero(of_items.creators != NONE)
    row = np.concatenate([items[tagged], made])
    label = np.concatenate([of_items.tags[tagged], of_items.creators[made] + of_items.tags.max() + 1])
    return csr_matrix((np.ones(len(row)), (row, label)), shape=(len(of_items.creators), int(label.max()) + 1))


def divergence(heard: csr_matrix, listed: csr_matrix) -> float:
    """Mean Kullback-Leibler divergence of what is heard from what is listed, smoothed as in Steck (2018), in nats."""
    there = np.asarray((heard.sum(axis=1) > 0) & (listed.sum(axis=1) > 0)).ravel()
    own, theirs = (each[there].toarray() for each in (heard, listed))
    own, theirs = (each / each.sum(axis=1, keepdims=True) for each in (own, theirs))
    smoothed = (1 - SMOOTHING) * theirs + SMOOTHING * own
    logs = np.log(np.divide(own, smoothed, out=np.ones_like(own), where=own > 0))
    return float((own * logs).sum(axis=1).mean())


def show(lines: list[Line], title: str) -> None:
    """Print the measurements of a data set for people."""
    print_rows(lines, title, stream=sys.stderr)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, nargs="?", default=Path("data/sets/lastfm-2k"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="section.key=value")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    tell_load()
    settings = load_settings(overrides=options.overrides)
    with tempfile.TemporaryDirectory() as folder:
        parts = (
            lambda: read_lastfm(options.source, Path(folder), options.seed),
            lambda: read_simulated(Path(folder), options.seed),
        )
        for read in parts:
            lines = []
            for line in measure(read(), settings):
                lines.append({name: value for name, value in line.items() if name != "data"})
                if options.json:
                    print(json.dumps(line), flush=True)
            show(lines, f"{line['data']}, seed {options.seed}")


if __name__ == "__main__":
    main()
