"""Rows of one night of one table at one version, which any process can open."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyarrow.dataset import get_partition_keys
from pyarrow.parquet import ParquetFile

from nocturne.core.night import Night
from nocturne.storage.tables import at_version, dataset_of, open_night_table, partitions

_READ_BYTES = 2**20


@dataclass(frozen=True)
class StoredRows:
    """A night's rows of a table, a batch at a time, in the order of the files' partitions and names.

    Whenever they are iterated they are read anew, from one version: the same rows, whatever was written since.
    Tables keyed by listener have a file a bucket in order of user_id, so that this is the order of their rows.
    Pages whose checksum is not that of their bytes are an error.

    Attributes:
        path: folder of the table.
        version: version of the table to read.
        partition: partition column whose values tell the night's rows.
        values: these values.
        columns: the columns to read.
        bucket: the only bucket to read, if not all.
        batch_rows: most rows of a batch.
        dictionaries: columns of text, by their paths in the files, that are handed out as they are stored: numbers and,
            for each group of rows, the texts that these stand for, among which may be some that no row has.
    """

    path: str
    version: int
    partition: str
    values: tuple[Any, ...]
    columns: tuple[str, ...]
    bucket: int | None = None
    batch_rows: int = 4096
    dictionaries: tuple[str, ...] = ()

    @classmethod
    def at(
        cls, night: Night, table: str, columns: Sequence[str], version: int | None = None, **options: Any
    ) -> "StoredRows":
        """The rows as they are now, or at a version; options are attributes."""
        column, values = partitions(night, table)
        version = open_night_table(night, table).version() if version is None else version
        return cls(night.warehouse.table_path(table), version, column, tuple(values), tuple(columns), **options)

    def in_bucket(self, bucket: int) -> "StoredRows":
        """The rows of one bucket."""
        return replace(self, bucket=bucket)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Read the files one after another, none of them whole: a scan of the dataset would read ahead."""
        yield from self.in_files(None)

    def in_files(self, paths: Collection[str] | None) -> Iterator[pa.RecordBatch]:
        """The rows of some of the data files, by path below the table's folder; of all if None."""
        for file, keys in self._files(paths):
            stored = [name for name in self.columns if name not in keys]
            # A batch of two groups would have two dictionaries.
            groups = [[group] for group in range(file.num_row_groups)] if self.dictionaries else [None]
            for group in groups:
                for batch in file.iter_batches(self.batch_rows, group, stored, use_threads=False):
                    yield self._with_keys(batch, keys)

    def sample(self, rows: int, seed: int) -> Iterator[pa.RecordBatch]:
        """At most so many rows of one group of each file; the seed draws the group and the rows."""
        draw = np.random.default_rng(seed)
        for file, keys in self._files(None):
            yield from self._drawn(file, keys, rows, draw)

    def sample_buckets(self, rows: int, seeds: Mapping[int, int]) -> Iterator[pa.RecordBatch]:
        """The same of some buckets, by a seed each, as if every one were sampled alone."""
        draws = {bucket: np.random.default_rng(seed) for bucket, seed in seeds.items()}
        for file, keys in self._files(None, draws):
            yield from self._drawn(file, keys, rows, draws[keys["bucket"].as_py()])

    def _drawn(
        self, file: ParquetFile, keys: dict[str, pa.Scalar], rows: int, draw: np.random.Generator
    ) -> Iterator[pa.RecordBatch]:
        if file.num_row_groups:
            stored = [name for name in self.columns if name not in keys]
            group = file.read_row_group(int(draw.integers(file.num_row_groups)), stored, use_threads=False)
            drawn = np.sort(draw.permutation(group.num_rows)[:rows])
            for batch in group.take(drawn).to_batches():
                yield self._with_keys(batch, keys)

    def _files(
        self, paths: Collection[str] | None, buckets: Collection[int] | None = None
    ) -> Iterator[tuple[ParquetFile, dict[str, pa.Scalar]]]:
        dataset = self._dataset()
        files = []
        for fragment in dataset.get_fragments(self._filter()):
            keys = get_partition_keys(fragment.partition_expression)
            if (paths is None or fragment.path in paths) and (buckets is None or keys["bucket"] in buckets):
                files.append((keys.get("bucket", 0), fragment.path, keys))
        for _, path, keys in sorted(files, key=lambda file: file[:2]):
            scalars = {name: pa.scalar(value, dataset.schema.field(name).type) for name, value in keys.items()}
            with dataset.filesystem.open_input_file(path) as stored:
                reader = ParquetFile(
                    stored,
                    buffer_size=_READ_BYTES,
                    pre_buffer=False,
                    page_checksum_verification=True,
                    read_dictionary=self.dictionaries,
                    coerce_int96_timestamp_unit="us",
                )
                yield reader, scalars

    def to_table(self) -> pa.Table:
        """All of them at once."""
        return self._dataset().to_table(columns=list(self.columns), filter=self._filter())

    def head(self, rows: int) -> pa.Table:
        """The first rows."""
        return self._dataset().head(rows, columns=list(self.columns), filter=self._filter())

    def of_listeners(self, user_ids: Sequence[str]) -> pa.Table:
        """The rows of some listeners."""
        return self._dataset().to_table(
            columns=list(self.columns), filter=self._filter() & pc.field("user_id").isin(list(user_ids))
        )

    def _dataset(self) -> ds.Dataset:
        return dataset_of(at_version(self.path, self.version), self.path)

    def _filter(self) -> pc.Expression:
        chosen = pc.field(self.partition).isin(list(self.values)) if self.values else pc.scalar(False)
        return chosen if self.bucket is None else chosen & (pc.field("bucket") == self.bucket)

    def _with_keys(self, batch: pa.RecordBatch, keys: dict[str, pa.Scalar]) -> pa.RecordBatch:
        """The batch with the columns that files leave to the names of their folders, and timestamps of one type."""
        columns = [
            pa.repeat(keys[name], batch.num_rows) if name in keys else _in_microseconds(batch.column(name))
            for name in self.columns
        ]
        return pa.RecordBatch.from_arrays(columns, names=list(self.columns))


def _in_microseconds(column: pa.Array) -> pa.Array:
    """Spark stores a timestamp as INT96, which is read without a zone; delta-rs as what it is."""
    kind, expected = column.type, pa.timestamp("us", "UTC")
    if pa.types.is_list(kind) and pa.types.is_timestamp(kind.value_type):
        return column.cast(pa.list_(expected))
    return column.cast(expected) if pa.types.is_timestamp(kind) else column
