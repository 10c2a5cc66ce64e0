"""The decision of a night to train, and its recipe: literal models."""

from datetime import date, timedelta

import pytest

from nocturne.core.sections import OPERATIONAL, AlsSettings
from nocturne.core.settings import load_settings
from nocturne.storage.model_transitions import ModelRecord
from nocturne.training.schedule import plan_training
from tests.fixtures import two_listeners

FIRST = date(2025, 3, 1)
CONF = load_settings(overrides=["als.retrain_every_nights=9", "als.recipe=settings"]).als
OTHER = CONF.model_copy(update={"factors": 7, "threads": 1})


def day(offset: int) -> date:
    return FIRST + timedelta(days=offset)


def model(
    name: str, trained: int, *transitions: tuple[int, str, int], actor: str = "train_als", settings: AlsSettings = CONF
) -> ModelRecord:
    """A model trained so many days after the first day, and its transitions: sequence, state, days after that day."""
    steps = [(sequence, state, day(since)) for sequence, state, since in transitions]
    return two_listeners.model(name, day(trained), *steps, actor=actor, settings=settings.model_dump_json())


def test_the_first_model_is_trained_by_the_settings() -> None:
    planned = plan_training([], day(0), (), OTHER)
    assert (planned.trains, planned.settings, planned.reason) == (True, OTHER, "no model was live")
    assert planned.races


@pytest.mark.parametrize(("age", "trains"), [(1, False), (8, False), (9, True), (20, True)])
def test_a_live_model_is_replaced_once_it_is_old_enough(age: int, trains: bool) -> None:
    assert plan_training([model("a", 0, (1, "live", 0))], day(age), (), CONF).trains is trains


def test_age_is_counted_from_the_night_of_training_not_from_that_of_the_promotion() -> None:
    rows = [model("a", 0, (1, "live", 0)), model("b", 2, (2, "live", 8), actor="ana")]
    assert not plan_training(rows, day(10), (), CONF).trains
    assert plan_training(rows, day(11), (), CONF).reason == "b was 9 nights old"


def test_the_net_trains_the_recipe_of_the_live_model_with_the_operation_of_the_settings() -> None:
    planned = plan_training([model("a", 0, (1, "live", 0), settings=OTHER)], day(9), (), CONF)
    assert planned.settings == CONF.model_copy(update={"factors": 7})
    assert (planned.settings.threads, planned.parent) == (CONF.threads, None)
    assert "another recipe: `nocturne models train`" in planned.remark
    assert not planned.races


def test_a_recipe_that_a_race_chose_is_no_other_recipe_than_that_of_settings_that_ask_for_a_race() -> None:
    fit = CONF.model_copy(update={"recipe": "fit"})
    assert "another" not in plan_training([model("a", 0, (1, "live", 0), settings=OTHER)], day(1), (), fit).remark


def test_settings_of_operation_are_no_part_of_the_recipe() -> None:
    operated = CONF.model_copy(update={"threads": 9, "matrix_memory_mb": 1, "warm_start": True})
    assert model("a", 0, settings=operated).recipe == CONF.recipe_settings
    assert set(CONF.model_dump()) - set(CONF.recipe_settings) == OPERATIONAL
    assert (
        "another recipe"
        not in plan_training([model("a", 0, (1, "live", 0), settings=operated)], day(1), (), CONF).remark
    )


def test_a_warm_start_starts_from_the_live_model() -> None:
    warm = CONF.model_copy(update={"warm_start": True})
    assert plan_training([model("a", 0, (1, "live", 0))], day(9), (), warm).parent == "a"


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
    rows = [model("a", 0, (1, "live", 0)), model("b", 6, (2, state, since), actor="ana", settings=settings)]
    assert plan_training(rows, day(10), (), CONF).trains is trains


def test_a_model_whose_night_closed_is_replaced_at_once_by_the_recipe_of_the_last_sound_one() -> None:
    rows = [model("a", 0, (1, "live", 0), settings=OTHER), model("b", 3, (2, "live", 3))]
    planned = plan_training(rows, day(4), {day(3)}, CONF)
    assert (planned.trains, planned.settings.factors) == (True, 7)
    assert planned.reason == "the gate of 2025-03-04 closed on b"
    assert plan_training(rows, day(4), {day(0), day(3)}, CONF).settings == CONF


def test_a_night_run_again_decides_as_if_it_had_not_run() -> None:
    rows = [model("a", 0, (1, "live", 0)), model("b", 9, (2, "live", 9))]
    assert plan_training(rows, day(9), (), CONF).reason == "a was 9 nights old"
    assert plan_training(rows[1:], day(9), (), CONF).reason == "no model was live"
