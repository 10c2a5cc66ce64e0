"""Which model is live on which night: literal moves, and what holds for any of them."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.storage.model_transitions import live_on, moved, next_number, settle, turned_down, without

FIRST = date(2025, 3, 1)


def day(offset: int) -> date:
    return FIRST + timedelta(days=offset)


def model(name: str, *moves: tuple[int, str, int], trained: int = 0) -> dict:
    """A model and its moves: number, state, days after the first day."""
    told = [
        {"number": number, "state": state, "since": day(since), "by": "ana", "why": "so"}
        for number, state, since in moves
    ]
    return {"model_version": name, "run_date": day(trained), "state": "candidate", "moves": told}


def live(rows: list[dict], *offsets: int) -> list[str | None]:
    """The names of the models live on those days."""
    found = [live_on(rows, day(offset)) for offset in offsets]
    return [row["model_version"] if row else None for row in found]


def states(rows: list[dict]) -> dict[str, str]:
    return {row["model_version"]: row["state"] for row in settle(rows)}


def test_a_model_is_live_from_its_night_on_and_nothing_is_before() -> None:
    assert live([model("a", (1, "live", 2))], 1, 2, 9) == [None, "a", "a"]


def test_the_model_made_live_last_retires_the_one_before_from_its_night_on() -> None:
    rows = [model("a", (1, "live", 0)), model("b", (2, "live", 3))]
    assert live(rows, 2, 3) == ["a", "b"]
    assert states(rows) == {"a": "retired", "b": "live"}


def test_last_is_by_night_before_it_is_by_number_so_that_a_backfill_moves_no_later_night() -> None:
    rows = [model("a", (1, "live", 0)), model("b", (2, "live", 5)), model("backfilled", (3, "live", 2))]
    assert live(rows, 1, 2, 4, 5) == ["a", "backfilled", "backfilled", "b"]


def test_of_two_models_made_live_for_one_night_the_later_decision_counts() -> None:
    assert live([model("a", (2, "live", 1)), model("b", (1, "live", 1))], 1) == ["a"]


def test_a_rejected_model_gives_way_to_the_one_before_it_from_that_night_on() -> None:
    rows = [model("a", (1, "live", 0)), model("b", (2, "live", 3), (3, "rejected", 5))]
    assert live(rows, 2, 3, 4, 5, 9) == ["a", "b", "b", "a", "a"]
    assert states(rows) == {"a": "live", "b": "rejected"}


def test_a_rejected_model_that_was_not_live_changes_nothing() -> None:
    rows = [model("a", (1, "live", 0)), model("b", (2, "rejected", 3))]
    assert live(rows, 3) == ["a"]
    assert states(rows) == {"a": "live", "b": "rejected"}


def test_after_its_only_model_is_rejected_nothing_is_live() -> None:
    assert live([model("a", (1, "live", 0), (2, "rejected", 1))], 0, 1) == ["a", None]


def test_what_was_said_before_a_model_was_made_live_again_no_longer_withdraws_it() -> None:
    rows = [model("a", (1, "live", 0)), model("b", (2, "live", 1), (4, "live", 6)), model("c", (3, "live", 4))]
    assert live(rows, 3, 5, 6) == ["b", "c", "b"]
    assert states(rows) == {"a": "retired", "b": "live", "c": "retired"}


def test_a_promotion_that_the_gate_did_not_let_pass_leaves_the_state_as_it_was() -> None:
    rows = [model("a", (1, "live", 0)), model("b", (2, "candidate", 1), (3, "refused", 4), (4, "undecided", 5))]
    assert states(rows) == {"a": "live", "b": "candidate"}


def test_a_move_gets_the_next_number_and_the_same_one_said_again_replaces_it() -> None:
    rows = [model("a", (1, "live", 0)), model("b", (2, "candidate", 1))]
    once = moved(rows, "b", "refused", since=day(3), by="ben", why="worse")
    twice = moved(once, "b", "refused", since=day(3), by="ben", why="still worse")
    assert [(move["number"], move["state"]) for move in once[1]["moves"]] == [(2, "candidate"), (3, "refused")]
    assert [(move["number"], move["why"]) for move in twice[1]["moves"]] == [(2, "so"), (4, "still worse")]
    assert twice[0] == rows[0] | {"state": "live"}


def test_without_what_a_night_moved_the_model_before_is_live() -> None:
    rows = [model("a", (1, "live", 0)), model("b", (2, "live", 3))]
    assert live(without(rows, "ana", day(3)), 3) == ["a"]
    assert live(without(rows, "ben", day(3)), 3) == ["b"]


@pytest.mark.parametrize(("night", "found"), [(4, None), (5, "b")])
def test_a_model_was_turned_down_once_that_is_known_on_the_night(night: int, found: str | None) -> None:
    rows = [model("old", (1, "rejected", 0)), model("b", (2, "live", 3), (3, "rejected", 5), trained=3)]
    row = turned_down(rows, day(0), day(night))
    assert (row and row["model_version"]) == found


NAMES = st.sampled_from("abcd")
DECISIONS = st.lists(st.tuples(NAMES, st.sampled_from(["live", "rejected", "refused"]), st.integers(0, 9)), max_size=12)


def decided(decisions: list[tuple[str, str, int]]) -> list[dict]:
    rows = [model(name) for name in "abcd"]
    for name, state, since in decisions:
        rows = moved(rows, name, state, since=day(since), by="ana", why="so")
    return rows


@given(DECISIONS)
def test_at_most_one_model_is_live_and_it_was_made_so_and_not_rejected_after(
    decisions: list[tuple[str, str, int]],
) -> None:
    rows = decided(decisions)
    assert [row["state"] for row in rows].count("live") <= 1
    numbers = [move["number"] for row in rows for move in row["moves"]]
    assert len(set(numbers)) == len(numbers)
    assert next_number(rows) > max(numbers, default=0)
    for offset in range(10):
        if found := live_on(rows, day(offset)):
            known = [move for move in found["moves"] if move["since"] <= day(offset) and move["state"] != "refused"]
            assert max(known, key=lambda move: move["number"])["state"] == "live"


@given(DECISIONS, NAMES, st.sampled_from(["live", "rejected", "refused"]), st.integers(0, 9))
def test_a_decision_changes_nothing_on_the_nights_before_it(
    decisions: list[tuple[str, str, int]], name: str, state: str, since: int
) -> None:
    rows = decided(decisions)
    after = moved(rows, name, state, since=day(since), by="ben", why="so")
    assert live(after, *range(since)) == live(rows, *range(since))


@given(DECISIONS, st.randoms())
def test_the_order_of_the_rows_is_of_no_account(decisions: list[tuple[str, str, int]], random) -> None:
    rows = decided(decisions)
    mixed = random.sample(rows, len(rows))
    assert live(mixed, *range(10)) == live(rows, *range(10))
