"""The landing zone: the day's event files and the catalogue, read as they were landed.

From every file format a row arrives as the line it was and its fields. A wrong value is the business of
`nocturne.ingestion.cleaning`, or of `nocturne.ingestion.catalogue`; a wrong file fails the night.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from itertools import pairwise

import pyarrow as pa
from pyspark.sql import SparkSession

from nocturne.core.errors import InputError
from nocturne.core.spark.session import map_on_executors
from nocturne.flow import success_mark
from nocturne.ingestion import landing_files
from nocturne.ingestion.landed_rows import Part, as_texts, landed_schema, read_parts, whole
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
    """The day's event files, looked at and their rows counted: many bytes on the executors.

    Raises:
        InputError: a file is unreadable, of an unknown kind, or lacks columns.
    """
    folder = f"{landing}/events/date={run_date}"
    names = landing_files.list_files(folder)

    def look_at(some: Sequence[str]) -> list[LandedFile]:
        return [landing_files.look_at(folder, name, EVENT_FIELDS, REQUIRED_EVENT_FIELDS) for name in some]

    with landing_files.reading(folder):
        size = sum(landing_files.file_info(folder, name).size or 0 for name in names)
    if size <= _PART_BYTES:
        return look_at(names)
    tasks = min(spark.sparkContext.defaultParallelism, len(names))
    shares = [names[task::tasks] for task in range(tasks)]
    return [file for share in map_on_executors(spark)(look_at, shares) for file in share]


def require_every_row(files: Sequence[LandedFile], rows: Mapping[str, int]) -> None:
    """Check that every row counted in a file was read from it, once.

    Args:
        rows: rows that were read, by file, count.

    Raises:
        InputError: it names the file.
    """
    for file in files:
        _require_rows(file, rows.get(file.name, 0))


def read_catalogue(landing: str) -> pa.Table:
    """The catalogue as landed; empty if there is none.

    Returns:
        `landed_schema` of CATALOGUE_FIELDS.

    Raises:
        InputError: a file is unreadable, of an unknown kind, or lacks columns.
    """
    folder = f"{landing}/items"
    batches: list[pa.RecordBatch] = []
    for name in landing_files.list_files(folder):
        file = landing_files.look_at(folder, name, CATALOGUE_FIELDS, REQUIRED_CATALOGUE_FIELDS)
        of_file = list(map(as_texts, read_parts([whole(file)], CATALOGUE_FIELDS)))
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
    all_of_it = whole(file)
    count = 1 if file.format == "jsonl.gz" else min(max(1, file.size // part_bytes), all_of_it.end or 1)
    bounds = [all_of_it.end * number // count for number in range(count + 1)]
    return [Part(file, start, end) for start, end in pairwise(bounds)]
