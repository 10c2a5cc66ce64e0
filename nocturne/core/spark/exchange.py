"""Arrow rows between tasks: dealt out as bytes, which Spark moves and keeps as it does rows of its own."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa

from nocturne.core.arrays import Positions

Parcels = Iterable[tuple[int, bytes]]
"""Rows as bytes, each parcel with the number of the task that it goes to: `rdd.partitionBy(tasks, as_given)`."""

_SENT_ROWS = 2**18
"""Rows that are dealt out at once."""


def deal_out(rows: pa.Table, tasks: Positions) -> Iterator[tuple[int, bytes]]:
    """A parcel for each task that any of the rows go to.

    Args:
        tasks: number of the task of each row; shape (rows,).
    """
    order = np.argsort(tasks, kind="stable")
    rows, tasks = rows.take(order).combine_chunks(), tasks[order]
    starts = np.flatnonzero(np.diff(tasks, prepend=-1))
    for start, end in pairwise([*starts.tolist(), len(tasks)]):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as stream:
            stream.write_table(rows.slice(start, end - start))
        yield int(tasks[start]), sink.getvalue().to_pybytes()


def unpack(parcels: Parcels) -> Iterator[pa.Table]:
    """The rows of each parcel; strings are not copied."""
    for _, content in parcels:
        yield pa.ipc.open_stream(content).read_all()


def as_given(task: int) -> int:
    """The number of a parcel is that of its task."""
    return task


def in_tables(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Batches put together to tables as large as are dealt out at once."""
    some: list[pa.RecordBatch] = []
    for batch in batches:
        some.append(batch)
        if sum(part.num_rows for part in some) >= _SENT_ROWS:
            yield pa.Table.from_batches(some)
            some = []
    if some:
        yield pa.Table.from_batches(some)
