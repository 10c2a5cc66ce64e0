"""The catalogue is right or refused: a value that is passed over would lift a restriction."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from nocturne.core.errors import InputError
from nocturne.ingestion.catalogue import keep_absent_items, parse_items
from nocturne.ingestion.landing import read_catalogue
from nocturne.ingestion.landing_files import CATALOGUE_FIELDS
from nocturne.storage.contracts import contract
from tests.fixtures.landed_files import Content, write_file

DATES = '"available_from": "2025-03-01", "available_until": "2025-03-02T01:00+02:00"'
LENGTH = '"duration_ms": 7, "language": "sv", "year": 1999, "energy": 0.25'
CSV_HEADER = "item_id,content_type,tags,explicit,duration_ms,language,year,energy,available_from,available_until"
TRACK = '"item_id": "a", "content_type": "track"'


def items(landing: Path, name: str, content: Content) -> list[dict[str, Any]]:
    write_file(landing, name, content, "items")
    rows: list[dict[str, Any]] = parse_items(read_catalogue(str(landing)), f"{landing}/items", 20).to_pylist()
    return rows


def parquet(**columns: object) -> pa.Table:
    return pa.table({"item_id": ["a"], "content_type": ["track"]} | columns)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "a.jsonl",
            f'{{{TRACK}, "title": "", {DATES}, "tags": ["x", "y"], "explicit": true, "markets": [], {LENGTH}}}\n\n',
        ),
        (
            "a.csv",
            f"\ufeff{CSV_HEADER}\na,track,x|y,True, 7 ,sv,1999, 0.25,2025-03-01T23:00Z,2025-03-01\n",
        ),
        (
            "a.parquet",
            parquet(
                tags=[["x", "y"]],
                explicit=[True],
                duration_ms=[7],
                language=["sv"],
                year=[1999],
                energy=[0.25],
                available_from=[date(2025, 3, 1)],
                available_until=pa.array([datetime(2025, 3, 1, 23, tzinfo=UTC)], pa.timestamp("ms", "Europe/Oslo")),
                markets=pa.array([[]], pa.list_(pa.string())),
                creator=pa.nulls(1),
                added=pa.array([1], pa.timestamp("ns")),
            ),
        ),
    ],
)
def test_every_format_gives_the_same_item(tmp_path: Path, name: str, content: Content) -> None:
    (item,) = items(tmp_path, name, content)
    # CSV cannot tell no markets from all markets.
    assert item.pop("markets") == (None if name == "a.csv" else [])
    assert item == {
        "item_id": "a",
        "content_type": "track",
        "title": None,
        "creator": None,
        "tags": ["x", "y"],
        "description": None,
        "duration_ms": 7,
        "explicit": True,
        "language": "sv",
        "year": 1999,
        "energy": 0.25,
        "available_from": date(2025, 3, 1),
        "available_until": date(2025, 3, 1),
    }


def row(more: str) -> str:
    return f"{{{TRACK}, {more}}}"


WRONG = [
    ("{", "unparsable"),
    (f"{{{TRACK}}}{{{TRACK}}}", "unparsable"),
    (f"{{{TRACK}}} x", "unparsable"),
    (row('"title": "caf\udce9"'), "unparsable"),
    (row('"title": "\\ud800"'), "unparsable"),
    (row('"markets": ["\\ud800"]'), "unparsable"),
    (row('"markets": ["SE"], "markets": null'), "unparsable"),
    ('{"content_type": "track"}', "missing item_id"),
    ('{"item_id": " \\t", "content_type": "track"}', "missing item_id"),
    ('{"item_id": NaN, "content_type": "track"}', "missing item_id"),
    ('{"item_id": "' + "é" * 11 + '", "content_type": "track"}', "longer than 20 bytes"),
    ('{"item_id": "a", "content_type": "hologram"}', "unknown content_type"),
    ('{"item_id": "a", "content_type": "Track"}', "unknown content_type"),
    ('{"item_id": "a"}', "unknown content_type"),
    (f"{{{TRACK}}}\n{{{TRACK}}}", "'a' in a.jsonl: 2 times"),
    (row('"markets": ["SE", null]'), "markets is no list"),
    (row('"markets": ["SE", ""]'), "markets is no list"),
    (row('"markets": ["SE", "\\u3000"]'), "markets is no list"),
    (row('"markets": [["SE"]]'), "markets is no list"),
    (row('"markets": "SE"'), "markets is no list"),
    (row('"markets": "SE|US"'), "markets is no list"),
    (row('"markets": ""'), "markets is no list"),
    (row('"markets": {"SE": true}'), "markets is no list"),
    (row('"markets": false'), "markets is no list"),
    (row('"markets": 7'), "markets is no list"),
    (row('"markets": NaN'), "markets is no list"),
    (row('"tags": ["x", null]'), "tags is no list"),
    (row('"explicit": "perhaps"'), "explicit is neither"),
    (row('"explicit": 2'), "explicit is neither"),
    (row('"explicit": []'), "explicit is neither"),
    (row('"duration_ms": -1'), "duration_ms is no whole number"),
    (row('"duration_ms": 1.5'), "duration_ms is no whole number"),
    (row('"year": 12345'), "year is no year"),
    (row('"year": "soon"'), "year is no whole number"),
    (row('"energy": 1.5'), "energy is no number from 0 to 1"),
    (row('"energy": "high"'), "energy is no number from 0 to 1"),
    (row('"duration_ms": 99999999999999999999'), "duration_ms is no whole number"),
    (row('"available_from": "2025-03-02Tgarbage"'), "available_from is no date"),
    (row('"available_until": "2025-02-30"'), "available_until is no date"),
    (row('"available_until": "2025"'), "available_until is no date"),
    (row('"available_until": "2025-3-2"'), "available_until is no date"),
    (row('"available_until": "20250302"'), "available_until is no date"),
    (row('"available_until": "2025-03-02 10:00 noon"'), "available_until is no date"),
    (row('"available_until": 1740909600'), "available_until is no date"),
    (row('"available_until": "0001-01-01T00:00+01:00"'), "available_until is no date"),
    (row('"available_from": "2025-03-02", "available_until": "2025-03-01"'), "is after available_until"),
]


@pytest.mark.parametrize(("lines", "says"), WRONG, ids=[f"{n}-{says}" for n, (_, says) in enumerate(WRONG)])
def test_a_wrong_value_is_refused_with_its_row(tmp_path: Path, lines: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as refused:
        items(tmp_path, "a.jsonl", f'{{"item_id": "fine", "content_type": "track"}}\n{lines}\n')
    assert "in a.jsonl" in str(refused.value)
    assert "fine" not in str(refused.value)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (parquet(markets=[["SE", None]]), "markets is no list"),
        (parquet(markets=["SE"]), "markets is string, expected list of strings"),
        (parquet(markets=[[1]]), "expected list of strings"),
        (parquet(available_until=pa.array([2**62], pa.timestamp("us"))), "available_until is no date"),
        (parquet(available_until=pa.array([(65536 * 31_556_952) // 86_400 + 20_000], pa.date32())), "is no date"),
        (parquet(title=pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xe9"]).buffers())), "unparsable"),
        (
            parquet(
                markets=pa.ListArray.from_arrays(
                    [0, 1], pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xe9"]).buffers())
                )
            ),
            "a.parquet",
        ),
    ],
)
def test_wrong_values_of_parquet_are_refused_too(tmp_path: Path, table: pa.Table, says: str) -> None:
    with pytest.raises(InputError, match=says) as refused:
        items(tmp_path, "a.parquet", table)
    assert "a.parquet" in str(refused.value)


def test_csv_cannot_hide_a_blank_market(tmp_path: Path) -> None:
    for value in ("|", "SE|", " "):
        with pytest.raises(InputError, match="markets is no list"):
            items(tmp_path, "a.csv", f"item_id,content_type,markets\na,track,{value}\n")


def test_a_repeated_item_is_refused_across_files(tmp_path: Path) -> None:
    write_file(tmp_path, "a.jsonl", f"{{{TRACK}}}\n", "items")
    with pytest.raises(InputError, match="2 times"):
        items(tmp_path, "b.csv", "item_id,content_type\na,track\n")


def test_a_few_wrong_rows_are_shown_and_the_others_counted(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="; 2 more"):
        items(tmp_path, "a.jsonl", "".join(f'{{"item_id": "{n}"}}\n' for n in range(5)))


def test_an_item_that_is_no_longer_named_stays_as_it_was_and_is_absent() -> None:
    schema = contract("items").arrow_schema

    def catalogue(**restrictions: list[str] | None) -> pa.Table:
        rows = [
            {"item_id": item, "content_type": "track", "markets": markets} for item, markets in restrictions.items()
        ]
        return pa.Table.from_pylist(
            rows, schema=pa.schema([field for field in schema if field.name in CATALOGUE_FIELDS])
        )

    first = keep_absent_items(catalogue(a=["SE"], b=None), schema.empty_table(), date(2025, 3, 1))
    second = keep_absent_items(catalogue(b=["NO"]), first, date(2025, 3, 2))
    third = keep_absent_items(catalogue(a=None), second, date(2025, 3, 3))

    def summary(rows: pa.Table) -> dict[str, tuple[object, ...]]:
        return {row["item_id"]: (row["markets"], row["absent"], row["run_date"].day) for row in rows.to_pylist()}

    assert summary(first) == {"a": (["SE"], False, 1), "b": (None, False, 1)}
    assert summary(second) == {"a": (["SE"], True, 2), "b": (["NO"], False, 2)}
    assert summary(third) == {"a": (None, False, 3), "b": (["NO"], True, 3)}
