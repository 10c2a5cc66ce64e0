"""Contracts of tables: schemas/<table>.sql, read without a database.

A contract file is one CREATE TABLE statement in Delta's SQL, one column or property a line,
introduced by a comment that says what a row is.
"""

import re
from dataclasses import dataclass
from functools import cache

import pyarrow as pa

from nocturne import ROOT
from nocturne.core.errors import InputError

# Regular expressions suffice for files of our own in one form; a SQL parser would be one more dependency.
_COLUMN = re.compile(r"^  `?(\w+)`?\s+(.+?)\s+(NOT NULL\s+)?COMMENT '(.*)',?$", re.MULTILINE)
_PROPERTY = re.compile(r'^  "(.+?)" = "(.*)",?$', re.MULTILINE)
_PARTITIONS = re.compile(r"^PARTITIONED BY \((.+)\)$", re.MULTILINE)
_CONSTRAINT = "delta.constraints."
_LISTENERS, _TEXT, _NOBODY = "nocturne.listeners", "text of ", "none"
_MEASURED = "(measured)"

_ARROW_TYPES = {
    "bigint": pa.int64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "double": pa.float64(),
    "float": pa.float32(),
    "int": pa.int32(),
    "string": pa.string(),
    "timestamp": pa.timestamp("us", "UTC"),
}


@dataclass(frozen=True)
class Column:
    """One column: its Spark type in lower case without spaces, and its meaning with the unit."""

    name: str
    type: str
    nullable: bool
    comment: str

    @property
    def measured(self) -> bool:
        """True if its value depends on the run rather than on the input, as seconds do."""
        return self.comment.endswith(_MEASURED)


@dataclass(frozen=True)
class Contract:
    """The promise of a table to those who read it."""

    table: str
    comment: str
    columns: tuple[Column, ...]
    partitioned_by: tuple[str, ...]
    properties: dict[str, str]

    @property
    def constraints(self) -> dict[str, str]:
        """Name and SQL text of every row check."""
        return {
            name.removeprefix(_CONSTRAINT): check
            for name, check in self.properties.items()
            if name.startswith(_CONSTRAINT)
        }

    @property
    def plain_properties(self) -> dict[str, str]:
        """Table properties other than row checks."""
        return {name: value for name, value in self.properties.items() if not name.startswith(_CONSTRAINT)}

    @property
    def says_whom_it_holds(self) -> bool:
        """True if the property `nocturne.listeners` says which columns name listeners, or that none does."""
        return _LISTENERS in self.properties

    @property
    def listener_columns(self) -> tuple[str, ...]:
        """Columns that hold the id of a listener, whose rows an erasure removes."""
        return tuple(name for name in self._naming if not name.startswith(_TEXT))

    @property
    def listener_texts(self) -> tuple[str, ...]:
        """Columns of text in which the id of a listener may stand: their rows go as well."""
        return tuple(name.removeprefix(_TEXT) for name in self._naming if name.startswith(_TEXT))

    @property
    def _naming(self) -> list[str]:
        told = self.properties.get(_LISTENERS, _NOBODY)
        return [] if told == _NOBODY else told.split(", ")

    @property
    def arrow_schema(self) -> pa.Schema:
        """The columns as Arrow fields, comments in their metadata."""
        return pa.schema(
            pa.field(column.name, arrow_type(column.type), column.nullable, {"comment": column.comment})
            for column in self.columns
        )


@cache
def contract(table: str) -> Contract:
    """The contract in schemas/<table>.sql."""
    text = (ROOT / "schemas" / f"{table}.sql").read_text(encoding="utf-8")
    partitions = _PARTITIONS.search(text)
    return Contract(
        table=table,
        comment=text.splitlines()[0].removeprefix("-- "),
        columns=tuple(
            Column(name, re.sub(r"\s", "", kind).lower(), nullable=not required, comment=comment)
            for name, kind, required, comment in _COLUMN.findall(text)
        ),
        partitioned_by=tuple(partitions.group(1).split(", ")) if partitions else (),
        properties=dict(_PROPERTY.findall(text)),
    )


def check_columns(table: str, columns: dict[str, str], where: str) -> None:
    """Compare column names and types with the table's contract.

    Args:
        columns: Spark type in lower case without spaces, by column name.
        where: what was about to be read or written, for the message.

    Raises:
        InputError: listing missing, unexpected and mistyped columns.
    """
    expected = {column.name: column.type for column in contract(table).columns}
    problems = [
        *(f"missing {name} {kind}" for name, kind in expected.items() if name not in columns),
        *(f"unexpected {name} {kind}" for name, kind in columns.items() if name not in expected),
        *(
            f"{name} is {columns[name]} instead of {kind}"
            for name, kind in expected.items()
            if name in columns and columns[name] != kind
        ),
    ]
    if problems:
        raise InputError(
            f"the columns are not those of {table}",
            where=where,
            found=", ".join(problems),
            expected=f"the columns of schemas/{table}.sql",
        )


def arrow_type(kind: str) -> pa.DataType:
    """The Arrow type of a Spark type such as `array<struct<item_id:string,score:double>>`."""
    if kind in _ARROW_TYPES:
        return _ARROW_TYPES[kind]
    outer, inner = kind.split("<", 1)
    parts = _split_top_level(inner.removesuffix(">"))
    if outer == "array":
        return pa.list_(arrow_type(parts[0]))
    if outer == "map":
        return pa.map_(arrow_type(parts[0]), arrow_type(parts[1]))
    fields = (part.split(":", 1) for part in parts)
    return pa.struct([(name, arrow_type(field_kind)) for name, field_kind in fields])


def spark_type(kind: pa.DataType) -> str:
    """The Spark type of an Arrow type: the inverse of `arrow_type`."""
    if pa.types.is_map(kind):
        return f"map<{spark_type(kind.key_type)},{spark_type(kind.item_type)}>"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"array<{spark_type(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return f"struct<{','.join(f'{field.name}:{spark_type(field.type)}' for field in kind)}>"
    names = {arrow: name for name, arrow in _ARROW_TYPES.items()}
    return names.get(kind, str(kind))


def _split_top_level(text: str) -> list[str]:
    """Split at the commas that are not inside angle brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "<") - (character == ">")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts
