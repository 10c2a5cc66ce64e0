"""Rows of one table keyed by listener beside those of another; both lie in the order of user_id."""

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.storage.contracts import contract


class AlignedRows:
    """Rows of a bucket, handed out for the listeners of another table, a batch at a time.

    A row out of the order of user_id may be taken for one that is not there.
    """

    def __init__(self, table: str, columns: Sequence[str], batches: Iterable[pa.RecordBatch]) -> None:
        schema = contract(table).arrow_schema
        self._rows = pa.schema([schema.field(name) for name in columns]).empty_table()
        self._batches = iter(batches)
        self._more = True

    def of(self, user_ids: pa.Array) -> pa.Table:
        """The rows of these listeners, null where there is none; to be asked in the order of user_id."""
        last = user_ids[-1].as_py()
        while self._more and (not len(self._rows) or self._last() < last):
            self._extend()
        rows = self._take(pc.index_in(user_ids, value_set=self._rows["user_id"].combine_chunks()))
        if len(self._rows) and self._last() <= last:
            self._rows = self._rows.slice(0, 0)
        return rows

    def _take(self, places: pa.Int32Array) -> pa.Table:
        """The rows in these places; a view where they lie side by side, as they do unless listeners come or go."""
        first = places[0].as_py()
        if first is not None and places.equals(pa.array(np.arange(first, first + len(places)), places.type)):
            return self._rows.slice(first, len(places))
        return self._rows.take(places)

    def _last(self) -> str:
        return str(self._rows["user_id"][-1])

    def _extend(self) -> None:
        batch = next(self._batches, None)
        if batch is None:
            self._more = False
            return
        table = pa.Table.from_batches([batch])
        self._rows = pa.concat_tables([self._rows, table]).combine_chunks() if len(self._rows) else table
