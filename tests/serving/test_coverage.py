from pyspark.sql import SparkSession

from nocturne.serving.coverage import reach
from nocturne.validation.profiles.bucket_sums import snapshot
from tests.fixtures import two_listeners


def of(market: str, content_type: str, *counts: int) -> dict[str, str | int]:
    names = ("listeners", "personal", "full", "slots", "items")
    return {"market": market, "content_type": content_type, **dict(zip(names, counts, strict=True))}


def test_lists_are_counted_by_market_and_content_type(spark: SparkSession, night):
    """Ana (SE): a full personal list of two. Ben, without a market: a short popular one, with `z` of no catalogue."""
    tonight = night(two_listeners.TONIGHT, *two_listeners.SETTINGS[1:], "tables.buckets=2")
    catalogue = two_listeners.items()
    catalogue[2]["content_type"] = "podcast_episode"  # c
    two_listeners.write(tonight, "items", catalogue)
    ana, ben = two_listeners.ranked_lists()
    ben |= {"bucket": 1, "source": "global_popular", "items": [{"item_id": item, "score": 1.0} for item in ("c", "z")]}
    two_listeners.write(tonight, "ranked_lists", [ana, ben | {"candidates": 3}])
    lists, items = snapshot(tonight, "ranked_lists"), snapshot(tonight, "items")
    found = reach(spark, lists, items, top_k=3, buckets=2)
    assert found.heads == [("control", "als", two_listeners.MODEL), ("control", "global_popular", two_listeners.MODEL)]
    assert found.coverage == [
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
    found = reach(spark, snapshot(tonight, "ranked_lists"), snapshot(tonight, "items"), top_k=3, buckets=1)
    assert (found.heads, found.coverage) == ([], [])
