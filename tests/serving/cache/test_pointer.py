from datetime import date

import pytest

from nocturne.core.errors import InputError, UsageError
from nocturne.serving.cache.pointer import (
    Generation,
    Pointer,
    advance,
    from_json,
    refusal,
    roll_back,
    to_json,
    unfreeze,
)

MONDAY = Generation("2026-03-02-aaaaaaaa", date(2026, 3, 2))
TUESDAY = Generation("2026-03-03-bbbbbbbb", date(2026, 3, 3))
TUESDAY_AGAIN = Generation("2026-03-03-cccccccc", date(2026, 3, 3))
WEDNESDAY = Generation("2026-03-04-dddddddd", date(2026, 3, 4))
THURSDAY = Generation("2026-03-05-eeeeeeee", date(2026, 3, 5))


def test_the_first_generation_is_served_without_an_earlier_one():
    assert advance(None, MONDAY, "/w", keep=3) == Pointer(MONDAY, (), None, 1, "/w")


def test_moves_are_counted_on_from_the_record_when_the_cache_has_lost_its_pointer():
    assert advance(None, MONDAY, "/w", keep=3, recorded_version=41).version == 42
    assert advance(Pointer(MONDAY, version=5), TUESDAY, "/w", keep=3, recorded_version=41).version == 42
    assert advance(Pointer(MONDAY, version=5), TUESDAY, "/w", keep=3, recorded_version=2).version == 6


def test_a_newer_night_is_served_and_those_served_until_then_are_kept_up_to_a_number():
    pointer = Pointer(WEDNESDAY, (TUESDAY, MONDAY), version=3, warehouse="/w")
    assert advance(pointer, THURSDAY, "/w", keep=3) == Pointer(THURSDAY, (WEDNESDAY, TUESDAY), None, 4, "/w")
    assert advance(pointer, THURSDAY, "/w", keep=4).earlier == (WEDNESDAY, TUESDAY, MONDAY)


def test_other_lists_of_the_night_being_served_replace_it():
    pointer = Pointer(TUESDAY, (MONDAY,), version=2)
    assert advance(pointer, TUESDAY_AGAIN, "/w", keep=3).served == TUESDAY_AGAIN
    assert advance(pointer, TUESDAY_AGAIN, "/w", keep=3).earlier == (TUESDAY, MONDAY)


def test_the_generation_being_served_moves_nothing():
    pointer = Pointer(TUESDAY, (MONDAY,))
    assert advance(pointer, TUESDAY, "/w", keep=3) == pointer
    assert refusal(pointer, TUESDAY) is None


def test_an_older_night_never_moves_the_pointer():
    pointer = Pointer(TUESDAY)
    assert advance(pointer, MONDAY, "/w", keep=3) == pointer
    assert refusal(pointer, MONDAY) == "backfill of an older night: 2026-03-03-bbbbbbbb is served"


def test_while_held_a_newer_night_does_not_move_the_pointer_and_after_release_it_does():
    frozen = Pointer(MONDAY, frozen_reason="too much jazz", version=3)
    assert advance(frozen, WEDNESDAY, "/w", keep=3) == frozen
    assert refusal(frozen, WEDNESDAY) == "held on 2026-03-02-aaaaaaaa: too much jazz"
    assert unfreeze(frozen).version == 4
    assert advance(unfreeze(frozen), WEDNESDAY, "/w", keep=3) == Pointer(WEDNESDAY, (MONDAY,), None, 5, "/w")


def test_a_rollback_serves_the_generation_before_and_holds_it():
    pointer = Pointer(WEDNESDAY, (TUESDAY, MONDAY), version=3, warehouse="/w")
    assert roll_back(pointer, "too much jazz") == Pointer(TUESDAY, (MONDAY,), "too much jazz", 4, "/w")


def test_a_rollback_may_name_any_generation_that_is_kept_and_takes_away_those_after_it():
    pointer = Pointer(WEDNESDAY, (TUESDAY, MONDAY), version=3)
    assert roll_back(pointer, "too much jazz", MONDAY.name) == Pointer(MONDAY, (), "too much jazz", 4)
    with pytest.raises(UsageError, match="expected: one of 2026-03-03-bbbbbbbb, 2026-03-02-aaaaaaaa"):
        roll_back(pointer, "too much jazz", THURSDAY.name)


def test_a_second_rollback_cannot_bring_back_what_the_first_took_away():
    rolled_back = roll_back(Pointer(TUESDAY, (MONDAY,)), "too much jazz")
    with pytest.raises(UsageError, match="held already"):
        roll_back(rolled_back, "and again")
    with pytest.raises(UsageError, match="no previous generation"):
        roll_back(unfreeze(rolled_back), "and again")


def test_a_rollback_without_a_reason_or_without_a_generation_is_an_error():
    with pytest.raises(UsageError, match="needs a reason"):
        roll_back(Pointer(TUESDAY, (MONDAY,)), " ")
    with pytest.raises(UsageError, match="serves no generation"):
        roll_back(None, "too much jazz")


def test_releasing_a_pointer_that_is_not_held_changes_nothing():
    assert unfreeze(Pointer(TUESDAY, (MONDAY,))) == Pointer(TUESDAY, (MONDAY,))


@pytest.mark.parametrize(
    "pointer",
    [Pointer(MONDAY), Pointer(WEDNESDAY, (TUESDAY, MONDAY), None, 7, "/w"), Pointer(MONDAY, (), 'a "why" é', 2, "/é")],
)
def test_a_pointer_reads_back_from_its_json(pointer: Pointer):
    assert from_json(to_json(pointer)) == pointer


def test_the_stored_json_keeps_its_fields_whatever_the_code_calls_them():
    stored = (
        '{"served":{"name":"2026-03-03-bbbbbbbb","run_date":"2026-03-03"},'
        '"earlier":[{"name":"2026-03-02-aaaaaaaa","run_date":"2026-03-02"}],'
        '"held":"too much jazz","move":7,"warehouse":"/é"}'
    ).encode()
    pointer = Pointer(TUESDAY, (MONDAY,), frozen_reason="too much jazz", version=7, warehouse="/é")
    assert to_json(pointer) == stored
    assert from_json(stored) == pointer


def test_a_pointer_of_another_release_is_an_input_error_that_says_what_to_do():
    with pytest.raises(InputError, match="name an empty cache"):
        from_json(b'{"served":{"name":"2026-03-02-aaaaaaaa","run_date":"2026-03-02"},"previous":null,"held":null}')
