"""Lists of content types by the service, as listeners ask: what the night has on their shelves."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from nocturne.core.night import Night
from nocturne.serving.cache import open_cache
from nocturne.serving.now_playing import Filters, nightly_list
from nocturne.serving.reader import Reader, Served
from nocturne.storage import tables
from tests.fixtures.service_shapes import Shape


@contextmanager
def served_by(night: Night) -> Iterator[Served]:
    with open_cache(night.cache, read_only=True) as cache:
        reader = Reader(cache)
        yield reader.served()
        reader.close()


def test_a_list_of_a_content_type_is_the_shelf_where_the_factors_alone_decide(records: Shape) -> None:
    shelves = tables.night_rows(records.night, "shelf_lists").to_pylist()
    compared = 0
    with served_by(records.night) as served:
        for shelf in shelves:
            row = served.row(shelf["user_id"])
            if shelf["source"] == "als" and row is not None:
                filters = Filters(len(shelf["items"]), frozenset({shelf["content_type"]}))
                answer = nightly_list(served.items, row, filters).suggestions
                ids = [served.items.describe(each.number).item_id for each in answer]
                assert ids == [entry["item_id"] for entry in shelf["items"]]
                expected = pytest.approx([entry["score"] for entry in shelf["items"]], rel=1e-5, abs=1e-6)
                assert [each.score for each in answer] == expected
                compared += bool(ids)
    assert compared > 50


def test_who_filters_by_a_content_type_gets_as_full_a_list_as_the_shelf(streaming: Shape) -> None:
    shelves = tables.night_rows(streaming.night, "shelf_lists").to_pylist()
    with served_by(streaming.night) as served:
        for shelf in shelves[::5]:
            row = served.row(shelf["user_id"])
            assert row is not None
            answer = nightly_list(served.items, row, Filters(20, frozenset({shelf["content_type"]})))
            if shelf["source"] == "als":
                assert len(answer.suggestions) == len(shelf["items"]) == min(20, shelf["candidates"])
