from datetime import date

import pytest

from nocturne.cache.pointer import Generation, Pointer, advance, from_json, refusal, release, roll_back, to_json
from nocturne.errors import SettingsError

MONDAY = Generation("2026-03-02-aaaaaaaa", date(2026, 3, 2))
TUESDAY = Generation("2026-03-03-bbbbbbbb", date(2026, 3, 3))
TUESDAY_AGAIN = Generation("2026-03-03-cccccccc", date(2026, 3, 3))
WEDNESDAY = Generation("2026-03-04-dddddddd", date(2026, 3, 4))


def test_the_first_generation_is_served_without_a_previous_one():
    assert advance(None, MONDAY) == Pointer(MONDAY, previous=None, held=None)


def test_a_newer_night_is_served_and_the_one_served_until_then_is_kept():
    assert advance(Pointer(TUESDAY, previous=MONDAY), WEDNESDAY) == Pointer(WEDNESDAY, previous=TUESDAY)


def test_other_lists_of_the_night_being_served_replace_it():
    assert advance(Pointer(TUESDAY, previous=MONDAY), TUESDAY_AGAIN) == Pointer(TUESDAY_AGAIN, previous=TUESDAY)


def test_the_generation_being_served_moves_nothing():
    pointer = Pointer(TUESDAY, previous=MONDAY)
    assert advance(pointer, TUESDAY) == pointer
    assert refusal(pointer, TUESDAY) is None


def test_an_older_night_never_moves_the_pointer():
    pointer = Pointer(TUESDAY)
    assert advance(pointer, MONDAY) == pointer
    assert refusal(pointer, MONDAY) == "backfill of an older night: 2026-03-03-bbbbbbbb is served"


def test_while_held_a_newer_night_does_not_move_the_pointer_and_after_release_it_does():
    held = Pointer(MONDAY, held="too much jazz")
    assert advance(held, WEDNESDAY) == held
    assert refusal(held, WEDNESDAY) == "held on 2026-03-02-aaaaaaaa: too much jazz"
    assert advance(release(held), WEDNESDAY) == Pointer(WEDNESDAY, previous=MONDAY)


def test_a_rollback_serves_the_previous_generation_and_holds_it():
    assert roll_back(Pointer(TUESDAY, previous=MONDAY), "too much jazz") == Pointer(MONDAY, held="too much jazz")


def test_a_second_rollback_cannot_bring_back_what_the_first_took_away():
    rolled_back = roll_back(Pointer(TUESDAY, previous=MONDAY), "too much jazz")
    with pytest.raises(SettingsError, match="held already"):
        roll_back(rolled_back, "and again")
    with pytest.raises(SettingsError, match="no previous generation"):
        roll_back(release(rolled_back), "and again")


def test_a_rollback_without_a_reason_or_without_a_generation_is_an_error():
    with pytest.raises(SettingsError, match="needs a reason"):
        roll_back(Pointer(TUESDAY, previous=MONDAY), " ")
    with pytest.raises(SettingsError, match="serves no generation"):
        roll_back(None, "too much jazz")


def test_releasing_a_pointer_that_is_not_held_changes_nothing():
    assert release(Pointer(TUESDAY, previous=MONDAY)) == Pointer(TUESDAY, previous=MONDAY)


@pytest.mark.parametrize("pointer", [Pointer(MONDAY), Pointer(TUESDAY, MONDAY), Pointer(MONDAY, None, 'a "why" é')])
def test_a_pointer_reads_back_from_its_json(pointer: Pointer):
    assert from_json(to_json(pointer)) == pointer
