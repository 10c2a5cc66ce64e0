"""Ranking bucket by bucket: rows of two tables side by side, files that are whole or not there."""

from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from nocturne.core.errors import InputError
from nocturne.ranking.spark_tasks import Aligned
from nocturne.storage.bucket_files import BucketWriter, remove_on_failure
from nocturne.storage.contracts import contract

POOLS = contract("pools").arrow_schema


def batches(*groups: list[str]) -> list[pa.RecordBatch]:
    schema = pa.schema(field.with_nullable(True) for field in POOLS if field.name not in {"run_date", "bucket"})
    return [pa.RecordBatch.from_pylist([{"user_id": user} for user in group], schema=schema) for group in groups]


def beside(aligned: Aligned, users: list[str]) -> list[str | None]:
    return aligned.of(pa.array(users))["user_id"].to_pylist()


def test_each_listener_gets_their_own_row_or_none_however_both_are_cut() -> None:
    aligned = Aligned(iter(batches(["a", "c"], ["d"], ["f", "g", "i"])))
    assert beside(aligned, ["a", "b"]) == ["a", None]
    assert beside(aligned, ["c", "d", "e"]) == ["c", "d", None]
    assert beside(aligned, ["g"]) == ["g"]
    assert beside(aligned, ["h", "i", "j"]) == [None, "i", None]
    assert beside(aligned, ["k"]) == [None]


def test_without_earlier_rows_there_are_only_nulls() -> None:
    assert beside(Aligned(iter(())), ["a", "b"]) == [None, None]


@pytest.mark.parametrize("groups", [(["b", "a"],), (["a", "c"], ["b"]), (["a", "a"],)])
def test_rows_in_disorder_are_refused(groups: tuple[list[str], ...]) -> None:
    with pytest.raises(InputError, match="not in the order of user_id"):
        beside(Aligned(iter(batches(*groups))), ["z"])


def pool(user: str, **changes: object) -> pa.Table:
    plain = {
        "user_id": user, "source": "als", "items": [1], "scores": [0.5], "listed": [0], "row_digest": "r",
        "shelf_items": [], "shelf_scores": [],
        "model_version": "m", "build": "b", "rankable": "k", "valid_until": None, "factors": [1.0], "norm": 1.0,
        "bound": None, "computed_on": date(2025, 1, 1),
    }  # fmt: skip
    schema = pa.schema(field.with_nullable(True) for field in POOLS if field.name not in {"run_date", "bucket"})
    return pa.Table.from_pylist([plain | changes], schema=schema)


def test_a_file_is_counted_as_it_is_written(tmp_path: Path) -> None:
    writer = BucketWriter(str(tmp_path), POOLS, "2025-01-01", 3)
    writer.write(pool("a"))
    writer.write(pool("b"))
    file = writer.close()
    assert (file.bucket, file.rows, file.size) == (3, 2, (tmp_path / file.path).stat().st_size)
    assert file.path.startswith("run_date=2025-01-01/bucket=3/")
    assert '"numRecords": 2' in file.add_action("2025-01-01").stats


def test_a_null_where_the_contract_has_none_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    writer = BucketWriter(str(tmp_path), POOLS, "2025-01-01", 0)
    with pytest.raises(ValueError, match="null"), remove_on_failure(writer):
        writer.write(pool("a", source=None))
    assert not list(tmp_path.rglob("*.parquet"))
