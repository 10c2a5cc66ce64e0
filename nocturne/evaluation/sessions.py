"""Sessions: a listener's listens in order of time, apart where half an hour was silent, as arrays.

Silence lasts from the end of a listen to the beginning of the next one; of a listen without a playing time, from its
beginning.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Indexes, Mask, Offsets, Positions
from nocturne.core.csr import CsrRows
from nocturne.core.night import Night
from nocturne.flow import stage
from nocturne.storage import tables
from nocturne.storage.history import closed_dates

SILENCE = timedelta(minutes=30)
"""What ends a session."""

_COLUMNS = ("event_id", "user_id", "item_id", "listened_at", "ms_played", "market")
_TIMES = ("user_id", "listened_at", "event_id")


@dataclass(frozen=True)
class Sessions:
    """Sessions of listeners, those of one listener together, oldest first.

    Attributes:
        user_ids: every listener once.
        markets: market of each listener at their last listen here, or null.
        listener: place among these of each session's listener, ascending; shape (sessions,).
        items: number of the item of each listen, by session, oldest first.
    """

    user_ids: pa.Array
    markets: pa.Array
    listener: Positions
    items: CsrRows


@dataclass(frozen=True)
class Questions:
    """Listens that another one follows in the same session: given these, what comes next?

    Attributes:
        user_ids, markets: of listeners.
        listener: place among these of the listener of each question, ascending; shape (questions,).
        context: numbers of the items played in the session so far, the one that plays last.
        next_item: number of the item that came next; shape (questions,).
        played_before: true if the listener had played it before in these sessions, of any day; shape (questions,).
    """

    user_ids: pa.Array
    markets: pa.Array
    listener: Positions
    context: CsrRows
    next_item: Indexes
    played_before: Mask

    def __len__(self) -> int:
        return len(self.listener)

    def of_listeners(self, most: int) -> "Questions":
        """Those of so many listeners, evenly spread over all that are asked."""
        asked = np.unique(self.listener)
        if len(asked) <= most:
            return self
        chosen = asked[np.linspace(0, len(asked) - 1, most).astype(np.int64)]
        return self.take(np.flatnonzero(np.isin(self.listener, chosen)))

    def take(self, some: Positions) -> "Questions":
        """Some of the questions, in order."""
        values = self.listener[some], self.context.take(some), self.next_item[some], self.played_before[some]
        return Questions(self.user_ids, self.markets, *values)


def read_sessions(night: Night, item_ids: pa.Array, days: int = 0) -> Sessions:
    """Sessions of all listens known on a night, or of the listening on so many days after it.

    Nights whose gate closed on listens are passed over.

    Args:
        item_ids: item of each number.
        days: 0: those known on the night.
    """
    run_date = pc.field("run_date")
    closed = closed_dates(night.warehouse, stage("ingest_events").writes)
    sound = ~run_date.isin(sorted(closed)) if closed else pc.scalar(True)
    if not days:
        return cut_sessions(
            tables.rows(night.warehouse, "listens", sound & (run_date <= night.run_date), _COLUMNS), item_ids
        )
    last = night.run_date + timedelta(days=days)
    late = last + timedelta(days=night.settings.listens.late_days)
    listens = tables.rows(
        night.warehouse, "listens", sound & (run_date > night.run_date) & (run_date <= late), _COLUMNS
    )
    heard = pc.and_(
        pc.greater_equal(listens["listened_at"], _midnight(night.run_date + timedelta(days=1))),
        pc.less(listens["listened_at"], _midnight(last + timedelta(days=1))),
    )
    return cut_sessions(listens.filter(heard), item_ids)


def cut_sessions(listens: pa.Table, item_ids: pa.Array) -> Sessions:
    """Sessions of listens, in whatever order these are; what is not among the items is passed over.

    Args:
        listens: user_id, item_id, listened_at, event_id, ms_played and market.
    """
    listens = listens.filter(pc.is_in(listens["item_id"], value_set=item_ids))
    listens = listens.sort_by([(name, "ascending") for name in _TIMES]).combine_chunks()
    user_ids = pc.unique(listens["user_id"].combine_chunks())
    listener = pc.index_in(listens["user_id"], value_set=user_ids).to_numpy().astype(np.int64)
    begin = listens["listened_at"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    end = begin + 1_000 * pc.fill_null(listens["ms_played"], 0).to_numpy()
    opens = np.ones(len(listener), np.bool_)
    silence = SILENCE // timedelta(microseconds=1)
    opens[1:] = (np.diff(listener) > 0) | (begin[1:] - end[:-1] > silence)
    first = np.flatnonzero(opens)
    items = pc.index_in(listens["item_id"], value_set=item_ids).to_numpy().astype(np.int32)
    last = np.flatnonzero(np.diff(listener, append=len(user_ids)))
    return Sessions(
        user_ids,
        listens["market"].combine_chunks().take(pa.array(last)),
        listener[first],
        CsrRows(np.append(first, len(listener)).astype(np.int64), items),
    )


def questions_of(sessions: Sessions, longest: int) -> Questions:
    """A question for every listen of a session but the last.

    Args:
        longest: items that a context keeps, the last ones.
    """
    offsets, items = sessions.items.offsets, sessions.items.positions
    session = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    playing = np.flatnonzero(np.diff(session) == 0)
    length = np.minimum(playing - offsets[session[playing]] + 1, longest)
    ends: Offsets = np.concatenate([[0], np.cumsum(length)])
    entry = np.arange(ends[-1]) + np.repeat(playing + 1 - length - ends[:-1], length)
    listener = sessions.listener[session]
    played_before = np.ones(len(items), np.bool_)
    played_before[np.unique(listener * (int(items.max(initial=0)) + 1) + items, return_index=True)[1]] = False
    return Questions(
        sessions.user_ids,
        sessions.markets,
        listener[playing],
        CsrRows(ends, items[entry]),
        items[playing + 1],
        played_before[playing + 1],
    )


def _midnight(day: date) -> pa.Scalar:
    return pa.scalar(datetime.combine(day, time(), UTC), pa.timestamp("us", "UTC"))
