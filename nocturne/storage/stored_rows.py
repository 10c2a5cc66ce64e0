"""Rows of one night of one table at one version, which any process can open."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import and_
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyarrow.fs import FileSystem, LocalFileSystem, SubTreeFileSystem
from pyarrow.parquet import ParquetFile

from nocturne.core.night import Night
from nocturne.storage import tables
from nocturne.storage.contracts import contract
from nocturne.storage.tables import files_with_keys, open_night_table, partitions

_READ_BYTES = 2**20
_INT96_UNIT = "us"

Keys = dict[str, Any]
"""Values of the partition columns, which files leave to the names of their folders."""


@dataclass(frozen=True)
class StoredRows:
    """A night's rows of a table, a batch at a time, in the order of the files' partitions and names.

    The files are known from the beginning, so that a task opens its own and no log. Whenever the rows are iterated they
    are read anew: the same rows, whatever was written since. Tables keyed by listener have a file a bucket in order of
    user_id, so that this is the order of their rows. Pages whose checksum is not that of their bytes are an error.

    Attributes:
        path: folder of the table.
        version: version of the table that is read.
        schema: of the table.
        files: paths below the folder with their keys, in order of bucket and path.
        columns: the columns to read.
        batch_rows: most rows of a batch.
        dictionaries: columns of text, by their paths in the files, that are handed out as they are stored: numbers and,
            for each group of rows, the texts that these stand for, among which may be some that no row has.
    """

    path: str
    version: int
    schema: pa.Schema
    files: tuple[tuple[str, Keys], ...]
    columns: tuple[str, ...]
    batch_rows: int = 4096
    dictionaries: tuple[str, ...] = ()

    @classmethod
    def at(
        cls,
        night: Night,
        table: str,
        columns: Sequence[str],
        version: int | None = None,
        values: Sequence[Any] | None = None,
        **options: Any,
    ) -> "StoredRows":
        """The rows as they are now, or at a version.

        Args:
            values: of the table's first partition column, if not those that belong to the night.
            options: attributes.
        """
        delta = open_night_table(night, table, version)
        column, of_night = partitions(night, table)
        files = files_with_keys(delta, table, column, of_night if values is None else values)
        ordered = sorted(files, key=lambda file: (file[1].get("bucket", 0), file[0]))
        path, schema = night.warehouse.table_path(table), contract(table).arrow_schema
        return cls(path, delta.version(), schema, tuple(ordered), tuple(columns), **options)

    def in_bucket(self, bucket: int) -> "StoredRows":
        """The rows of one bucket."""
        return replace(self, files=tuple(file for file in self.files if file[1]["bucket"] == bucket))

    def where(self, **keys: Any) -> "StoredRows":
        """The rows with these values of partition columns."""
        files = (file for file in self.files if keys.items() <= file[1].items())
        return replace(self, files=tuple(files))

    def by_bucket(self, buckets: int) -> "list[StoredRows]":
        """The rows of each bucket."""
        return [self.in_bucket(bucket) for bucket in range(buckets)]

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
        file_system = self._file_system()
        for path, keys in self.files:
            if (paths is None or path in paths) and (buckets is None or keys["bucket"] in buckets):
                scalars = {name: pa.scalar(value, self.schema.field(name).type) for name, value in keys.items()}
                with file_system.open_input_file(path) as stored:
                    reader = ParquetFile(
                        stored,
                        buffer_size=_READ_BYTES,
                        pre_buffer=False,
                        page_checksum_verification=True,
                        read_dictionary=self.dictionaries,
                        coerce_int96_timestamp_unit=_INT96_UNIT,
                    )
                    yield reader, scalars

    def to_table(self) -> pa.Table:
        """All of them at once."""
        return self._dataset().to_table(columns=list(self.columns))

    def head(self, rows: int) -> pa.Table:
        """The first rows."""
        return self._dataset().head(rows, columns=list(self.columns))

    def of_listeners(self, user_ids: Sequence[str]) -> pa.Table:
        """The rows of some listeners."""
        return self._dataset().to_table(columns=list(self.columns), filter=pc.field("user_id").isin(list(user_ids)))

    def _dataset(self) -> ds.Dataset:
        options = ds.ParquetReadOptions(coerce_int96_timestamp_unit=_INT96_UNIT)
        scan = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
        return ds.FileSystemDataset.from_paths(
            [path for path, _ in self.files],
            schema=self.schema,
            format=ds.ParquetFileFormat(read_options=options, default_fragment_scan_options=scan),
            filesystem=self._file_system(),
            partitions=[_equal_to(keys) for _, keys in self.files],
        )

    def _file_system(self) -> FileSystem:
        files, path = FileSystem.from_uri(self.path) if "://" in self.path else (LocalFileSystem(), self.path)
        return SubTreeFileSystem(path, files)

    def _with_keys(self, batch: pa.RecordBatch, keys: dict[str, pa.Scalar]) -> pa.RecordBatch:
        """The batch with the columns that files leave to the names of their folders, and timestamps of one type."""
        columns = [
            pa.repeat(keys[name], batch.num_rows) if name in keys else _in_microseconds(batch.column(name))
            for name in self.columns
        ]
        return pa.RecordBatch.from_arrays(columns, names=list(self.columns))


def whole_index(night: Night) -> StoredRows:
    """Ids and indexes of all items: an earlier night that is made again meets items of later ones."""
    every_night = tables.dates(night.warehouse, "item_index")
    return StoredRows.at(night, "item_index", ["item_id", "item_index"], values=every_night)


def _equal_to(keys: Keys) -> pc.Expression:
    """The expression that is true of rows with these keys."""
    equal = [pc.field(name) == value for name, value in keys.items()]
    return reduce(and_, equal)


def _in_microseconds(column: pa.Array) -> pa.Array:
    """Spark stores a timestamp as INT96, which is read without a zone; delta-rs as what it is."""
    kind, expected = column.type, pa.timestamp("us", "UTC")
    if pa.types.is_list(kind) and pa.types.is_timestamp(kind.value_type):
        return column.cast(pa.list_(expected))
    return column.cast(expected) if pa.types.is_timestamp(kind) else column
