"""Plans that hold, through whole nights on the real components: asked for, obeyed, proved by the gate, and ended."""

from datetime import timedelta

import pytest
from pyspark.sql import SparkSession

from nocturne.core.errors import GateClosed
from nocturne.pipeline.runner import run_nights, run_validation
from nocturne.serving.cache import open_cache
from nocturne.storage import tables, writing
from tests.fixtures import landed_steers
from tests.fixtures.caves_and_lakes import KEEP_THE_MODEL, catalogue, listen_all, lists_of
from tests.fixtures.simulated_service import FIRST, Service

ONLY_LAKE, NO_EXPLICIT = {"only": [{"tags": ["lake"]}]}, {"never": [{"explicit": True}], "unknown": "barred"}
UNTIL_THE_SECOND = str(FIRST + timedelta(days=1))


def ask(service: Service, offset: int, **plans: dict[str, object]) -> None:
    """Land what listeners ask for on a day."""
    landed_steers.land(service.folder / "landing", FIRST + timedelta(days=offset), plans)


@pytest.fixture
def service(land) -> Service:
    """Three nights of listening."""
    return land({offset: listen_all(offset) for offset in range(3)}, catalogue())


def test_a_plan_is_obeyed_from_the_next_night_on_until_it_ends(service: Service) -> None:
    first, second, third = (service.night(offset, *KEEP_THE_MODEL) for offset in range(3))
    run_nights([first])
    assert any("cave" in item for item in lists_of(first)["u01"])
    ask(service, 1, u01=ONLY_LAKE | {"holds": "always"}, u02=NO_EXPLICIT | {"holds": UNTIL_THE_SECOND}, u03={"x": 1})
    run_nights([second])
    lists = lists_of(second)
    assert len(lists["u01"]) == 8
    assert all(item.startswith("lake") for item in lists["u01"])
    assert all(int(item[-1]) % 2 == 0 for item in lists["u02"])
    assert {row["user_id"] for row in tables.night_rows(second, "steers").to_pylist()} == {"u01", "u02"}

    ask(service, 2, u01={"holds": "always"})
    run_nights([third])
    assert any(item.startswith("cave") for item in lists_of(third)["u01"])
    assert any(int(item[-1]) % 2 for item in lists_of(third)["u02"])
    with open_cache(service.cache) as cache:
        served = cache.get("u01")
        assert served is not None
        assert list(served.item_ids) == lists_of(third)["u01"]


def test_a_list_that_breaks_a_plan_closes_the_gate(spark: SparkSession, service: Service) -> None:
    night = service.night(0, *KEEP_THE_MODEL)
    ask(service, 0, u01=ONLY_LAKE | {"holds": "always"})
    run_nights([night])
    rows = tables.night_rows(night, "ranked_lists").to_pylist()
    (broken,) = [row for row in rows if row["user_id"] == "u01"]
    broken["items"][-1]["item_id"] = "cave-7"
    lists = tables.night_rows(night, "ranked_lists")
    writing.replace_night(lists.from_pylist(rows, schema=lists.schema), "ranked_lists", night)
    with pytest.raises(GateClosed, match="broken_plans"):
        run_validation(spark, night, ["ranked_lists"], close=True)


def test_plans_that_nobody_could_obey_close_the_gate(spark: SparkSession, service: Service) -> None:
    night = service.night(0, *KEEP_THE_MODEL)
    ask(service, 0, u01=ONLY_LAKE | {"holds": "always"})
    run_nights([night])
    stored = tables.night_rows(night, "steers")
    (row,) = stored.to_pylist()
    for metric, rows in {
        "duplicate_listeners": [row, row | {"steer_id": "other"}],
        "unreadable_plans": [row | {"plan": '{"only": [{"colour": "red"}]}'}],
    }.items():
        writing.replace_night(stored.from_pylist(rows, schema=stored.schema), "steers", night)
        with pytest.raises(GateClosed, match=metric):
            run_validation(spark, night, ["steers"], close=True)
