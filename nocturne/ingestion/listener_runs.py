"""Rows of several nights side by side: each in order of user_id, some listeners at a time, whole ones only."""

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc


class ListenerRun:
    """Rows in order of user_id, any number of a listener, read as they are needed."""

    def __init__(self, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
        self._tables = iter(tables)
        self._rows = schema.empty_table()
        self._more = True

    def fill(self) -> str | None:
        """Read on until a listener is whole; returns the first listener that may not be, None at the end."""
        while self._more and (not self._rows.num_rows or self._rows["user_id"][0] == self._rows["user_id"][-1]):
            table = next(self._tables, None)
            self._more = table is not None
            if table is not None:
                self._rows = pa.concat_tables([self._rows, table.cast(self._rows.schema)])
        return str(self._rows["user_id"][-1]) if self._more else None

    def take_before(self, user_id: str | None) -> pa.Table:
        """Take the rows of the listeners before this one, or all."""
        count = self._rows.num_rows if user_id is None else pc.sum(pc.less(self._rows["user_id"], user_id)).as_py() or 0
        taken, self._rows = self._rows.slice(0, count), self._rows.slice(count)
        return taken


def step_through(runs: Sequence[ListenerRun]) -> Iterator[list[pa.Table]]:
    """The rows of all runs, some listeners at a time, all rows of a listener at once; a table of each run."""
    while True:
        limits = [limit for run in runs if (limit := run.fill()) is not None]
        limit = min(limits, default=None)
        tables = [run.take_before(limit) for run in runs]
        if any(table.num_rows for table in tables):
            yield tables
        if limit is None:
            return
