"""Listens that are not a listener's taste: which they are, by literal rows."""

from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
from pydantic import ValidationError

from nocturne.ingestion.not_taste import Days, NotTaste, as_text, conditions_of, not_taste

ITEMS = pa.table(
    {
        "item_id": ["lullaby", "story", "party", "bare"],
        "content_type": ["track", "audiobook", "track", "track"],
        "creator": ["Moon Choir", "Old Owl", "The Loud", None],
        "tags": pa.array([["Sleep", "children"], ["children"], ["party"], None], pa.list_(pa.string())),
    }
)
LISTENS = pa.table(
    {
        "user_id": ["ann"] * 5 + ["bob"],
        "item_id": ["lullaby", "story", "party", "bare", "unknown", "lullaby"],
        "listened_at": pa.array([datetime(2026, 3, day, 23, 59, tzinfo=UTC) for day in (1, 2, 3, 4, 5, 1)]).cast(
            pa.timestamp("us", "UTC")
        ),
        "context": ["radio", None, "Kids Corner", "radio", "radio", "radio"],
    }
)


@pytest.mark.parametrize(
    ("condition", "left_out"),
    [
        (NotTaste(tags=("SLEEP", "party")), ["lullaby", "party"]),
        (NotTaste(creators=(" moon choir",)), ["lullaby"]),
        (NotTaste(content_types=("audiobook",)), ["story"]),
        (NotTaste(content_types=("track",), tags=("children",)), ["lullaby"]),
        (NotTaste(item_ids=("bare", "unknown", "Party")), ["bare", "unknown"]),
        (NotTaste(contexts=("kids corner",)), ["party"]),
        (NotTaste(days=Days(first=date(2026, 3, 2), last=date(2026, 3, 3))), ["story", "party"]),
        (NotTaste(days=Days(last=date(2026, 3, 1))), ["lullaby"]),
        (NotTaste(tags=("children",), days=Days(first=date(2026, 3, 2))), ["story"]),
    ],
)
def test_a_listen_is_left_out_by_every_field_that_is_named(condition: NotTaste, left_out: list[str]) -> None:
    out = not_taste(LISTENS, {"ann": (condition,)}, ITEMS)
    assert LISTENS.filter(pa.array(out))["item_id"].to_pylist() == left_out


def test_conditions_are_each_listeners_own() -> None:
    asked = {"ann": (NotTaste(item_ids=("story",)), NotTaste(item_ids=("bare",))), "bob": (NotTaste(tags=("sleep",)),)}
    assert not_taste(LISTENS, asked, ITEMS).tolist() == [False, True, False, True, False, True]


def test_a_condition_names_a_field_and_days_go_on() -> None:
    with pytest.raises(ValidationError, match="names a field"):
        NotTaste()
    with pytest.raises(ValidationError, match="goes on"):
        Days(first=date(2026, 3, 2), last=date(2026, 3, 1))
    with pytest.raises(ValidationError, match="an end at least"):
        Days()


def test_conditions_are_read_back_from_a_plan_as_they_were() -> None:
    conditions = (NotTaste(tags=("sleep",), days=Days(last=date(2026, 3, 1))), NotTaste(item_ids=("a",)))
    assert conditions_of(f'{{"not_taste": {as_text(conditions)}, "holds": "always"}}') == conditions
    assert conditions_of('{"holds": "always"}') == ()


def test_a_condition_is_said_in_words() -> None:
    condition = NotTaste(content_types=("track",), tags=("sleep", "rain"), days=Days(first=date(2026, 1, 1)))
    assert condition.in_words() == "listens to tracks tagged sleep or rain from 2026-01-01 on"
    assert NotTaste(contexts=("kids",)).in_words() == "listens in the context kids"
