"""Held-out listens: a night as it could be known, and what was heard on the nights after it, as arrays.

Items are numbered as in `item_index`, whichever nights were made again; only what somebody had heard by the night could
have been listed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix

from nocturne.core.arrays import Counts, Mask
from nocturne.core.errors import UsageError
from nocturne.core.night import Night, Warehouse
from nocturne.evaluation.baselines import Requests
from nocturne.evaluation.listener_sample import ALL_LISTENERS, ListenerSample, SampleSize
from nocturne.flow import GATED_TABLES, stage
from nocturne.ingestion.interactions import EPOCH
from nocturne.ranking import eligibility
from nocturne.ranking.eligibility import Classes
from nocturne.storage import tables
from nocturne.storage.contracts import contract
from nocturne.storage.history import closed_dates
from nocturne.storage.stored_rows import StoredRows
from nocturne.storage.takedowns import stored_takedowns
from nocturne.training.confidences import heard_items
from nocturne.training.hold_out import are_asked

_ROWS = ("user_id", "market", "item_indexes", "last_heard")
_LISTENS = ("run_date", "user_id", "item_id", "plays", "listened_at")


@dataclass(frozen=True)
class HeldOut:
    """A night, and for every listener with a row in its matrix what they heard on the nights after it.

    Attributes:
        sample_size: listeners of the night in the sample, and all of them.
        item_ids: item of each number; shape (items,).
        user_ids: listeners with something relevant; shape (listeners,).
        all_user_ids: all listeners of the sample; `requests.listeners` are places among them.
        markets: market of each listener, or None.
        sizes: items in each listener's row.
        requests: who gets lists, and what these may not hold.
        relevant: what a listener heard afterwards, could have been listed, and was not filtered as heard; shape
            (listeners, items).
        catalogue: rows of `items` of the night, aligned with item_ids; null where it lacks the item.
    """

    night: Night
    sample_size: SampleSize
    item_ids: pa.Array
    user_ids: pa.Array
    all_user_ids: pa.Array
    markets: tuple[str | None, ...]
    sizes: Counts
    requests: Requests
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
        numbers = {label: number for number, label in enumerate(sorted({label for row in rows for label in row}))}
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
        indices = np.array([numbers[label] for row in rows for label in row], dtype=np.int64)
        return csr_matrix((np.ones(len(indices)), indices, offsets), (len(rows), len(numbers)))

    @property
    def listable(self) -> int:
        """Number of items that may be listed in any market."""
        return int(self.requests.masks.any(axis=0).sum())


@dataclass(frozen=True)
class ListeningHistory:
    """The listens of a warehouse, from which baselines learn.

    Attributes:
        listens: of the nights up to one, `heard_on` the day they are of.
    """

    listens: pa.Table

    @classmethod
    def read(cls, night: Night, sample: ListenerSample = ALL_LISTENERS) -> "ListeningHistory":
        """A sample's listens up to and including the night, but those of nights whose gate closed on them."""
        return cls(_read_listens(night, date.min, night.run_date, sample))

    def plays(self, held_out: HeldOut, days: int | None = None) -> csr_matrix:
        """Plays of every listener of the sample, float32; shape (all listeners, items).

        Args:
            days: of the last so many days; of all if None.
        """
        until = held_out.night.run_date
        period = pc.field("run_date") <= until
        if days is not None:
            period &= pc.field("heard_on") > until - timedelta(days=days)
        listens = self.listens.filter(period)
        users = pc.index_in(listens["user_id"], value_set=held_out.all_user_ids)
        items = pc.index_in(listens["item_id"], value_set=held_out.item_ids)
        numbered = pc.and_(pc.is_valid(users), pc.is_valid(items))
        users, items, plays = (_integers(column.filter(numbered)) for column in (users, items, listens["plays"]))
        shape = (len(held_out.all_user_ids), len(held_out.item_ids))
        summed = csr_matrix((plays.astype(np.float32), (users, items)), shape)
        summed.sum_duplicates()
        return summed


def nights_between(
    warehouse: Warehouse, first: date, last: date, days: int, every: int
) -> tuple[list[Night], list[date]]:
    """Nights of a warehouse that can be scored, and those for which the days after them are still to come.

    Nights whose gate closed are passed over.

    Args:
        days: nights after each that have to be there.
        every: take the first of so many nights.

    Raises:
        UsageError: there is none.
    """
    closed = closed_dates(warehouse, GATED_TABLES)
    sound = [day for day in tables.dates(warehouse, "interactions") if first <= day <= last and day not in closed]
    listened = tables.dates(warehouse, "listens")
    if not sound:
        raise UsageError(
            "no night in this range can be scored",
            where=warehouse.path,
            found=_range(tables.dates(warehouse, "interactions")),
            expected=f"nights between {first} and {last} whose gate did not close",
            fix="check --from and --to, or run `nocturne night` for these dates",
        )
    scorable = [day for day in sound if day + timedelta(days=days) <= listened[-1]]
    if not scorable:
        raise UsageError(
            "nothing was listened to after the range yet, so that no list can be scored",
            where=warehouse.path,
            found=f"listens of {_range(listened)}",
            expected=f"listens of the {days} days after {sound[0]}",
            fix="choose earlier nights with --from and --to, or fewer --days",
        )
    return [Night(warehouse, day) for day in scorable[::every]], sound[len(scorable) :]


def read_held_out(night: Night, days: int, asked_share: float = 0.0, sample: ListenerSample = ALL_LISTENERS) -> HeldOut:
    """Read a night and the listens of the days after it, except those of nights whose gate closed on listens.

    Late listens count on the day they were heard: those of the night or before, unknown on it, say what had been heard.

    Args:
        asked_share: share of listeners, by hash, whom a race of recipes may have asked, and who are left out.
    """
    tonight, last = night.run_date, night.run_date + timedelta(days=days)
    latest = last + timedelta(days=night.settings.listens.late_days)
    listens = _read_listens(night, tonight + timedelta(days=1), latest, sample)
    heard_on, let_back_after = pc.field("heard_on"), night.settings.ranking.let_back_after_days
    unknown = heard_on <= tonight
    if let_back_after:
        unknown &= heard_on > tonight - timedelta(days=let_back_after)
    pairs = ["user_id", "item_id"]
    late = listens.filter(unknown).select(pairs)
    listens = listens.filter((heard_on > tonight) & (heard_on <= last)).select(pairs)
    listens = listens.join(late, pairs, join_type="left anti") if late.num_rows else listens
    if asked_share:
        asked = are_asked(listens["user_id"].combine_chunks(), asked_share)
        listens = listens.filter(pa.array(~asked))
    return held_out_from(night, listens, sample)


def held_out_from(night: Night, listens: pa.Table, sample: ListenerSample = ALL_LISTENERS) -> HeldOut:
    """Read a night whose truth comes from elsewhere.

    Args:
        listens: user_id and item_id of what was heard; may repeat, and name listeners and items unknown on the night.
    """
    # What later nights have added behind changes nothing; what an earlier night appended, made again, lies behind them.
    index = tables.rows(night.warehouse, "item_index").sort_by("item_index")["item_id"].combine_chunks()
    batch, known, size = _read_rows(night, len(index), sample)
    item_ids = index[: len(known)]
    catalogue = tables.night_rows(night, "items")
    blocked = night.settings.ranking.explicit_blocked_markets
    markets = eligibility.markets(item_ids, catalogue, night.run_date, blocked, stored_takedowns(night))
    masks = markets.masks & known
    classes = markets.of(batch.column("market"))
    heard = _already_heard(batch, len(item_ids), night)
    heard_later = _pairs(listens, batch.column("user_id"), item_ids)
    relevant = _listable(_binary(heard_later - heard_later.multiply(heard)), masks, classes)
    scored = np.flatnonzero(np.diff(relevant.indptr))
    place = pc.index_in(item_ids, value_set=catalogue["item_id"].combine_chunks())
    return HeldOut(
        night=night,
        sample_size=size,
        item_ids=item_ids,
        user_ids=batch.column("user_id").take(pa.array(scored)),
        all_user_ids=batch.column("user_id"),
        markets=tuple(batch.column("market").take(pa.array(scored)).to_pylist()),
        sizes=np.diff(heard_items(batch)[0])[scored],
        requests=Requests(scored, heard[scored], masks, classes[scored]),
        relevant=relevant[scored],
        catalogue=catalogue.take(place),
    )


def _read_listens(night: Night, first: date, last: date, sample: ListenerSample) -> pa.Table:
    """A sample's listens that the nights of a range ingested whose gate did not close on them; `heard_on` is their day.

    They are read a batch at a time, and those of others are let go of.
    """
    closed = closed_dates(night.warehouse, stage("ingest_events").writes)
    days = [day for day in tables.dates(night.warehouse, "listens") if first <= day <= last and day not in closed]
    listens = _table(sample.of(StoredRows.at(night, "listens", _LISTENS, values=days)), "listens", _LISTENS)
    return listens.drop_columns("listened_at").append_column("heard_on", listens["listened_at"].cast(pa.date32()))


def _read_rows(night: Night, items: int, sample: ListenerSample) -> tuple[pa.RecordBatch, Mask, SampleSize]:
    """A sample's rows of the night in order of user_id, and what is known of everyone's, read a batch at a time.

    Returns:
        rows; for each item up to the last one that is true of anything, true if anybody had heard it; listeners.
    """
    heard, listeners = np.zeros(items, np.bool_), 0
    parts: list[pa.RecordBatch] = []
    for batch in StoredRows.at(night, "interactions", _ROWS):
        heard[heard_items(batch)[1]] = True
        listeners += batch.num_rows
        parts += sample.of([batch])
    rows = _one_batch(_table(parts, "interactions", _ROWS).sort_by("user_id").combine_chunks())
    return rows, heard[: np.flatnonzero(heard).max(initial=-1) + 1], SampleSize(rows.num_rows, listeners)


def _table(parts: Iterable[pa.RecordBatch], table: str, columns: Sequence[str]) -> pa.Table:
    batches = list(parts)
    return pa.Table.from_batches(batches) if batches else contract(table).arrow_schema.empty_table().select(columns)


def _pairs(listens: pa.Table, user_ids: pa.Array, item_ids: pa.Array) -> csr_matrix:
    """Ones where a listener heard an item; shape (listeners, items)."""
    users = pc.index_in(listens["user_id"], value_set=user_ids)
    items = pc.index_in(listens["item_id"], value_set=item_ids)
    numbered = pc.and_(pc.is_valid(users), pc.is_valid(items))
    pairs = _integers(users.filter(numbered)), _integers(items.filter(numbered))
    return _binary(csr_matrix((np.ones(len(pairs[0])), pairs), (len(user_ids), len(item_ids))))


def _listable(heard: csr_matrix, masks: Mask, classes: Classes) -> csr_matrix:
    """Of items that were heard those that could have been listed in the listener's market."""
    listener = np.repeat(np.arange(heard.shape[0]), np.diff(heard.indptr))
    may = masks[classes[listener], heard.indices]
    return _binary(csr_matrix((may.astype(np.float64), heard.indices, heard.indptr), heard.shape))


def _already_heard(rows: pa.RecordBatch, items: int, night: Night) -> csr_matrix:
    """Items that ranking filters tonight because they were heard; shape (listeners, items)."""
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
    ones = csr_matrix(matrix, copy=True)
    ones.sum_duplicates()
    ones.eliminate_zeros()
    ones.data[:] = 1
    return ones


def _integers(column: pa.ChunkedArray) -> Counts:
    return np.asarray(column.to_numpy(), dtype=np.int64)


def _range(days: Sequence[date]) -> str:
    return f"nights from {days[0]} to {days[-1]}" if days else "no night"
