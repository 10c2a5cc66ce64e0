"""Bucket files: files of tables keyed by listener, written by the tasks that compute them.

A task writes the file of its bucket where it belongs, from Arrow, row groups in order of user_id; nothing of it
is part of the table until the driver commits all buckets at once. What a task that dies leaves behind is never read.
"""

import json
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import pyarrow as pa
from deltalake.transaction import AddAction
from pyarrow.parquet import ParquetWriter

_UNIQUE = ("user_id", "event_id", "raw")

ITEM_IDS = "items.list.element.item_id"
"""Where files of `ranked_lists` keep the ids of items."""


@dataclass(frozen=True)
class BucketFile:
    """A file that was written.

    Attributes:
        bucket: None in a table without buckets.
        path: below the table's folder.
        size: in bytes.
        keys: values of the partition columns beside night and bucket.
    """

    bucket: int | None
    path: str
    size: int
    rows: int
    keys: Mapping[str, str] = field(default_factory=dict)

    def add_action(self, run_date: str) -> AddAction:
        """The entry of the table's log that makes the file part of the table."""
        return AddAction(
            path=self.path,
            size=self.size,
            partition_values=_partition(run_date, self.bucket, self.keys),
            # The log wants a time; the night's own keeps it the same whenever the night runs.
            modification_time=0,
            data_change=True,
            stats=json.dumps({"numRecords": self.rows}),
        )


@dataclass
class BucketWriter:
    """The open file of one bucket of a table on a night, or of a part of one without buckets.

    Attributes:
        keys: values of the partition columns beside night and bucket: names that need no escape.
    """

    table_path: str
    schema: pa.Schema
    run_date: str
    bucket: int | None
    keys: Mapping[str, str] = field(default_factory=dict)
    rows: int = 0

    def __post_init__(self) -> None:
        """Create the file and the folders above it."""
        partition = _partition(self.run_date, self.bucket, self.keys)
        folder = "/".join(f"{name}={value}" for name, value in partition.items())
        self.path = f"{folder}/part-{uuid.uuid4()}.parquet"
        self.file = Path(self.table_path, self.path)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.stored_schema = pa.schema(column for column in self.schema if column.name not in partition)
        kinds = {path: kind for column in self.stored_schema for path, kind in _leaves(column.name, column.type)}
        self.parquet = ParquetWriter(
            self.file,
            self.stored_schema,
            # Scores and factors shrink by less than a tenth, for which a third of the time of reading would be spent.
            compression={path: "none" if pa.types.is_floating(kind) else "zstd" for path, kind in kinds.items()},
            # They hardly repeat: a dictionary of them would only be built to be thrown away.
            use_dictionary=[path for path, kind in kinds.items() if pa.types.is_string(kind) and path not in _UNIQUE],
            write_page_checksum=True,
        )

    def write(self, rows: pa.Table) -> None:
        """Append rows, columns in any order.

        Raises:
            ValueError: a column is missing or of another type, or has nulls where the contract has none.
        """
        self.parquet.write_table(rows.select(self.stored_schema.names).cast(self.stored_schema))
        self.rows += rows.num_rows

    def close(self) -> BucketFile:
        """Finish the file."""
        self.parquet.close()
        return BucketFile(self.bucket, self.path, self.file.stat().st_size, self.rows, self.keys)

    def discard(self) -> None:
        """Remove the file, closed or not."""
        with suppress(OSError):
            self.parquet.close()
        # A disk that is full refuses the footer, and would refuse it again, aloud, once the writer is collected.
        self.parquet.is_open = False
        self.file.unlink(missing_ok=True)


def _partition(run_date: str, bucket: int | None, keys: Mapping[str, str]) -> dict[str, str]:
    return {"run_date": run_date} | ({} if bucket is None else {"bucket": str(bucket)}) | dict(keys)


def _leaves(path: str, kind: pa.DataType) -> Iterator[tuple[str, pa.DataType]]:
    """The paths in a file of what a column is stored as, and their types."""
    if pa.types.is_list(kind):
        yield from _leaves(f"{path}.list.element", kind.value_type)
    elif pa.types.is_struct(kind):
        for part in kind:
            yield from _leaves(f"{path}.{part.name}", part.type)
    else:
        yield path, kind


def write_bucket(
    table_path: str, schema: pa.Schema, run_date: str, bucket: int | None, parts: Iterable[pa.Table]
) -> BucketFile | None:
    """Write rows, a part at a time, into a file of a table; None if there are no parts."""
    following = iter(parts)
    first = next(following, None)
    if first is None:
        return None
    writer = BucketWriter(table_path, schema, run_date, bucket)
    with remove_on_failure(writer):
        for part in chain([first], following):
            writer.write(part)
        return writer.close()


@contextmanager
def remove_on_failure(*writers: BucketWriter, others: Collection[BucketWriter] = ()) -> Iterator[None]:
    """Remove the files if anything fails before they are closed.

    Args:
        others: that may be opened meanwhile.
    """
    try:
        yield
    except BaseException:
        for writer in (*writers, *others):
            writer.discard()
        raise
