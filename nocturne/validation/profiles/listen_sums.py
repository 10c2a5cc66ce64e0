"""Sums of listens by item, night and day: files added up where they are read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from nocturne.core.arrays import Floats
from nocturne.core.night import Night
from nocturne.storage import tables
from nocturne.storage.stored_rows import StoredRows, whole_index
from nocturne.validation.profiles.bucket_sums import sum_over

_COLUMNS = ("item_id", "listened_at", "plays", "ms_played")
_BATCH_ROWS = 2**18
_DAY = 86_400_000_000
"""In microseconds."""

_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class ListenSums:
    """Sums of listens.

    Attributes:
        by_day: plays, and seconds with each listen's rounded, by item index, shape (2, items); by the night that
            ingested them and the day of the listening.
        unindexed: ids of items that are not in `item_index`.
    """

    by_day: dict[tuple[date, date], Floats] = field(default_factory=dict)
    unindexed: set[str] = field(default_factory=set)

    def plus(self, other: "ListenSums") -> "ListenSums":
        """Add the other's."""
        for key, amounts in other.by_day.items():
            if key in self.by_day:
                self.by_day[key] += amounts
            else:
                self.by_day[key] = amounts
        self.unindexed.update(other.unindexed)
        return self


@dataclass(frozen=True)
class ListenFile:
    """A file of the listens that a night ingested; `path` lies below the table's folder."""

    run_date: date
    rows: StoredRows
    path: str


@dataclass(frozen=True)
class ListenSummation:
    """The summation of files of listens, as a task runs it.

    Attributes:
        index: of all items so far.
        items: item indexes from 0 on that are summed up, count.
    """

    index: StoredRows
    items: int

    def sum_files(self, files: Iterable[ListenFile]) -> ListenSums:
        """Sums over some files."""
        sums, index = ListenSums(), self.index.to_table().combine_chunks()
        for file in files:
            for batch in file.rows.in_files([file.path]):
                self._add_batch(sums, batch, file.run_date, index)
        return sums

    def _add_batch(self, sums: ListenSums, batch: pa.RecordBatch, run_date: date, index: pa.Table) -> None:
        ids = batch["item_id"].dictionary
        place = pc.index_in(ids, value_set=index["item_id"].combine_chunks())
        of_ids = pc.fill_null(index["item_index"].combine_chunks().take(place), -1).to_numpy(zero_copy_only=False)
        code = batch["item_id"].indices.to_numpy()
        item = of_ids[code]
        sums.unindexed.update(ids.take(pa.array(np.unique(code[item < 0]))).to_pylist())
        seconds = pc.divide(pc.add(pc.fill_null(batch["ms_played"], 0), 500), 1000)
        days = batch["listened_at"].cast(pa.int64()).to_numpy() // _DAY
        for day in np.unique(days):
            some = (days == day) & (item >= 0) & (item < self.items)
            amounts = [
                np.bincount(item[some], amount.to_numpy()[some], minlength=self.items)
                for amount in (batch["plays"], seconds)
            ]
            sums.plus(ListenSums({(run_date, _EPOCH + timedelta(days=int(day))): np.stack(amounts)}))


def sum_listens(spark: SparkSession, night: Night, run_dates: Sequence[date], items: int) -> ListenSums:
    """Sums over all listens that some nights ingested, for so many item indexes."""
    files, count = [], 0
    for run_date in run_dates:
        ingested = night.on(run_date)
        rows = StoredRows.at(ingested, "listens", _COLUMNS, batch_rows=_BATCH_ROWS, dictionaries=("item_id",))
        files += [ListenFile(run_date, rows, path) for path in tables.files(ingested, "listens")["path"].to_pylist()]
        count += tables.count(ingested, "listens")
    if not files:
        return ListenSums()
    return sum_over(spark, files, count, ListenSummation(whole_index(night), items).sum_files)
