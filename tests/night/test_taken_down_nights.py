"""Takedowns through whole nights on the real components: obeyed everywhere, on record, proved by the gate, lifted."""

from datetime import timedelta

import pytest
from pyspark.sql import SparkSession

from nocturne.core.errors import GateClosed
from nocturne.core.night import Night
from nocturne.pipeline.runner import run_nights, run_validation
from nocturne.serving import publications
from nocturne.serving.cache import open_cache
from nocturne.serving.takedowns import obey
from nocturne.storage import tables, writing
from nocturne.storage.takedowns import stored_takedowns
from tests.fixtures import takedowns
from tests.fixtures.simulated_service import FIRST, Service, event

LISTENERS = 40
KEEP_THE_MODEL = ("als.retrain_every_nights=9", "als.recipe=settings", "als.regularization=1", "ranking.top_k=8")
LISTING = {"ranked_lists": "items", "shelf_lists": "items", "related_items": "items"}


def catalogue() -> list[dict[str, object]]:
    """Two tastes of eight tracks."""
    return [
        {"item_id": f"{word}-{number}", "content_type": "track", "title": f"{word} {number}", "tags": [word]}
        for word in ("cave", "lake")
        for number in range(8)
    ]


def listen_all(offset: int) -> list[dict[str, object]]:
    """Each listener, in one of two markets, hears three tracks of their taste on the first night, then the first."""
    return [
        event(10 * user + place, f"u{user:02d}", f"{'cave' if user % 2 else 'lake'}-{(user // 2 + place) % 8}", offset)
        | {"market": "SE" if user < LISTENERS // 2 else "NO"}
        for user in range(LISTENERS)
        for place in range(3 if offset == 0 else 1)
    ]


@pytest.fixture
def service(land) -> Service:
    """Four nights of listening."""
    return land({offset: listen_all(offset) for offset in range(4)}, catalogue())


def say(service: Service, name: str, offset: int, *lines: dict[str, object] | str) -> None:
    """Land words on items, said on a day."""
    takedowns.land(service.folder / "landing", name, FIRST + timedelta(days=offset), *lines)


def listed(night: Night, market: str | None = None) -> set[str]:
    """Every item that a table of the night lists; in a market, of its listeners' lists alone."""
    found: set[str] = set()
    for table, column in LISTING.items():
        rows = tables.night_rows(night, table).to_pylist()
        if market is not None and table == "related_items":
            continue
        found |= {
            entry["item_id"] for row in rows if market in {None, row.get("market")} for entry in row[column] or ()
        }
    return found


def test_takedowns_are_obeyed_by_night_are_on_record_and_a_night_made_again_obeys_those_of_then(
    service: Service,
) -> None:
    first, second, third, fourth = (service.night(offset, *KEEP_THE_MODEL) for offset in range(4))
    run_nights([first])
    assert {"cave-1", "lake-2"} <= listed(first)
    with open_cache(service.cache) as cache:
        before = cache.get("u00")

    say(service, "court", 1, {"item_id": "cave-1"}, {"item_id": "lake-2", "market": "SE"}, "{", {"item_id": "cave-2"})
    say(service, "later", 2, {"item_id": "cave-3"}, {"item_id": "not in the catalogue"})
    (service.folder / "landing" / "takedowns" / "notes.txt").write_text("no lines")
    (service.folder / "landing" / "takedowns" / "date=2025-03-02").mkdir()
    run_nights([second])
    assert "cave-1" not in listed(second)
    assert "lake-2" not in listed(second, "SE")
    assert {"lake-2", "cave-3"} <= listed(second, "NO") | listed(second)
    assert {row["item_id"] for row in tables.night_rows(second, "takedowns").to_pylist()} == {
        "cave-1", "lake-2", "cave-2",
    }  # fmt: skip
    (record,) = [each for each in publications.all_records(second.warehouse) if each.run_date == second.run_date]
    assert record.manifest.row_hashes["takedowns"]
    assert "takedowns" in record.manifest.versions

    with open_cache(service.cache) as cache:
        assert cache.overlay().takedowns.item_ids == {"cave-1", "lake-2", "cave-2"}
        assert before is not None
        pointer = cache.pointer()
        assert pointer is not None
        rolled_back = type(pointer)(pointer.earlier[0], (), version=pointer.version + 1, warehouse=pointer.warehouse)
        cache.swap_pointer(pointer, rolled_back)  # to the night before the takedown
        again = cache.get("u00")
        assert again is not None
        assert {"cave-1", "lake-2", "cave-2"}.isdisjoint(again.item_ids)
        assert set(before.item_ids) - set(again.item_ids) <= {"cave-1", "lake-2", "cave-2"}
        cache.swap_pointer(rolled_back, type(pointer)(pointer.served, pointer.earlier, version=pointer.version + 2))

    say(service, "settled", 3, {"item_id": "cave-1", "lifts": True})
    (service.folder / "landing" / "takedowns" / "court.jsonl").unlink()  # what a night took in stays
    run_nights([third, fourth])
    assert {"cave-1", "cave-3"}.isdisjoint(listed(third))
    assert "cave-1" in listed(fourth)
    assert {"cave-2", "cave-3"}.isdisjoint(listed(fourth))
    with open_cache(service.cache) as cache:
        assert cache.overlay().takedowns.item_ids == {"lake-2", "cave-2", "cave-3", "not in the catalogue"}

    tables_before = tables.night_rows(third, "takedowns")
    run_nights([third])
    assert tables.night_rows(third, "takedowns") == tables_before
    assert "cave-1" not in listed(third)


def test_a_list_with_an_item_that_is_taken_down_closes_the_gate(spark: SparkSession, service: Service) -> None:
    night = service.night(0, *KEEP_THE_MODEL)
    say(service, "court", 0, {"item_id": "cave-1", "market": "SE"}, {"item_id": "lake-2"})
    run_nights([night])
    related = tables.night_rows(night, "related_items")
    for table, listed_in, item, metric in (
        ("ranked_lists", "SE", "cave-1", "ineligible_items"),
        ("ranked_lists", "NO", "lake-2", "ineligible_items"),
        ("shelf_lists", None, "lake-2", "ineligible_items"),
    ):
        stored = tables.night_rows(night, table)
        rows = stored.to_pylist()
        row = next(row for row in rows if row.get("market") == listed_in and row["items"])
        row["items"][-1]["item_id"] = item
        writing.replace_night(stored.from_pylist(rows, schema=stored.schema), table, night)
        with pytest.raises(GateClosed, match=metric):
            run_validation(spark, night, [table], close=True)
        writing.replace_night(stored, table, night)
    rows = related.to_pylist()
    next(row for row in rows if row["items"])["items"][0]["item_id"] = "lake-2"
    writing.replace_night(related.from_pylist(rows, schema=related.schema), "related_items", night)
    with pytest.raises(GateClosed, match="ineligible_items"):
        run_validation(spark, night, ["related_items"], close=True)


def test_takedowns_that_are_spoilt_or_lost_close_the_gate(spark: SparkSession, service: Service) -> None:
    first, second = (service.night(offset, *KEEP_THE_MODEL) for offset in range(2))
    say(service, "court", 0, {"item_id": "cave-1"})
    run_nights([first, second])
    stored = tables.night_rows(second, "takedowns")
    (row,) = stored.to_pylist()
    for metric, rows in {"words_lost": [], "duplicate_words": [row, row | {"takedown_id": "other"}]}.items():
        writing.replace_night(stored.from_pylist(rows, schema=stored.schema), "takedowns", second)
        with pytest.raises(GateClosed, match=metric):
            run_validation(spark, second, ["takedowns"], close=True)


def test_a_lift_that_the_night_did_not_know_yet_stands_when_its_lists_are_served(service: Service) -> None:
    night = service.night(0, *KEEP_THE_MODEL)
    say(service, "court", 0, {"item_id": "cave-1"})
    with open_cache(service.cache) as cache:
        obey(cache, [takedowns.word("cave-1", lifts=True)])
        run_nights([night])
        assert stored_takedowns(night).item_ids == {"cave-1"}
        assert cache.overlay().takedowns.item_ids == frozenset()
