"""The model live on a night: literal transitions, and what holds for any of them."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.core.experiment import Arm
from nocturne.core.settings import load_settings
from nocturne.storage.model_transitions import (
    ModelRecord,
    last_refused_since,
    live_on,
    model_of_arm,
    next_sequence,
    with_states,
    with_transition,
    without_transitions_of,
)
from tests.fixtures import two_listeners

FIRST = date(2025, 3, 1)


def day(offset: int) -> date:
    return FIRST + timedelta(days=offset)


def model(name: str, *transitions: tuple[int, str, int], trained: int = 0) -> ModelRecord:
    """A model and its transitions: sequence, state, days after the first day."""
    steps = [(sequence, state, day(since)) for sequence, state, since in transitions]
    return two_listeners.model(name, day(trained), *steps, state="candidate")


def live(models: list[ModelRecord], *offsets: int) -> list[str | None]:
    """The names of the models live on those days."""
    return [found and found.version for found in (live_on(models, day(offset)) for offset in offsets)]


def states(models: list[ModelRecord]) -> dict[str, str]:
    return {each.version: each.state for each in with_states(models)}


def test_a_model_is_live_from_its_night_on_and_nothing_is_before() -> None:
    assert live([model("a", (1, "live", 2))], 1, 2, 9) == [None, "a", "a"]


def test_the_model_made_live_last_retires_the_one_before_from_its_night_on() -> None:
    models = [model("a", (1, "live", 0)), model("b", (2, "live", 3))]
    assert live(models, 2, 3) == ["a", "b"]
    assert states(models) == {"a": "retired", "b": "live"}


def test_last_is_by_night_before_it_is_by_number_so_that_a_backfill_moves_no_later_night() -> None:
    models = [model("a", (1, "live", 0)), model("b", (2, "live", 5)), model("backfilled", (3, "live", 2))]
    assert live(models, 1, 2, 4, 5) == ["a", "backfilled", "backfilled", "b"]


def test_of_two_models_made_live_for_one_night_the_later_decision_counts() -> None:
    assert live([model("a", (2, "live", 1)), model("b", (1, "live", 1))], 1) == ["a"]


def test_a_rejected_model_gives_way_to_the_one_before_it_from_that_night_on() -> None:
    models = [model("a", (1, "live", 0)), model("b", (2, "live", 3), (3, "rejected", 5))]
    assert live(models, 2, 3, 4, 5, 9) == ["a", "b", "b", "a", "a"]
    assert states(models) == {"a": "live", "b": "rejected"}


def test_a_rejected_model_that_was_not_live_changes_nothing() -> None:
    models = [model("a", (1, "live", 0)), model("b", (2, "rejected", 3))]
    assert live(models, 3) == ["a"]
    assert states(models) == {"a": "live", "b": "rejected"}


def test_after_its_only_model_is_rejected_nothing_is_live() -> None:
    assert live([model("a", (1, "live", 0), (2, "rejected", 1))], 0, 1) == ["a", None]


def test_what_was_said_before_a_model_was_made_live_again_no_longer_withdraws_it() -> None:
    models = [model("a", (1, "live", 0)), model("b", (2, "live", 1), (4, "live", 6)), model("c", (3, "live", 4))]
    assert live(models, 3, 5, 6) == ["b", "c", "b"]
    assert states(models) == {"a": "retired", "b": "live", "c": "retired"}


def test_a_promotion_that_the_gate_did_not_let_pass_leaves_the_state_as_it_was() -> None:
    models = [model("a", (1, "live", 0)), model("b", (2, "candidate", 1), (3, "refused", 4), (4, "undecided", 5))]
    assert states(models) == {"a": "live", "b": "candidate"}


def test_a_move_gets_the_next_number_and_the_same_one_said_again_replaces_it() -> None:
    models = [model("a", (1, "live", 0)), model("b", (2, "candidate", 1))]
    once = with_transition(models, "b", "refused", since=day(3), actor="ben", reason="worse")
    twice = with_transition(once, "b", "refused", since=day(3), actor="ben", reason="still worse")
    assert [(step.sequence, step.state) for step in once[1].transitions] == [(2, "candidate"), (3, "refused")]
    assert [(step.sequence, step.reason) for step in twice[1].transitions] == [(2, "so"), (4, "still worse")]
    assert twice[0] == replace(models[0], state="live")


def test_without_what_a_night_moved_the_model_before_is_live() -> None:
    models = [model("a", (1, "live", 0)), model("b", (2, "live", 3))]
    assert live(without_transitions_of(models, "ana", day(3)), 3) == ["a"]
    assert live(without_transitions_of(models, "ben", day(3)), 3) == ["b"]


@pytest.mark.parametrize(("night", "found"), [(4, None), (5, "b")])
def test_a_model_was_turned_down_once_that_is_known_on_the_night(night: int, found: str | None) -> None:
    models = [model("old", (1, "rejected", 0)), model("b", (2, "live", 3), (3, "rejected", 5), trained=3)]
    refused = last_refused_since(models, day(0), day(night))
    assert (refused and refused.version) == found


NAMES = st.sampled_from("abcd")
DECISIONS = st.lists(st.tuples(NAMES, st.sampled_from(["live", "rejected", "refused"]), st.integers(0, 9)), max_size=12)


def decided(decisions: list[tuple[str, str, int]]) -> list[dict]:
    models = [model(name) for name in "abcd"]
    for name, state, since in decisions:
        models = with_transition(models, name, state, since=day(since), actor="ana", reason="so")
    return models


@given(DECISIONS)
def test_at_most_one_model_is_live_and_it_was_made_so_and_not_rejected_after(
    decisions: list[tuple[str, str, int]],
) -> None:
    models = decided(decisions)
    assert [each.state for each in models].count("live") <= 1
    numbers = [step.sequence for each in models for step in each.transitions]
    assert len(set(numbers)) == len(numbers)
    assert next_sequence(models) > max(numbers, default=0)
    for offset in range(10):
        if found := live_on(models, day(offset)):
            decisive = [step for step in found.transitions if step.since <= day(offset) and step.state != "refused"]
            assert max(decisive, key=lambda step: step.sequence).state == "live"


@given(DECISIONS, NAMES, st.sampled_from(["live", "rejected", "refused"]), st.integers(0, 9))
def test_a_decision_changes_nothing_on_the_nights_before_it(
    decisions: list[tuple[str, str, int]], name: str, state: str, since: int
) -> None:
    models = decided(decisions)
    after = with_transition(models, name, state, since=day(since), actor="ben", reason="so")
    assert live(after, *range(since)) == live(models, *range(since))


@given(DECISIONS, st.randoms())
def test_the_order_of_the_rows_is_of_no_account(decisions: list[tuple[str, str, int]], random) -> None:
    models = decided(decisions)
    mixed = random.sample(models, len(models))
    assert live(mixed, *range(10)) == live(models, *range(10))


def arm_of(**changes):
    return Arm(weight=1, **changes)


def test_an_arm_has_the_model_that_it_names_or_one_by_its_recipe_unless_it_was_rejected():
    settings = load_settings().als
    own = settings.model_dump_json()
    live = two_listeners.model("live", day(0), (1, "live", day(0)), settings=own)
    other = settings.model_copy(update={"alpha": settings.alpha + 1}).model_dump_json()
    step = (2, "candidate", day(0))
    named = two_listeners.model("named", day(0), step, state="candidate", settings=own)
    same_night = two_listeners.model("same", day(0), step, state="candidate", settings=other)
    trained = two_listeners.model("trained", day(1), step, state="candidate", settings=other, origin="experiment")
    tried = two_listeners.model("tried", day(1), step, state="candidate", settings=other, origin="tune")
    recipe = arm_of(recipe={"alpha": settings.alpha + 1})
    assert model_of_arm([live], day(0), arm_of()) is live
    assert model_of_arm([live, named], day(0), arm_of(model="named")) is named
    assert model_of_arm([live, replace(named, state="rejected")], day(0), arm_of(model="named")) is None
    assert model_of_arm([live, tried], day(1), recipe) is None  # somebody's candidate is no arm's model
    assert model_of_arm([live, same_night, tried], day(1), recipe) is same_night
    assert model_of_arm([live, same_night, trained], day(1), recipe) is trained
    assert model_of_arm([live, same_night, trained], day(0), recipe) is same_night
    assert model_of_arm([live, same_night, replace(trained, state="rejected")], day(1), recipe) is same_night
