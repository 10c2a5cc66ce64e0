"""Ranking on Spark: a task ranks a bucket of listeners, from the files of its rows to the files of its lists.

Nothing about a listener moves between machines. The model and what else is the same for everyone lies in one
file of the warehouse for the while: a machine reads it once, and all its workers map it into memory.
"""

import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
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
from nocturne.ranking.ranker import Account, Ranker
from nocturne.storage.bucket_files import BucketFile, BucketWriter, writing
from nocturne.storage.contracts import contract
from nocturne.storage.tables import StoredRows

_BYTES_PER_LISTENER = 16_384
"""Of scores, finalists and lists, at usual depths; the scores themselves stay in the processor's cache."""

_BYTES_PER_ENTRY = 128
_POLL_SECONDS = 1.0

Progress = Callable[[int], None]
"""Told how many listeners are done."""


@dataclass(frozen=True)
class BucketRanking:
    """What a task needs to know.

    Attributes:
        scratch: folder in the warehouse, where the driver leaves the ranker and tasks tell how far they are.
        rows: `interactions` of the night.
        before: `pools` of the night before; None without one.
        pools, lists: folder and schema of the tables written.
    """

    scratch: Path
    rows: StoredRows
    before: StoredRows | None
    pools: tuple[str, pa.Schema]
    lists: tuple[str, pa.Schema]
    run_date: date
    batch_memory_mb: int

    @property
    def ranker(self) -> Path:
        """The file that every machine maps."""
        return self.scratch / "ranker"

    @property
    def marks(self) -> Path:
        """Holds a file a bucket, with the number of listeners done."""
        return self.scratch / "marks"

    def run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Rank the buckets that a Spark task is given, with one BLAS thread: a worker runs on every core."""
        with one_blas_thread():
            for batch in batches:
                for bucket in batch.column("id").to_pylist():
                    yield pa.record_batch({"done": [json.dumps(self._rank(bucket))]})

    def _rank(self, bucket: int) -> dict[str, object]:
        ranker, account = _load(self.ranker), Account()
        files = [BucketWriter(path, schema, str(self.run_date), bucket) for path, schema in (self.pools, self.lists)]
        with writing(*files):
            for rows, before in self._batches(bucket, account):
                tables = ranker.rank(rows, before, account)
                with account.timing("write"):
                    for file, table in zip(files, tables, strict=True):
                        file.write(table)
                (self.marks / str(bucket)).write_text(str(account.listeners), encoding="utf-8")
            with account.timing("write"):
                pools, lists = (asdict(file.close()) for file in files)
        return {"pools": pools, "lists": lists, "account": vars(account)}

    def _batches(self, bucket: int, account: Account) -> Iterator[tuple[pa.RecordBatch, pa.Table]]:
        earlier = Aligned(iter(()) if self.before is None else iter(self.before.of_bucket(bucket)))
        rows = iter(self.rows.of_bucket(bucket))
        while True:
            with account.timing("read"):
                batch = next(rows, None)
                if batch is None:
                    return
                parts = [(part, earlier.of(part.column("user_id"))) for part in cut(batch, self.batch_memory_mb)]
            yield from parts


class Aligned:
    """Rows of `pools` beside rows of `interactions`: both lie in the order of user_id."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._held = contract("pools").arrow_schema.empty_table().drop(["run_date", "bucket"])
        self._more = True

    def of(self, user_ids: pa.Array) -> pa.Table:
        """The rows of these listeners, null where there is none; to be asked in the order of user_id.

        Raises:
            InputError: the rows are not in that order.
        """
        while self._more and (not len(self._held) or self._last() < user_ids[-1].as_py()):
            self._extend()
        found = self._held.take(pc.index_in(user_ids, value_set=self._held["user_id"].combine_chunks()))
        if len(self._held) and self._last() <= user_ids[-1].as_py():
            self._held = self._held.slice(0, 0)
        return found

    def _last(self) -> str:
        return str(self._held["user_id"][-1])

    def _extend(self) -> None:
        batch = next(self._batches, None)
        if batch is None:
            self._more = False
            return
        table = pa.Table.from_batches([batch])
        ids = table["user_id"].combine_chunks()
        ordered = pc.all(pc.less(ids[:-1], ids[1:]), min_count=0).as_py()
        if not ordered or (len(self._held) and self._last() >= ids[0].as_py()):
            raise InputError(
                "a bucket is not in the order of user_id",
                found=f"a disordered row between {len(table)} of `pools`",
                fix="run the earlier night's rank_users again, or set ranking.carry_over = false for one night",
            )
        self._held = pa.concat_tables([self._held, table]).combine_chunks() if len(self._held) else table


def cut(batch: pa.RecordBatch, memory_mb: int) -> Iterator[pa.RecordBatch]:
    """Cut rows of `interactions` so that ranking each part takes about so much memory, in MiB."""
    lengths = pc.list_value_length(batch.column("item_indexes")).to_numpy().astype(np.int64)
    parts = np.cumsum(_BYTES_PER_LISTENER + _BYTES_PER_ENTRY * lengths) // (memory_mb * 2**20)
    edges = np.flatnonzero(np.diff(parts, prepend=-1))
    for start, end in zip(edges, [*edges[1:], batch.num_rows], strict=True):
        yield batch.slice(start, end - start)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread, and make sure of it."""
    with threadpool_limits(limits=1, user_api="blas"):
        threads = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
        if threads - {1}:
            raise RuntimeError(f"BLAS runs {threads} threads in a worker, expected 1")
        yield


@contextmanager
def scratch_of(night: Night) -> Iterator[Path]:
    """A folder in the warehouse, which every machine can reach, for as long as tasks run."""
    with tempfile.TemporaryDirectory(prefix=".ranking-", dir=Path(night.warehouse).absolute()) as folder:
        (Path(folder) / "marks").mkdir()
        yield Path(folder)


def rank_buckets(
    spark: SparkSession, ranker: Ranker, work: BucketRanking, buckets: int, progress: Progress
) -> tuple[list[BucketFile], list[BucketFile], Account]:
    """Rank every bucket on the executors; returns the files of `pools` and of `ranked_lists`, and the sum of it all.

    Args:
        progress: told from time to time how many listeners are done.
    """
    mapped_file.save(ranker.prepare(), work.ranker)
    with _watching(work.marks, progress):
        found = spark.range(0, buckets, 1, buckets).mapInArrow(work.run, "done string").collect()
    done = [json.loads(row.done) for row in found]
    total = Account()
    for each in done:
        total.add(Account(**each["account"]))
    pools, lists = ([BucketFile(**each[table]) for each in done] for table in ("pools", "lists"))
    return pools, lists, total


@contextmanager
def _watching(marks: Path, progress: Progress) -> Iterator[None]:
    """Sum up what tasks say in their marks, until the block ends."""
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
def _load(file: Path) -> Ranker:
    ranker: Ranker = mapped_file.load(file)
    return ranker
