"""Ranking on Spark: a task ranks a bucket of listeners, from the files of its rows to the files of its lists.

Nothing about a listener moves between machines. The ranker, which is the same for everyone, lies in one file of the
warehouse while tasks run: a machine reads it once, and all its workers map it into memory.
"""

import pickle
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession
from threadpoolctl import threadpool_info, threadpool_limits

from nocturne.core.errors import InputError
from nocturne.core.night import Night
from nocturne.ranking import mapped_file
from nocturne.ranking.arm_rows import POOL_COLUMNS, ArmRows, Arms, EarlierArms, Written
from nocturne.ranking.ranker import Ranker
from nocturne.ranking.stats import RankingStats
from nocturne.storage.aligned_rows import AlignedRows
from nocturne.storage.bucket_files import BucketFile, BucketWriter, remove_on_failure
from nocturne.storage.contracts import contract
from nocturne.storage.stored_rows import StoredRows

_BYTES_PER_LISTENER = 16_384
"""Of scores, finalists and lists, at usual depths; the scores themselves stay in the processor's cache."""

_BYTES_PER_ENTRY = 128
_POLL_SECONDS = 1.0
_FEW_LISTENERS = 5_000
"""Listeners that are ranked in this process: Spark's tasks would take longer to begin."""

Progress = Callable[[int], None]
"""Called with the number of listeners done."""


@dataclass(frozen=True)
class BucketResult:
    """The files that a task wrote, by table, and its stats."""

    files: Mapping[str, Sequence[BucketFile]]
    stats: RankingStats


@dataclass(frozen=True)
class Rankers:
    """The ranker of control, and those of the arms of experiments; None where nobody is in any."""

    control: Ranker
    arms: Arms | None = None

    def each(self, change: Callable[[Ranker], Ranker]) -> "Rankers":
        """The same with every ranker changed."""
        arms = self.arms and replace(
            self.arms, rankers={cell: change(ranker) for cell, ranker in self.arms.rankers.items()}
        )
        return Rankers(change(self.control), arms)


@dataclass(frozen=True)
class BucketRanking:
    """The task that ranks a bucket: its inputs and outputs, sent to every executor.

    Attributes:
        scratch: folder in the warehouse, where the driver leaves the rankers and tasks their marks.
        rows: `interactions` of the night.
        previous_pools: `pools` of the night before; None without one.
        previous_arms: the same of the arms.
        warehouse: folder of the tables written.
    """

    scratch: Path
    rows: StoredRows
    previous_pools: StoredRows | None
    previous_arms: EarlierArms | None
    warehouse: str
    run_date: date
    batch_memory_mb: int

    @property
    def rankers(self) -> Path:
        """The file that every machine maps."""
        return self.scratch / "rankers"

    @property
    def marks(self) -> Path:
        """The folder of a file a bucket, with the number of listeners done."""
        return self.scratch / "marks"

    def run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Rank the buckets that a Spark task is given, with one BLAS thread: a worker runs on every core."""
        with one_blas_thread():
            for batch in batches:
                for bucket in batch.column("id").to_pylist():
                    yield pa.record_batch({"result": [pickle.dumps(self.rank(bucket, _load(self.rankers)))]})

    def rank(self, bucket: int, rankers: Rankers) -> BucketResult:
        """Rank a bucket."""
        stats = RankingStats()
        arms = ArmRows(rankers.arms, self.previous_arms, self.run_date, bucket) if rankers.arms else None
        files: dict[tuple[str, ...], BucketWriter] = {}
        with remove_on_failure(others=files.values()):
            for table in ("pools", "ranked_lists", "shelf_lists"):
                files[(table,)] = self._open(table, bucket)
            for rows, previous_rows in self._batches(bucket, stats):
                pools, lists, of_types = rankers.control.rank(rows, previous_rows, stats)
                lists, of_arms = arms.rank(rows, previous_rows, lists) if arms else (lists, [])
                with stats.timing("write"):
                    of_control = {"pools": pools, "ranked_lists": lists, "shelf_lists": of_types}
                    of_all = [*(Written(table, {}, rows) for table, rows in of_control.items()), *of_arms]
                    for table, keys, written in of_all:
                        place = (table, *keys.values())
                        if place not in files:
                            files[place] = self._open(table, bucket, keys)
                        files[place].write(written)
                (self.marks / str(bucket)).write_text(str(stats.listeners), encoding="utf-8")
            with stats.timing("write"):
                closed = [(table, file.close()) for (table, *_), file in files.items()]
        if arms:
            stats.add_arms(arms.stats)
        return BucketResult({table: [file for name, file in closed if name == table] for table, _ in closed}, stats)

    def _open(self, table: str, bucket: int, keys: Mapping[str, str] | None = None) -> BucketWriter:
        schema = contract(table).arrow_schema
        return BucketWriter(f"{self.warehouse}/{table}", schema, str(self.run_date), bucket, keys or {})

    def _batches(self, bucket: int, stats: RankingStats) -> Iterator[tuple[pa.RecordBatch, pa.Table]]:
        previous = Aligned(iter(()) if self.previous_pools is None else iter(self.previous_pools.in_bucket(bucket)))
        rows = iter(self.rows.in_bucket(bucket))
        while True:
            with stats.timing("read"):
                batch = next(rows, None)
                if batch is None:
                    return
                parts = [(part, previous.of(part.column("user_id"))) for part in cut(batch, self.batch_memory_mb)]
            yield from parts


class Aligned(AlignedRows):
    """Rows of `pools` beside rows of `interactions`.

    Raises:
        InputError: when they are asked for, and are not in the order of user_id.
    """

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        super().__init__("pools", POOL_COLUMNS, _in_order(batches))


def _in_order(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    last: str | None = None
    for batch in batches:
        ids = batch.column("user_id")
        ordered = pc.all(pc.less(ids[:-1], ids[1:]), min_count=0).as_py()
        if not ordered or (last is not None and len(ids) and last >= ids[0].as_py()):
            raise InputError(
                "a bucket is not in the order of user_id",
                found=f"a disordered row between {len(ids)} of `pools`",
                fix="run the earlier night's rank_users again, or set ranking.carry_over = false for one night",
            )
        last = ids[-1].as_py() if len(ids) else last
        yield batch


def cut(batch: pa.RecordBatch, memory_mb: int) -> Iterator[pa.RecordBatch]:
    """Cut rows of `interactions` so that ranking each part takes about so much memory, in MiB."""
    lengths = pc.list_value_length(batch.column("item_indexes")).to_numpy().astype(np.int64)
    parts = np.cumsum(_BYTES_PER_LISTENER + _BYTES_PER_ENTRY * lengths) // (memory_mb * 2**20)
    edges = np.flatnonzero(np.diff(parts, prepend=-1))
    for start, end in zip(edges, [*edges[1:], batch.num_rows], strict=True):
        yield batch.slice(start, end - start)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread.

    Raises:
        RuntimeError: a BLAS library does not obey.
    """
    with threadpool_limits(limits=1, user_api="blas"):
        threads = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
        if threads - {1}:
            raise RuntimeError(f"BLAS runs {threads} threads in a worker, expected 1")
        yield


@contextmanager
def scratch_of(night: Night) -> Iterator[Path]:
    """A folder in the warehouse, which every machine can reach, for as long as tasks run."""
    with tempfile.TemporaryDirectory(prefix=".ranking-", dir=night.warehouse.folder) as folder:
        (Path(folder) / "marks").mkdir()
        yield Path(folder)


def rank_buckets(
    spark: SparkSession, rankers: Rankers, work: BucketRanking, buckets: int, listeners: int, progress: Progress
) -> tuple[dict[str, list[BucketFile]], RankingStats]:
    """Rank every bucket; returns the files by table, and the summed stats.

    Args:
        listeners: many are ranked on the executors, few here.
        progress: called from time to time with the number of listeners done.
    """
    with _watching(work.marks, progress):
        if listeners <= _FEW_LISTENERS:
            with one_blas_thread():
                results = [work.rank(bucket, rankers) for bucket in range(buckets)]
        else:
            mapped_file.save(rankers.each(Ranker.prepare), work.rankers)
            rows = spark.range(0, buckets, 1, buckets).mapInArrow(work.run, "result binary").collect()
            results = [pickle.loads(row.result) for row in rows]  # noqa: S301 - of the driver's own tasks
    total, files = RankingStats(), defaultdict[str, list[BucketFile]](list)
    for result in results:
        total.add(result.stats)
        for table, written in result.files.items():
            files[table] += written
    return files, total


@contextmanager
def _watching(marks: Path, progress: Progress) -> Iterator[None]:
    """Report the sum of the tasks' marks from time to time, until the block ends."""
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(_POLL_SECONDS):
            progress(sum(int(mark.read_text(encoding="utf-8") or 0) for mark in marks.iterdir()))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        watcher.join()


@lru_cache(maxsize=1)
def _load(file: Path) -> Rankers:
    rankers: Rankers = mapped_file.load(file)
    return rankers
