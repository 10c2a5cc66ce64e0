"""The landing zone: the day's event files and the catalogue, read as they were landed.

From every file format a row arrives as the line it was and the text of each field. A wrong value is the business of
`nocturne.ingestion.cleaning`, or of `nocturne.ingestion.catalogue`; a wrong file fails the night.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import pairwise

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from nocturne.core.errors import InputError
from nocturne.core.spark.session import map_on_executors
from nocturne.flow import success_mark
from nocturne.ingestion import landing_files
from nocturne.ingestion.landed_rows import Part, landed_schema, read_parts
from nocturne.ingestion.landing_files import (
    CATALOGUE_FIELDS,
    EVENT_FIELDS,
    REQUIRED_CATALOGUE_FIELDS,
    REQUIRED_EVENT_FIELDS,
    LandedFile,
)

_MOST_DIGITS = 18
_MARK_BYTES = 1000
_PART_BYTES = 16 * 2**20
_OPENING_BYTES = 2**20
"""Bytes that could be read in the time that it takes to open a file."""


def require_complete(landing: str, run_date: date) -> int | None:
    """Check that the producer marked the day as complete.

    Returns:
        The number of rows the mark announces, or None if it is empty.

    Raises:
        InputError: there is no mark, or it holds something other than a count.
    """
    mark = success_mark(landing, run_date)
    folder, _, name = mark.rpartition("/")
    content = landing_files.read_start(folder, name, _MARK_BYTES)
    if content is None:
        raise InputError(
            "the landing day is not complete",
            where=mark,
            found="no such file",
            expected="a _SUCCESS file, written by the producer after the day's last event file",
            fix="wait for the producer, or add the file if the day is known to be whole (empty is fine)",
        )
    text = content.decode(errors="replace").strip()
    if text and not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS):
        raise InputError(
            "the completion mark is unreadable", where=mark, found=text[:80], expected="nothing or a row count"
        )
    return int(text) if text else None


def list_events(spark: SparkSession, landing: str, run_date: date) -> list[LandedFile]:
    """The day's event files, looked at and their rows counted.

    Raises:
        InputError: a file is unreadable, of an unknown kind, or lacks columns.
    """
    folder = f"{landing}/events/date={run_date}"
    names = landing_files.list_files(folder)
    tasks = spark.sparkContext.defaultParallelism

    def look_at(some: Sequence[str]) -> list[LandedFile]:
        return [landing_files.look_at(folder, name, EVENT_FIELDS, REQUIRED_EVENT_FIELDS) for name in some]

    shares = [names[task::tasks] for task in range(min(tasks, len(names)))]
    return [file for share in map_on_executors(spark)(look_at, shares) for file in share]


def read_events(spark: SparkSession, files: Sequence[LandedFile]) -> DataFrame:
    """The day's events as landed; `require_every_row` tells whether they are all there.

    Returns:
        One row per landed row: `file` (name without folders), `raw` (the line; null in Parquet), `parsed` (whether the
        row could be taken apart), the text of each of EVENT_FIELDS, and `failure`, as in `landed_rows`.
    """
    shares = share_out(files)
    schema = ", ".join(
        f"{field.name} {'BOOLEAN' if pa.types.is_boolean(field.type) else 'STRING'}"
        for field in landed_schema(EVENT_FIELDS)
    )
    if not shares:
        return spark.createDataFrame([], schema)

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch["id"].to_pylist():
                yield from read_parts(shares[number], EVENT_FIELDS)

    return spark.range(0, len(shares), 1, len(shares)).mapInArrow(read, schema)


def require_every_row(events: DataFrame, files: Sequence[LandedFile]) -> None:
    """Check that each file was read to its end, and that every row counted in it is there, once.

    Raises:
        InputError: it names the file.
    """
    of_files = events.groupBy("file").agg(F.count_if(F.col("failure").isNull()).alias("rows"), F.max("failure"))
    read, failures = {}, []
    for name, rows, failure in of_files.collect():
        read[name] = rows
        failures += [failure] if failure else []
    if failures:
        raise InputError(min(failures))
    for file in files:
        _require_rows(file, read.get(file.name, 0))


def read_catalogue(landing: str) -> pa.Table:
    """The catalogue as landed; empty if there is none.

    Returns:
        As `read_events`, with CATALOGUE_FIELDS.

    Raises:
        InputError: a file is unreadable, of an unknown kind, or lacks columns.
    """
    folder = f"{landing}/items"
    batches: list[pa.RecordBatch] = []
    for name in landing_files.list_files(folder):
        file = landing_files.look_at(folder, name, CATALOGUE_FIELDS, REQUIRED_CATALOGUE_FIELDS)
        of_file = list(read_parts([_whole(file)], CATALOGUE_FIELDS))
        for failure in (text for batch in of_file for text in batch["failure"].drop_null().to_pylist()):
            raise InputError(failure)
        _require_rows(file, sum(batch.num_rows for batch in of_file))
        batches += of_file
    return pa.Table.from_batches(batches, schema=landed_schema(CATALOGUE_FIELDS))


def _require_rows(file: LandedFile, read: int) -> None:
    if read != file.rows:
        raise InputError(
            "rows of a landed file were lost, or read twice",
            where=file.where,
            found=f"{read} rows read",
            expected=f"{file.rows} rows, as counted before",
            fix="check that no producer was still writing, and run the night again",
        )


def _whole(file: LandedFile) -> Part:
    # Nobody knows the size of what is compressed before it is read.
    return Part(file, 0, {"parquet": file.row_groups, "jsonl.gz": 2**63}.get(file.format, file.size))


def share_out(files: Sequence[LandedFile], part_bytes: int = _PART_BYTES) -> list[list[Part]]:
    """Parts of the files, every byte of them once, in shares of about the same work."""
    shares: list[list[Part]] = []
    room = 0
    for file in files:
        for part in _split(file, part_bytes):
            if room <= 0:
                shares.append([])
                room = part_bytes
            shares[-1].append(part)
            room -= _OPENING_BYTES + min(file.size, part_bytes)
    return shares


def _split(file: LandedFile, part_bytes: int) -> list[Part]:
    whole = _whole(file)
    count = 1 if file.format == "jsonl.gz" else min(max(1, file.size // part_bytes), whole.end or 1)
    bounds = [whole.end * number // count for number in range(count + 1)]
    return [Part(file, start, end) for start, end in pairwise(bounds)]
