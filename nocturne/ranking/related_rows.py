"""Rows of `related_items`, a content type at a time: carried over, computed, or what a creator has. Pure."""

from dataclasses import dataclass
from datetime import date
from functools import cached_property, reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Counts, Mask, Positions
from nocturne.core.csr import CsrRows
from nocturne.core.sections import RelatedSettings
from nocturne.kernel.numeric_build import numeric_build
from nocturne.ranking.eligibility import mask_digest
from nocturne.ranking.known_items import KnownItems
from nocturne.ranking.related import SOURCES, RelatedRows, Relations
from nocturne.ranking.related_carry_over import CarryOver, ListableItems, plan_carry_over
from nocturne.ranking.same_creator import best_of_creator
from nocturne.storage.contracts import contract
from nocturne.training.model import Model

MODEL, TEXT, CREATOR, NONE = "model", "text", "creator", "none"
_ENTRY_SOURCES = pa.array([*SOURCES, CREATOR])
_OF_CREATOR = len(SOURCES)
_NOBODY = np.zeros(0, np.int64)
_CARRIED = pa.schema(
    [contract("related_items").arrow_schema.field(name) for name in ("items", "reserve", "computed_on")]
)
"""Columns of rows that are carried over as they are."""


@dataclass(frozen=True)
class Previous:
    """The night that rows are carried over from.

    Attributes:
        rows: of `related_items` of that night, of one content type or of all.
        items: the model's items, as that night's catalogue has them.
    """

    rows: pa.Table
    items: KnownItems


@dataclass(frozen=True)
class RelatedNight:
    """All that a night's rows depend on.

    Attributes:
        known: every item that has rows, in order of ids.
        model: the live one; None before there is one.
        memory_mb, threads: for the work, as in Relations.
    """

    run_date: date
    known: KnownItems
    model: Model | None
    settings: RelatedSettings
    memory_mb: int
    threads: int

    @cached_property
    def place(self) -> Positions:
        """Place of each of the model's items among the known ones; shape (items,)."""
        if self.model is None:
            return np.zeros(0, np.int64)
        return np.asarray(pc.index_in(self.model.item_ids, value_set=self.known.ids).to_numpy().astype(np.int64))

    @cached_property
    def relations(self) -> Relations | None:
        """The relations of the items of the model; None without one."""
        model, settings = self.model, self.settings
        if model is None:
            return None
        return Relations(
            model.factors,
            np.argsort(np.argsort(self.place)),
            model.predecessors,
            model.predecessor_weights,
            settings.neighbour_weight,
            self.memory_mb,
            self.threads,
        )

    @cached_property
    def listeners(self) -> Counts:
        """Listeners of each known item at training; 0 without factors; shape (known items,)."""
        listeners = np.zeros(len(self.known.ids), np.int64)
        if self.model is not None:
            listeners[self.place] = self.model.listeners
        return listeners

    @cached_property
    def build(self) -> str:
        """Hash of the numeric build, and the settings that rows depend on."""
        settings = self.settings
        return f"{numeric_build()}-{settings.depth}-{settings.reserve}-{settings.neighbour_weight:g}"

    def table(self, content_type: str, previous: Previous | None) -> tuple[pa.Table, int]:
        """Rows of one content type, one for every known item; and how many were carried over.

        They are the same whatever is carried over, but for their reserve and the night that they were computed on.
        """
        of_type = self.known.of_type(content_type)
        listable = of_type[self.place]
        carried = self._carry_over(content_type, listable, previous)
        found_for, found = self._compute(listable, carried.standing if carried else _NOBODY)
        cold = np.setdiff1d(np.arange(len(self.known.ids)), self.place[self._has_factors])
        of_creator, shares = best_of_creator(self.known, cold, of_type, self.listeners, self.settings.depth)
        parts = [
            self._in_known(found),
            RelatedRows(of_creator, shares, np.full(len(shares), _OF_CREATOR, np.int8)),
        ]
        places = [self.place[found_for], cold]
        tonight = [pa.repeat(pa.scalar(self.run_date, pa.date32()), len(found_for) + len(cold))]
        stored = []
        if carried:
            parts.insert(0, self._in_known(carried.rows))
            places = [self.place[carried.kept], self.place[carried.trimmed], *places]
            tonight.insert(0, carried.computed_on)
            stored = [carried.stored]
        heads, tails = RelatedRows.concatenated(parts).split(self.settings.depth)
        built = pa.table([self._lists(heads), self._lists(tails), pa.concat_arrays(tonight)], names=_CARRIED.names)
        rows = pa.concat_tables([each.cast(_CARRIED) for each in (*stored, built)]).combine_chunks()
        rows = rows.take(pa.array(np.argsort(np.concatenate(places))))
        return self._table(content_type, rows, listable), len(carried.standing) if carried else 0

    def _compute(self, listable: Mask, standing: Positions) -> tuple[Positions, RelatedRows]:
        """The items of the model whose rows do not stand, and their rows."""
        todo = np.setdiff1d(np.flatnonzero(self._has_factors), standing)
        if self.relations is None:
            return todo, RelatedRows(CsrRows.empty(0), np.zeros(0), np.zeros(0, np.int8))
        return todo, self.relations.best(todo, listable, self.settings.depth + self.settings.reserve)

    @cached_property
    def _has_factors(self) -> Mask:
        """The items of the model whose factors have a direction; shape (model items,)."""
        return np.zeros(0, np.bool_) if self.relations is None else self.relations.norms > 0

    def _in_known(self, rows: RelatedRows) -> RelatedRows:
        """The same rows with places of the known items for positions in the model."""
        items = CsrRows(rows.items.offsets, self.place[rows.items.positions].astype(np.int32))
        return RelatedRows(items, rows.scores, rows.sources)

    def _carry_over(self, content_type: str, listable: Mask, previous: Previous | None) -> CarryOver | None:
        if self.relations is None or self.model is None or previous is None or not self.settings.carry_over:
            return None
        then = previous.items.of_type(content_type)
        expected = {
            "content_type": content_type,
            "model_version": self.model.version,
            "build": self.build,
            "rankable": mask_digest(then),
        }
        same = reduce(pc.and_, (pc.equal(previous.rows[name], value) for name, value in expected.items()))
        rows = previous.rows.select(["item_id", *_CARRIED.names]).filter(same).combine_chunks()
        return plan_carry_over(
            rows, self.model.item_ids, self.relations, ListableItems(then, listable), self.settings.depth
        )

    def _table(self, content_type: str, rows: pa.Table, listable: Mask) -> pa.Table:
        """Rows of `related_items` in the order of the known items."""
        count = len(self.known.ids)
        source = np.full(count, CREATOR, object)
        if self.model is not None:
            known = self._has_factors
            source[self.place[known]] = np.where(self.model.cold[known], TEXT, MODEL)
        lengths = pc.list_value_length(rows["items"].combine_chunks()).to_numpy()
        columns = {
            "run_date": pa.repeat(pa.scalar(self.run_date, pa.date32()), count),
            "item_id": self.known.ids,
            "content_type": pa.repeat(content_type, count),
            "items": rows["items"],
            "source": pa.array(np.where(lengths == 0, NONE, source), pa.string()),
            "model_version": pa.repeat(pa.scalar(self.model and self.model.version, pa.string()), count),
            "build": pa.repeat(self.build, count),
            "rankable": pa.repeat(mask_digest(listable), count),
            "reserve": rows["reserve"],
            "computed_on": rows["computed_on"],
        }
        return pa.table(columns).cast(contract("related_items").arrow_schema)

    def _lists(self, rows: RelatedRows) -> pa.ListArray:
        entries = pa.StructArray.from_arrays(
            [
                self.known.ids.take(pa.array(rows.items.positions)),
                pa.array(rows.scores.astype(np.float32)),
                _ENTRY_SOURCES.take(pa.array(rows.sources)),
            ],
            names=["item_id", "score", "source"],
        )
        return pa.ListArray.from_arrays(pa.array(rows.items.offsets.astype(np.int32)), entries)
