"""Rows of steers: what a line says or why it is none, and whose plan stands on a night."""

import json
from datetime import UTC, date, datetime, timedelta

import pytest

from nocturne.steering.conditions import Rule
from nocturne.steering.plan import Plan
from nocturne.steering.steer_rows import REASONS, NoSteer, Rules, Steer, parse_line, standing

MONDAY = date(2026, 3, 2)
RULES = Rules(MONDAY, 20)
CLEAN = Plan(never=(Rule(explicit=True),), holds="always")
NOTHING = Plan(holds="always")


def line(**changed: object) -> bytes:
    told = {"steer_id": "s1", "user_id": "ann", "asked_at": "2026-03-02T10:00:00Z", "plan": json.loads(CLEAN.to_json())}
    return json.dumps(told | changed).encode()


def test_a_line_says_who_asked_for_what_and_when():
    assert parse_line(line(), RULES) == Steer("ann", "s1", datetime(2026, 3, 2, 10, tzinfo=UTC), CLEAN)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{", "unparsable"),
        (b"[]", "unparsable"),
        (b"\xff", "unparsable"),
        (line(user_id=None), "missing_id"),
        (line(steer_id=""), "missing_id"),
        (line(user_id="ä" * 11), "long_id"),
        (line(user_id="\ud800"), "unparsable"),
        (line(asked_at="soon"), "invalid_asked_at"),
        (line(asked_at="2026-03-03T00:00:00Z"), "invalid_asked_at"),
        (line(plan={"colour": "red", "holds": "always"}), "invalid_plan"),
        (line(plan=None), "invalid_plan"),
        (line(plan={"only": [{"explicit": True}], "never": [{"explicit": True}], "holds": "always"}), "invalid_plan"),
        (line(plan={"never": [{"explicit": True}]}), "does_not_last"),
        (line(plan={"never": [{"explicit": True}], "holds": "session"}), "does_not_last"),
    ],
)
def test_a_line_that_is_none_says_why(text: bytes, reason: str):
    with pytest.raises(NoSteer, match=f"^{reason}$"):
        parse_line(text, RULES)
    assert reason in REASONS


def steer(user_id: str, plan: Plan, hour: int = 10, day: date = MONDAY) -> Steer:
    return Steer(user_id, f"{user_id}-{hour}", datetime(day.year, day.month, day.day, hour, tzinfo=UTC), plan)


def test_the_last_plan_asked_for_stands_and_others_stay():
    new, old = CLEAN.model_copy(update={"holds": MONDAY}), steer("bob", CLEAN, day=MONDAY - timedelta(days=9))
    asked = [steer("ann", new, 12), steer("ann", CLEAN, 11)]
    before = [steer("ann", CLEAN, day=MONDAY - timedelta(days=1)), old]
    assert standing(before, asked, MONDAY) == [asked[0], old]


def test_a_plan_ends_after_its_last_night():
    ends = CLEAN.model_copy(update={"holds": MONDAY})
    assert standing([steer("ann", ends)], [], MONDAY) == [steer("ann", ends)]
    assert standing([steer("ann", ends)], [], MONDAY + timedelta(days=1)) == []


def test_a_plan_that_asks_nothing_ends_what_stood_and_is_kept_for_one_night():
    undone = steer("ann", NOTHING, 12)
    assert standing([steer("ann", CLEAN)], [undone], MONDAY) == [undone]
    assert standing([undone], [], MONDAY + timedelta(days=1)) == []
