"""Lists as they were shown beside those that were computed, of the listeners of a sample of buckets."""

from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.masks import mask
from nocturne.core.night import Night
from nocturne.core.xxhash import buckets_of
from nocturne.storage import tables
from nocturne.storage.stored_rows import StoredRows
from nocturne.validation.metrics.exposures import ShownLists, add_listed, add_shown_lists
from nocturne.validation.metrics.id_numbers import IdNumbers
from nocturne.validation.metrics.lists import Rows
from nocturne.validation.metrics.sums import Labels, SegmentSums

_LISTENERS = 20_000
_COLUMNS = ["user_id", "arm", "items"]
_NEEDED = ["user_id", "list_run_date", "arm", "market", "items"]


class ShownSample:
    """Exposures of lists, of the listeners of some buckets.

    Args:
        night: that ingested them.
    """

    def __init__(self, night: Night) -> None:
        self._night, self._buckets = night, night.settings.tables.buckets
        listeners = max(tables.count(night, "ranked_lists"), 1)
        self.sampled = range(max(1, min(self._buckets, _LISTENERS * self._buckets // listeners)))
        self._shown: list[pa.RecordBatch] = []

    def add(self, batch: pa.RecordBatch) -> None:
        """Keep what belongs to the sample."""
        some = mask(pc.equal(batch["surface"], "list"))
        some &= buckets_of(batch["user_id"], self._buckets) < len(self.sampled)
        self._shown.append(batch.select(_NEEDED).filter(pa.array(some)))

    def measure(self, sums: SegmentSums) -> None:
        """Add the sample, held against the lists of the nights that it came from, to sums."""
        shown = pa.Table.from_batches(self._shown).combine_chunks() if self._shown else None
        if shown is None or not shown.num_rows:
            return
        nights = pc.value_counts(shown["list_run_date"]).to_pylist()
        most = max(nights, key=lambda each: (each["counts"], each["values"]))["values"]
        known = {*tables.dates(self._night.warehouse, "ranked_lists")}
        for day in sorted({each["values"] for each in nights} & known):
            of_night = shown.filter(pc.equal(shown["list_run_date"], pa.scalar(day, pa.date32())))
            lists = self._lists(self._night.on(day), self.sampled)
            _add_shown(sums, of_night, lists)
            if day == most:
                seen = mask(pc.is_in(lists["user_id"], value_set=of_night["user_id"].combine_chunks()))
                add_listed(sums, Labels.of(lists["arm"]), seen)

    def _lists(self, night: Night, buckets: Collection[int]) -> pa.Table:
        stored = StoredRows.at(night, "ranked_lists", _COLUMNS)
        return pa.concat_tables([stored.in_bucket(bucket).to_table() for bucket in buckets]).combine_chunks()


def _add_shown(sums: SegmentSums, shown: pa.Table, lists: pa.Table) -> None:
    computed, own = lists["items"].combine_chunks(), shown["items"].combine_chunks()
    place = pc.index_in(shown["user_id"].combine_chunks(), value_set=lists["user_id"].combine_chunks())
    theirs = computed.take(place)
    ids = [pc.struct_field(pc.list_flatten(each), "item_id") for each in (own, theirs)]
    numbers = IdNumbers(pc.unique(pa.concat_arrays(ids)))
    items, lists_of = (
        Rows.of_lists(each, numbers.find_repeating(names)) for names, each in zip(ids, (own, theirs), strict=True)
    )
    add_shown_lists(sums, ShownLists(items, lists_of, Labels.of(shown["arm"]), Labels.of(shown["market"])))
