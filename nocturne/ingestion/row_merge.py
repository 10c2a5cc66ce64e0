"""Listens merged into the rows of their listeners, with NumPy: what a Spark task does with its share of listeners."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

LISTENER = {
    "user_id": "STRING",
    "market": "STRING",
    "market_heard_at": "TIMESTAMP",
    "period": "INT",
    "changed_on": "DATE",
}
LISTEN = {"item_index": "INT", "plays": "BIGINT", "seconds": "BIGINT", "heard": "DATE"}
HISTORY = {
    "item_indexes": "ARRAY<INT>",
    "play_sums": "ARRAY<BIGINT>",
    "second_sums": "ARRAY<BIGINT>",
    "last_heard": "ARRAY<DATE>",
}

_BATCH_ROWS = 4096

Ints = NDArray[Any]


def merge_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """As `merge`, for the partition of a Spark frame."""
    held = list(batches)
    if held:
        yield from merge(pa.Table.from_batches(held)).to_batches(_BATCH_ROWS)


def merge(found: pa.Table) -> pa.Table:
    """Add listens to their listeners' rows.

    Args:
        found: columns LISTENER, LISTEN and HISTORY; one row per listen, whose HISTORY is null, and per
            listener known before, whose LISTEN is null. Sums are of the row's period. All that there is of a listener.

    Returns:
        Columns LISTENER and HISTORY; one row per listener, items ascending. Without listens it is as it was.
    """
    users = pc.dictionary_encode(found["user_id"].combine_chunks())
    found = found.append_column("user", users.indices)
    is_row = pc.is_valid(found["item_indexes"])
    listens, rows = found.filter(pc.invert(is_row)), found.filter(is_row)
    has_listens = np.isin(_ints(rows["user"]), _ints(listens["user"]))
    columns = [*LISTENER, *HISTORY]
    kept = rows.filter(pa.array(~has_listens)).select(columns)
    rows = rows.filter(pa.array(has_listens))
    listeners = _listeners(pa.concat_tables([listens, rows]), users.dictionary)
    histories = _histories(listens, rows, _ints(listeners["user"]), _ints(listeners["period"]))
    for name, history in histories.items():
        listeners = listeners.append_column(name, history)
    return pa.concat_tables([kept, listeners.select(columns).cast(kept.schema)])


def _listeners(found: pa.Table, names: pa.Array) -> pa.Table:
    """What each listener has one of, and their number in `names`, ascending: the latest of everything."""
    user, heard_at = _ints(found["user"]), _ints(found["market_heard_at"])
    markets = pc.dictionary_encode(found["market"].combine_chunks())
    # By market too, so that of two at once the same one wins whatever the order of rows.
    rank = np.argsort(np.argsort(markets.dictionary.to_numpy(zero_copy_only=False)))
    market = np.append(rank, -1)[_ints(markets.indices.fill_null(len(rank)))]
    order = np.lexsort((market, np.where(market < 0, np.iinfo(np.int64).min, heard_at), user))
    last = order[np.diff(user[order], append=-1) != 0]
    starts = np.flatnonzero(np.diff(user[order], prepend=-1))
    named = found.select(["market", "market_heard_at"]).take(last)
    return pa.table(
        {
            "user": user[last],
            "user_id": names.take(pa.array(user[last])),
            **{name: named[name] for name in named.column_names},
            **{name: np.maximum.reduceat(_ints(found[name])[order], starts) for name in ("period", "changed_on")},
        }
    )


def _histories(listens: pa.Table, rows: pa.Table, users: Ints, periods: Ints) -> dict[str, pa.Array]:
    """The columns HISTORY of these listeners."""
    lengths = _ints(pc.list_value_length(rows["item_indexes"]))
    user, period = (
        np.concatenate([_ints(listens[name]), np.repeat(_ints(rows[name]), lengths)]) for name in ("user", "period")
    )
    item, plays, seconds, heard = (
        np.concatenate([_ints(listens[one]), _ints(pc.list_flatten(rows[many]))])
        for one, many in zip(LISTEN, HISTORY, strict=True)
    )
    cell = user.astype(np.int64) << 32 | item
    order = np.lexsort((period, cell))
    cell, period = cell[order], period[order]
    starts = np.flatnonzero((np.diff(cell, prepend=-1) != 0) | (np.diff(period, prepend=-1) != 0))
    first = np.flatnonzero(np.diff(cell[starts], prepend=-1))
    items = cell[starts][first]
    user_of = np.searchsorted(users, items >> 32)
    sums = [
        _decayed_sums(np.add.reduceat(amounts[order], starts), period[starts], first, periods[user_of])
        for amounts in (plays, seconds)
    ]
    last_heard = np.maximum.reduceat(heard[order], starts[first])
    offsets = pa.array(np.searchsorted(user_of, np.arange(len(users) + 1)), pa.int32())
    columns = [items & 0x7FFFFFFF, *sums, last_heard]
    return {name: pa.ListArray.from_arrays(offsets, column) for name, column in zip(HISTORY, columns, strict=True)}


def _decayed_sums(amounts: Ints, periods: Ints, first: Ints, until: Ints) -> Ints:
    """Sums of one cell each, whose amounts lie in the order of their periods from `first` on.

    A sum is halved once per period before a later amount joins it, and then until the period `until`.
    """
    lengths = np.diff(first, append=len(amounts))
    total, period = amounts[first], periods[first]
    for step in range(1, lengths.max(initial=0)):
        longer = np.flatnonzero(lengths > step)
        later = first[longer] + step
        total[longer] = _halved(total[longer], periods[later] - period[longer]) + amounts[later]
        period[longer] = periods[later]
    return _halved(total, until - period)


def _halved(amounts: Ints, times: Ints) -> Ints:
    """Whole halves of `amounts`, taken `times` times."""
    # A shift by 64 is not defined.
    halved: Ints = amounts >> np.minimum(times, 63)
    return halved


def _ints(column: pa.Array | pa.ChunkedArray) -> Ints:
    """Numbers, days or microseconds as integers, 0 where there is none."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not pa.types.is_integer(whole.type):
        whole = whole.cast(pa.int32() if pa.types.is_date(whole.type) else pa.int64())
    integers: Ints = whole.fill_null(0).to_numpy()
    return integers
