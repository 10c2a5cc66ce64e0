"""What a night could have known and listed, and what was heard afterwards, as arrays.

Items are numbered as in `item_index`; only what somebody had heard by the night has a number, and only that could
have been listed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix

from nocturne.core.errors import SettingsError
from nocturne.core.night import Night
from nocturne.evaluation.baselines import Asked
from nocturne.flow import GATED_TABLES, stage
from nocturne.ingestion.interactions import EPOCH
from nocturne.ranking import eligibility
from nocturne.storage import tables
from nocturne.storage.history import closed_dates
from nocturne.training.model import heard_items

Counts = npt.NDArray[np.int64]

_ROWS = ("user_id", "market", "item_indexes", "last_heard")
_LISTENS = ("run_date", "user_id", "item_id", "plays")


@dataclass(frozen=True)
class HeldOut:
    """A night, and for every listener with a row in its matrix what they heard on the nights after it.

    Attributes:
        item_ids: item of each number; shape (items,).
        user_ids: listeners with something relevant; shape (listeners,).
        everyone: all listeners of the night; `asked.listeners` are places among them.
        markets: market of each listener, or None.
        sizes: items in each listener's row.
        asked: who gets lists, and what these may not hold.
        relevant: what a listener heard afterwards, could have been listed, and was not filtered as heard; shape
            (listeners, items).
        catalogue: rows of `items` of the night, aligned with item_ids; null where it lacks the item.
    """

    night: Night
    item_ids: pa.Array
    user_ids: pa.Array
    everyone: pa.Array
    markets: tuple[str | None, ...]
    sizes: Counts
    asked: Asked
    relevant: csr_matrix
    catalogue: pa.Table

    @cached_property
    def content_types(self) -> npt.NDArray[np.object_]:
        """Content type of each item; `unknown` where the catalogue lacks it."""
        return np.array(pc.fill_null(self.catalogue["content_type"], "unknown").to_pylist(), dtype=object)

    @cached_property
    def labels(self) -> csr_matrix:
        """Tags of each item; of those without, content type and creator; shape (items, labels)."""
        columns = [self.catalogue[name].to_pylist() for name in ("tags", "content_type", "creator")]
        rows = [
            sorted(set(tags)) if tags else [label for label in (kind, creator) if label]
            for tags, kind, creator in zip(*columns, strict=True)
        ]
        number = {label: place for place, label in enumerate(sorted({label for row in rows for label in row}))}
        ends = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
        columns_of = np.array([number[label] for row in rows for label in row], dtype=np.int64)
        return csr_matrix((np.ones(len(columns_of)), columns_of, ends), (len(rows), len(number)))

    @property
    def listable(self) -> int:
        """Items that may be listed somewhere."""
        return int(self.asked.masks.any(axis=0).sum())


@dataclass(frozen=True)
class Past:
    """Everything that was listened to in a warehouse, as baselines take it."""

    listens: pa.Table

    @classmethod
    def of(cls, night: Night) -> "Past":
        """All listens up to and including the night, but those of nights whose gate closed on them."""
        until = pc.field("run_date") <= night.run_date
        return cls(tables.rows(night, "listens", until & _sound(night), _LISTENS))

    def plays(self, held_out: HeldOut, days: int | None = None) -> csr_matrix:
        """Plays of every listener of the night, float32; shape (all listeners, items).

        Args:
            days: of the last so many nights; of all if None.
        """
        until = held_out.night.run_date
        wanted = pc.field("run_date") <= until
        if days is not None:
            wanted &= pc.field("run_date") > until - timedelta(days=days)
        listens = self.listens.filter(wanted)
        users = pc.index_in(listens["user_id"], value_set=held_out.everyone)
        items = pc.index_in(listens["item_id"], value_set=held_out.item_ids)
        known = pc.and_(pc.is_valid(users), pc.is_valid(items))
        users, items, plays = (_integers(column.filter(known)) for column in (users, items, listens["plays"]))
        shape = (len(held_out.everyone), len(held_out.item_ids))
        summed = csr_matrix((plays.astype(np.float32), (users, items)), shape)
        summed.sum_duplicates()
        return summed


def nights_between(night: Night, first: date, last: date, days: int, every: int) -> tuple[list[Night], list[date]]:
    """Nights of a warehouse that can be scored, and those whose days after them are not there yet.

    Nights whose gate closed are passed over.

    Args:
        night: any night of the warehouse.
        days: nights after each that have to be there.
        every: take the first of so many nights.

    Raises:
        SettingsError: there is none.
    """
    closed = closed_dates(night, GATED_TABLES)
    there = [day for day in tables.dates(night, "interactions") if first <= day <= last and day not in closed]
    heard = tables.dates(night, "listens")
    if not there:
        raise SettingsError(
            "no night in this range can be scored",
            where=night.warehouse,
            found=_range(tables.dates(night, "interactions")),
            expected=f"nights between {first} and {last} whose gate did not close",
            fix="check --from and --to, or run `nocturne night` for these dates",
        )
    scorable = [day for day in there if day + timedelta(days=days) <= heard[-1]]
    if not scorable:
        raise SettingsError(
            "nothing was listened to after the range yet, so that no list can be scored",
            where=night.warehouse,
            found=f"listens of {_range(heard)}",
            expected=f"listens of the {days} days after {there[0]}",
            fix="choose earlier nights with --from and --to, or fewer --days",
        )
    return [replace(night, run_date=day) for day in scorable[::every]], there[len(scorable) :]


def held_out_of(night: Night, days: int) -> HeldOut:
    """Read a night, and what was listened to on the days after it, but on nights whose gate closed on that."""
    after = pc.field("run_date") > night.run_date
    within = pc.field("run_date") <= night.run_date + timedelta(days=days)
    listens = tables.rows(night, "listens", after & within & _sound(night), ["user_id", "item_id"])
    return held_out_from(night, listens)


def held_out_from(night: Night, listens: pa.Table) -> HeldOut:
    """Read a night whose truth comes from elsewhere.

    Args:
        listens: user_id and item_id of what was heard; may repeat, and name listeners and items unknown on the night.
    """
    item_ids = tables.night_rows(night, "item_index").sort_by("item_index")["item_id"].combine_chunks()
    catalogue = tables.night_rows(night, "items")
    blocked = night.settings.ranking.explicit_blocked_markets
    markets = eligibility.markets(item_ids, catalogue, night.run_date, blocked)
    rows = tables.night_rows(night, "interactions", _ROWS).sort_by("user_id").combine_chunks()
    batch = _one_batch(rows)
    classes = markets.of(batch.column("market"))
    heard = _filtered(batch, len(item_ids), night)
    after = _pairs(listens, batch.column("user_id"), item_ids)
    relevant = _binary(after - after.multiply(heard))
    relevant = _binary(relevant.multiply(markets.masks[classes]))
    scored = np.flatnonzero(np.diff(relevant.indptr))
    place = pc.index_in(item_ids, value_set=catalogue["item_id"].combine_chunks())
    return HeldOut(
        night=night,
        item_ids=item_ids,
        user_ids=batch.column("user_id").take(pa.array(scored)),
        everyone=batch.column("user_id"),
        markets=tuple(batch.column("market").take(pa.array(scored)).to_pylist()),
        sizes=np.diff(heard_items(batch)[0])[scored],
        asked=Asked(scored, heard[scored], markets.masks, classes[scored]),
        relevant=relevant[scored],
        catalogue=catalogue.take(place),
    )


def _sound(night: Night) -> pc.Expression:
    """Listens of nights that may be read."""
    return ~pc.field("run_date").isin(sorted(closed_dates(night, stage("ingest_events").writes)))


def _pairs(listens: pa.Table, user_ids: pa.Array, item_ids: pa.Array) -> csr_matrix:
    """Which items each listener heard; shape (listeners, items)."""
    users = pc.index_in(listens["user_id"], value_set=user_ids)
    items = pc.index_in(listens["item_id"], value_set=item_ids)
    known = pc.and_(pc.is_valid(users), pc.is_valid(items))
    pairs = _integers(users.filter(known)), _integers(items.filter(known))
    return _binary(csr_matrix((np.ones(len(pairs[0])), pairs), (len(user_ids), len(item_ids))))


def _filtered(rows: pa.RecordBatch, items: int, night: Night) -> csr_matrix:
    """What is filtered as heard tonight, as ranking does; shape (listeners, items)."""
    offsets, item_indexes = heard_items(rows)
    values = np.ones(len(item_indexes))
    let_back_after = night.settings.ranking.let_back_after_days
    if let_back_after:
        last_heard = rows.column("last_heard").flatten().cast(pa.int32()).to_numpy()
        values = (last_heard + let_back_after > (night.run_date - EPOCH).days).astype(np.float64)
    # SciPy changes in place what Arrow lends to be read.
    return _binary(csr_matrix((values, item_indexes.copy(), offsets), (rows.num_rows, items)))


def _one_batch(rows: pa.Table) -> pa.RecordBatch:
    batches = rows.to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=rows.schema)


def _binary(matrix: csr_matrix) -> csr_matrix:
    """Ones where it is not zero, columns in order."""
    found = csr_matrix(matrix, copy=True)
    found.sum_duplicates()
    found.eliminate_zeros()
    found.data[:] = 1
    return found


def _integers(column: pa.ChunkedArray) -> Counts:
    return np.asarray(column.to_numpy(), dtype=np.int64)


def _range(days: Sequence[date]) -> str:
    return f"nights from {days[0]} to {days[-1]}" if days else "no night"
