"""Files that tasks wrote: all of them are committed, or none."""

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from nocturne.core.errors import InputError
from nocturne.core.night import Night
from nocturne.storage import tables, writing
from nocturne.storage.bucket_files import BucketFile, BucketWriter
from nocturne.storage.contracts import contract
from tests.fixtures import two_listeners


def written(night: Night, table: str, rows: list[dict[str, object]]) -> list[BucketFile]:
    schema = contract(table).arrow_schema
    writer = BucketWriter(night.warehouse.table_path(table), schema, str(night.run_date), 0)
    writer.write(pa.Table.from_pylist(rows, schema=schema))
    return [writer.close()]


def test_one_row_that_breaks_a_constraint_keeps_every_table_from_being_committed(spark: SparkSession, night) -> None:
    tonight = night(two_listeners.TONIGHT, "tables.buckets=1")
    pools = written(tonight, "pools", two_listeners.pools())
    ana, *others = two_listeners.ranked_lists()
    broken = written(tonight, "ranked_lists", [ana | {"candidates": -1}, *others])
    with pytest.raises(InputError, match=r"rows of ranked_lists break its constraints(.|\n)*1 rows"):
        writing.commit_files(spark, tonight, {"pools": pools, "ranked_lists": broken})
    assert tables.count(tonight, "pools") == tables.count(tonight, "ranked_lists") == 0

    sound = written(tonight, "ranked_lists", [ana, *others])
    writing.commit_files(spark, tonight, {"pools": pools, "ranked_lists": sound})
    assert tables.count(tonight, "pools") == len(two_listeners.pools())
    assert tables.count(tonight, "ranked_lists") == 1 + len(others)
