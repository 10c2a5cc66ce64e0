"""The landing zone: four formats read alike, and files that cannot be right refused with a clear message."""

import gzip
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from nocturne.core.errors import InputError
from nocturne.ingestion.landing import EVENT_FIELDS, read_catalogue, read_events, require_complete

DAY = date(2025, 3, 2)


@pytest.fixture
def land(tmp_path: Path) -> Callable[..., str]:
    """Write a file of the day and return the landing zone: `land("a.csv", "...")`."""

    def write(name: str, content: str | bytes | pa.Table, folder: str = f"events/date={DAY}") -> str:
        path = tmp_path / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, pa.Table):
            pq.write_table(content, path)
        elif name.endswith(".gz"):
            path.write_bytes(gzip.compress(content.encode()))
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(tmp_path)

    return write


def test_every_format_gives_the_same_fields_and_keeps_the_line(spark: SparkSession, land: Callable[..., str]) -> None:
    land(
        "a.jsonl",
        '{"event_id": "1", "user_id": "u", "item_id": "i", "listened_at": "2025-03-02T10:00:00Z", "plays": 2}\n\n',
    )
    land(
        "b.jsonl.gz",
        '{"event_id": "2", "user_id": "u", "item_id": "i", "listened_at": "2025-03-02T10:00:00Z", "plays": "2"}',
    )
    land("c.csv", 'event_id,user_id,item_id,listened_at,plays,extra\n3,u,i,"2025-03-02T10:00:00Z",2,x\n')
    land("d.csv", '\ufeff"plays","listened_at","item_id","user_id","event_id"\r\n2,2025-03-02T10:00:00Z,i,u,4\r\n')
    landing = land(
        "e.parquet",
        pa.table(
            {
                "event_id": ["5"],
                "user_id": ["u"],
                "item_id": ["i"],
                "listened_at": pa.array([datetime(2025, 3, 2, 10, tzinfo=UTC)], pa.timestamp("us", "UTC")),
                "plays": pa.array([2], pa.int32()),
            }
        ),
    )
    rows = sorted(read_events(spark, landing, DAY).collect(), key=lambda row: row.event_id)
    assert [row.file for row in rows] == ["a.jsonl", "b.jsonl.gz", "c.csv", "d.csv", "e.parquet"]
    assert {(row.parsed, row.user_id, row.item_id, row.plays, row.ms_played) for row in rows} == {
        (True, "u", "i", "2", None)
    }
    assert {row.listened_at[:10] for row in rows} == {"2025-03-02"}
    assert rows[2].raw == '3,u,i,"2025-03-02T10:00:00Z",2,x'
    assert '"event_id":"5"' in rows[4].raw


def test_lines_that_cannot_be_taken_apart_are_marked_and_kept(spark: SparkSession, land: Callable[..., str]) -> None:
    landing = land("a.jsonl", '{"event_id": "1", "user_\nnot json\n[1]\n{"event_id": "2"}\n')
    rows = {row.raw: row.parsed for row in read_events(spark, landing, DAY).collect()}
    assert rows == {'{"event_id": "1", "user_': False, "not json": False, "[1]": False, '{"event_id": "2"}': True}


def test_an_empty_day_has_the_columns_of_any_other(spark: SparkSession, tmp_path: Path) -> None:
    events = read_events(spark, str(tmp_path), DAY)
    assert events.columns == ["file", "raw", "parsed", *EVENT_FIELDS]
    assert events.count() == 0


def test_the_catalogue_reads_lists_from_json_parquet_and_csv(spark: SparkSession, land: Callable[..., str]) -> None:
    land("a.jsonl", '{"item_id": "1", "content_type": "track", "tags": ["x", "y"], "explicit": true}', "items")
    land("b.csv", "item_id,content_type,tags,explicit\n2,track,x|y,true\n3,track,,\n", "items")
    landing = land("c.parquet", pa.table({"item_id": ["4"], "content_type": ["track"], "tags": [["x", "y"]]}), "items")
    rows = {row.item_id: (row.tags, row.explicit, row.markets) for row in read_catalogue(spark, landing).collect()}
    assert rows == {
        "1": (["x", "y"], "true", None),
        "2": (["x", "y"], "true", None),
        "3": (None, None, None),
        "4": (["x", "y"], None, None),
    }


def parquet(**columns: object) -> pa.Table:
    plain = {"event_id": ["1"], "user_id": ["u"], "item_id": ["i"], "listened_at": ["2025-03-02T10:00:00Z"]}
    return pa.table({name: values for name, values in (plain | columns).items() if values is not None})


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", "event_id;user_id;item_id;listened_at\n1;u;i;2025-03-02\n", "delimiter seems to be ';'"),
        ("a.csv", "event_id,user_id,listened_at\n", "item_id"),
        ("a.csv", "", "an empty first line"),
        ("a.parquet", b"PAR1 cut short", "a.parquet"),
        ("a.parquet", b"", "cannot be read"),
        ("a.parquet", parquet(user_id=None), "no column user_id"),
        ("a.parquet", parquet(plays=pa.array([1.5])), "plays is double, expected whole number"),
        ("a.parquet", parquet(user_id=pa.array([7])), "user_id is int64, expected string"),
        ("a.parquet", parquet(listened_at=pa.array([1], pa.timestamp("ns"))), "listened_at is timestamp"),
        ("events.json", "{}", "events.json"),
    ],
)
def test_a_file_that_cannot_be_right_is_refused_by_name(
    spark: SparkSession, land: Callable[..., str], name: str, content: str | bytes | pa.Table, says: str
) -> None:
    landing = land(name, content)
    with pytest.raises(InputError, match=says) as refused:
        read_events(spark, landing, DAY)
    assert f"date={DAY}" in str(refused.value)


def test_files_that_are_still_being_written_are_left_alone(spark: SparkSession, land: Callable[..., str]) -> None:
    land("_temporary.jsonl", "{}")
    landing = land(".part.parquet", b"half")
    assert read_events(spark, landing, DAY).count() == 0


def test_a_day_is_complete_when_it_says_so(land: Callable[..., str]) -> None:
    landing = land("a.jsonl", "{}")
    with pytest.raises(InputError, match="not complete"):
        require_complete(landing, DAY)
    land("_SUCCESS", "")
    assert require_complete(landing, DAY) is None
    land("_SUCCESS", "12\n")
    assert require_complete(landing, DAY) == 12
    land("_SUCCESS", "twelve")
    with pytest.raises(InputError, match="twelve"):
        require_complete(landing, DAY)
