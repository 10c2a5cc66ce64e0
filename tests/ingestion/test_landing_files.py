"""Files of the landing zone: a name is a name, and what is no sound file is told by it."""

import gzip
import os
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nocturne.core.errors import InputError
from nocturne.ingestion.landing import read_catalogue, require_complete
from nocturne.ingestion.landing_files import list_files
from tests.fixtures.landed_files import DAY, EVENTS, TIME, Content, look_at_all, parquet, read_rows, write_file

LINE = '{"event_id": "%s", "user_id": "u", "item_id": "i", "listened_at": "2025-03-02T10:00:00Z"}\n'
HEADER = "event_id,user_id,item_id,listened_at"
ODD_NAMES = (
    "a1",
    "a[1]",
    "a*",
    "a?",
    "{a,b}",
    "a b",
    "a%20b",
    "a:b",
    "file:a",
    "ü日",
    "a\\b",
    "#a",
    "a\nb",
    "~",
    "日\u3000",
)


def test_a_name_is_never_a_pattern_and_every_file_is_read_once(tmp_path: Path) -> None:
    for number, name in enumerate(ODD_NAMES):
        for ending, content in (("jsonl", LINE % number), ("parquet", parquet(event_id=[str(number)]))):
            write_file(tmp_path, f"{name}.{ending}", content)
    rows = sorted((row["file"], row["event_id"]) for row in read_rows(look_at_all(tmp_path)))
    assert rows == sorted(
        (f"{name}.{ending}", str(number)) for number, name in enumerate(ODD_NAMES) for ending in ("jsonl", "parquet")
    )


def test_what_begins_with_a_dot_or_an_underscore_is_nothing(tmp_path: Path) -> None:
    write_file(tmp_path, "part-0.jsonl", LINE % 1)
    for name in (".part-0.jsonl.crc", "_SUCCESS", "_committed_1", ".part.parquet", "_temporary.jsonl"):
        write_file(tmp_path, name, b"crc\0")
    for name in ("_temporary", ".tmp", "_delta_log"):
        write_file(tmp_path, f"{name}/inside.jsonl", LINE % 2)
    (tmp_path / EVENTS / ".gone").symlink_to("/nowhere")
    assert [row["event_id"] for row in read_rows(look_at_all(tmp_path))] == ["1"]


@pytest.mark.parametrize("folder", [EVENTS, "items"])
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.mkdir(), "more.jsonl is a folder"),
        (lambda path: path.symlink_to("/"), "more.jsonl is a folder"),
        (lambda path: path.symlink_to("/nowhere/more.jsonl"), "more.jsonl is a link to nowhere"),
        (lambda path: path.symlink_to(path), "more.jsonl"),
        (os.mkfifo, "more.jsonl is no file"),
        (lambda path: path.with_suffix(".json").touch(), "more.json is of an unknown kind"),
        (lambda path: path.with_suffix(".JSONL").touch(), "more.JSONL is of an unknown kind"),
        (lambda path: path.with_name("date=1").mkdir(), "date=1 is a folder"),
        (lambda path: path.with_name("\udcff.jsonl").touch(), r"'\\udcff.jsonl'"),
    ],
)
def test_what_is_no_file_is_told_by_name(tmp_path: Path, folder: str, make: object, says: str) -> None:
    path = write_file(tmp_path, "sound.jsonl", LINE % 1, folder).with_name("more.jsonl")
    make(path)  # type: ignore[operator]
    with pytest.raises(InputError, match=says) as refused:
        list_files(str(tmp_path / folder))
    assert folder in str(refused.value)


def test_a_catalogue_that_is_no_folder_is_told_and_none_at_all_is_fine(tmp_path: Path) -> None:
    assert read_catalogue(str(tmp_path)).num_rows == 0
    (tmp_path / "items").symlink_to("/nowhere")
    with pytest.raises(InputError, match="items"):
        read_catalogue(str(tmp_path))
    (tmp_path / "items").unlink()
    (tmp_path / "items").write_text("{}")
    with pytest.raises(InputError, match="items"):
        read_catalogue(str(tmp_path))


def damaged_page() -> bytes:
    """A Parquet file whose footer is whole, with other bytes in a page of ids."""
    sink = pa.BufferOutputStream()
    table = pa.table({name: [f"{name}-{n}" for n in range(500)] for name in HEADER.split(",")})
    pq.write_table(table, sink, compression="none", use_dictionary=False, write_page_checksum=True)
    return sink.getvalue().to_pybytes().replace(b"user_id-250", b"user_id-999", 1)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl.gz", gzip.compress(LINE.encode() * 99, mtime=0)[:-20], "ended before"),
        ("a.jsonl.gz", LINE.encode(), "Not a gzipped file"),
        ("a.jsonl.gz", b"", "is empty"),
        ("a.jsonl.gz", gzip.compress(b"{}\n", mtime=0) + b"junk", "Not a gzipped file"),
        ("a.jsonl.gz", gzip.compress(LINE.encode(), mtime=0)[:-8] + b"\0" * 8, "CRC check failed"),
        ("a.parquet", b"PAR1 cut short", "a.parquet"),
        ("a.parquet", b"", "cannot be read"),
        ("a.parquet", damaged_page(), "CRC checksum verification failed"),
        ("a.csv", "event_id;user_id;item_id;listened_at\n1;u;i;2025-03-02\n", "delimiter seems to be ';'"),
        ("a.csv", "event_id,user_id,listened_at\n", "no item_id"),
        ("a.csv", "", "an empty first line"),
        ("a.csv", f"\n{HEADER}\n", "an empty first line"),
        ("a.csv", f'"{HEADER}\n1,2,3,4\n', "lacks required columns"),
        ("a.csv", f"{HEADER}\n1,u,i,{TIME}\n".replace("\n", "\r"), "lacks required columns"),
        ("a.csv", f"{HEADER}\n".encode("utf-16"), "lacks required columns"),
        ("a.csv", f"{HEADER},user_id\n1,u,i,{TIME},v\n", "user_id"),
        ("a.csv", f'{HEADER},"plays", plays\n1,u,i,{TIME},1,2\n', "plays"),
        ("a.csv", f"{HEADER.upper()}\n1,u,i,{TIME}\n", "no event_id"),
        ("a.parquet", parquet(user_id=None), "no column user_id"),
        ("a.parquet", parquet(user_id=None, User_ID=["u"]), "no column user_id"),
        ("a.parquet", parquet(plays=pa.array([1.5])), "plays is double, expected whole number"),
        ("a.parquet", parquet(user_id=pa.array([7])), "user_id is int64, expected string"),
        ("a.parquet", parquet(user_id=pa.array([b"u"])), "user_id is binary, expected string"),
        ("a.parquet", parquet(market=pa.array([["SE"]])), "market is list"),
        ("a.parquet", parquet(listened_at=pa.array([1], pa.timestamp("ns"))), "listened_at is timestamp"),
        ("a.parquet", parquet().append_column("user_id", pa.array(["v"])), "user_id"),
    ],
)
def test_a_file_that_cannot_be_right_is_refused_by_name(tmp_path: Path, name: str, content: Content, says: str) -> None:
    write_file(tmp_path, name, content)
    with pytest.raises(InputError, match=says) as refused:
        failures = [row["failure"] for row in read_rows(look_at_all(tmp_path)) if row["failure"]]
        raise InputError(failures[0])
    assert f"date={DAY}/{name}" in str(refused.value)


def test_a_file_that_was_taken_away_or_changed_since_it_was_counted_is_told_by_name(tmp_path: Path) -> None:
    path = write_file(tmp_path, "a.jsonl", LINE % 1)
    files = look_at_all(tmp_path)
    path.unlink()
    (row,) = read_rows(files)
    assert "a.jsonl" in row["failure"]


def test_only_the_documented_columns_are_read_whatever_others_are_there(tmp_path: Path) -> None:
    night = datetime(2025, 3, 2, tzinfo=UTC)
    table = parquet(
        User_ID=["other"],
        ingested_at=pa.array([1], pa.timestamp("ns", "UTC")),
        took=pa.array([1], pa.duration("us")),
        at=pa.array([1], pa.time64("ns")),
        score=pa.array([1.5], pa.float16()),
        nothing=pa.nulls(1),
        raw=[b"\xff"],
        places=[[{"a": [1]}]],
        by_name=pa.array([[("a", night)]], pa.map_(pa.string(), pa.timestamp("us", "UTC"))),
        **{"user_id.x": [1], "a b": [2], "city, country": ["Oslo, NO"], "": [3], "`": [4], "file": [5], "ü": [6]},
    ).append_column("a b", pa.array([7]))
    write_file(tmp_path, "a.parquet", table)
    write_file(
        tmp_path, "b.csv", f'{HEADER},"city, country",user agent,,User_ID,a b,a b\n1,u,i,{TIME},"a, b",x y,,o,,\n'
    )
    write_file(tmp_path, "c.csv", f"plays,{HEADER},x\n,1,u,i,{TIME},\n")
    write_file(
        tmp_path,
        "d.jsonl",
        (LINE % 1)[:-2] + ', "User_ID": "o", "a": NaN, "b": {"user_id": [1e999]}, "a": "\\ud800"}\n',
    )
    rows = read_rows(look_at_all(tmp_path))
    assert {(row["parsed"], row["event_id"], row["user_id"], row["item_id"]) for row in rows} == {(True, "1", "u", "i")}
    assert len(rows) == 4


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("a.jsonl", "", 0),
        ("a.jsonl", "\n \n\t\r\n\v\f\n", 0),
        ("a.jsonl", "\ufeff", 0),
        ("a.jsonl", "{}\n\n{}\r\n  {}", 3),
        ("a.jsonl", "{}{}\nx\n", 2),
        ("a.jsonl", "{}\r{}\n", 1),
        ("a.jsonl.gz", "\ufeff{}\n\n{}", 2),
        ("a.csv", HEADER, 0),
        ("a.csv", f"\ufeff{HEADER}\r\n1,u,i,t\r\n\r\n{HEADER}\r\n", 2),
        ("a.csv", f'{HEADER}\n"a\nb",u,i,t\n', 2),
        ("a.parquet", parquet().slice(0, 0), 0),
        ("a.parquet", parquet(event_id=["1", "2"], user_id=["u"] * 2, item_id=["i"] * 2, listened_at=[TIME] * 2), 2),
    ],
)
def test_rows_are_counted_by_themselves_and_each_is_read_once(
    tmp_path: Path, name: str, content: Content, rows: int
) -> None:
    write_file(tmp_path, name, content)
    (file,) = look_at_all(tmp_path)
    assert file.rows == rows
    assert len(read_rows([file])) == rows


def test_a_day_is_complete_when_its_mark_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not complete"):
        require_complete(str(tmp_path), DAY)
    for text, announced in (("", None), ("12\n", 12), (" 007", 7)):
        write_file(tmp_path, "_SUCCESS", text)
        assert require_complete(str(tmp_path), DAY) == announced
    for text in ("twelve", "1.0", "-1", "١٢", "9" * 5000, "1\n2", "\ud8ff".encode("utf-16", "surrogatepass")):
        write_file(tmp_path, "_SUCCESS", text)
        with pytest.raises(InputError, match="_SUCCESS"):
            require_complete(str(tmp_path), DAY)


def test_a_mark_that_is_no_file_is_told(tmp_path: Path) -> None:
    (tmp_path / EVENTS / "_SUCCESS").mkdir(parents=True)
    with pytest.raises(InputError, match="_SUCCESS"):
        require_complete(str(tmp_path), DAY)
