"""Further metrics of `listens`: a day's listens beside the night's catalogue."""

from datetime import date

import pyarrow as pa

from nocturne.core.night import Night
from nocturne.storage import tables
from nocturne.storage.stored_rows import StoredRows
from nocturne.validation.metrics.id_numbers import IdNumbers
from nocturne.validation.metrics.item_traits import ItemTraits
from nocturne.validation.metrics.listens import ListenerRuns, add_listens, listen_metrics
from nocturne.validation.metrics.metric import Metric
from nocturne.validation.metrics.sums import SegmentSums


class ListenTally:
    """Listens of some files, added to sums a batch at a time, each file's in the order of listeners.

    Args:
        items: COLUMNS of the night's catalogue.
        run_date: the night that ingested the listens.
    """

    COLUMNS = ("item_id", *ItemTraits.COLUMNS)

    def __init__(self, items: StoredRows, run_date: date) -> None:
        catalogue = items.to_table()
        self._numbers, self._traits = IdNumbers(catalogue["item_id"].combine_chunks()), ItemTraits.of(catalogue)
        self._run_date = run_date
        self._runs = ListenerRuns()

    def add(self, sums: SegmentSums, batch: pa.RecordBatch) -> None:
        """Add a batch to sums; listeners are added last."""
        item = self._numbers.find_repeating(batch["item_id"])
        add_listens(sums, batch, item, self._traits, self._run_date)
        self._runs.add(sums, batch["user_id"], batch["plays"].to_numpy())

    def close(self, sums: SegmentSums) -> None:
        """Add the last listener to sums."""
        self._runs.close(sums)


def tally_metrics(night: Night, sums: SegmentSums) -> tuple[Metric, ...]:
    """The metrics of all listens of a night."""
    return listen_metrics(sums, ItemTraits.of(tables.night_rows(night, "items", ItemTraits.COLUMNS)))
