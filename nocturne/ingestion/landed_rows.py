r"""Rows of landed files, as text: every row is one row, whatever is wrong with it, in the work of a Spark task.

A row of text is one line. What cannot be taken apart is kept as it lies there, bytes that are no UTF-8 as `\xe9`.
"""

import csv
import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nocturne.core.errors import InputError
from nocturne.ingestion.landing_files import (
    BYTE_ORDER_MARK,
    ID_FIELDS,
    LIST_FIELDS,
    WHOLE_FIELDS,
    LandedFile,
    open_file,
    open_lines,
    reading,
)
from nocturne.ingestion.plain_objects import parse_plain_objects
from nocturne.ingestion.times import in_our_years

_BATCH_ROWS = 16_384
_BATCH_BYTES = 8 * 2**20

Texts = Sequence[str | None]
Parse = Callable[[str], Texts]
"""Takes a line apart into the texts of the fields; raises ValueError, RecursionError or csv.Error where it cannot."""


_UNSEEN = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})
"""Unicode's categories of spaces, control characters and marks without a shape."""


class Part(NamedTuple):
    """Part of a file that is read at once: bytes from `start` to `end`, or row groups of Parquet."""

    file: LandedFile
    start: int
    end: int


def whole(file: LandedFile) -> Part:
    """All of a file."""
    # Nobody knows the size of what is compressed before it is read.
    return Part(file, 0, {"parquet": file.row_groups, "jsonl.gz": 2**63}.get(file.format, file.size))


def landed_schema(fields: Sequence[str]) -> pa.Schema:
    """Columns of landed rows, as text.

    `file`; `raw`, the line, null in Parquet; `parsed`, whether the row could be taken apart; the text of each field,
    of LIST_FIELDS as JSON; `failure`, why the file could not be read to its end, in a row of its own, else null.
    """
    texts = [(field, pa.string()) for field in ("file", "raw", *fields)]
    return pa.schema([*texts[:2], ("parsed", pa.bool_()), *texts[2:], ("failure", pa.string())])


def is_blank(text: str) -> bool:
    """True if nothing of the text can be seen."""
    return all(unicodedata.category(character) in _UNSEEN for character in text)


def read_parts(parts: Iterable[Part], fields: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Rows of parts of files, `landed_schema`, but that whole numbers and times of Parquet stay what they are."""
    schema = landed_schema(fields)
    for part in parts:
        try:
            with reading(part.file.where):
                batches = _read_parquet(part, fields) if part.file.format == "parquet" else _read_lines(part, fields)
                for raw, parsed, columns in batches:
                    names = pa.repeat(pa.scalar(part.file.name), len(parsed))
                    failures = pa.nulls(len(parsed), pa.string())
                    yield pa.record_batch([names, raw, parsed, *columns, failures], schema.names)
        except InputError as error:
            # Raised in a task it would come out as Spark's error, after as many attempts as Spark makes.
            row = {"file": part.file.name, "failure": str(error)}
            yield pa.RecordBatch.from_pylist([row], schema=schema)


_Columns = tuple[pa.Array, pa.Array, list[pa.Array]]
"""`raw`, `parsed` and the fields of some rows."""


def _read_lines(part: Part, fields: Sequence[str]) -> Iterator[_Columns]:
    is_csv, numbers = part.file.format == "csv", [name for name in fields if name in WHOLE_FIELDS]
    parse = _csv_parser(part.file.columns, fields) if is_csv else _json_parser(fields)
    for lines in _line_batches(part):
        others = lines
        if not is_csv and not set(fields).intersection(LIST_FIELDS):
            plain, raw, columns = parse_plain_objects(lines, fields, numbers)
            if plain.any():
                yield raw, pa.repeat(True, len(raw)), columns
            others = list(compress(lines, ~plain))
        if others:
            yield _parse_lines(others, parse, len(fields))


def _line_batches(part: Part) -> Iterator[list[bytes]]:
    """Lines that begin in the part, without blank ones and the header."""
    with open_lines(part.file.folder, part.file.name) as stream:
        position = 0
        if part.start:
            stream.seek(part.start - 1)
            position = part.start - 1 + len(stream.readline())
        elif part.file.format == "csv":
            position = len(stream.readline())
        batch: list[bytes] = []
        size = 0
        while position < part.end and (line := stream.readline()):
            text = line.removeprefix(BYTE_ORDER_MARK) if position == 0 else line
            position += len(line)
            if not text.strip():
                continue
            batch.append(text.removesuffix(b"\n").removesuffix(b"\r"))
            size += len(text)
            if len(batch) == _BATCH_ROWS or size > _BATCH_BYTES:
                yield batch
                batch, size = [], 0
        yield batch


def _parse_lines(lines: list[bytes], parse: Parse, fields: int) -> _Columns:
    raw, parsed, rows = [], [], []
    nothing = (None,) * fields
    for line in lines:
        try:
            text = line.decode()
            rows.append(parse(text))
            parsed.append(True)
        except (ValueError, RecursionError, csv.Error):
            text = line.decode(errors="backslashreplace")
            rows.append(nothing)
            parsed.append(False)
        raw.append(text)
    columns = zip(*rows, strict=True) if rows else [()] * fields
    return pa.array(raw, pa.string()), pa.array(parsed, pa.bool_()), [pa.array(c, pa.string()) for c in columns]


class _Ambiguous(dict[str, Any]):
    """An object that names some values twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        names = [name for name, _ in pairs]
        self.repeated = {name for name in names if names.count(name) > 1}


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _Ambiguous(pairs)


# A number keeps its digits: 17850.0 and 17850 are two ids.
_decode = json.JSONDecoder(object_pairs_hook=_object, parse_float=str, parse_int=str).decode


def _json_parser(fields: Sequence[str]) -> Parse:
    def parse(line: str) -> Texts:
        row = _decode(line)
        if not isinstance(row, dict) or (isinstance(row, _Ambiguous) and not row.repeated.isdisjoint(fields)):
            raise ValueError("no object, or one that names a field twice")
        texts = [_text(name, row[name]) if name in row else None for name in fields]
        if "\\u" in line:
            "".join(filter(None, texts)).encode()  # half a surrogate pair is no text
        return texts

    return parse


def _text(name: str, value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    # An id that is no text is no id: `NaN`, `true`, `["a"]`.
    return None if name in ID_FIELDS else json.dumps(value, ensure_ascii=False)


def _csv_parser(columns: Sequence[str], fields: Sequence[str]) -> Parse:
    places = [(name, columns.index(name)) for name in fields if name in columns]
    order = {name: place for place, name in enumerate(fields)}

    def parse(line: str) -> Texts:
        values = next(csv.reader((line,), strict=True)) if '"' in line else line.split(",")
        if len(values) != len(columns):
            raise ValueError("more or fewer values than the header has")
        texts: list[str | None] = [None] * len(fields)
        for name, place in places:
            value = values[place]
            # CSV has no lists of its own: values are separated by |.
            texts[order[name]] = json.dumps(value.split("|")) if value and name in LIST_FIELDS else value or None
        return texts

    return parse


def _read_parquet(part: Part, fields: Sequence[str]) -> Iterator[_Columns]:
    present = [name for name in fields if name in part.file.columns]
    groups = range(part.start, part.end)
    with (
        open_file(part.file.folder, part.file.name) as stream,
        pq.ParquetFile(stream, page_checksum_verification=True) as parquet,
    ):
        for batch in parquet.iter_batches(_BATCH_ROWS, row_groups=groups, columns=present):
            rows = batch.num_rows
            parsed = [True] * rows
            columns = [
                _plain_column(name, batch.column(name), parsed) if name in present else pa.nulls(rows, pa.string())
                for name in fields
            ]
            yield pa.nulls(rows, pa.string()), pa.array(parsed, pa.bool_()), columns


def as_texts(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Rows with whole numbers and times as text; times in ISO 8601, UTC, those outside our years as numbers."""
    columns = [
        column if pa.types.is_string(column.type) or pa.types.is_boolean(column.type) else _text_of(column)
        for column in rows.columns
    ]
    return pa.record_batch(columns, rows.schema.names)


def _text_of(column: pa.Array) -> pa.Array:
    if not pa.types.is_timestamp(column.type):
        return column.cast(pa.string())
    # With a zone Arrow takes ten times as long.
    times = column.cast(pa.timestamp(column.type.unit)).cast(pa.string())
    return pc.if_else(in_our_years(column), times, column.cast(pa.int64()).cast(pa.string()))


def _plain_column(name: str, column: pa.Array, parsed: list[bool]) -> pa.Array:
    """A Parquet column of numbers, times or text; rows whose text is no UTF-8 are marked in `parsed`."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if name in LIST_FIELDS:
        texts = [None if value is None else json.dumps(value) for value in column.to_pylist()]
        return pa.array(texts, pa.string())
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("ms" if pa.types.is_date64(column.type) else "s"))
    if pa.types.is_timestamp(column.type) or pa.types.is_integer(column.type):
        return column
    text = column.cast(pa.string())
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return pa.array(_escape(text, parsed), pa.string())
    return text


def _escape(texts: pa.Array, parsed: list[bool]) -> Iterator[str | None]:
    for row, value in enumerate(texts.view(pa.binary()).to_pylist()):
        try:
            yield None if value is None else value.decode()
        except UnicodeDecodeError:
            parsed[row] = False
            yield value.decode(errors="backslashreplace")
