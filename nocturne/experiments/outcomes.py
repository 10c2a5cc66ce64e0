"""Outcomes: columns of measures of each listener, from their listens and from what they were shown. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Codes, Counts, Floats, Mask
from nocturne.core.masks import mask

LISTENS = ("user_id", "item_id", "plays", "ms_played", "listened_at")
SHOWN = ("user_id", "shown_at", "list_run_date", "arm", "items", "differences")
"""Columns read of `listens` and of `exposures`."""

_MINUTE_MS = 60_000
Keys = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Window:
    """Days of which outcomes are measured, as days since 1970-01-01, both ends included."""

    first: int
    last: int

    def holds(self, days: Counts) -> Mask:
        """True for days of the window."""
        return np.asarray((days >= self.first) & (days <= self.last))


@dataclass(frozen=True)
class Outcomes:
    """The listens and exposures of some listeners in a window.

    Attributes:
        user_ids: the listeners, distinct; every column has a value of each, in this order.
        listens: LISTENS, of anyone.
        exposures: SHOWN, of anyone.
        heard: user_id and item_id of what was heard before.
        content_types: by item id.
    """

    user_ids: pa.Array
    listens: pa.Table
    exposures: pa.Table
    heard: pa.Table
    content_types: pa.Table
    window: Window

    def columns(self, names: Iterable[str]) -> dict[str, Floats]:
        """The named columns, such as `minutes` or `plays:podcast`; shape (listeners,) each."""
        return {name: self._column(*name.partition(":")[::2]) for name in names}

    def credit(self, drafts: pa.Table, teams: Sequence[str]) -> dict[str, Floats]:
        """Plays of drafted items by the team that picked them: a column of each team.

        A play counts if the item was shown on its day or the day before, for the team of the list that showed it last.

        Args:
            drafts: user_id, run_date, item_id and team of every drafted item.
        """
        shown, plays = self._shown, self._plays
        team_of = _Lookup(
            self._key(drafts["user_id"], drafts["item_id"]) * _DAYS + days_of(drafts["run_date"]),
            pc.index_in(drafts["team"].combine_chunks(), pa.array(teams)).fill_null(-1).to_numpy(),
        )
        of_shown = team_of(shown.key * _DAYS + shown.list_day)
        by_day = _Lookup(shown.key * _DAYS + shown.day, of_shown)
        same_day, day_after = (by_day(plays.key * _DAYS + plays.day - later) for later in (0, 1))
        team = np.where(same_day >= 0, same_day, day_after)
        return {
            name: self._sum(plays.user[team == number], plays.count[team == number])
            for number, name in enumerate(teams)
        }

    def _column(self, measure: str, content_type: str) -> Floats:
        plays, shown = self._plays, self._shown
        of_type, shown_of_type = (self._is_of(rows.item, content_type) for rows in (plays, shown))
        if measure == "exposures":
            return self._sum(*_first_of_each(shown.exposure[shown_of_type], shown.user[shown_of_type]))
        users, counts = plays.user[of_type], plays.count[of_type]
        if measure == "list_plays":
            listed = np.concatenate([shown.key * _DAYS + shown.day, shown.key * _DAYS + shown.day + 1])
            was_listed = np.isin(plays.key[of_type] * _DAYS + plays.day[of_type], listed)
            return self._sum(users[was_listed], counts[was_listed])
        if measure == "minutes":
            return self._sum(users, plays.milliseconds[of_type] / _MINUTE_MS)
        if measure == "active_days":
            return self._sum(*_first_of_each(users * _DAYS + plays.day[of_type], users))
        if measure == "discoveries":
            keys = plays.key[of_type]
            new = ~np.isin(keys, self._key(self.heard["user_id"], self.heard["item_id"]))
            return self._sum(*_first_of_each(keys[new], users[new]))
        sums = self._sum(users, counts)
        return (sums > 0).astype(np.float64) if measure == "active" else sums

    def _sum(self, users: Keys, amounts: Floats | None = None) -> Floats:
        return np.bincount(users, amounts, minlength=len(self.user_ids)).astype(np.float64)

    def _is_of(self, items: Codes, content_type: str) -> Mask:
        """True for items of a type; of any if it is empty."""
        if not content_type:
            return np.ones(len(items), bool)
        types = (
            self.content_types["content_type"]
            .combine_chunks()
            .take(pc.index_in(self._item_ids, self.content_types["item_id"].combine_chunks()))
        )
        return mask(pc.equal(types, content_type))[items]

    def _key(self, user_ids: pa.ChunkedArray, item_ids: pa.ChunkedArray) -> Keys:
        """A number for each pair of a listener and an item; negative where either is unknown."""
        users, items = (
            pc.index_in(values.combine_chunks(), known).fill_null(-1).to_numpy().astype(np.int64)
            for values, known in ((user_ids, self.user_ids), (item_ids, self._item_ids))
        )
        return np.asarray(np.where((users < 0) | (items < 0), -1, users * len(self._item_ids) + items))

    @cached_property
    def _item_ids(self) -> pa.Array:
        """Items that were heard or shown."""
        shown = pc.list_flatten(self.exposures["items"]).combine_chunks().field("item_id")
        return pc.unique(pa.chunked_array([*self.listens["item_id"].chunks, shown], pa.string()))

    @cached_property
    def _plays(self) -> "_Plays":
        rows = self.listens
        users = pc.index_in(rows["user_id"].combine_chunks(), self.user_ids)
        days = days_of(rows["listened_at"])
        kept = mask(pc.is_valid(users)) & self.window.holds(days)
        user = users.fill_null(0).to_numpy()[kept].astype(np.int64)
        item = pc.index_in(rows["item_id"].combine_chunks(), self._item_ids).to_numpy()[kept]
        counts, milliseconds = (
            pc.fill_null(rows[name], 0).to_numpy()[kept].astype(np.float64) for name in ("plays", "ms_played")
        )
        return _Plays(user, item, user * len(self._item_ids) + item, days[kept], counts, milliseconds)

    @cached_property
    def _shown(self) -> "_Shown":
        rows = self.exposures
        users, days = pc.index_in(rows["user_id"].combine_chunks(), self.user_ids), days_of(rows["shown_at"])
        kept = np.flatnonzero(mask(pc.is_valid(users)) & self.window.holds(days))
        list_days, times = days_of(rows["list_run_date"]), _microseconds(rows["shown_at"])
        kept = kept[np.lexsort((list_days[kept], times[kept]))]
        lists = rows["items"].combine_chunks().take(pa.array(kept))
        exposure = pc.list_parent_indices(lists).to_numpy()
        item = pc.index_in(lists.flatten().field("item_id"), self._item_ids).to_numpy()
        user = users.fill_null(0).to_numpy()[kept][exposure].astype(np.int64)
        keys = user * len(self._item_ids) + item
        return _Shown(user, item, keys, days[kept][exposure], list_days[kept][exposure], kept[exposure])


@dataclass(frozen=True)
class _Plays:
    """Listens of the listeners: numbers of listener and item, the key of both, and the day."""

    user: Keys
    item: Codes
    key: Keys
    day: Keys
    count: Floats
    milliseconds: Floats


@dataclass(frozen=True)
class _Shown:
    """Items in the order shown: likewise, the day of the list's night, and the number of the exposure."""

    user: Keys
    item: Codes
    key: Keys
    day: Keys
    list_day: Keys
    exposure: Keys


_DAYS = 100_000
"""More than there are days in the numbers that stand for them."""


class _Lookup:
    """Values by key, of equal keys the last."""

    def __init__(self, keys: Keys, values: Codes) -> None:
        order = np.argsort(keys, kind="stable")
        self._keys, self._values = keys[order], values[order]

    def __call__(self, keys: Keys) -> Codes:
        """The value of each key; -1 without one."""
        if not len(self._keys):
            return np.full(len(keys), -1, np.int32)
        at = np.searchsorted(self._keys, keys, side="right") - 1
        known = (at >= 0) & (self._keys[at] == keys)
        return np.asarray(np.where(known, self._values[at], -1), np.int32)


def _first_of_each(keys: Keys, users: Keys) -> tuple[Keys]:
    """The listener of each distinct key."""
    _, first = np.unique(keys, return_index=True)
    return (users[first],)


def days_of(times: pa.ChunkedArray) -> Keys:
    """Days since 1970-01-01, UTC, of dates or of times."""
    days = times if pa.types.is_date32(times.type) else times.cast(pa.timestamp("us", "UTC")).cast(pa.date32())
    return np.asarray(days.combine_chunks().cast(pa.int32()).to_numpy(zero_copy_only=False), np.int64)


def _microseconds(times: pa.ChunkedArray) -> Keys:
    """Microseconds since 1970-01-01, UTC."""
    moments = times.cast(pa.timestamp("us", "UTC")).combine_chunks().cast(pa.int64())
    return np.asarray(moments.to_numpy(zero_copy_only=False), np.int64)


def segments(markets: pa.Array, items_heard: Counts) -> dict[str, Mask]:
    """Segments of listeners: their market, and how much they had heard when the experiment began."""
    encoded = pc.dictionary_encode(pc.fill_null(markets, "none"))
    code = encoded.indices.to_numpy()
    of_market = {f"market:{name}": code == number for number, name in enumerate(encoded.dictionary.to_pylist())}
    of_history = {
        "history:none": items_heard == 0,
        "history:up to 20 items": (items_heard > 0) & (items_heard <= 20),
        "history:over 20 items": items_heard > 20,
    }
    return of_market | of_history
