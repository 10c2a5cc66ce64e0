"""Profile of `set_aside`: rows without some listens are what the listens that are kept add up to.

Written a second time, listen by listen, from docs/decisions/not-my-taste.md: a sum of an earlier period is halved once
a period, rounding down, and halves of halves are halves of the whole, so that all can be halved at once.
"""

import json
import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.night import Night
from nocturne.storage import tables
from nocturne.storage.history import interaction_sources, retained_listens
from nocturne.storage.stored_rows import StoredRows
from nocturne.validation.profiles.arithmetic import Profile, repeated

_RECOMPUTED = 1000
"""Listeners whose rows are made again, at most: those whose digests come first, which are others every night."""

_SUMS = ("play_sums", "second_sums")
_ALIKE = ("market", "market_heard_at", "period", "item_indexes", "last_heard", "changed_on")
_ROW = ("user_id", *_ALIKE, *_SUMS, "recent_items", "recent_times")
_LISTENS = ("user_id", "item_id", "listened_at", "ms_played", "plays", "context")
_WINDOW, _UNIT, _EPOCH = 64, 2**20, date(1970, 1, 1)

Row = dict[str, Any]
Rows = Mapping[str, Row]


class Listen(NamedTuple):
    """A listen, and what it is worth in the period of the night that ingested it."""

    row: Row
    item: int
    period: int
    amounts: tuple[int, int]


def set_aside(night: Night) -> Profile:
    """Of all rows how they go with plans; of some, made again, that they are right."""
    rows = tables.night_rows(night, "set_aside")
    plans = tables.night_rows(night, "steers", ["user_id", "plan"]).to_pylist()
    asked = {row["user_id"]: said for row in plans if (said := json.loads(row["plan"]).get("not_taste"))}
    stored = {row["user_id"]: row for row in rows.to_pylist()}
    mine = _rows(night, "interactions", sorted({*asked, *stored}))
    unasked = sum(json.loads(row["not_taste"]) != asked.get(user_id) for user_id, row in stored.items())
    missing = sum(user_id in mine and user_id not in stored for user_id in asked)
    some = sorted(stored, key=lambda user_id: str(stored[user_id]["digest"]))[:_RECOMPUTED]
    return {
        "duplicate_listeners": repeated(rows["user_id"]),
        "unasked": unasked + missing,
        "wrong_rows": _count_wrong(night, {user_id: stored[user_id] for user_id in some}, mine) if some else 0,
    }


@dataclass(frozen=True)
class _Past:
    """Rows of the night before, that those of a night are made of."""

    whole: Rows
    learned: Rows
    stood: Mapping[str, str]


def _count_wrong(night: Night, stored: Rows, mine: Rows) -> int:
    since, added = interaction_sources(night)
    users = sorted(stored)
    past = _past(night.on(since), users) if since else _Past({}, {}, {})
    fresh = [user_id for user_id in users if past.stood.get(user_id) != stored[user_id]["not_taste"]]
    told = _listens(night, retained_listens(night, since), fresh) if fresh else {}
    tonight, facts = _listens(night, added, users), _facts(night)
    wrong = 0
    for user_id in users:
        whole, heard = stored[user_id], [*told.get(user_id, ()), *tonight.get(user_id, ())]
        conditions = json.loads(whole["not_taste"])
        kept = [each for each in heard if not any(_meets(each.row, one, facts) for one in conditions)]
        base = past.learned.get(user_id)
        if user_id in fresh:
            base = _older(past.whole.get(user_id), told.get(user_id, ()))
        wrong += mine.get(user_id) is None or not _is_right(mine[user_id], whole, base, kept)
    return wrong


def _is_right(row: Row, whole: Row, base: Row | None, kept: Sequence[Listen]) -> bool:
    """True if a row is what is kept adds up to, and else as the whole one."""
    if any(row[name] != whole[name] for name in _ALIKE):
        return False
    period, before = whole["period"], base["period"] if base else 0
    for which, name in enumerate(_SUMS):
        amounts = _amounts((each.item, each.period, each.amounts[which]) for each in kept)
        for item, amount in zip(base["item_indexes"], base[name], strict=True) if base else ():
            amounts[item].append((before, amount))
        if row[name] != [_halved(amounts[item], period) for item in whole["item_indexes"]]:
            return False
    earlier = zip(base["recent_times"], base["recent_items"], strict=True) if base else ()
    window = sorted([*earlier, *((each.row["listened_at"], each.item) for each in kept)])[-_WINDOW:]
    return window == [*zip(row["recent_times"], row["recent_items"], strict=True)]


def _older(whole: Row | None, told: Sequence[Listen]) -> Row | None:
    """The row of all that a whole one has beyond the listens that there are."""
    if whole is None:
        return None
    left = dict(whole)
    for which, name in enumerate(_SUMS):
        amounts = _amounts((each.item, each.period, each.amounts[which]) for each in told)
        entries = zip(whole["item_indexes"], whole[name], strict=True)
        left[name] = [max(0, amount - _halved(amounts[item], whole["period"])) for item, amount in entries]
    window = Counter(zip(whole["recent_times"], whole["recent_items"], strict=True))
    window -= Counter((each.row["listened_at"], each.item) for each in told)
    listens = sorted(window.elements())
    return left | {"recent_times": [each[0] for each in listens], "recent_items": [each[1] for each in listens]}


def _amounts(listens: Iterable[tuple[int, int, int]]) -> dict[int, list[tuple[int, int]]]:
    amounts = defaultdict(list)
    for item, period, amount in listens:
        amounts[item].append((period, amount))
    return amounts


def _halved(amounts: Sequence[tuple[int, int]], until: int) -> int:
    """The sum of amounts of some periods, as it is worth in a later one, rounded down."""
    first = min((period for period, _ in amounts), default=until)
    return sum(amount << (period - first) for period, amount in amounts) >> (until - first)


def _meets(listen: Row, condition: Mapping[str, Any], facts: Rows) -> bool:
    """True if a listen is one of those that are meant; what is not known of its item is a no."""
    item, day = facts.get(listen["item_id"], {}), str(listen["listened_at"].date())
    days = condition.get("days", {})
    held = {
        "content_types": {item.get("content_type")},
        "creators": {_plain(item.get("creator"))},
        "tags": {_plain(tag) for tag in item.get("tags") or ()},
        "item_ids": {listen["item_id"]},
        "contexts": {_plain(listen["context"])},
    }
    exact = {"content_types", "item_ids"}
    named = {name: values for name, values in condition.items() if name in held and values}
    return (days.get("first") or day) <= day <= (days.get("last") or day) and all(
        held[name] & {value if name in exact else _plain(value) for value in values} for name, values in named.items()
    )


def _plain(name: str | None) -> str | None:
    return None if name is None else unicodedata.normalize("NFKC", name).casefold().strip()


def _past(night: Night, user_ids: Sequence[str]) -> _Past:
    learned = _rows(night, "interactions", user_ids)
    stored = tables.night_rows(night, "set_aside").to_pylist()
    whole = {row["user_id"]: row for row in stored}
    return _Past({**learned, **whole}, learned, {row["user_id"]: row["not_taste"] for row in stored})


def _rows(night: Night, table: str, user_ids: Sequence[str]) -> dict[str, Row]:
    if not user_ids:
        return {}
    rows = StoredRows.at(night, table, _ROW)
    return {row["user_id"]: row for row in rows.of_listeners(user_ids).to_pylist()} if rows.files else {}


def _listens(night: Night, run_dates: Sequence[date], user_ids: Sequence[str]) -> dict[str, list[Listen]]:
    half_life, listens = night.settings.interactions.half_life_days, defaultdict(list)
    index = tables.rows(night.warehouse, "item_index")
    for run_date in run_dates:
        period = math.floor((run_date - _EPOCH).days / half_life)
        stored = StoredRows.at(night.on(run_date), "listens", _LISTENS)
        rows = stored.of_listeners(user_ids) if stored.files else pa.table({name: [] for name in _LISTENS})
        places = pc.index_in(rows["item_id"].cast(pa.string()), value_set=index["item_id"].combine_chunks())
        items = index["item_index"].combine_chunks().take(places.combine_chunks()).to_pylist()
        for row, item in zip(rows.to_pylist(), items, strict=True):
            days = (row["listened_at"].date() - _EPOCH).days
            worth = math.floor(2.0 ** (days / half_life - period) * _UNIT + 0.5)
            seconds = ((row["ms_played"] or 0) + 500) // 1000
            listens[row["user_id"]].append(Listen(row, item, period, (row["plays"] * worth, seconds * worth)))
    return listens


def _facts(night: Night) -> dict[str, Row]:
    rows = tables.night_rows(night, "items", ["item_id", "content_type", "creator", "tags"]).to_pylist()
    return {row["item_id"]: row for row in rows}
