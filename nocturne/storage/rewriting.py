"""Files of a table written anew without some of their rows, and the commits that put them in place of the old ones.

The rows that stay keep their order, bucket and night. What was written is read again, and its hash has to be that of
the old file less that of the rows that left it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable

from nocturne.core.arrays import Mask
from nocturne.core.errors import ServiceError
from nocturne.core.night import Warehouse
from nocturne.storage import fencing, fingerprints
from nocturne.storage.bucket_files import BucketFile, BucketWriter, remove_on_failure
from nocturne.storage.contracts import contract
from nocturne.storage.stored_rows import Keys, StoredRows

_BATCH_ROWS = 2**15
_MARK, _COMMITS_BACK = "nocturne.erasure", 1000

Selects = Callable[[pa.RecordBatch], Mask]
"""True for the rows of a batch that leave."""


@dataclass(frozen=True)
class StoredFile:
    """A data file as the log has it.

    Attributes:
        path: below the table's folder.
        keys: values of all partition columns.
    """

    path: str
    size: int
    rows: int
    keys: Mapping[str, Any]

    @property
    def day(self) -> str:
        """Its night."""
        return str(self.keys["run_date"])

    def as_written(self) -> BucketFile:
        """The file as whoever wrote it told of it."""
        others = {name: str(value) for name, value in self.keys.items() if name not in {"run_date", "bucket"}}
        return BucketFile(self.keys.get("bucket"), self.path, self.size, self.rows, others)


@dataclass(frozen=True)
class Replacement:
    """A commit that puts files in place of those of some partitions.

    Attributes:
        days: nights whose files go.
        buckets: of these nights; None: all.
        files: night and file of what comes in their place.
    """

    days: tuple[str, ...]
    buckets: tuple[int, ...] | None
    files: tuple[tuple[str, BucketFile], ...]

    def to_json(self) -> dict[str, Any]:
        """As it is kept in a journal."""
        return asdict(self)

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Replacement":
        """From a journal."""
        buckets = None if told["buckets"] is None else tuple(told["buckets"])
        return cls(tuple(told["days"]), buckets, tuple((day, BucketFile(**file)) for day, file in told["files"]))


@dataclass
class Rewriter:
    """Writes files of one table anew.

    Attributes:
        leaves: says of each row whether it leaves.
        removed: rows that left so far, by night.
    """

    warehouse: Warehouse
    table: str
    leaves: Selects
    removed: dict[str, list[pa.Table]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Open the contract."""
        self.promised = contract(self.table)
        self.path = self.warehouse.table_path(self.table)

    def concerns(self, file: StoredFile) -> bool:
        """True if a row of the file leaves."""
        columns = [*self.promised.listener_columns, *self.promised.listener_texts]
        return any(self.leaves(batch).any() for batch in self._rows(file, columns))

    def write(self, file: StoredFile) -> BucketFile | None:
        """Write the rows of a file that stay, and note those that leave; None if none stays.

        Raises:
            ServiceError: what was written does not read back as it should.
        """
        writer = BucketWriter(self.path, self.promised.arrow_schema, file.day, *self._partition(file))
        before, left = 0, []
        with remove_on_failure(writer):
            for batch in self._rows(file, self.promised.arrow_schema.names):
                before += self._hash(batch)
                going = pa.array(self.leaves(batch))
                left.append(batch.filter(going))
                staying = batch.filter(pc.invert(going))
                if staying.num_rows:
                    writer.write(pa.Table.from_batches([staying]))
            written = writer.close()
            expected = before - sum(map(self._hash, left))
            self._require_hash(written, expected)
        if not written.rows:
            writer.discard()
        schema = self.promised.arrow_schema
        rows = [pa.Table.from_batches([each]).cast(schema) for each in left if each.num_rows]
        self.removed.setdefault(file.day, []).append(pa.concat_tables([schema.empty_table(), *rows]))
        return written if written.rows else None

    def _partition(self, file: StoredFile) -> tuple[int | None, Mapping[str, str]]:
        told = file.as_written()
        return told.bucket, told.keys

    def _rows(self, file: StoredFile, columns: Sequence[str]) -> StoredRows:
        keys: Keys = dict(file.keys)
        schema = self.promised.arrow_schema
        return StoredRows(self.path, 0, schema, ((file.path, keys),), tuple(columns), batch_rows=_BATCH_ROWS)

    def _hash(self, batch: pa.RecordBatch) -> int:
        return fingerprints.sum_of_hashes(batch.select(fingerprints.hashed_columns(self.table)))

    def _require_hash(self, written: BucketFile, expected: int) -> None:
        keys = _keys_of(written, self.promised.partitioned_by)
        again = StoredFile(written.path, written.size, written.rows, keys)
        found = sum(map(self._hash, self._rows(again, self.promised.arrow_schema.names)))
        if found % 2**64 != expected % 2**64:
            raise ServiceError(
                "a file that was written anew does not hold the rows that stay",
                where=f"{self.path}/{written.path}",
                found=fingerprints.as_text(found),
                expected=f"{fingerprints.as_text(expected)}, the hash of the old file less that of the rows that left",
                fix="check the disk, then run this again: nothing was replaced",
            )


def stored_files(delta: DeltaTable, table: str) -> list[StoredFile]:
    """Every file of a table as it was opened."""
    actions = pa.table(delta.get_add_actions(flatten=True))
    names = contract(table).partitioned_by
    values = [actions[f"partition.{name}"].to_pylist() for name in names]
    told = zip(*(actions[name].to_pylist() for name in ("path", "size_bytes", "num_records")), *values, strict=True)
    return [StoredFile(path, size, rows, dict(zip(names, keys, strict=True))) for path, size, rows, *keys in told]


def replace_files(warehouse: Warehouse, table: str, change: Replacement, mark: str) -> int:
    """Commit a replacement; returns the version that it made, or had made before.

    Args:
        mark: of the commit in the log, by which a process that goes on knows it again.

    Raises:
        ServiceError: somebody else wrote the table meanwhile.
    """
    delta, promised = DeltaTable(warehouse.table_path(table)), contract(table)
    for entry in delta.history(_COMMITS_BACK):
        if entry.get(_MARK) == mark:
            return int(entry["version"])
    filters: list[tuple[str, str, Any]] = [("run_date", "in", list(change.days))]
    if change.buckets is not None:
        filters.append(("bucket", "in", [str(bucket) for bucket in change.buckets]))
    properties = fencing.commit_properties(delta, warehouse.token) or CommitProperties()
    properties.custom_metadata = {_MARK: mark}
    with fencing.conflicts_as_errors(delta):
        delta.create_write_transaction(
            [file.add_action(day) for day, file in change.files],
            mode="overwrite",
            schema=promised.arrow_schema,
            partition_by=list(promised.partitioned_by),
            partition_filters=filters,
            commit_properties=properties,
        )
    return int(DeltaTable(warehouse.table_path(table)).version())


def hash_of(table: str, rows: pa.Table) -> int:
    """Sum of the hashes of rows of a table."""
    selected = rows.select(fingerprints.hashed_columns(table)).combine_chunks()
    return sum(map(fingerprints.sum_of_hashes, selected.to_batches()))


def _keys_of(written: BucketFile, names: Sequence[str]) -> Keys:
    day = date.fromisoformat(written.path.split("/", 1)[0].removeprefix("run_date="))
    told: dict[str, Any] = {"run_date": day, "bucket": written.bucket} | dict(written.keys)
    return {name: told[name] for name in names}
