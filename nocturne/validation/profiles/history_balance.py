"""The balance of the matrix: last night's plays, decayed, and tonight's listens are what listeners' rows add up to.

Written a second time, from docs/decisions/periods-of-one-half-life.md: a listen of day t that was ingested in period n
is worth floor(2^(t / half-life - n) 2^20 + 1/2) units, and a sum of an earlier period is halved once a period,
rounding down.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Floats, Mask
from nocturne.core.masks import mask
from nocturne.core.night import Night
from nocturne.validation.profiles.listen_sums import ListenSums

PLAYS = "play_sums"
SUMS = (PLAYS, "second_sums")

_EPOCH = date(1970, 1, 1)
_UNIT = 2**20


@dataclass(frozen=True)
class RowBalance:
    """Listeners' rows of some batch beside those of last night.

    Attributes:
        lost: rows that lack an item, or some of its plays, that they had, decayed.
        rewritten: rows that no listen touched since and that are another now.
        gains: by item index, what rows have beyond last night's, decayed; shape (2, items), for SUMS.
        changed, known: rows that listens touched since, and rows of listeners who had one; shape (rows,).
        plays: what each row has beyond last night's of play_sums; shape (rows,).
        familiar: of that, of items that the row had; shape (rows,).
    """

    lost: int
    rewritten: int
    gains: Floats
    changed: Mask
    known: Mask
    plays: Floats
    familiar: Floats


def compare_rows(rows: pa.RecordBatch, previous: pa.Table, since: date | None, items: int) -> RowBalance:
    """Compare rows of `interactions` with those of the night they were built upon.

    Args:
        previous: aligned with the rows, null where a listener is new.
        since: the night of these; None without one.
        items: item indexes there are.
    """
    changed = pc.greater(rows["changed_on"], pa.scalar(since, pa.date32())).fill_null(True).to_numpy(False)
    row, index = pc.list_parent_indices(rows["item_indexes"]).to_numpy(), rows["item_indexes"].flatten().to_numpy()
    gains = np.zeros((2, items))
    sound = (index >= 0) & (index < items)
    for which, name in enumerate(SUMS):
        amounts = rows[name].flatten().to_numpy()
        counted = sound[: len(amounts)] & changed[row[: len(amounts)]]
        gains[which] += np.bincount(index[: len(amounts)][counted], amounts[: len(counted)][counted], minlength=items)
    earlier = previous.combine_chunks()
    known = pc.is_valid(earlier["user_id"]).to_numpy(zero_copy_only=False)
    same = mask(pc.equal(rows["digest"], earlier["digest"].combine_chunks()))
    lists = earlier["item_indexes"].combine_chunks()
    of_row, of_item = pc.list_parent_indices(lists).to_numpy(), pc.list_flatten(lists).to_numpy()
    periods = (rows["period"].to_numpy() - earlier["period"].fill_null(0).to_numpy())[of_row]
    place = _places(row, index, of_row, of_item)
    lost = np.zeros(rows.num_rows, dtype=bool)
    lost[of_row[place < 0]] = True
    familiar = plays = np.zeros(rows.num_rows)
    rewritten = ~changed & ~(known & same)
    for which, name in enumerate(SUMS):
        kept = pc.list_flatten(earlier[name].combine_chunks()).to_numpy() >> np.clip(periods, 0, 63)
        amounts = np.append(rows[name].flatten().to_numpy(), 0)
        now = amounts.take(place, mode="clip")
        lost[of_row[(now < kept) & (place >= 0)]] = True
        rewritten[of_row[(now != kept) & ~changed[of_row]]] = True
        there = changed[of_row] & (of_item >= 0) & (of_item < items)
        gains[which] -= np.bincount(of_item[there], kept[there], minlength=items)
        if name == PLAYS:
            familiar = np.bincount(of_row, np.where(place >= 0, now - kept, 0), minlength=rows.num_rows)
            owner = pc.list_parent_indices(rows[name]).to_numpy()
            plays = np.bincount(owner, amounts[:-1], minlength=rows.num_rows)
            plays -= np.bincount(of_row, kept, minlength=rows.num_rows)
    added = np.bincount(row, minlength=rows.num_rows) != np.bincount(of_row, minlength=rows.num_rows)
    rewritten |= ~changed & known & added
    return RowBalance(int(lost.sum()), int(rewritten.sum()), gains, changed, known, plays, familiar)


def _places(row: np.ndarray, index: np.ndarray, of_row: np.ndarray, of_item: np.ndarray) -> np.ndarray:
    """Where each pair of row and item stands among the others, which ascend; -1 if it does not."""
    cells, asked = row.astype(np.int64) << 32 | index, of_row.astype(np.int64) << 32 | of_item
    place = np.searchsorted(cells, asked)
    there = place < len(cells)
    there[there] = cells[place[there]] == asked[there]
    return np.where(there, place, -1)


def items_out_of_balance(
    night: Night, added: Sequence[date], listens: ListenSums, gains: Floats, entries: Floats
) -> int:
    """Items of which rows gained another amount than listens give them, those without an index among them.

    Rounding can make a difference of a unit for every play and second of listens, whose power of two may be rounded
    otherwise; where listens of several periods came together, also what is halved between them: at most all that
    earlier ones were worth, and two units an entry.

    Args:
        added: nights of `listens` that were added.
        listens: theirs.
        gains: of all listeners, as in `RowBalance`.
        entries: rows with the item, count; shape (items,).
    """
    half_life, items = night.settings.interactions.half_life_days, gains.shape[1]
    expected, allowed = np.zeros((2, items)), np.zeros((2, items))
    periods = {day: math.floor((day - _EPOCH).days / half_life) for day in added}
    last = max(periods.values(), default=0)
    for (run_date, day), of_day in listens.by_day.items():
        period = periods[run_date]
        weight = math.floor(2.0 ** ((day - _EPOCH).days / half_life - period) * _UNIT + 0.5)
        expected += of_day * weight / 2 ** (last - period)
        allowed += of_day + (of_day * weight if period < last else 0.0)
    if len(set(periods.values())) > 1:
        allowed += 2 * entries
    return int((np.abs(gains - expected) > allowed).any(axis=0).sum()) + len(listens.unindexed)
