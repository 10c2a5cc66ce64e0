"""Lists of content types worked out again for a sample of listeners, from their rows, by code of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Floats, Mask, Positions
from nocturne.core.masks import mask
from nocturne.core.night import Night
from nocturne.ingestion.catalogue import UNNAMED_TYPE
from nocturne.storage import tables
from nocturne.storage.history import accumulated_rows
from nocturne.storage.model_transitions import ModelRecord
from nocturne.storage.stored_rows import StoredRows
from nocturne.validation.profiles.recomputed_lists import DenseNight, Row, near, rows_of, sample

SHELVES = ("user_id", "content_type", "items", "propensities", "source", "candidates")
"""Columns of `shelf_lists` that are read."""


def recompute_shelves(night: Night, lists: StoredRows, model: ModelRecord) -> int | None:
    """Rows of a sample of `shelf_lists` that are not what their listeners' rows give; None without rows.

    Args:
        lists: SHELVES columns.
    """
    sampled = sample(night, lists)
    if not sampled:
        return None
    row_of, shelves = rows_of(night, sampled), DenseShelves.of(night, model)
    return sum(not shelves.give(each, row_of.get(each["user_id"])) for each in sampled)


@dataclass(frozen=True)
class DenseBridge:
    """A bridge of the model into a content type.

    Attributes:
        axes: of the items that it leads from; zeros for others; shape (items, axes).
        factors: of the items that it leads to; zeros for others; shape (items, axes + 1).
        sources, targets: masks of these; shape (items,).
    """

    axes: Floats
    factors: Floats
    sources: Mask
    targets: Mask

    @classmethod
    def of(cls, rows: pa.Table, indexes: Positions) -> "DenseBridge":
        """Rows of `bridge_factors` of one content type, for items of these indexes."""
        sides = []
        for side in ("source", "target"):
            some = rows.filter(pc.equal(rows["side"], side)).combine_chunks()
            place = np.searchsorted(indexes, some["item_index"].to_numpy())
            values = some["factors"].combine_chunks().flatten().to_numpy().astype(np.float64)
            dense = np.zeros((len(indexes), len(values) // max(1, some.num_rows)))
            dense[place] = values.reshape(some.num_rows, -1)
            sides.append((dense, np.isin(np.arange(len(indexes)), place)))
        (axes, sources), (factors, targets) = sides
        return cls(axes, factors, sources, targets)

    def scores(self, heard: Positions) -> Floats:
        """The score of every item for who heard these; shape (items,)."""
        vector = self.axes[heard].sum(axis=0)
        unit = vector / (np.linalg.norm(vector) or 1.0)
        return np.asarray(self.factors[:, :-1] @ unit + self.factors[:, -1])


@dataclass(frozen=True)
class DenseShelves:
    """A night and its live model, and what lists of content types follow from beside them.

    Attributes:
        content_types: of the model's items; shape (items,).
        bridges: by the content type that they lead into; None where popularity is the best that can be said.
    """

    dense: DenseNight
    content_types: pa.Array
    bridges: Mapping[str, DenseBridge | None]

    @classmethod
    def of(cls, night: Night, model: ModelRecord) -> "DenseShelves":
        """The night's types, and the model's bridges."""
        dense = DenseNight.of(night, model)
        catalogue = tables.night_rows(night, "items", ["item_id", "content_type"]).combine_chunks()
        place = pc.index_in(dense.item_ids, value_set=catalogue["item_id"].combine_chunks())
        types = pc.fill_null(catalogue["content_type"].combine_chunks().take(place), UNNAMED_TYPE)
        of_model = pc.field("model_version") == model.version
        decided = accumulated_rows(night, "bridges", ["run_date", "content_type", "beats_popularity"], of_model)
        columns = ["run_date", "item_index", "content_type", "side", "factors"]
        rows = accumulated_rows(night, "bridge_factors", columns, of_model)
        bridges = {
            each["content_type"]: DenseBridge.of(
                rows.filter(pc.equal(rows["content_type"], each["content_type"])), dense.item_indexes
            )
            if each["beats_popularity"]
            else None
            for each in decided.to_pylist()
        }
        return cls(dense, types, bridges)

    def give(self, listed: Row, row: Row | None) -> bool:
        """True if a row of `shelf_lists` is what its listener's row of `interactions` gives."""
        if row is None:
            return False
        of_type = mask(pc.equal(self.content_types, listed["content_type"]))
        allowed = self.dense.allowed(row) & of_type
        places, confidences = self.dense.confidences(row)
        user, ranking = self.dense.user(row, places, confidences), self.dense.settings.ranking
        new, bridge = self._new_type(listed["content_type"], places, of_type)
        if user.any() and new:
            return self._gives_new_type(listed, row, allowed, bridge, places)
        if listed["candidates"] != allowed.sum() or listed["propensities"] is not None:
            return False
        if not user.any():
            popular = self.dense.popular(row["market"], allowed, ranking.shelf_items)
            return listed["source"] in {"market_popular", "global_popular"} and _ids(listed) == popular
        head = self.dense.candidates(user, allowed, places, confidences, ranking.shelf_items)
        return listed["source"] == "als" and head.gives(listed, head.best, in_order=True)

    def _new_type(self, content_type: str, heard: Positions, of_type: Mask) -> tuple[bool, DenseBridge | None]:
        """True if a list is for a listener who heard nothing of its type; and the bridge that it is by, if any."""
        bridge = self.bridges.get(content_type)
        if content_type not in self.bridges or of_type[heard].any():
            return False, None
        leads = bridge is None or bool(bridge.sources[heard].any() and (bridge.targets & of_type).any())
        return leads, bridge

    def _gives_new_type(
        self, listed: Row, row: Row, allowed: Mask, bridge: DenseBridge | None, heard: Positions
    ) -> bool:
        """True if a list of a type that its listener heard nothing of is what it must be, but for what is drawn."""
        ranking = self.dense.settings.ranking
        depth = ranking.shelf_items + ranking.shelf_reserve
        if bridge is None:
            best = self.dense.popular(row["market"], allowed, depth)
            fixed = self._not_drawn(_ids(listed))
            return (
                listed["source"] in {"market_popular", "global_popular"}
                and listed["candidates"] == allowed.sum()
                and set(_ids(listed)) <= set(best)
                and fixed == best[: len(fixed)]
                and len(listed["items"]) == min(len(best), ranking.shelf_items)
            )
        allowed = allowed & bridge.targets
        scores = np.sort(np.where(allowed, bridge.scores(heard), -np.inf))[::-1][: min(depth, int(allowed.sum()))]
        place = pc.index_in(pa.array(_ids(listed), pa.string()), self.dense.item_ids)
        if place.null_count or not allowed[place.to_numpy()].all():
            return False
        told = [entry["score"] for entry in listed["items"]]
        own = bridge.scores(heard)[place.to_numpy()].tolist()
        fixed_scores = self._not_drawn(told)
        return (
            listed["source"] == "bridge"
            and listed["candidates"] == allowed.sum()
            and len(told) == min(len(scores), ranking.shelf_items)
            and all(near(value, score) for value, score in zip(own, told, strict=True))
            and all(near(value, score) for value, score in zip(scores[: len(fixed_scores)], fixed_scores, strict=True))
        )

    def _not_drawn(self, entries: Sequence[Any]) -> list[Any]:
        """The entries of a list of a new type at the places that are not drawn."""
        drawn = set(self.dense.settings.reranking.new_type_places)
        return [entry for place, entry in enumerate(entries, start=1) if place not in drawn]


def _ids(listed: Row) -> list[str]:
    return [entry["item_id"] for entry in listed["items"]]
