import pytest
from pyspark.sql import SparkSession

from nocturne.core.night import Night
from nocturne.serving.coverage import DICTIONARIES, ITEMS, LISTS, Coverage, measure_coverage
from nocturne.storage.stored_rows import StoredRows
from tests.fixtures import two_listeners


def of(market: str, content_type: str, *counts: int) -> dict[str, str | int]:
    names = ("listeners", "personal", "full", "slots", "items")
    return {"market": market, "content_type": content_type, **dict(zip(names, counts, strict=True))}


@pytest.fixture(autouse=True, params=["here", "on executors"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "on executors":
        monkeypatch.setattr("nocturne.serving.coverage._FEW_LISTS", -1)


def measure(spark: SparkSession, night: Night, buckets: int) -> Coverage:
    lists = StoredRows.at(night, "ranked_lists", LISTS, dictionaries=DICTIONARIES)
    return measure_coverage(spark, lists, StoredRows.at(night, "items", ITEMS), top_k=3, buckets=buckets, count=2)


def test_lists_are_counted_by_market_and_content_type(spark: SparkSession, night):
    """Ana (SE): a full personal list of two. Ben, without a market: a short popular one, with `z` of no catalogue."""
    tonight = night(two_listeners.TONIGHT, *two_listeners.SETTINGS[1:], "tables.buckets=2")
    catalogue = two_listeners.items()
    catalogue[2]["content_type"] = "podcast_episode"  # c
    two_listeners.write(tonight, "items", catalogue)
    ana, ben = two_listeners.ranked_lists()
    ben |= {"bucket": 1, "source": "global_popular", "items": [{"item_id": item, "score": 1.0} for item in ("c", "z")]}
    two_listeners.write(tonight, "ranked_lists", [ana, ben | {"candidates": 3}])
    found = measure(spark, tonight, buckets=2)
    assert found.heads == [("control", "als", two_listeners.MODEL), ("control", "global_popular", two_listeners.MODEL)]
    assert found.rows == [
        of("", "", 1, 0, 0, 2, 2),
        of("", "podcast_episode", 1, 0, 0, 1, 1),
        of("", "unknown", 1, 0, 0, 1, 1),
        of("*", "", 2, 1, 1, 4, 3),
        of("*", "podcast_episode", 2, 1, 1, 2, 1),
        of("*", "track", 1, 1, 1, 1, 1),
        of("*", "unknown", 1, 0, 0, 1, 1),
        of("SE", "", 1, 1, 1, 2, 2),
        of("SE", "podcast_episode", 1, 1, 1, 1, 1),
        of("SE", "track", 1, 1, 1, 1, 1),
    ]


def test_a_night_without_lists_reaches_nothing(spark: SparkSession, night):
    tonight = night(two_listeners.TONIGHT, *two_listeners.SETTINGS)
    two_listeners.write(tonight, "items", two_listeners.items())
    found = measure(spark, tonight, buckets=1)
    assert (found.heads, found.rows) == ([], [])
