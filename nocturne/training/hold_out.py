"""Hold-out: items withheld from some listeners, by which recipes are judged before one is trained in full."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa

from nocturne.core.arrays import Counts, Indexes, Mask
from nocturne.core.csr import CsrRows
from nocturne.core.hashing import hash_ids, spread
from nocturne.training.confidences import heard_items, recent_listens

SEED = 7_919
"""Of the hash that picks the listeners who are asked: another one than picks those who are trained on."""

MOST_ASKED, MOST_SCORES = 2_000, 100_000_000
"""Listeners, or, of a catalogue so small that it allows more of them, as many as have so many scores of items."""

LARGEST_SHARE = 0.5

WITHHELD = 0.2
"""Share of a listener's items, where there is no order to go by."""

COLUMNS = ("user_id", "market", "period", "item_indexes", "play_sums", "second_sums", "recent_items", "recent_times")
"""Columns of `interactions` that are needed here."""

_FEWEST_ITEMS = 3
_DAY = 86_400_000_000
_ENTRIES = ("item_indexes", "play_sums", "second_sums")
_WINDOW = ("recent_items", "recent_times")


@dataclass(frozen=True)
class HoldOut:
    """Rows without what is withheld.

    Attributes:
        rows: of everyone, or of a sample and of those who are asked.
        asked: rows of the listeners who are asked, a part of `rows`.
        withheld: item indexes withheld from each of them, ascending.
        share: of listeners, by hash, among whom are all who are asked.
        ordered: True if what came last was withheld; False if a random share was.
    """

    rows: list[pa.RecordBatch]
    asked: pa.RecordBatch
    withheld: CsrRows
    share: float
    followed: Mask


def share_asked(listeners: int, items: int) -> float:
    """Share of listeners who are asked at most."""
    return min(LARGEST_SHARE, max(MOST_ASKED, MOST_SCORES / max(1, items)) / max(1, listeners))


def are_asked(user_ids: pa.Array, share: float) -> Mask:
    """True for listeners who may be asked; shape (listeners,)."""
    return np.asarray(hash_ids(user_ids, SEED) < np.uint64(min(share * 2.0**64, 2.0**64 - 2048)))


def withhold(rows: Iterable[pa.RecordBatch], share: float) -> Iterator[tuple[pa.RecordBatch, CsrRows, Mask]]:
    """Rows without what is withheld, the item indexes that are, and who has listened on several days, by batch.

    From a listener of several days it is what was new on the last one: new is what the listens before that day, as far
    as the row keeps them, do not name. From a listener of one day, or of none that is known, it is a fifth of the
    items, picked by hash: what follows within a day, such as the next line of an order, says little of what is heard
    on the next one. Who would be left with nothing, or has heard fewer than three items, is not asked.

    Args:
        rows: COLUMNS of `interactions`.
    """
    for batch in rows:
        offsets, items = heard_items(batch)
        listener = np.repeat(np.arange(batch.num_rows), np.diff(offsets))
        asked = are_asked(batch.column("user_id"), share) & (np.diff(offsets) >= _FEWEST_ITEMS)
        if not asked.any():
            yield batch, CsrRows.empty(batch.num_rows), asked
            continue
        came_last, several_days = _came_last(batch, listener, len(items))
        out = np.where(several_days[listener], came_last, _picked(batch, listener, items)) & asked[listener]
        withheld = np.bincount(listener[out], minlength=batch.num_rows)
        out &= (withheld < np.diff(offsets))[listener]
        yield _without(batch, listener, out), CsrRows(offsets, items).where(out), several_days


def gather(parts: Iterable[tuple[pa.RecordBatch, CsrRows, Mask]], kept: Iterable[Mask], share: float) -> HoldOut:
    """Put together the rows that are kept.

    Args:
        parts: as `withhold` gives them.
        kept: rows of each batch to keep beside those that something is withheld from.
    """
    rows, asked, withheld, followed = [], [], [], []
    for (batch, items, several_days), mask in zip(parts, kept, strict=True):
        judges = items.lengths > 0
        rows.append(batch.filter(pa.array(mask | judges)))
        asked.append(batch.filter(pa.array(judges)))
        withheld.append(items.take(np.flatnonzero(judges)))
        followed.append(several_days[judges])
    lengths = np.concatenate([part.lengths for part in withheld])
    flat = np.concatenate([part.positions for part in withheld])
    questions = CsrRows(np.concatenate([[0], np.cumsum(lengths)]), flat)
    return HoldOut(rows, pa.concat_batches(asked), questions, share, np.concatenate(followed))


def _came_last(batch: pa.RecordBatch, listener: Counts, entries: int) -> tuple[Mask, Mask]:
    """Entries of items that are new on the last day of their listener, and listeners who have a day before it."""
    starts, _, entry = recent_listens(batch)
    day = batch.column("recent_times").flatten().cast(pa.int64()).to_numpy() // _DAY
    first_day = np.full(entries, np.iinfo(np.int64).min)
    # Oldest last, so that the first listen of an item is what stays.
    first_day[entry[::-1]] = day[::-1]
    kept = np.diff(starts)
    some = kept > 0
    last, oldest = np.zeros((2, len(kept)), np.int64)
    last[some], oldest[some] = day[starts[1:][some] - 1], day[starts[:-1][some]]
    return first_day == last[listener], oldest < last


def _picked(batch: pa.RecordBatch, listener: Counts, items: Indexes) -> Mask:
    """Entries picked by hash."""
    users = hash_ids(batch.column("user_id"), SEED)
    return np.asarray(spread(users[listener] + items.astype(np.uint64)) / 2.0**64 < WITHHELD)


def _without(batch: pa.RecordBatch, listener: Counts, out: Mask) -> pa.RecordBatch:
    """The batch without some of its entries, and without listens of them."""
    _, of, entry = recent_listens(batch)
    heard_out = out[entry]
    columns = {name: batch.column(name) for name in batch.schema.names}
    for name, owner, dropped in chain(
        ((name, listener, out) for name in _ENTRIES), ((name, of, heard_out) for name in _WINDOW)
    ):
        lengths = np.bincount(owner[~dropped], minlength=batch.num_rows)
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
        columns[name] = pa.ListArray.from_arrays(offsets, columns[name].flatten().filter(pa.array(~dropped)))
    return pa.RecordBatch.from_pydict(columns)
