"""The landing zone: the day's event files and the catalogue, read as they were landed.

From every file format an event arrives as the line it was and the text of each field. A wrong value is
the business of `nocturne.ingestion.cleaning`; a wrong file fails the night.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileSelector, FileSystem, FileType
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from nocturne.core.errors import InputError
from nocturne.flow import success_mark
from nocturne.storage.contracts import contract, spark_type

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
CATALOGUE_FIELDS = tuple(column.name for column in contract("items").columns if column.name != "run_date")
REQUIRED_CATALOGUE_FIELDS = CATALOGUE_FIELDS[:2]
LIST_FIELDS = ("tags", "markets")

_ENDINGS = (".parquet", ".jsonl", ".jsonl.gz", ".csv")
_CORRUPT = "_corrupt"
_TEXT_TYPES = frozenset({"string", "large_string", "null"})
_WHOLE_TYPES = frozenset({"bigint", "int", "int8", "int16", "uint8", "uint16", "uint32", "string", "null"})
_PARQUET_TYPES = {
    "listened_at": "string or timestamp in milliseconds or microseconds",
    "ms_played": "whole number",
    "plays": "whole number",
    "duration_ms": "whole number",
    "explicit": "boolean",
    "tags": "list of strings",
    "markets": "list of strings",
    "available_from": "string, date or timestamp",
    "available_until": "string, date or timestamp",
}

Format = Literal["parquet", "jsonl", "csv"]
Layout = tuple[Format, tuple[str, ...], str]
"""Kind of file, its columns in order, and their types in Parquet: files of one layout are read together."""


def require_complete(landing: str, run_date: date) -> int | None:
    """Check that the producer marked the day as complete.

    Returns:
        The number of rows the mark announces, or None if it is empty.

    Raises:
        InputError: there is no mark, or it holds something other than a count.
    """
    mark = success_mark(landing, run_date)
    files, path = FileSystem.from_uri(_absolute(mark))
    if files.get_file_info(path).type != FileType.File:
        raise InputError(
            "the landing day is not complete",
            where=mark,
            found="no such file",
            expected="a _SUCCESS file, written by the producer after the day's last event file",
            fix="wait for the producer, or add the file if the day is known to be whole (empty is fine)",
        )
    with files.open_input_stream(path) as stream:
        text = stream.read().decode(errors="replace").strip()
    if text and not text.isdecimal():
        raise InputError(
            "the completion mark is unreadable", where=mark, found=text[:80], expected="nothing or a row count"
        )
    return int(text) if text else None


def read_events(spark: SparkSession, landing: str, run_date: date) -> DataFrame:
    """The day's events as landed.

    Returns:
        One row per landed row: `file` (name without folders), `raw` (the line; for Parquet the row as
        JSON), `parsed` (whether the line could be taken apart), and the text of each of EVENT_FIELDS.

    Raises:
        InputError: a file is unreadable, of an unknown kind, or lacks columns.
    """
    folder = f"{landing}/events/date={run_date}"
    schema = ", ".join(f"{field} STRING" for field in EVENT_FIELDS)
    return _read_folder(spark, folder, EVENT_FIELDS, REQUIRED_EVENT_FIELDS, schema)


def read_catalogue(spark: SparkSession, landing: str) -> DataFrame:
    """The catalogue as landed; empty if there is none.

    Returns:
        As `read_events`, with CATALOGUE_FIELDS; LIST_FIELDS are arrays, everything else is text.
    """
    schema = ", ".join(f"{field} {_catalogue_type(field)}" for field in CATALOGUE_FIELDS)
    return _read_folder(spark, f"{landing}/items", CATALOGUE_FIELDS, REQUIRED_CATALOGUE_FIELDS, schema)


def _read_folder(
    spark: SparkSession, folder: str, fields: Sequence[str], required: Sequence[str], schema: str
) -> DataFrame:
    """Read every file of a folder, those of equal layout together."""
    groups: dict[Layout, list[str]] = defaultdict(list)
    for file in _data_files(folder):
        groups[_read_layout(file, required)].append(file)
    landed = spark.createDataFrame([], f"file STRING, raw STRING, parsed BOOLEAN, {schema}")
    for (kind, columns, _), paths in groups.items():
        if kind == "parquet":
            part = _read_parquet(spark, paths, columns, landed.schema)
        else:
            part = _read_lines(spark, paths, kind, columns, landed.schema)
        landed = landed.unionByName(part.select("file", "raw", "parsed", *fields))
    return landed


def _read_parquet(spark: SparkSession, paths: list[str], columns: tuple[str, ...], schema: StructType) -> DataFrame:
    rows = spark.read.parquet(*paths)
    fields = [field for field in schema.fields if field.name not in {"file", "raw", "parsed"}]
    return rows.select(
        F.col("_metadata.file_name").alias("file"),
        F.to_json(F.struct(*(f"`{name}`" for name in rows.columns))).alias("raw"),
        F.lit(True).alias("parsed"),
        *(
            (F.col(field.name) if field.name in columns else F.lit(None)).cast(field.dataType).alias(field.name)
            for field in fields
        ),
    )


def _read_lines(
    spark: SparkSession, paths: list[str], kind: Format, columns: tuple[str, ...], schema: StructType
) -> DataFrame:
    lines = spark.read.text(paths).select(F.col("_metadata.file_name").alias("file"), F.col("value").alias("raw"))
    lines = lines.where(F.trim("raw") != "")
    types = {field.name: field.dataType.simpleString() for field in schema.fields[3:]}
    options = {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": _CORRUPT}
    if kind == "jsonl":
        fields = ", ".join(f"{name} {field_type}" for name, field_type in types.items())
        parsed = F.from_json("raw", f"{fields}, {_CORRUPT} STRING", options)
    else:
        header = ",".join(columns)
        lines = lines.where(F.regexp_replace("raw", '[\ufeff" ]', "") != header)
        fields = ", ".join(f"`{name or position}` STRING" for position, name in enumerate(columns))
        parsed = F.from_csv("raw", f"{fields}, {_CORRUPT} STRING", options | {"escape": '"'})
    parsed_lines = lines.withColumn("fields", parsed)
    present = set(types if kind == "jsonl" else columns)
    return parsed_lines.select(
        "file",
        "raw",
        (F.col("fields").isNotNull() & F.col(f"fields.{_CORRUPT}").isNull()).alias("parsed"),
        *(
            (_read_field(name, types[name], kind) if name in present else F.lit(None)).cast(types[name]).alias(name)
            for name in types
        ),
    )


def _read_field(name: str, field_type: str, kind: Format) -> Column:
    """One field of a line; lists are separated by | in CSV, which has no other way to hold them."""
    value = F.col(f"fields.{name}")
    if kind == "csv" and field_type != "string":
        return F.when(value != "", F.split(value, r"\|"))
    return value


def _data_files(folder: str) -> list[str]:
    files, path = FileSystem.from_uri(_absolute(folder))
    prefix = "" if files.type_name == "local" else folder.split("://", maxsplit=1)[0] + "://"
    entries = files.get_file_info(FileSelector(path, allow_not_found=True, recursive=False))
    data = [info for info in entries if info.type == FileType.File and not info.base_name.startswith(("_", "."))]
    unknown = [info.base_name for info in data if not info.base_name.endswith(_ENDINGS)]
    if unknown:
        raise InputError(
            "the landing folder holds files of an unknown kind",
            where=folder,
            found=", ".join(sorted(unknown)),
            expected=f"files that end in {', '.join(_ENDINGS)}",
            fix="rename or remove them",
        )
    return sorted(prefix + info.path for info in data)


def _read_layout(file: str, required: Sequence[str]) -> Layout:
    """Read the layout of a file: its kind, columns and types.

    Raises:
        InputError: it cannot be read, or a required column is absent or of a wrong type.
    """
    if file.endswith((".jsonl", ".jsonl.gz")):
        return "jsonl", (), ""
    if file.endswith(".csv"):
        return "csv", _read_csv_header(file, required), ""
    schema = _read_parquet_schema(file, required)
    return "parquet", tuple(schema.names), str(schema.types)


def _read_csv_header(file: str, required: Sequence[str]) -> tuple[str, ...]:
    files, path = FileSystem.from_uri(_absolute(file))
    with files.open_input_stream(path) as stream:
        line = stream.read(65_536).decode("utf-8-sig", errors="replace").partition("\n")[0].strip()
    columns = tuple(name.strip().strip('"') for name in line.split(","))
    missing = [name for name in required if name not in columns]
    if missing:
        other = next((mark for mark in (";", "\t", "|") if mark in line), None)
        raise InputError(
            "the CSV header lacks required columns",
            where=file,
            found=line[:200] or "an empty first line",
            expected=f"columns separated by commas, {', '.join(required)} among them",
            fix=f"the delimiter seems to be {other!r}: write the file with commas"
            if other
            else "write the header line",
        )
    return columns


def _read_parquet_schema(file: str, required: Sequence[str]) -> pa.Schema:
    files, path = FileSystem.from_uri(_absolute(file))
    try:
        schema = pq.read_schema(path, filesystem=files)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            "a Parquet file cannot be read",
            where=file,
            found=str(error).splitlines()[0],
            expected="a whole Parquet file",
            fix="ask the producer to write the file again; it may have been landed half-written",
        ) from error
    missing = [name for name in required if name not in schema.names]
    mistyped = [
        f"{field.name} is {field.type}, expected {_PARQUET_TYPES.get(field.name, 'string')}"
        for field in schema
        if field.name in {*EVENT_FIELDS, *CATALOGUE_FIELDS} and not _fits(field.name, field.type)
    ]
    if missing or mistyped:
        raise InputError(
            "a Parquet file has wrong columns",
            where=file,
            found="; ".join([*(f"no column {name}" for name in missing), *mistyped]),
            expected="the columns and types of docs/landing.md",
        )
    return schema


def _fits(name: str, kind: pa.DataType) -> bool:
    """True if a Parquet column of this type can hold the field."""
    spark_name = spark_type(kind)
    if name in {"listened_at", "available_from", "available_until"}:
        whole_units = pa.types.is_timestamp(kind) and kind.unit in {"ms", "us"}
        return spark_name in _TEXT_TYPES or whole_units or (name != "listened_at" and pa.types.is_date(kind))
    if name in {"ms_played", "plays", "duration_ms"}:
        return spark_name in _WHOLE_TYPES
    if name == "explicit":
        return spark_name in {"boolean", "string", "null"}
    if name in LIST_FIELDS:
        return spark_name == "null" or (pa.types.is_list(kind) or pa.types.is_large_list(kind))
    return spark_name in _TEXT_TYPES


def _catalogue_type(field: str) -> str:
    return "ARRAY<STRING>" if field in LIST_FIELDS else "STRING"


def _absolute(location: str) -> str:
    """Pyarrow takes URIs and absolute paths only."""
    if "://" in location:
        return location
    return str(Path(location).absolute())
