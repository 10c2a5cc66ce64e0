"""Further metrics of `ranked_lists`: lists by number, beside what else belongs to the same listeners."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Floats, Indexes, Mask, Positions
from nocturne.core.masks import mask
from nocturne.core.night import Night
from nocturne.storage import tables
from nocturne.storage.stored_rows import StoredRows
from nocturne.validation.metrics.item_traits import ItemTraits
from nocturne.validation.metrics.lists import KINDS, Lists, Rows, add_lists, list_metrics
from nocturne.validation.metrics.metric import Metric
from nocturne.validation.metrics.sums import Labels, SegmentSums
from nocturne.validation.profiles.listed_items import ListedItems

_NEW_DAYS = 7
_INDEX = ("item_index", "item_id", "first_night")


@dataclass(frozen=True)
class ListComparison:
    """Catalogue, popularity and plans that lists of a night are compared with, as a task has them.

    Attributes:
        items: the night's catalogue.
        index: of all items so far.
        popularity: listeners of each item when the live model was trained, by item index.
        steered: listeners with a standing plan.
    """

    run_date: date
    items: StoredRows
    index: StoredRows
    popularity: Floats
    steered: pa.Array

    @classmethod
    def of(cls, night: Night) -> "ListComparison":
        """Those of a night."""
        learned = tables.night_rows(night, "item_factors", ["item_index", "listeners"])
        number = learned["item_index"].to_numpy()
        popularity = np.zeros(int(number.max(initial=-1)) + 1)
        popularity[number] = learned["listeners"].to_numpy()
        return cls(
            run_date=night.run_date,
            items=StoredRows.at(night, "items", ("item_id", *ItemTraits.COLUMNS)),
            index=StoredRows.at(night, "item_index", _INDEX),
            popularity=popularity,
            steered=pc.unique(tables.night_rows(night, "steers", ["user_id"])["user_id"]),
        )

    def traits(self) -> ItemTraits:
        """Traits of items by item index."""
        catalogue, index = self.items.to_table(), self.index.to_table()
        number = index["item_index"].to_numpy()
        count = int(number.max(initial=-1)) + 1
        places, new, popularity = np.full(count, -1), np.zeros(count, bool), np.zeros(count)
        places[number] = pc.fill_null(
            pc.index_in(index["item_id"].combine_chunks(), value_set=catalogue["item_id"].combine_chunks()), -1
        ).to_numpy()
        since = pa.scalar(self.run_date - timedelta(days=_NEW_DAYS), pa.date32())
        new[number] = mask(pc.greater(index["first_night"], since))
        known = min(count, len(self.popularity))
        popularity[:known] = self.popularity[:known]
        return ItemTraits.of(catalogue, places, new=new, popularity=popularity)

    def add(
        self,
        sums: SegmentSums,
        batch: pa.RecordBatch,
        item: Indexes,
        listeners: pa.Table,
        previous: pa.Table,
        items: ListedItems,
        traits: ItemTraits,
    ) -> None:
        """Add some lists.

        Args:
            item: item index of every entry of the lists; -1 for one that has none.
            listeners, previous: rows of `interactions` and of last night's `ranked_lists`, aligned with the lists and
                null where there is none.
        """
        heard, on = (listeners[name].combine_chunks() for name in ("item_indexes", "last_heard"))
        of_heard = Rows.of_lists(heard, pc.list_flatten(heard).to_numpy())
        tonight = mask(pc.equal(pc.list_flatten(on), pa.scalar(self.run_date, pa.date32())))
        drawn, place = _places(batch["propensities"])
        explored = mask(pc.less(batch["propensities"].flatten(), 1.0))
        marked = pc.list_parent_indices(batch["cold"]).to_numpy()
        before = previous["items"].combine_chunks()
        lists = Lists(
            items=Rows.of_lists(batch["items"], item),
            segments={kind: Labels.of(batch[kind]) for kind in KINDS},
            scores=pc.struct_field(batch["items"].flatten(), "score").to_numpy(zero_copy_only=False),
            candidates=batch["candidates"].to_numpy(),
            cold=_marked(batch["items"], marked, batch["cold"].flatten().to_numpy()),
            explored=_marked(batch["items"], drawn[explored], place[explored]),
            personal=mask(pc.equal(batch["source"], "als")),
            steered=mask(pc.is_in(batch["user_id"], value_set=self.steered)),
            previous=Rows.of_lists(before, items.indexes_of(pc.struct_field(pc.list_flatten(before), "item_id"))),
            had_list=mask(pc.is_valid(previous["user_id"])),
            heard=of_heard,
            heard_tonight=of_heard.where(tonight),
        )
        add_lists(sums, lists, traits)

    def metrics(self, sums: SegmentSums) -> tuple[Metric, ...]:
        """The metrics of all lists."""
        return list_metrics(sums, self.traits())


def _marked(lists: pa.ListArray, owner: Positions, place: Positions) -> Mask:
    """Entries of lists in some places of some lists, aligned, those beyond their end left out; shape (entries,)."""
    lengths = pc.list_value_length(lists).to_numpy()
    marked = np.zeros(int(lengths.sum()), bool)
    inside = (place >= 0) & (place < lengths[owner])
    marked[(np.cumsum(lengths) - lengths)[owner[inside]] + place[inside]] = True
    return marked


def _places(lists: pa.ListArray) -> tuple[Positions, Positions]:
    """The list of each entry of lists, which may be null, and its place there from 0."""
    owner = pc.list_parent_indices(lists).to_numpy()
    lengths = np.bincount(owner, minlength=len(lists))
    return owner, np.arange(len(owner)) - (np.cumsum(lengths) - lengths)[owner]
