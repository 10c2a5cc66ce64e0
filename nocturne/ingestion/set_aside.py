"""Rows of `interactions` without some listens, beside what they would be with these. Pure.

A listener's *whole* row is made as ever, of all listens. Their *learned* row is the whole one with the sums and the
last listens of what is kept: items stay among the heard ones, with their day, and with sums of 0 if nothing of them is
kept. So no list offers them, and nothing is learned from them. Whole rows are stored, so that undoing is exact.

Halved sums cannot be taken apart. When a request is new the sums are made of the listens there are, and of what the
whole row has beyond them, which is older; from then on kept listens are added to it night by night.
"""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Mask
from nocturne.ingestion.interactions import ROW, WEIGHTED, with_digests
from nocturne.ingestion.row_merge import SUMMED, WINDOW, merge_listens

Row = dict[str, Any]

_SUMS = ("play_sums", "second_sums")


def learned_rows(whole: pa.Table, before: pa.Table, kept: pa.Table) -> pa.Table:
    """Rows with the sums and last listens of what is kept, and all else as in the whole rows.

    Args:
        whole: rows of all listens, ROW, one per listener.
        before: rows that kept listens are added to, ROW; of these listeners, none or one each.
        kept: listens, WEIGHTED.

    Returns:
        ROW and digest, by user_id.
    """
    merged = merge_listens(kept.select(WEIGHTED.names), before.select(ROW.names)).to_pylist()
    of_kept = {row["user_id"]: row for row in merged}
    rows = [_spread(row, of_kept.get(row["user_id"])) for row in whole.select(ROW.names).to_pylist()]
    return with_digests(pa.Table.from_pylist(rows, ROW).sort_by("user_id"))


def older_rows(whole: pa.Table, told: pa.Table) -> pa.Table:
    """Rows of what whole rows have beyond some of the listens that they were made of, ROW.

    Args:
        told: these listens, WEIGHTED. Where they are all that a row was made of, nothing is left of it.
    """
    merged = merge_listens(told.select(WEIGHTED.names), ROW.empty_table()).to_pylist()
    of_told = {row["user_id"]: row for row in merged}
    rows = [_beyond(row, of_told.get(row["user_id"])) for row in whole.select(ROW.names).to_pylist()]
    return pa.Table.from_pylist(rows, ROW)


def has_sums(row: Row) -> bool:
    """True if a row has plays or seconds of anything."""
    return any(any(row[name]) for name in _SUMS)


def split(listens: pa.Table, aside: Mask) -> tuple[pa.Table, pa.Table]:
    """The listens that are kept, and those that are not."""
    return listens.filter(pa.array(~aside)), listens.filter(pa.array(aside))


def in_place(rows: pa.Table, instead: pa.Table, user_ids: Sequence[str]) -> pa.Table:
    """Rows with those of some listeners put in the place of what was made of them; both lie in order of user_id."""
    theirs = pc.is_in(rows["user_id"], value_set=pa.array(user_ids, pa.string()))
    if not pc.any(theirs).as_py():
        return rows
    present = pc.is_in(instead["user_id"], value_set=rows["user_id"].combine_chunks())
    others = rows.filter(pc.invert(theirs))
    return pa.concat_tables([others, instead.filter(present).select(rows.column_names).cast(rows.schema)]).sort_by(
        "user_id"
    )


def _spread(whole: Row, kept: Row | None) -> Row:
    """The whole row with another's sums, decayed to its period, and last listens."""
    if kept is None:
        nothing = [0] * len(whole["item_indexes"])
        return whole | dict.fromkeys(_SUMS, nothing) | {name: [] for name in WINDOW}
    halvings = whole["period"] - kept["period"]
    sums = {name: dict(zip(kept["item_indexes"], kept[name], strict=True)) for name in _SUMS}
    spread = {name: [of.get(item, 0) >> halvings for item in whole["item_indexes"]] for name, of in sums.items()}
    return whole | spread | {name: kept[name] for name in WINDOW}


def _beyond(whole: Row, told: Row | None) -> Row:
    """The row of what is left of a whole one without the sums and last listens of some."""
    if told is None:
        return whole
    halvings = whole["period"] - told["period"]
    sums = {name: dict(zip(told["item_indexes"], told[name], strict=True)) for name in _SUMS}
    # at most a unit too much, where what was older had been halved to a fraction of one
    left = {
        name: [max(0, amount - (of.get(item, 0) >> halvings)) for item, amount in _entries(whole, name)]
        for name, of in sums.items()
    }
    some = [place for place, amounts in enumerate(zip(*left.values(), strict=True)) if any(amounts)]
    row = whole | {name: [whole[name][place] for place in some] for name in SUMMED if name not in left}
    row |= {name: [amounts[place] for place in some] for name, amounts in left.items()}
    listens = [*zip(*(whole[name] for name in WINDOW), strict=True)]
    for listen in zip(*(told[name] for name in WINDOW), strict=True):
        if listen in listens:
            listens.remove(listen)
    return row | {name: [listen[place] for listen in listens] for place, name in enumerate(WINDOW)}


def _entries(row: Row, name: str) -> list[tuple[int, int]]:
    return [*zip(row["item_indexes"], row[name], strict=True)]
