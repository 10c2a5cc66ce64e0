"""A service of two tastes, written without Spark: what everybody will hear is known.

Forty listeners, half of them in SE hearing ten tracks, half in NO hearing ten podcast episodes. On each of six nights
a listener hears the next two of their ten in a turn of their own; so on the fifth night everyone has heard all ten,
and of the nights before it, what comes next is always of the listener's own taste.
"""

from datetime import UTC, date, datetime, timedelta

import world

from nocturne import registry
from nocturne.interactions import UNIT
from nocturne.model import Model
from nocturne.night import Night
from nocturne.settings import AlsSettings

FIRST = date(2025, 3, 1)
NIGHTS = 6
LISTENERS, ITEMS = 40, 20
SETTINGS = ("tables.buckets=1", "als.factors=4", "als.iterations=5", "als.threads=1", "ranking.top_k=4")


def user(listener: int) -> str:
    return f"user-{listener:02d}"


def item(number: int) -> str:
    return f"item-{number:02d}"


def heard_on(listener: int, night: int) -> list[int]:
    """Two items of the listener's taste: the even listeners turn one way, the odd ones the other."""
    first = 0 if listener < LISTENERS // 2 else ITEMS // 2
    turn = 1 if listener % 2 else -1
    return [first + (listener + turn * (2 * night + step)) % 10 for step in range(2)]


def heard_by(listener: int, night: int) -> list[int]:
    return sorted({each for earlier in range(night + 1) for each in heard_on(listener, earlier)})


def write(make_night) -> list[Night]:
    """Write all nights; `make_night` is the fixture `night`."""
    nights = [make_night(FIRST + timedelta(days=offset), *SETTINGS) for offset in range(NIGHTS)]
    index = [{"first_night": FIRST, "item_index": each, "item_id": item(each)} for each in range(ITEMS)]
    world.write(nights[0], "item_index", index)
    for offset, night in enumerate(nights):
        world.write(night, "items", [_item(each) | {"run_date": night.run_date} for each in range(ITEMS)])
        world.write(night, "listens", _listens(offset, night))
        world.write(night, "interactions", [_row(listener, offset, night) for listener in range(LISTENERS)])
    return nights


def publish(night: Night, lists: dict[str, list[str]]) -> None:
    """Write lists, item ids best first by listener, as the night's."""
    rows = [
        {"bucket": 0, "user_id": user_id, "arm": "control", "source": "als", "model_version": "m", "candidates": 10}
        | {"run_date": night.run_date, "digest": "d", "items": [{"item_id": each, "score": 1.0} for each in items]}
        for user_id, items in lists.items()
    ]
    world.write(night, "ranked_lists", rows)


def train(night: Night, **recipe: object) -> Model:
    settings = AlsSettings.model_validate(night.settings.als.model_dump() | recipe)
    return registry.train(night, settings).training.model


def _item(number: int) -> world.Row:
    kind = "track" if number < ITEMS // 2 else "podcast_episode"
    return {
        "item_id": item(number),
        "content_type": kind,
        "title": f"Title {number}",
        "creator": f"Creator {number % 3}",
    }


def _listens(offset: int, night: Night) -> list[world.Row]:
    at = datetime(night.run_date.year, night.run_date.month, night.run_date.day, 12, tzinfo=UTC)
    return [
        {
            "run_date": night.run_date,
            "event_id": f"{offset}/{listener}/{number}",
            "user_id": user(listener),
            "item_id": item(number),
            "listened_at": at,
            "plays": 1,
            "late": False,
        }
        for listener in range(LISTENERS)
        for number in heard_on(listener, offset)
    ]


def _row(listener: int, offset: int, night: Night) -> world.Row:
    heard = heard_by(listener, offset)
    return {
        "run_date": night.run_date,
        "bucket": 0,
        "user_id": user(listener),
        "market": "SE" if listener < LISTENERS // 2 else "NO",
        "period": 223,
        "item_indexes": heard,
        "play_sums": [UNIT] * len(heard),
        "second_sums": [0] * len(heard),
        "last_heard": [_last_heard(listener, each, offset) for each in heard],
        "changed_on": night.run_date,
        "digest": user(listener),
    }


def _last_heard(listener: int, number: int, offset: int) -> date:
    return FIRST + timedelta(days=max(night for night in range(offset + 1) if number in heard_on(listener, night)))
