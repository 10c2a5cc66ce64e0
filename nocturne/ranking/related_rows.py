"""Rows of `related_items`, a content type at a time: carried over, computed, or what a creator has. Pure."""

import hashlib
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Counts, Mask, Positions
from nocturne.core.csr import CsrRows
from nocturne.core.sections import RelatedSettings
from nocturne.ingestion.interactions import EPOCH
from nocturne.kernel.numeric_build import numeric_build
from nocturne.ranking.known_items import KnownItems
from nocturne.ranking.related import SOURCES, RelatedRows, Relations
from nocturne.ranking.related_carry_over import CarryOver, plan_carry_over
from nocturne.ranking.same_creator import best_of_creator
from nocturne.storage.contracts import contract
from nocturne.training.model import Model

MODEL, CREATOR, NONE = "model", "creator", "none"
_ENTRY_SOURCES = pa.array([*SOURCES, CREATOR])
_OF_CREATOR = len(SOURCES)


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
        memory_mb: memory that a part of the work may take, in MiB.
    """

    run_date: date
    known: KnownItems
    model: Model | None
    settings: RelatedSettings
    memory_mb: int

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
        rows = carried.rows
        has_factors = np.zeros(len(self.known.ids), np.bool_)
        if self.relations is not None:
            has_factors[self.place[self.relations.norms > 0]] = True
            todo = np.flatnonzero(~carried.stands & (self.relations.norms > 0))
            found = self.relations.best(todo, listable, self.settings.depth + self.settings.reserve)
            order = np.arange(len(self.place))
            order[todo] = len(order) + np.arange(len(todo))
            rows = RelatedRows.concatenated([rows, found]).take(order)
        cold = np.flatnonzero(~has_factors)
        cold_items, shares = best_of_creator(self.known, cold, of_type, self.listeners, self.settings.depth)
        everything = RelatedRows.concatenated(
            [
                RelatedRows(
                    CsrRows(rows.items.offsets, self.place[rows.items.positions].astype(np.int32)),
                    rows.scores,
                    rows.sources,
                ),
                RelatedRows(cold_items, shares, np.full(len(shares), _OF_CREATOR, np.int8)),
            ]
        )
        row_of = np.empty(len(self.known.ids), np.int64)
        row_of[self.place] = np.arange(len(self.place))
        row_of[cold] = len(self.place) + np.arange(len(cold))
        computed_on = np.full(len(self.known.ids), (self.run_date - EPOCH).days)
        computed_on[self.place[carried.stands]] = carried.computed_on[carried.stands]
        table = self._table(content_type, everything.take(row_of), has_factors, listable, computed_on)
        return table, int(carried.stands.sum())

    def _carry_over(self, content_type: str, listable: Mask, previous: Previous | None) -> CarryOver:
        if self.relations is None or self.model is None or previous is None or not self.settings.carry_over:
            return CarryOver.nothing(len(self.place))
        then = previous.items.of_type(content_type)
        same = pc.and_(
            pc.and_(
                pc.equal(previous.rows["content_type"], content_type),
                pc.equal(previous.rows["model_version"], self.model.version),
            ),
            pc.and_(pc.equal(previous.rows["build"], self.build), pc.equal(previous.rows["rankable"], _digest(then))),
        )
        rows = previous.rows.filter(same)
        return plan_carry_over(rows, self.model.item_ids, self.relations, then, listable, self.settings.depth)

    def _table(
        self, content_type: str, rows: RelatedRows, has_factors: Mask, listable: Mask, computed_on: Counts
    ) -> pa.Table:
        count = len(self.known.ids)
        items, reserve = rows.split(self.settings.depth)
        sources = np.where(items.items.lengths == 0, NONE, np.where(has_factors, MODEL, CREATOR))
        columns = {
            "run_date": pa.repeat(pa.scalar(self.run_date, pa.date32()), count),
            "item_id": self.known.ids,
            "content_type": pa.repeat(content_type, count),
            "items": self._lists(items),
            "source": pa.array(sources, pa.string()),
            "model_version": pa.repeat(pa.scalar(self.model and self.model.version, pa.string()), count),
            "build": pa.repeat(self.build, count),
            "rankable": pa.repeat(_digest(listable), count),
            "reserve": self._lists(reserve),
            "computed_on": pa.array(computed_on.astype(np.int32)).cast(pa.date32()),
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


def _digest(mask: Mask) -> str:
    """64 bits of a mask of the model's items."""
    return hashlib.sha256(np.packbits(mask).tobytes()).hexdigest()[:16]


def no_rows() -> pa.Table:
    """A night without any item."""
    return contract("related_items").arrow_schema.empty_table()
