"""Events of a large day, in tasks: read and checked, brought together by event_id, then by listener, and written."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from nocturne.core.hashing import hash_ids
from nocturne.core.spark.exchange import Parcels, as_given, deal_out, in_tables, unpack
from nocturne.core.xxhash import buckets_of
from nocturne.ingestion.cleaning import (
    CHECKED,
    LISTEN,
    OUTCOMES,
    UNREADABLE,
    Rules,
    accepted,
    check_events,
    mark_bots,
    mark_duplicates,
    rejected,
)
from nocturne.ingestion.landed_rows import Part, read_parts
from nocturne.ingestion.landing_files import EVENT_FIELDS
from nocturne.storage.bucket_files import BucketFile, write_bucket
from nocturne.storage.contracts import contract
from nocturne.storage.stored_rows import StoredRows

_GROUP_ROWS = 2**17
"""Rows of a file that are compressed together."""

_BY_EVENT, _BY_ROW = 0, 1
"""Seeds of the hashes that rows are dealt out by."""


@dataclass
class Account:
    """The account of some rows that were judged.

    Attributes:
        rows: by file and outcome, count.
        failures: messages of files that could not be read to their end.
        late: listens of earlier days, count.
        listeners: of the listens, count.
    """

    rows: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    late: int = 0
    listeners: int = 0

    @classmethod
    def of(cls, judged: pa.Table, listens: pa.Table) -> "Account":
        """The account of rows, CHECKED, and of those of them that are listens."""
        sums = judged.select(["file", "outcome"]).group_by(["file", "outcome"]).aggregate([([], "count_all")])
        rows = Counter({(row["file"], OUTCOMES[row["outcome"]]): row["count_all"] for row in sums.to_pylist()})
        unreadable = pc.equal(judged["outcome"], OUTCOMES.index(UNREADABLE))
        return cls(
            rows=rows,
            failures=judged["raw"].filter(unreadable).to_pylist(),
            late=pc.sum(listens["late"]).as_py() or 0,
            listeners=pc.count_distinct(listens["user_id"]).as_py(),
        )

    def __add__(self, other: "Account") -> "Account":
        """The account of both, which share no listener."""
        return Account(
            self.rows + other.rows,
            self.failures + other.failures,
            self.late + other.late,
            self.listeners + other.listeners,
        )


def read_checked(parts: Iterable[Part], rules: Rules) -> Iterator[pa.RecordBatch]:
    """Events of parts of files, CHECKED."""
    for batch in read_parts(parts, EVENT_FIELDS):
        yield check_events(batch, rules)


@dataclass(frozen=True)
class EventExchange:
    """The work on a day's events, as tasks run it.

    Attributes:
        shares: parts of the landed files, read by a task each.
        recent: listens of recent nights, by night and bucket.
        partitions: into which event_ids are divided, count.
        listens, quarantine: folders of the tables.
    """

    rules: Rules
    shares: Sequence[Sequence[Part]]
    recent: Sequence[StoredRows]
    partitions: int
    buckets: int
    listens: str
    quarantine: str

    def run(self, spark: SparkSession) -> tuple[Account, list[BucketFile], list[BucketFile]]:
        """Judge and write every event; returns the account, and the files of `listens` and of `quarantine`."""
        sources: list[Sequence[Part] | StoredRows] = [*self.shares, *self.recent]
        by_event = spark.sparkContext.parallelize(sources, len(sources)).flatMap(self.send)
        by_event = by_event.partitionBy(self.partitions, as_given)
        by_listener = by_event.mapPartitions(self.deduplicate).partitionBy(self.buckets, as_given)
        results = by_listener.mapPartitionsWithIndex(self.write).collect()
        account = sum((of_bucket for of_bucket, _, _ in results), Account())
        listens, quarantine = ([file for file in files if file] for files in list(zip(*results, strict=True))[1:])
        return account, listens, quarantine

    def send(self, source: Sequence[Part] | StoredRows) -> Iterator[tuple[int, bytes]]:
        """Events of a share, or event_ids of earlier listens, to where their event_ids meet."""
        batches = source if isinstance(source, StoredRows) else read_checked(source, self.rules)
        for rows in in_tables(batches):
            ids = rows["event_id"].combine_chunks()
            keys = hash_ids(ids.fill_null(""), _BY_EVENT)
            if "raw" in rows.column_names:
                keys = _by_text_unless_valid(keys, rows)
            yield from deal_out(rows, keys, self.partitions)

    def deduplicate(self, parcels: Parcels) -> Iterator[tuple[int, bytes]]:
        """Events with their duplicates marked, to the buckets of their listeners."""
        rows, recent = [], [pa.array([], pa.string())]
        for table in unpack(parcels):
            if table.schema.equals(CHECKED):
                rows.append(table)
            else:
                recent += table["event_id"].chunks
        events = mark_duplicates(pa.concat_tables([CHECKED.empty_table(), *rows]), pa.concat_arrays(recent))
        for part in in_tables(events.to_batches()):
            users = buckets_of(part["user_id"].combine_chunks().fill_null(""), self.buckets)
            keys = _by_text_unless_valid(users.astype(np.uint64), part)
            yield from deal_out(part, keys, self.buckets)

    def write(self, bucket: int, parcels: Parcels) -> Iterator[tuple[Account, BucketFile | None, BucketFile | None]]:
        """Judge the events of a bucket of listeners, and write each into its table."""
        judged = mark_bots(pa.concat_tables([CHECKED.empty_table(), *unpack(parcels)]), self.rules.settings)
        listens = accepted(judged, self.rules.run_date)
        account = Account.of(judged, listens)
        rejects = rejected(judged, self.rules.run_date)
        del judged
        yield (
            account,
            self._write_rows(listens, "listens", self.listens, bucket),
            self._write_rows(rejects, "quarantine", self.quarantine, None),
        )

    def _write_rows(self, rows: pa.Table, table: str, path: str, bucket: int | None) -> BucketFile | None:
        groups = (rows.slice(start, _GROUP_ROWS) for start in range(0, rows.num_rows, _GROUP_ROWS))
        return write_bucket(path, contract(table).arrow_schema, str(self.rules.run_date), bucket, groups)


def _by_text_unless_valid(keys: np.ndarray, rows: pa.Table) -> np.ndarray:
    """Keys of rows: rejected ones, which nothing else depends on, go by their text, so that they do not all meet."""
    other = np.flatnonzero(rows["outcome"].to_numpy() != OUTCOMES.index(LISTEN))
    texts = pc.coalesce(rows["raw"].take(other), rows["event_id"].take(other), pa.scalar("")).combine_chunks()
    keys[other] = hash_ids(texts, _BY_ROW)
    return keys
