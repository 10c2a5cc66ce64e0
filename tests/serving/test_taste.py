"""The account of listens that are not a listener's taste: what is said of the night, the request and the one before."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import pytest

from nocturne.ingestion.not_taste import NotTaste, as_text
from nocturne.serving.cache.served_items import ServedItems
from nocturne.serving.reader import Served
from nocturne.serving.taste import taste_receipt
from nocturne.steering.plan import Plan

SLEEP, PARTY = (NotTaste(tags=("sleep",)),), (NotTaste(tags=("party",)),)
NO_SLEEP = Plan(not_taste=SLEEP, holds="always")
GONE = "Listens of nights before 2025-03-01 are no longer on record: what they left stays, and fades."
ALL = "Listens of all nights are on record, so that all of them can be taken out."
KEPT = "12 listens are kept out since the night of 2025-02-27"


@pytest.fixture(scope="module")
def world(served: Served) -> ServedItems:
    return served.items


@pytest.fixture
def items(world: ServedItems) -> Iterator[ServedItems]:
    """Of Ann twelve listens are kept out, and of Bob one; what is older than March is gone."""
    before, text = world.info, as_text(SLEEP)
    aside = {"ann": (text, "2025-02-27", 12, True), "bob": (text, "2025-03-02", 1, False)}
    world.info = replace(before, on_record_since="2025-03-01", set_aside=aside)
    yield world
    world.info = before


def test_what_is_no_longer_on_record_stays_and_is_told(items: ServedItems):
    told = taste_receipt(items, "cec", NO_SLEEP)
    assert told is not None
    assert told._asdict() == {
        "on_record_since": date(2025, 3, 1),
        "kept_out": 0,
        "since": None,
        "older": False,
        "in_words": (GONE,),
    }


def test_where_every_night_is_on_record_all_listens_can_be_taken_out(world: ServedItems):
    told = taste_receipt(world, "ann", NO_SLEEP)
    assert told is not None
    assert (told.on_record_since, told.in_words) == (None, (ALL,))


STAYS = f"{KEPT}, what had been no longer on record by then is not; that stays so."
CHANGED = (
    f"{KEPT}; this takes the place of what was asked for then. "
    "Of those, listens of nights before 2025-03-01 come back in."
)
UNDONE = (
    "1 listen is kept out since the night of 2025-03-02; all of it counts again from the next night on, "
    "exactly as if it had never been asked for."
)


@pytest.mark.parametrize(
    ("user_id", "plan", "in_words"),
    [
        ("ann", NO_SLEEP, (STAYS, GONE)),
        ("bob", Plan(holds="always"), (UNDONE,)),
        ("ann", Plan(not_taste=PARTY, holds="always"), (CHANGED, GONE)),
    ],
)
def test_what_becomes_of_what_was_asked_for_before_is_told(
    items: ServedItems, user_id: str, plan: Plan, in_words: tuple[str, ...]
):
    told = taste_receipt(items, user_id, plan)
    assert told is not None
    assert told.in_words == in_words


@pytest.mark.parametrize(
    ("user_id", "plan"), [("ann", Plan()), ("ann", Plan(holds="session")), ("cec", Plan(holds="always"))]
)
def test_a_plan_that_changes_nothing_of_it_has_no_such_account(items: ServedItems, user_id: str, plan: Plan):
    assert taste_receipt(items, user_id, plan) is None
