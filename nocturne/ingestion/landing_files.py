"""Files of the landing zone: which there are, what they hold, how many rows. Each is opened by its name, no pattern.

What a file holds is looked at here, and its rows are counted, apart from `landed_rows`, which reads them.
"""

import csv
import gzip
import io
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, cast

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType, LocalFileSystem

from nocturne.core.errors import InputError
from nocturne.storage.contracts import contract

EVENT_FIELDS = (
    "event_id",
    "user_id",
    "item_id",
    "listened_at",
    "ms_played",
    "plays",
    "context",
    "device",
    "market",
)
REQUIRED_EVENT_FIELDS = EVENT_FIELDS[:4]
CATALOGUE_FIELDS = tuple(
    column.name for column in contract("items").columns if column.name not in {"run_date", "absent"}
)
REQUIRED_CATALOGUE_FIELDS = CATALOGUE_FIELDS[:2]
ID_FIELDS = ("event_id", "user_id", "item_id")
LIST_FIELDS = ("tags", "markets")
WHOLE_FIELDS = ("ms_played", "plays", "duration_ms", "year")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

Format = Literal["parquet", "jsonl", "jsonl.gz", "csv"]

_FORMATS: tuple[Format, ...] = ("parquet", "jsonl", "jsonl.gz", "csv")
_BUFFER_BYTES = 2**20


@dataclass(frozen=True)
class LandedFile:
    """A file of the landing zone, looked at.

    Attributes:
        folder: where it lies, path or URI.
        name: its name there.
        columns: of a CSV or Parquet file, in its order; none of JSON lines, where each names its own.
        rows: lines that are not blank, without the header, or rows of the Parquet footer.
        size: bytes.
        row_groups: of a Parquet file, which is read by them.
    """

    folder: str
    name: str
    format: Format
    columns: tuple[str, ...]
    rows: int
    size: int
    row_groups: int = 0

    @property
    def where(self) -> str:
        """The file, for people."""
        return f"{self.folder}/{self.name}"


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Turn whatever goes wrong with a file into an InputError with its name."""
    try:
        yield
    except (OSError, EOFError, zlib.error, pa.ArrowException, UnicodeError) as error:
        text = str(error)
        raise InputError(
            "a landed file cannot be read",
            where=where,
            found=text.splitlines()[0][:300] if text else type(error).__name__,
            expected="a whole file of the kind that its name says",
            fix="ask the producer to land it again; it may have been landed half-written",
        ) from error


def list_files(folder: str) -> list[str]:
    """Names of the data files in a folder, ascending; none if there is no such folder.

    Raises:
        InputError: something there is no file of a known kind: a folder, a link to nowhere, another ending.
    """
    problems, names = [], []
    with reading(folder):
        for name, kind in entries(folder):
            if name.startswith(("_", ".")):
                continue
            names.append(name)
            if not is_utf8(name):
                problems.append(f"{name!r} has a name that is no UTF-8")
            elif kind != FileType.File:
                problems.append(f"{name} is {KINDS.get(kind, 'no file')}")
            elif _format(name) is None:
                problems.append(f"{name} is of an unknown kind")
    if problems:
        raise InputError(
            "the landing folder holds what cannot be read",
            where=folder,
            found="; ".join(sorted(problems)),
            expected=f"files that end in {', '.join(f'.{ending}' for ending in _FORMATS)}",
            fix="move the files of a folder up, rename or remove the rest; "
            "a name that begins with _ or . is not looked at",
        )
    return sorted(names)


def look_at(folder: str, name: str, fields: Sequence[str], required: Sequence[str]) -> LandedFile:
    """Read what a file holds, and count its rows.

    Raises:
        InputError: it cannot be read, lacks a required column, has a field twice or of a wrong type.
    """
    kind = _format(name)
    assert kind is not None, name
    with reading(f"{folder}/{name}"):
        if kind == "parquet":
            return _look_at_parquet(folder, name, fields, required)
        with open_lines(folder, name) as lines:
            first = lines.readline().removeprefix(BYTE_ORDER_MARK)
            columns = _read_header(first, f"{folder}/{name}", fields, required) if kind == "csv" else ()
            rows = sum(not line.isspace() for line in lines) + (kind != "csv" and bool(first.strip()))
        return LandedFile(folder, name, kind, columns, rows, file_info(folder, name).size)


@contextmanager
def open_lines(folder: str, name: str) -> Iterator[BinaryIO]:
    """A text file, decompressed, as a stream of bytes."""
    with open_file(folder, name) as stream:
        # A buffer makes a file of Python's out of one of Arrow's: going through its lines is much faster.
        if name.endswith(".gz"):
            yield cast("BinaryIO", io.BufferedReader(_WholeGzip(fileobj=stream), _BUFFER_BYTES))
        else:
            yield cast("BinaryIO", io.BufferedReader(stream, _BUFFER_BYTES))


def open_file(folder: str, name: str) -> pa.NativeFile:
    """A file of a folder, to be read from any place."""
    files, path = _file_system(folder)
    return files.open_input_file(f"{path}/{name}")


def read_start(folder: str, name: str, at_most: int) -> bytes | None:
    """The first bytes of a file; None if there is none.

    Raises:
        InputError: it cannot be read.
    """
    with reading(f"{folder}/{name}"):
        if file_info(folder, name).type == FileType.NotFound:
            return None
        with open_file(folder, name) as stream:
            content: bytes = stream.read(at_most)
            return content


class _WholeGzip(gzip.GzipFile):
    """A compressed file that is cut short is an error, also where it is cut to nothing."""

    def __init__(self, fileobj: pa.NativeFile) -> None:
        if not fileobj.size():
            raise EOFError("Compressed file is empty")
        super().__init__(fileobj=fileobj)


KINDS = {FileType.Directory: "a folder", FileType.NotFound: "a link to nowhere"}
"""Things that are no file, for people."""


def _format(name: str) -> Format | None:
    return next((kind for kind in _FORMATS if name.endswith(f".{kind}")), None)


def _file_system(folder: str) -> tuple[FileSystem, str]:
    """Arrow takes URIs and absolute paths only."""
    files, path = FileSystem.from_uri(folder if "://" in folder else str(Path(folder).absolute()))
    return files, path


def file_info(folder: str, name: str) -> FileInfo:
    """Kind and size of a file of a folder, which need not be there."""
    files, path = _file_system(folder)
    return files.get_file_info(f"{path}/{name}")


def entries(folder: str) -> Iterator[tuple[str, FileType]]:
    """Every name in a folder, with what it is."""
    files, path = _file_system(folder)
    if not isinstance(files, LocalFileSystem):
        for info in files.get_file_info(FileSelector(path, allow_not_found=True)):
            yield info.base_name, info.type
    elif _is_there(path):
        for name in (entry.name for entry in Path(path).iterdir()):  # Arrow leaves links to nowhere out
            yield name, files.get_file_info(f"{path}/{name}").type if is_utf8(name) else FileType.Unknown


def _is_there(path: str) -> bool:
    """False where nothing lies, be it a link to nowhere; OSError where nobody may look."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def is_utf8(name: str) -> bool:
    """False for a name whose bytes are no UTF-8, which Arrow does not take."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_header(first: bytes, where: str, fields: Sequence[str], required: Sequence[str]) -> tuple[str, ...]:
    line = first.decode(errors="replace").strip()
    try:
        columns = tuple(name.strip() for name in next(csv.reader((line,), strict=True), ()))
    except csv.Error:  # a quote that never ends, as where the header is no header
        columns = ()
    if missing := [name for name in required if name not in columns]:
        other = next((mark for mark in (";", "\t", "|") if mark in line), None)
        raise InputError(
            "the CSV header lacks required columns",
            where=where,
            found=line[:200] or "an empty first line",
            expected=f"columns separated by commas, {', '.join(required)} among them; there is no {missing[0]}",
            fix=f"the delimiter seems to be {other!r}: write the file with commas"
            if other
            else "write the header line",
        )
    _require_once(columns, fields, where)
    return columns


def _require_once(columns: Sequence[str], fields: Sequence[str], where: str) -> None:
    if repeated := [name for name in fields if columns.count(name) > 1]:
        raise InputError(
            "a file has a column twice",
            where=where,
            found=", ".join(repeated),
            expected="each field of docs/landing.md in one column at most",
            fix="ask the producer which one is meant",
        )


def _look_at_parquet(folder: str, name: str, fields: Sequence[str], required: Sequence[str]) -> LandedFile:
    where = f"{folder}/{name}"
    with open_file(folder, name) as stream, pq.ParquetFile(stream) as parquet:
        schema, footer = parquet.schema_arrow, parquet.metadata
        size = stream.size()
    _require_once(schema.names, fields, where)
    problems = [f"no column {column}" for column in required if column not in schema.names]
    for field in schema:
        expected = _expected_type(field.name, field.type) if field.name in fields else None
        if expected:
            problems.append(f"{field.name} is {field.type}, expected {expected}")
    if problems:
        raise InputError(
            "a Parquet file has wrong columns",
            where=where,
            found="; ".join(problems),
            expected="the columns and types of docs/landing.md",
            fix="ask the producer to write them so",
        )
    return LandedFile(folder, name, "parquet", tuple(schema.names), footer.num_rows, size, footer.num_row_groups)


def _expected_type(name: str, kind: pa.DataType) -> str | None:
    """The types that a Parquet column of this field may have, if this is none of them."""
    fits, expected = _PARQUET_TYPES.get(name, (_is_text, "string"))
    return None if pa.types.is_null(kind) or fits(kind) else expected


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_whole(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or _is_text(kind)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or _is_whole(kind)


def _is_boolean(kind: pa.DataType) -> bool:
    return pa.types.is_boolean(kind) or _is_text(kind)


def _is_time(kind: pa.DataType) -> bool:
    return (pa.types.is_timestamp(kind) and kind.unit in {"ms", "us"}) or _is_text(kind)


def _is_day(kind: pa.DataType) -> bool:
    return pa.types.is_date(kind) or _is_time(kind)


def _is_list_of_texts(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return is_list and (pa.types.is_null(kind.value_type) or _is_text(kind.value_type))


_PARQUET_TYPES: dict[str, tuple[Callable[[pa.DataType], bool], str]] = {
    "listened_at": (_is_time, "string or timestamp in milliseconds or microseconds"),
    **dict.fromkeys(WHOLE_FIELDS, (_is_whole, "whole number")),
    "explicit": (_is_boolean, "boolean"),
    "energy": (_is_number, "number"),
    **dict.fromkeys(LIST_FIELDS, (_is_list_of_texts, "list of strings")),
    **dict.fromkeys(("available_from", "available_until"), (_is_day, "string, date or timestamp")),
}
"""Test of a column's type by field, and the types for people; other fields are strings."""
