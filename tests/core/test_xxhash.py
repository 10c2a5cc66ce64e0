import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from nocturne.core.xxhash import buckets_of

TEXTS = ["", "a", "ana", "four", "eight888", "é", "𝄞" * 5, "x" * 31, "x" * 32, "user-0123456789" * 7, "0" * 511]


@pytest.mark.slow
@pytest.mark.parametrize("buckets", [1, 4, 7, 2**31 - 1])
def test_a_bucket_is_the_one_that_spark_gives(spark: SparkSession, buckets: int):
    texts = [*TEXTS, *(f"{'listener' * (number % 9)}-{number}" for number in range(1_000))]
    by_spark = spark.createDataFrame([(text,) for text in texts], "id string").select(
        F.pmod(F.xxhash64("id"), F.lit(buckets)).alias("bucket")
    )
    assert buckets_of(pa.array(texts), buckets).tolist() == [row["bucket"] for row in by_spark.collect()]


@given(st.lists(st.text(max_size=80), min_size=1))
def test_a_bucket_depends_on_its_id_alone(texts: list[str]):
    alone = [buckets_of(pa.array([text]), 5)[0] for text in texts]
    assert buckets_of(pa.array(["first", *texts]).slice(1), 5).tolist() == alone
    assert set(alone) <= set(range(5))
