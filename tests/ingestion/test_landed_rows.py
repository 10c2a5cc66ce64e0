"""Rows of landed files: every row is one row, however odd, and its text is text."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nocturne.ingestion.landed_rows import is_blank, read_parts
from nocturne.ingestion.landing import share_out
from tests.fixtures.landed_files import TIME, look_at_all, parquet, read_rows, write_file

SOUND = f'"event_id": "e", "user_id": "u", "item_id": "i", "listened_at": "{TIME}"'
HEADER = "event_id,user_id,item_id,listened_at"


@pytest.mark.parametrize(
    "line",
    [
        '{"event_id": "1", "user_',
        "not json",
        "[1]",
        '"text"',
        "null",
        f"{{{SOUND}}}{{{SOUND}}}",
        f"{{{SOUND}}} {{{SOUND}}}",
        f"{{{SOUND}}} junk",
        f"{{{SOUND}}},",
        f"[{{{SOUND}}}]",
        f"{{{SOUND},}}",
        f'{{{SOUND}, "user_id": "v"}}',
        f'{{{SOUND}, "us\\u0065r_id": "v"}}',
        f'{{{SOUND}, "market": "\t"}}',
        f'{{{SOUND}, "market": "\\ud83d"}}',
        f'{{{SOUND}, "market": "\\udc00\\ud800"}}',
        f'{{{SOUND}, "market": ["\\ud83d"]}}',
        f'{{{SOUND}, "market": "caf\udce9"}}',
        f'{{{SOUND}, "other": "caf\udce9"}}',
        f'{{{SOUND}, "other": "\udced\udca0\udc80"}}',
        f'{{{SOUND}, "market": "\udcc0\udc80"}}',
        "\udcff\udcfe{\0}\0",
        "[" * 100_000,
        '{"a":' * 100_000,
        "\0",
    ],
)
def test_a_line_that_is_not_one_object_of_text_is_kept_whole_and_unparsed(tmp_path: Path, line: str) -> None:
    write_file(tmp_path, "a.jsonl", f"{{{SOUND}}}\n{line}\r\n{{{SOUND}}}\n")
    before, after, row = sorted(read_rows(look_at_all(tmp_path)), key=lambda row: not row["parsed"])
    assert (before["user_id"], after["user_id"], row["user_id"]) == ("u", "u", None)
    assert (before["parsed"], after["parsed"], row["parsed"]) == (True, True, False)
    # Bytes that are no UTF-8 are written out, so that every reader can open the text.
    assert row["raw"] == "".join(f"\\x{ord(c) - 0xDC00:02x}" if "\udc80" <= c <= "\udcff" else c for c in line)
    row["raw"].encode()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('"a"', "a"),
        ('""', ""),
        ('" \\u00e9\\n\\ud83d\\ude00 "', " é\n😀 "),
        ("17850", "17850"),
        ("17850.0", "17850.0"),
        ("1e400", "1e400"),
        ("-0", "-0"),
        ("1" * 5000, "1" * 5000),
        ("null", None),
        ("true", None),
        ("NaN", None),
        ("-Infinity", None),
        ('["a"]', None),
        ('{"a": "b"}', None),
    ],
)
def test_an_id_is_text_or_the_digits_of_a_number_and_nothing_else(tmp_path: Path, value: str, text: str | None) -> None:
    write_file(tmp_path, "a.jsonl", f'{{"event_id": "e", "user_id": {value}}}')
    (row,) = read_rows(look_at_all(tmp_path))
    assert (row["parsed"], row["user_id"]) == (True, text)


def test_other_values_are_the_text_they_have_in_json(tmp_path: Path) -> None:
    values = ["6", '"6"', "1.50", "true", "NaN", "null", '["a", 1]']
    write_file(tmp_path, "a.jsonl", "".join(f'{{"plays": {value}}}\n' for value in values))
    texts = [row["plays"] for row in read_rows(look_at_all(tmp_path))]
    assert texts == ["6", "6", "1.50", "true", "NaN", None, '["a", "1"]']


@pytest.mark.parametrize(
    ("line", "user"),
    [
        ("e,u,i,t", "u"),
        ('e,"u, v",i,t', "u, v"),
        ('e,"u ""v""",i,t', 'u "v"'),
        ('e,u "v",i,t', 'u "v"'),
        ("e, u ,i,t", " u "),
        ("e,,i,t", None),
        ('e,"",i,t', None),
        ("e,u,i", "unparsed"),
        ("e,u,i,t,x", "unparsed"),
        ('e,"u,i,t', "unparsed"),
        ('e,"u"v,i,t', "unparsed"),
        ("e,caf\udce9,i,t", "unparsed"),
    ],
)
def test_a_line_of_csv_is_a_row_of_its_header_or_kept_unparsed(tmp_path: Path, line: str, user: str | None) -> None:
    write_file(tmp_path, "a.csv", f"{HEADER}\n{line}\n")
    (row,) = read_rows(look_at_all(tmp_path))
    assert ("unparsed" if not row["parsed"] else row["user_id"]) == user
    assert row["raw"] == line.replace("\udce9", "\\xe9")


def test_text_of_parquet_that_is_no_utf8_is_written_out_and_its_row_unparsed(tmp_path: Path) -> None:
    raw = pa.array([b"caf\xe9", "café".encode(), None, b"caf\xe8"])
    users = pa.Array.from_buffers(pa.string(), 4, raw.buffers())
    ids = [str(number) for number in range(4)]
    for name, column in (("a", users), ("b", users.cast(pa.large_string())), ("c", users.dictionary_encode())):
        write_file(
            tmp_path, f"{name}.parquet", parquet(event_id=ids, user_id=column, item_id=ids, listened_at=[TIME] * 4)
        )
    rows = read_rows(look_at_all(tmp_path))
    assert [(row["parsed"], row["user_id"]) for row in rows] == [
        (False, "caf\\xe9"),
        (True, "café"),
        (True, None),
        (False, "caf\\xe8"),
    ] * 3


@pytest.mark.parametrize("unit", ["ms", "us"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Oslo"])
def test_times_of_parquet_are_utc_and_one_out_of_range_is_no_time(tmp_path: Path, unit: str, zone: str | None) -> None:
    times = pa.array([datetime(2025, 3, 2, 10, tzinfo=UTC), None], pa.timestamp(unit, "UTC"))
    year_67561 = (1740909600 + 65536 * 31_556_952) * (1000 if unit == "ms" else 1_000_000)
    ends = pa.array([2**63 - 1, -(2**63) + 1, year_67561], pa.timestamp(unit, "UTC"))
    column = pa.concat_arrays([times, ends]).cast(pa.int64()).cast(pa.timestamp(unit, zone))
    ids = [str(number) for number in range(5)]
    write_file(tmp_path, "a.parquet", parquet(event_id=ids, user_id=ids, item_id=ids, listened_at=column))
    texts = [row["listened_at"] for row in read_rows(look_at_all(tmp_path))]
    assert texts[0].startswith("2025-03-02 10:00:00.000")
    assert texts[1] is None
    assert texts[2:] == [str(2**63 - 1), str(-(2**63) + 1), str(year_67561)]


def test_numbers_flags_and_lists_of_text_come_as_text(tmp_path: Path) -> None:
    write_file(
        tmp_path,
        "a.parquet",
        parquet(
            plays=pa.array([2**64 - 1], pa.uint64()),
            ms_played=pa.array(["7"]),
            context=pa.nulls(1),
            device=pa.array(["phone"]).dictionary_encode(),
        ),
    )
    (row,) = read_rows(look_at_all(tmp_path))
    assert (row["plays"], row["ms_played"], row["context"], row["device"]) == (str(2**64 - 1), "7", None, "phone")


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_parts_of_a_file_hold_each_line_once_wherever_it_is_cut(tmp_path: Path, name: str) -> None:
    lines = ["{}", "", "x" * 30, "é", " ", "\ufeff", "{}\r", "last"]
    write_file(tmp_path, name, "\n".join([HEADER, *lines]))
    (file,) = look_at_all(tmp_path)
    whole = sorted(row["raw"] for row in read_rows([file], part_bytes=10_000))
    for part_bytes in range(1, file.size + 1):
        assert sorted(row["raw"] for row in read_rows([file], part_bytes)) == whole, part_bytes
    assert len(whole) == file.rows == len([line for line in lines if line.strip()]) + (name == "a.jsonl")


def test_shares_cover_every_row_group_once(tmp_path: Path) -> None:
    ids = [str(number) for number in range(10)]
    table = parquet(event_id=ids, user_id=ids, item_id=ids, listened_at=[TIME] * 10)
    path = write_file(tmp_path, "a.parquet", table)
    pq.write_table(table, path, row_group_size=3)
    write_file(tmp_path, "b.jsonl", "")
    files = look_at_all(tmp_path)
    shares = share_out(files, part_bytes=files[0].size // 3)
    assert [
        row["event_id"] for share in shares for batch in read_parts(share, ("event_id",)) for row in batch.to_pylist()
    ] == ids
    assert len(shares) > 1


def test_blank_is_whatever_cannot_be_seen() -> None:
    for text in (
        "",
        " ",
        "\t",
        "\r\n",
        "\v\f",
        "\u00a0",
        "\u2003\u3000",
        "\u200b\ufeff",
        "\0\x1f\x7f",
        "\u2028",
        "\u00ad",
    ):
        assert is_blank(text), repr(text)
    for text in (" a", "0", "\u0301", "😀", json.dumps("")):
        assert not is_blank(text), repr(text)
