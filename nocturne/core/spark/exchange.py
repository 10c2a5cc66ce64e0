"""Arrow rows between tasks: dealt out as bytes, which Spark moves and keeps as it does rows of its own."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Parcels = Iterable[tuple[int, bytes]]
"""Rows as bytes, each parcel with the number of the task that it goes to: `rdd.partitionBy(tasks, as_given)`."""

_SENT_ROWS = 2**18
"""Rows that are dealt out at once."""


def deal_out(rows: pa.Table, keys: npt.NDArray[np.uint64], tasks: int) -> Iterator[tuple[int, bytes]]:
    """A parcel for each task that any of the rows go to: rows of one key to one task.

    Args:
        keys: of the rows, best hashes; shape (rows,).
        tasks: count.
    """
    numbers = (keys % np.uint64(tasks)).astype(np.int64)
    order = np.argsort(numbers, kind="stable")
    rows, numbers = rows.take(order).combine_chunks(), numbers[order]
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))
    for start, end in pairwise([*starts.tolist(), len(numbers)]):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as stream:
            stream.write_table(rows.slice(start, end - start))
        yield int(numbers[start]), sink.getvalue().to_pybytes()


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
