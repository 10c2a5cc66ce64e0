"""Profile of `listens`: the day's events, whole and clean.

A task reads files, of which it keeps the hashes of event ids alone; these are brought together by range, so that
equal ones meet.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from nocturne.core.hashing import Hashes, hash_rows
from nocturne.core.masks import mask
from nocturne.core.night import Night
from nocturne.core.xxhash import buckets_of
from nocturne.storage import fingerprints, tables, writing
from nocturne.storage.history import usual
from nocturne.storage.stored_rows import StoredRows
from nocturne.validation.profiles.arithmetic import Measured, Profile, ratio, share, total
from nocturne.validation.profiles.bucket_sums import Sums, deal
from nocturne.validation.profiles.listen_tally import ListenTally, tally_metrics

_KEYS = ("event_id", "user_id", "item_id")
_REPEATING = ("context", "device", "market")
_COUNTED = (
    "rows",
    "empty_keys",
    "outside_day",
    "mislabelled_late",
    "impossible_values",
    "misplaced",
    "unordered",
    "late",
    "distinct",
)
_BATCH_ROWS = 65_536
_ROWS_TOGETHER = 2**21
"""Hashes that a task holds at once."""

_SUMS = -1
"""In place of a range: what is no hash of an event."""


@dataclass(frozen=True)
class ListenMeasurement:
    """The measurement of files of listens, as a task runs it.

    Attributes:
        items: the night's catalogue.
        earliest, end: when a listen of the night may have begun, UTC; the end itself not.
        day: when the night's own day begins, UTC.
        ranges: into which all hashes are divided, count.
        buckets: of the tables keyed by listener, count.
    """

    rows: StoredRows
    items: StoredRows
    earliest: datetime
    day: datetime
    end: datetime
    max_plays: int
    max_ms_played: int
    ranges: int
    buckets: int

    def measure(self, paths: Iterable[str]) -> Iterator[tuple[int, Sums | bytes]]:
        """Hashes of event ids by range, and sums of the metrics."""
        sums, hashes = Sums(dict.fromkeys(_COUNTED, 0.0)), []
        tally = ListenTally(self.items, self.day.date())
        last = (-1, "")
        for batch in self.rows.in_files(list(paths)):
            sums.add_rows(batch, "listens")
            sums.add(self._measure_batch(batch))
            tally.add(sums.segments, batch)
            users = batch["user_id"]
            sums.add({"unordered": (batch["bucket"][0].as_py(), users[0].as_py()) < last})
            last = batch["bucket"][-1].as_py(), users[-1].as_py()
            hashes.append(hash_rows(batch.select(["event_id"])))
            if sum(map(len, hashes)) >= _ROWS_TOGETHER:
                yield from self._by_range(hashes)
                hashes = []
        yield from self._by_range(hashes)
        tally.close(sums.segments)
        yield _SUMS, sums

    def _by_range(self, hashes: list[Hashes]) -> Iterator[tuple[int, bytes]]:
        ordered = np.sort(np.concatenate([np.zeros(0, np.uint64), *hashes]))
        limits = [number * 2**64 // self.ranges for number in range(1, self.ranges)]
        parts = np.split(ordered, np.searchsorted(ordered, np.array(limits, np.uint64)))
        yield from ((number, part.tobytes()) for number, part in enumerate(parts))

    def _measure_batch(self, batch: pa.RecordBatch) -> dict[str, float]:
        at, late = batch["listened_at"], batch["late"]
        empty = np.zeros(batch.num_rows, dtype=bool)
        for key in _KEYS:
            empty |= mask(pc.or_kleene(pc.is_null(batch[key]), pc.equal(pc.ascii_trim(batch[key], " "), "")))
        impossible = mask(_beyond(batch["plays"], 1, self.max_plays))
        impossible |= mask(_beyond(pc.fill_null(batch["ms_played"], 0), 0, self.max_ms_played))
        return {
            "rows": batch.num_rows,
            "empty_keys": int(empty.sum()),
            "outside_day": total(pc.or_(pc.less(at, _utc(self.earliest)), pc.greater_equal(at, _utc(self.end)))),
            "mislabelled_late": total(pc.xor(late, pc.less(at, _utc(self.day)))),
            "impossible_values": int(impossible.sum()),
            "misplaced": int((batch["bucket"].to_numpy() != buckets_of(batch["user_id"], self.buckets)).sum()),
            "unordered": total(pc.less(batch["user_id"][1:], batch["user_id"][:-1])),
            "late": total(late),
        }


def listens(spark: SparkSession, night: Night) -> Measured:
    """Of the night's accepted events."""
    limits, day = night.settings.listens, datetime.combine(night.run_date, time(), UTC)
    task = ListenMeasurement(
        rows=StoredRows.at(
            night, "listens", fingerprints.hashed_columns("listens"), batch_rows=_BATCH_ROWS, dictionaries=_REPEATING
        ),
        items=StoredRows.at(night, "items", ListenTally.COLUMNS),
        earliest=day - timedelta(days=limits.late_days),
        day=day,
        end=day + timedelta(days=1),
        max_plays=limits.max_plays,
        max_ms_played=limits.max_ms_played,
        buckets=night.settings.tables.buckets,
        ranges=max(spark.sparkContext.defaultParallelism, tables.count(night, "listens") // _ROWS_TOGETHER),
    )
    measured = _measure(spark, night, task)
    sums, count = measured.totals, measured.totals["rows"]
    distinct = sums["distinct"]
    if distinct != count:
        # Two ids of one hash are no duplicates: of 10^9 events such a pair is met in one night of 40.
        ids = tables.read_night(spark, night, "listens").agg(F.count_distinct("event_id")).first()
        assert ids is not None
        distinct = ids[0]
    profile: Profile = {
        "listens_vs_recent": ratio(count, usual(night, "listens")) if count else None,
        "empty_day": float(count == 0),
        "empty_keys": sums["empty_keys"],
        "duplicate_events": count - distinct,
        "outside_day": sums["outside_day"],
        "mislabelled_late": sums["mislabelled_late"],
        "impossible_values": sums["impossible_values"],
        "misplaced": sums["misplaced"],
        "unordered": sums["unordered"],
        "share_late": share(sums["late"], count),
    }
    metrics = tally_metrics(night, measured.segments)
    return Measured(profile, measured.row_hash(spark, night, "listens", count), metrics)


def _measure(spark: SparkSession, night: Night, task: ListenMeasurement) -> Sums:
    """Measure files, then a range of hashes a task; few listens in this process."""
    largest_first = tables.files(night, "listens").sort_by([("size_bytes", "descending"), ("path", "ascending")])
    paths = largest_first["path"].to_pylist()
    if tables.count(night, "listens") <= writing.FEW_ROWS:
        return _meet(task.measure(paths))
    by_range = deal(spark, paths).flatMap(task.measure).partitionBy(task.ranges, lambda number: max(number, 0))
    return by_range.mapPartitions(lambda pairs: [_meet(pairs)]).treeReduce(Sums.plus)


def _meet(pairs: Iterable[tuple[int, Sums | bytes]]) -> Sums:
    """Add sums up, and count the different hashes of a range."""
    sums, hashes = Sums(), []
    for _, part in pairs:
        if isinstance(part, Sums):
            sums.plus(part)
        else:
            hashes.append(np.frombuffer(part, np.uint64))
    if hashes:
        ordered = np.sort(np.concatenate(hashes), kind="stable")  # what is sorted in parts is merged
        sums.add({"distinct": int((ordered[1:] != ordered[:-1]).sum()) + min(len(ordered), 1)})
    return sums


def _beyond(numbers: pa.Array, least: int, most: int) -> pa.Array:
    return pc.or_(pc.less(numbers, least), pc.greater(numbers, most))


def _utc(moment: datetime) -> pa.Scalar:
    return pa.scalar(moment, pa.timestamp("us", "UTC"))
