"""Whether a night trains, and by which recipe: literal rows of `models`."""

from datetime import date, timedelta

import pytest

from nocturne.core.settings import OPERATIONAL, AlsSettings, load_settings
from nocturne.training.registry import recipe_of
from nocturne.training.schedule import plan

FIRST = date(2025, 3, 1)
CONF = load_settings(overrides=["als.retrain_every_nights=9"]).als
OTHER = CONF.model_copy(update={"factors": 7, "threads": 1})


def day(offset: int) -> date:
    return FIRST + timedelta(days=offset)


def model(
    name: str, trained: int, *moves: tuple[int, str, int], by: str = "train_als", settings: AlsSettings = CONF
) -> dict:
    """A model trained so many days after the first day, and its moves: number, state, days after the first day."""
    return {
        "model_version": name,
        "run_date": day(trained),
        "settings": settings.model_dump_json(),
        "moves": [
            {"number": number, "state": state, "since": day(since), "by": by, "why": ""}
            for number, state, since in moves
        ],
    }


def test_the_first_model_is_trained_by_the_settings() -> None:
    wanted = plan([], day(0), (), OTHER)
    assert (wanted.trains, wanted.settings, wanted.why) == (True, OTHER, "no model was live")


@pytest.mark.parametrize(("age", "trains"), [(1, False), (8, False), (9, True), (20, True)])
def test_a_live_model_is_replaced_once_it_is_old_enough(age: int, trains: bool) -> None:
    assert plan([model("a", 0, (1, "live", 0))], day(age), (), CONF).trains is trains


def test_age_is_counted_from_the_night_of_training_not_from_that_of_the_promotion() -> None:
    rows = [model("a", 0, (1, "live", 0)), model("b", 2, (2, "live", 8), by="ana")]
    assert not plan(rows, day(10), (), CONF).trains
    assert plan(rows, day(11), (), CONF).why == "b was 9 nights old"


def test_the_net_trains_the_recipe_of_the_live_model_with_the_operation_of_the_settings() -> None:
    wanted = plan([model("a", 0, (1, "live", 0), settings=OTHER)], day(9), (), CONF)
    assert wanted.settings == CONF.model_copy(update={"factors": 7})
    assert (wanted.settings.threads, wanted.parent) == (CONF.threads, None)
    assert "another recipe: `nocturne models train`" in wanted.remark


def test_settings_of_operation_are_no_part_of_the_recipe() -> None:
    operated = CONF.model_copy(update={"threads": 9, "matrix_memory_mb": 1, "warm_start": True})
    assert recipe_of(model("a", 0, settings=operated)) == CONF.recipe
    assert set(CONF.model_dump()) - set(CONF.recipe) == OPERATIONAL
    assert "another recipe" not in plan([model("a", 0, (1, "live", 0), settings=operated)], day(1), (), CONF).remark


def test_a_warm_start_starts_from_the_live_model() -> None:
    warm = CONF.model_copy(update={"warm_start": True})
    assert plan([model("a", 0, (1, "live", 0))], day(9), (), warm).parent == "a"


@pytest.mark.parametrize(
    ("state", "since", "settings", "trains"),
    [
        ("refused", 8, CONF, False),
        ("rejected", 8, CONF, False),
        ("rejected", 12, CONF, True),  # a night that is run again does not know yet
        ("refused", 8, OTHER, True),  # another recipe says nothing against fresh data
        ("undecided", 8, CONF, True),  # too few listeners to tell
        ("candidate", 8, CONF, True),
    ],
)
def test_no_net_is_trained_while_a_fresh_model_of_the_recipe_stands_turned_down(
    state: str, since: int, settings: AlsSettings, trains: bool
) -> None:
    rows = [model("a", 0, (1, "live", 0)), model("b", 6, (2, state, since), by="ana", settings=settings)]
    assert plan(rows, day(10), (), CONF).trains is trains


def test_a_model_whose_night_closed_is_replaced_at_once_by_the_recipe_of_the_last_sound_one() -> None:
    rows = [model("a", 0, (1, "live", 0), settings=OTHER), model("b", 3, (2, "live", 3))]
    wanted = plan(rows, day(4), {day(3)}, CONF)
    assert (wanted.trains, wanted.settings.factors) == (True, 7)
    assert wanted.why == "the gate of 2025-03-04 closed on b"
    assert plan(rows, day(4), {day(0), day(3)}, CONF).settings == CONF


def test_a_night_run_again_decides_as_if_it_had_not_run() -> None:
    rows = [model("a", 0, (1, "live", 0)), model("b", 9, (2, "live", 9))]
    assert plan(rows, day(9), (), CONF).why == "a was 9 nights old"
    assert plan(rows[1:], day(9), (), CONF).why == "no model was live"
