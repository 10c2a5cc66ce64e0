"""The cost of ranking against each thing it depends on: invented listeners, in this process, on one core."""

import os
import resource
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from nocturne.core.settings import load_settings
from nocturne.ingestion.interactions import UNIT
from nocturne.kernel.layout import lay_out_items
from nocturne.ranking.eligibility import Markets
from nocturne.ranking.ranker import Ranker
from nocturne.ranking.spark_tasks import one_blas_thread
from nocturne.ranking.stats import RankingStats
from nocturne.storage.bucket_files import BucketWriter
from nocturne.storage.contracts import contract
from nocturne.training.model import Model
from nocturne.training.principal_axes import principal_axes

DAY = date(2025, 1, 1)
BATCH = 4_096
BASE = {"listeners": 16_384, "items": 30_000, "factors": 64, "top_k": 50, "changed": 1.0}
CURVES = {
    "items": (10_000, 30_000, 100_000),
    "factors": (32, 64, 128, 256),
    "top_k": (20, 50, 100, 200),
    "changed": (0.0, 0.01, 0.05, 0.2, 1.0),
    "listeners": (10_000, 100_000, 1_000_000),
}
ITEMS_OF_MANY_LISTENERS = 10_000
"""In the curve of listeners: a million against all items would only take longer."""

_POOLS = pa.schema(each.with_nullable(True) for each in contract("pools").arrow_schema)


def curves(folder: Path, listeners: int, items: int) -> Iterator[dict[str, object]]:
    """One line per point, in order of the curves; listeners and items go no further than asked for."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    limits = {"listeners": listeners, "items": items}
    with one_blas_thread():
        point(BASE | {"listeners": BATCH}, folder)  # compiles
        for varied, values in CURVES.items():
            for value in values:
                if value <= limits.get(varied, value):
                    base = BASE | ({"items": ITEMS_OF_MANY_LISTENERS} if varied == "listeners" else {})
                    yield {"varied": varied} | point(base | {varied: value}, folder)


def point(world: dict[str, float], folder: Path) -> dict[str, object]:
    """Rank a world whose listeners have pools, of whom a share must be computed again."""
    ranker = make_ranker(int(world["items"]), int(world["factors"]), int(world["top_k"]))
    first_night, stats = RankingStats(), RankingStats()
    schemas = (contract("pools").arrow_schema, contract("ranked_lists").arrow_schema)
    writers = [BucketWriter(str(folder / "written"), schema, str(DAY), 0) for schema in schemas]
    for first in range(0, int(world["listeners"]), BATCH):
        count = min(BATCH, int(world["listeners"]) - first)
        rows = invent_rows(first, count, int(world["items"]))
        previous_rows = pa.Table.from_pylist([{}] * count, schema=_POOLS)
        if world["changed"] < 1:
            pools = ranker.rank(rows, previous_rows, first_night).pools
            unchanged = np.random.default_rng(first).random(count) >= world["changed"]
            previous_rows = pools.take(pa.array(np.arange(count), mask=~unchanged))
        tables = ranker.rank(rows, previous_rows, stats)
        with stats.timing("write"):
            for writer, table in zip(writers, tables[: len(writers)], strict=True):
                writer.write(table)
    written = [writer.close() for writer in writers]
    for writer in writers:
        writer.file.unlink()
    return {
        **world,
        "seconds": round(sum(stats.seconds.values()), 2),
        "microseconds_a_listener": round(sum(stats.seconds.values()) / world["listeners"] * 1e6, 1),
        **{step: round(seconds, 2) for step, seconds in sorted(stats.seconds.items())},
        "bytes_a_listener": round(sum(file.size for file in written) / world["listeners"]),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def make_ranker(items: int, factors: int, top_k: int) -> Ranker:
    """A model whose items' norms and axes fall off as trained ones do."""
    rng = np.random.default_rng(1)
    popularity = np.sort(rng.pareto(1.1, items) + 1)[::-1]
    raw = rng.normal(size=(items, factors)) * (1 + np.arange(factors)) ** -0.4 * popularity[:, None] ** 0.25 * 0.1
    rotated, spectrum = principal_axes(raw.astype(np.float32))
    settings = load_settings(overrides=[f"als.factors={factors}", f"ranking.top_k={top_k}"])
    ids = pa.array([f"t{item:07d}" for item in range(items)])
    counts = np.ceil(popularity).astype(np.int64)
    near = np.sort(rng.integers(0, items, (items, settings.als.neighbours)), axis=1)
    neighbours = near.astype(np.int32)
    model = Model(
        "invented", settings.als, DAY, 90.0, np.arange(items, dtype=np.int32), ids, rotated, spectrum,
        counts**-0.3, counts**0.1, counts, {}, neighbours, np.ones(neighbours.shape, np.float32),
        neighbours[:0], np.ones((0, neighbours.shape[1]), np.float32), np.zeros(items, np.int64),
    )  # fmt: skip
    everything = Markets({None: 0}, 0, np.ones((1, items), dtype=bool), ("everything",))
    laid_out = lay_out_items(rotated, model.score_multipliers, np.arange(items))
    return Ranker(model, laid_out, everything, everything, DAY, settings.ranking, audit_share=0.001).prepare()


def invent_rows(first: int, count: int, items: int) -> pa.RecordBatch:
    """Rows of `interactions` of about fifty items each, the first ones the most popular."""
    rng = np.random.default_rng([7, first])
    lengths = np.minimum(rng.lognormal(3.5, 0.8, count).astype(np.int64) + 1, items // 4)
    row = np.repeat(np.arange(count), lengths)
    heard = np.minimum(rng.pareto(0.7, len(row)) * items / 200, items - 1).astype(np.int64)
    row, heard = np.divmod(np.unique(row * items + heard), items)
    offsets = pa.array(np.searchsorted(row, np.arange(count + 1)).astype(np.int32))
    plays = rng.integers(1, 9, len(heard)) * UNIT
    period = (DAY - date(1970, 1, 1)) // timedelta(days=90)
    users = [f"u{first + user:08d}" for user in range(count)]
    columns = {
        "user_id": pa.array(users),
        "market": pa.nulls(count, pa.string()),
        "period": pa.array(np.full(count, period, np.int32)),
        "item_indexes": pa.ListArray.from_arrays(offsets, pa.array(heard.astype(np.int32))),
        "play_sums": pa.ListArray.from_arrays(offsets, pa.array(plays)),
        "second_sums": pa.ListArray.from_arrays(offsets, pa.array(plays * 0)),
        "last_heard": pa.ListArray.from_arrays(offsets, pa.array(np.zeros(len(heard), np.int32)).cast(pa.date32())),
        "recent_items": pa.array([[]] * count, pa.list_(pa.int32())),
        "recent_times": pa.array([[]] * count, pa.list_(pa.timestamp("us", "UTC"))),
        "digest": pa.array(users),
    }
    return pa.RecordBatch.from_pydict(columns)
