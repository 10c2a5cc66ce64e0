"""Rows of all listens in the place of rows without some: what adds up to the listens that were ingested."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.night import Night
from nocturne.storage import tables
from nocturne.storage.contracts import contract

_OWN = ("run_date", "not_taste", "asked_on", "listens", "older")
_SCHEMA = pa.schema(field for field in contract("set_aside").arrow_schema if field.name not in _OWN)


def whole_rows(night: Night | None) -> pa.Table:
    """The rows of all listens of listeners some of whose listens are set aside on a night; none without a night."""
    rows = tables.night_rows(night, "set_aside", _SCHEMA.names).cast(_SCHEMA) if night else _SCHEMA.empty_table()
    return rows.combine_chunks()


def put_whole(rows: pa.Table | pa.RecordBatch, user_ids: pa.Array, whole: pa.Table) -> pa.Table | pa.RecordBatch:
    """Rows of `interactions`, with the whole row of each listener who has one.

    Args:
        user_ids: of the rows; shape (rows,).
        whole: from `whole_rows`.

    Returns:
        The rows as they are if nobody has one; else those of their columns that whole rows have.
    """
    place = pc.index_in(user_ids, value_set=whole["user_id"].combine_chunks())
    if place.null_count == len(place):
        return rows
    table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
    names = [name for name in table.column_names if name in _SCHEMA.names]
    own = table.select(names)
    at = np.where(place.is_null(), np.arange(len(place)), pc.fill_null(place, 0).to_numpy() + len(place))
    theirs = whole.select(names).cast(pa.schema(own.schema.field(name) for name in names))
    return pa.concat_tables([own, theirs]).take(pa.array(at)).combine_chunks()


def as_batch(rows: pa.Table | pa.RecordBatch) -> pa.RecordBatch:
    """The rows as one batch."""
    if isinstance(rows, pa.RecordBatch):
        return rows
    return pa.RecordBatch.from_arrays([column.combine_chunks() for column in rows.columns], schema=rows.schema)
