"""The whole `rank_users` job beside MLlib's recommendForAllUsers on the same factors: Gowalla, or a simulated service.

    .venv/bin/python -m benchmarks.spark_rank [--gowalla PATH] [--factors 64 256] [--top-k 20] [--json]
    .venv/bin/python -m benchmarks.spark_rank --simulated 200000 40000 --factors 64 [--json]

Ours is the stage as it runs at night: read rows and model, solve every listener's factors, leave out what they have
heard, rank, prove a sample, write pools, lists and the account to Delta, and commit. MLlib gets the solved factors
as they are, leaves nothing out and writes nowhere. Both run in one Spark session, in turn; a first run of each warms
up, and the median of the others counts. Java finds a native BLAS where the system has one (libopenblas0-pthread), and
which one MLlib has is told. The table goes to stderr; with --json, a line per system to stdout.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from py4j.protocol import Py4JError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from scipy.sparse import csr_matrix

from benchmarks import gowalla
from benchmarks.load import tell_load
from nocturne.core.console import print_rows, say
from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import load_settings
from nocturne.core.spark.session import spark_session
from nocturne.core.xxhash import buckets_of
from nocturne.ingestion.interactions import UNIT
from nocturne.ingestion.simulator.simulate import simulate
from nocturne.pipeline.stages import STAGES
from nocturne.ranking.listeners import Listeners
from nocturne.ranking.rank_users import ROWS, make_ranker
from nocturne.storage import writing
from nocturne.storage.contracts import contract
from nocturne.storage.stored_rows import StoredRows
from nocturne.storage.warehouse import create_missing
from nocturne.training.registry import live_model

DAY = date(2025, 1, 1)
ROUNDS = 4
"""Runs of each, the first of which is not counted."""


def write_index(night: Night, items: int) -> None:
    """Write so many items as `item_index`."""
    names = [f"i{item:05d}" for item in range(items)]
    index = {"first_night": [DAY] * items, "item_index": np.arange(items, dtype=np.int32), "item_id": names}
    writing.replace_night(pa.table(index).cast(contract("item_index").arrow_schema), "item_index", night)


def write_matrix(spark: SparkSession, night: Night, heard: csr_matrix) -> None:
    """Write one play of every pair as the night's `interactions`."""
    offsets, entries = pa.array(heard.indptr.astype(np.int32)), heard.nnz
    period = (DAY - date(1970, 1, 1)).days / night.settings.interactions.half_life_days
    columns = {
        "user_id": pa.array([f"u{user:05d}" for user in range(heard.shape[0])]),
        "item_indexes": pa.ListArray.from_arrays(offsets, pa.array(heard.indices.astype(np.int32))),
        "play_sums": pa.ListArray.from_arrays(offsets, pa.array(np.full(entries, UNIT))),
        "second_sums": pa.ListArray.from_arrays(offsets, pa.array(np.zeros(entries, np.int64))),
        "last_heard": pa.ListArray.from_arrays(offsets, pa.array(np.zeros(entries, np.int32)).cast(pa.date32())),
        "recent_items": pa.array([[]] * heard.shape[0], pa.list_(pa.int32())),
        "recent_times": pa.array([[]] * heard.shape[0], pa.list_(pa.timestamp("us", "UTC"))),
    }
    columns["bucket"] = pa.array(buckets_of(columns["user_id"], night.settings.tables.buckets))
    rows = spark.createDataFrame(pa.table(columns)).select(
        F.lit(night.run_date).alias("run_date"),
        "*",
        F.lit(None).cast("string").alias("market"),
        F.lit(None).cast("timestamp").alias("market_heard_at"),
        F.lit(int(period)).alias("period"),
        F.lit(DAY).alias("changed_on"),
        F.col("user_id").alias("digest"),
    )
    writing.replace_night(rows, "interactions", night)


def solved(night: Night) -> tuple[list[str], np.ndarray]:
    """Every listener's id and factors, as the night solves them."""
    ranker = make_ranker(night, live_model(night), None)
    ids, users = [], []
    for rows in StoredRows.at(night, "interactions", ROWS):
        listeners = Listeners.of(rows, ranker.model, ranker.markets, 0, DAY)
        ids += rows.column("user_id").to_pylist()
        users.append(ranker.solve(listeners, np.arange(rows.num_rows)))
    return ids, np.concatenate(users)


def factors_frame(spark: SparkSession, factors: np.ndarray) -> DataFrame:
    """Factors as MLlib keeps them, in memory before the clock starts."""
    rows = pd.DataFrame({"id": np.arange(len(factors)), "features": list(factors.astype(np.float32))})
    frame = spark.createDataFrame(rows, "id int, features array<float>").repartition(10).cache()
    frame.count()
    return frame


def mllib(spark: SparkSession, users: np.ndarray, items: np.ndarray, top_k: int) -> Callable[[], None]:
    """MLlib's job on these factors."""
    frames = [factors_frame(spark, factors) for factors in (users, items)]
    java = spark.sparkContext._jvm.org.apache.spark.ml.recommendation.ALSModel  # noqa: SLF001 - no Python constructor
    model = java("als", items.shape[1], *(frame._jdf for frame in frames))  # noqa: SLF001
    model = model.setUserCol("user").setItemCol("item")

    def recommend() -> None:
        DataFrame(model.recommendForAllUsers(top_k), spark).write.format("noop").mode("overwrite").save()

    return recommend


def seconds_of(job: Callable[[], object]) -> float:
    """Wall time of a job."""
    started = time.perf_counter()
    job()
    return time.perf_counter() - started


def measure(heard: csr_matrix, factors: int, top_k: int, folder: Path, overrides: list[str]) -> list[dict[str, object]]:
    """Both systems on one model."""
    settings = load_settings(overrides=[f"als.factors={factors}", f"ranking.top_k={top_k}", *overrides])
    night = Night(
        Warehouse(str(folder / "warehouse"), settings), DAY, str(folder / "landing"), f"lmdb:{folder / 'cache'}"
    )
    with spark_session(settings.spark, "benchmark") as spark:
        create_missing(night.warehouse)
        write_index(night, heard.shape[1])
        write_matrix(spark, night, heard)
        STAGES["train_als"](spark, night, lambda *_: None)
        _, users = solved(night)
        theirs = mllib(spark, users, live_model(night).factors, top_k)
        say(f"MLlib computes with {blas_of(spark)}")
        runs: dict[str, list[float]] = {"nocturne": [], "mllib": []}
        for _ in range(ROUNDS):
            runs["nocturne"].append(seconds_of(lambda: STAGES["rank_users"](spark, night, lambda *_: None)))
            runs["mllib"].append(seconds_of(theirs))
    medians = {system: float(np.median(seconds[1:])) for system, seconds in runs.items()}
    return [
        {
            "system": system,
            "listeners": heard.shape[0],
            "items": heard.shape[1],
            "factors": factors,
            "seconds": round(seconds, 2),
            "ratio_to_mllib": round(medians["mllib"] / seconds, 1),
        }
        for system, seconds in medians.items()
    ]


def blas_of(spark: SparkSession) -> str:
    """The BLAS that MLlib multiplies with."""
    try:
        blas = spark.sparkContext._jvm.dev.ludovic.netlib.blas.NativeBLAS.getInstance()  # noqa: SLF001 - no Python name
    except Py4JError:
        return "Java's own BLAS: no native one was to be had"
    return str(blas.getClass().getName())


def simulated(listeners: int, items: int) -> csr_matrix:
    """The pairs of a day of a simulated service: who heard what."""
    with tempfile.TemporaryDirectory() as folder:
        simulate(Path(folder), listeners, items, 1, seed=1, start=DAY, corruption=0.0)
        files = sorted(Path(folder, "events", f"date={DAY}").glob("*.parquet"))
        events = pa.concat_tables([pq.read_table(file, columns=["user_id", "item_id"]) for file in files])
    users, heard = (events[name].combine_chunks().dictionary_encode() for name in ("user_id", "item_id"))
    pairs = csr_matrix((np.ones(len(users)), (users.indices.to_numpy(), heard.indices.to_numpy())))
    pairs.sum_duplicates()
    return pairs


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gowalla", type=Path, default=Path("data/sets/gowalla"))
    parser.add_argument("--simulated", type=int, nargs=2, metavar=("LISTENERS", "ITEMS"), help="instead of Gowalla")
    parser.add_argument("--factors", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--top-k", type=int, default=20)
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="section.key=value")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    tell_load()
    if options.simulated:
        heard = simulated(*options.simulated)
    else:
        train, valid, _ = gowalla.read(options.gowalla)
        heard = csr_matrix(train + valid)
    heard.sort_indices()
    lines = []
    for factors in options.factors:
        with tempfile.TemporaryDirectory() as folder:
            for line in measure(heard, factors, options.top_k, Path(folder), options.overrides):
                lines.append(line)
                if options.json:
                    print(json.dumps(line), flush=True)
    print_rows(lines, "the whole job", stream=sys.stderr)


if __name__ == "__main__":
    main()
