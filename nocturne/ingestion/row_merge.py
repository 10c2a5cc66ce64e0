"""Merge of listens into the rows of their listeners, with NumPy. Pure."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

LISTENER = ("user_id", "market", "market_heard_at", "period", "changed_on")
LISTEN = ("item_index", "plays", "seconds", "heard_at")
SUMMED = ("item_indexes", "play_sums", "second_sums", "last_heard")
WINDOW = ("recent_items", "recent_times")
HISTORY = SUMMED + WINDOW

WINDOW_LISTENS = 64
"""Last listens that a row keeps in their order."""

_DAY = 86_400_000_000
"""Microseconds."""

Ints = NDArray[Any]


def merge_listens(listens: pa.Table, earlier: pa.Table) -> pa.Table:
    """Add listens to their listeners' rows.

    Args:
        listens: columns LISTENER and LISTEN, one row per listen; all listens of a listener come together.
        earlier: columns LISTENER and HISTORY, one row per listener. Sums are of the row's period.

    Returns:
        Columns LISTENER and HISTORY; one row per listener by user_id, items ascending. Rows without listens are
        unchanged.
    """
    columns = [*LISTENER, *HISTORY]
    if not listens.num_rows:
        return earlier.select(columns)
    users = pa.concat_arrays([*listens["user_id"].chunks, *earlier["user_id"].chunks]).dictionary_encode()
    listens = listens.append_column("user", users.indices[: listens.num_rows])
    earlier = earlier.append_column("user", users.indices[listens.num_rows :])
    has_listens = np.isin(_ints(earlier["user"]), _ints(listens["user"]))
    unchanged = earlier.filter(pa.array(~has_listens)).select(columns)
    changed = earlier.filter(pa.array(has_listens))
    who = [*LISTENER, "user"]
    listeners = _latest_values(pa.concat_tables([listens.select(who), changed.select(who)]), users.dictionary)
    numbers = _ints(listeners["user"])
    histories = _merge_sums(listens, changed, numbers, _ints(listeners["period"]))
    for name, history in (histories | _merge_windows(listens, changed, numbers)).items():
        listeners = listeners.append_column(name, history)
    merged = pa.concat_tables([unchanged, listeners.select(columns).cast(unchanged.schema)])
    return merged.sort_by("user_id")


def _latest_values(rows: pa.Table, names: pa.Array) -> pa.Table:
    """Columns LISTENER and `user`, their number in `names`; one row per listener, ascending, with the latest values."""
    user, heard_at = _ints(rows["user"]), _ints(rows["market_heard_at"])
    markets = pc.dictionary_encode(rows["market"].combine_chunks())
    # By market too: of two at once the same one wins in any order of rows.
    rank = np.argsort(np.argsort(markets.dictionary.to_numpy(zero_copy_only=False)))
    market = np.append(rank, -1)[_ints(markets.indices.fill_null(len(rank)))]
    order = np.lexsort((market, np.where(market < 0, np.iinfo(np.int64).min, heard_at), user))
    last = order[np.diff(user[order], append=-1) != 0]
    starts = np.flatnonzero(np.diff(user[order], prepend=-1))
    markets_heard = rows.select(["market", "market_heard_at"]).take(last)
    return pa.table(
        {
            "user": user[last],
            "user_id": names.take(pa.array(user[last])),
            **{name: markets_heard[name] for name in markets_heard.column_names},
            **{name: np.maximum.reduceat(_ints(rows[name])[order], starts) for name in ("period", "changed_on")},
        }
    )


def _merge_sums(listens: pa.Table, rows: pa.Table, users: Ints, periods: Ints) -> dict[str, pa.Array]:
    """The columns SUMMED of these listeners."""
    lengths = _ints(pc.list_value_length(rows["item_indexes"]))
    user, period = (
        np.concatenate([_ints(listens[name]), np.repeat(_ints(rows[name]), lengths)]) for name in ("user", "period")
    )
    listened = _ints(listens["item_index"]), _ints(listens["plays"]), _ints(listens["seconds"]), _days(listens)
    item, plays, seconds, heard = (
        np.concatenate([one, _ints(pc.list_flatten(rows[many]))]) for one, many in zip(listened, SUMMED, strict=True)
    )
    cell = user.astype(np.int64) << 32 | item
    order = np.lexsort((period, cell))
    cell, period = cell[order], period[order]
    starts = np.flatnonzero((np.diff(cell, prepend=-1) != 0) | (np.diff(period, prepend=-1) != 0))
    first = np.flatnonzero(np.diff(cell[starts], prepend=-1))
    items = cell[starts][first]
    cell_users = np.searchsorted(users, items >> 32)
    sums = [
        _decayed_sums(np.add.reduceat(amounts[order], starts), period[starts], first, periods[cell_users])
        for amounts in (plays, seconds)
    ]
    last_heard = np.maximum.reduceat(heard[order], starts[first])
    offsets = pa.array(np.searchsorted(cell_users, np.arange(len(users) + 1)), pa.int32())
    columns = [items & 0x7FFFFFFF, *sums, last_heard]
    return {name: pa.ListArray.from_arrays(offsets, column) for name, column in zip(SUMMED, columns, strict=True)}


def _merge_windows(listens: pa.Table, rows: pa.Table, users: Ints) -> dict[str, pa.Array]:
    """The columns WINDOW of these listeners.

    Listens are in the order of time and, at one time, of item; the last of all listens are the last of the last of
    some and of the others, so that it makes no difference how nights cut them.
    """
    lengths = _ints(pc.list_value_length(rows["recent_items"]))
    user = np.concatenate([_ints(listens["user"]), np.repeat(_ints(rows["user"]), lengths)])
    item, time = (
        np.concatenate([_ints(listens[one]), _ints(pc.list_flatten(rows[many]))])
        for one, many in (("item_index", "recent_items"), ("heard_at", "recent_times"))
    )
    order = np.lexsort((item, time, user))
    ends = np.searchsorted(user[order], users, side="right")
    age = np.repeat(ends, np.diff(ends, prepend=0)) - np.arange(len(order))
    kept = order[age <= WINDOW_LISTENS]
    kept_users = np.searchsorted(users, user[kept])
    offsets = pa.array(np.searchsorted(kept_users, np.arange(len(users) + 1)), pa.int32())
    columns = item[kept].astype(np.int32), time[kept]
    return {name: pa.ListArray.from_arrays(offsets, column) for name, column in zip(WINDOW, columns, strict=True)}


def _decayed_sums(amounts: Ints, periods: Ints, first: Ints, until: Ints) -> Ints:
    """Sums of one cell each, whose amounts lie in the order of their periods from `first` on.

    A sum is halved once per period before a later amount joins it, and then until the period `until`.
    """
    lengths = np.diff(first, append=len(amounts))
    total, period = amounts[first], periods[first]
    for step in range(1, lengths.max(initial=0)):
        longer = np.flatnonzero(lengths > step)
        later = first[longer] + step
        total[longer] = _halve(total[longer], periods[later] - period[longer]) + amounts[later]
        period[longer] = periods[later]
    return _halve(total, until - period)


def _halve(amounts: Ints, times: Ints) -> Ints:
    """Whole halves of `amounts`, taken `times` times."""
    # A shift by 64 is not defined.
    halved: Ints = amounts >> np.minimum(times, 63)
    return halved


def _days(listens: pa.Table) -> Ints:
    """Days since 1970-01-01, UTC."""
    days: Ints = (_ints(listens["heard_at"]) // _DAY).astype(np.int32)
    return days


def _ints(column: pa.Array | pa.ChunkedArray) -> Ints:
    """Numbers, days or microseconds as integers, 0 where there is none."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not pa.types.is_integer(whole.type):
        whole = whole.cast(pa.int32() if pa.types.is_date(whole.type) else pa.int64())
    integers: Ints = whole.fill_null(0).to_numpy()
    return integers
