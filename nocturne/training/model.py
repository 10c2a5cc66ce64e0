"""The `Model` that training leaves and ranking needs, and listeners' rows as it weighs them.

Apart from training, so that the executors need not load what only training uses.
"""

from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Counts, Factors, Floats, Indexes, Mask
from nocturne.core.csr import CsrRows
from nocturne.core.sections import AlsSettings
from nocturne.kernel.encoder import AXES, Encoder, Shape
from nocturne.storage.contracts import contract
from nocturne.storage.model_transitions import ModelRecord
from nocturne.training.confidences import Confidences, confidence_rows, positions
from nocturne.training.item_counts import ItemCounts, from_maps, to_maps
from nocturne.training.sequence.sequences import sequence_rows


@dataclass(frozen=True)
class Model:
    """Everything global that lists depend on, frozen until the next model.

    The items that were learned come first. Behind them are those that it knows by their text alone, in the order in
    which nights have added them, so that no item ever moves.

    Attributes:
        item_indexes: columns of the model in the interaction matrix, ascending among the learned; shape (items,).
        item_ids: aligned with it.
        factors: item factors on their principal axes, float32; shape (items, factors).
        spectrum: the diagonal of factors.T @ factors of the learned items, which is zero elsewhere; largest first;
            shape (factors,).
        confidence_weights: what confidences in each item are multiplied by; 0 for items that were not learned, so that
            no listener's factors depend on them; shape (items,).
        score_multipliers: what each item's inner product is multiplied by; shape (items,).
        listeners: listeners of each item at training, count; shape (items,).
        market_listeners: the same by market.
        neighbours: positions of the items most similar to each, ascending; -1 where there are fewer; shape
            (items, neighbours).
        similarities: weights of the neighbours, aligned with them.
        predecessors: positions of the items after which each is heard most, as the neighbours are kept.
        predecessor_weights: how often, aligned with them; the largest of all is 1.
        added_on: night that added each item, in days since 1970-01-01; 0 of those that were learned; shape (items,).
        encoder: of a sequence model, encodes listeners; None of another, whose listeners are solved.
    """

    version: str
    settings: AlsSettings
    anchor_date: date
    half_life_days: float
    item_indexes: Indexes
    item_ids: pa.Array
    factors: Factors
    spectrum: Floats
    confidence_weights: Floats
    score_multipliers: Floats
    listeners: Counts
    market_listeners: dict[str, ItemCounts]
    neighbours: Indexes
    similarities: Factors
    predecessors: Indexes
    predecessor_weights: Factors
    added_on: Counts
    encoder: Encoder | None = None

    @cached_property
    def cold(self) -> Mask:
        """Items that the model knows by their text alone; shape (items,)."""
        return np.asarray(self.added_on > 0)

    def known_on(self, night: date) -> Mask:
        """Items that the model ranked on a night; shape (items,)."""
        return np.asarray(self.added_on <= (night - date(1970, 1, 1)).days)

    @cached_property
    def position(self) -> Indexes:
        """Position in the model of each item index; -1 for items without factors."""
        return positions(self.item_indexes, int(self.item_indexes.max()) + 1)

    def sequence_rows(self, rows: pa.RecordBatch) -> CsrRows:
        """Last listens of rows of `interactions` as this model's encoder reads them: of items that were learned."""
        recent = sequence_rows(rows, self.position)
        return recent.where(~self.cold[recent.positions])

    def confidence_rows(self, rows: pa.RecordBatch) -> Confidences:
        """Rows of `interactions` as this model weighs them to rank: in their order, if the recipe says so."""
        return self._confidence_rows(rows, self.settings.recency)

    def unordered_rows(self, rows: pa.RecordBatch) -> Confidences:
        """Rows of `interactions` as training weighs them."""
        return self._confidence_rows(rows, 1.0)

    def _confidence_rows(self, rows: pa.RecordBatch, recency: float) -> Confidences:
        position, weights = self.position, self.confidence_weights
        return confidence_rows(rows, position, weights, self.anchor_date, self.half_life_days, self.settings, recency)


def factors_table(model: Model) -> pa.Table:
    """The model's items as rows of `item_factors`."""
    items = len(model.item_indexes)
    columns = {
        "run_date": pa.repeat(pa.scalar(model.anchor_date, pa.date32()), items),
        "model_version": pa.repeat(model.version, items),
        "item_index": pa.array(model.item_indexes),
        "item_id": model.item_ids,
        "factors": as_lists(np.full(items, model.factors.shape[1]), model.factors.ravel()),
        "confidence_weight": pa.array(model.confidence_weights),
        "score_multiplier": pa.array(model.score_multipliers),
        "listeners": pa.array(model.listeners),
        "market_listeners": to_maps(model.market_listeners, items),
        **_evidence_lists(model, "neighbours", "similarities"),
        **_evidence_lists(model, "predecessors", "predecessor_weights"),
    }
    return pa.table(columns).cast(contract("item_factors").arrow_schema)


def _evidence_lists(model: Model, items: str, weights: str) -> dict[str, pa.ListArray]:
    """Two aligned arrays of a model as columns of those names, without the places that are empty."""
    places = getattr(model, items)
    present = places >= 0
    counts = present.sum(axis=1)
    return {
        items: as_lists(counts, model.item_indexes[places[present]]),
        weights: as_lists(counts, getattr(model, weights)[present]),
    }


def encoder_table(model: Model) -> pa.Table:
    """The arrays of the model's encoder as rows of `encoders`; none of a model that has no encoder."""
    encoder = model.encoder
    arrays = {} if encoder is None else {AXES: encoder.axes, **encoder.weights}
    rows = [
        {
            "run_date": model.anchor_date,
            "model_version": model.version,
            "name": name,
            "shape": list(arrays[name].shape),
            "numbers": arrays[name].ravel(),
        }
        for name in sorted(arrays)
    ]
    return pa.Table.from_pylist(rows, contract("encoders").arrow_schema)


def encoder_from_table(rows: pa.Table, settings: AlsSettings) -> Encoder:
    """The encoder of a sequence model from its rows of `encoders`."""
    arrays = {row["name"]: np.array(row["numbers"], np.float32).reshape(row["shape"]) for row in rows.to_pylist()}
    axes = arrays.pop(AXES)
    return Encoder(Shape.of(settings.sequence), arrays, axes)


def model_from_tables(
    record: ModelRecord, factors: pa.Table, half_life_days: float, encoder: Encoder | None = None
) -> Model:
    """The model of a record of the registry, its rows of `item_factors`, and its encoder if it has one."""
    factors = factors.sort_by("item_index").combine_chunks()
    spectrum = np.array(record.spectrum)
    item_indexes = factors["item_index"].to_numpy()
    settings = AlsSettings.model_validate_json(record.settings)
    position = positions(item_indexes, int(item_indexes.max()) + 1)
    neighbours, similarities = _evidence(factors, "neighbours", "similarities", position, settings)
    before, successions = _evidence(factors, "predecessors", "predecessor_weights", position, settings)
    return Model(
        version=record.version,
        settings=settings,
        anchor_date=record.anchor_date,
        half_life_days=half_life_days,
        item_indexes=item_indexes,
        item_ids=factors["item_id"].combine_chunks(),
        factors=_matrix(factors["factors"], len(spectrum)),
        spectrum=spectrum,
        confidence_weights=factors["confidence_weight"].to_numpy(),
        score_multipliers=factors["score_multiplier"].to_numpy(),
        listeners=factors["listeners"].to_numpy(),
        market_listeners=from_maps(factors["market_listeners"].combine_chunks()),
        neighbours=neighbours,
        similarities=similarities,
        predecessors=before,
        predecessor_weights=successions,
        added_on=np.zeros(len(item_indexes), np.int64),
        encoder=encoder,
    )


def with_cold_items(model: Model, rows: pa.Table) -> Model:
    """The model with items behind its own that it knows by their text.

    Args:
        rows: of `cold_factors`, of this model, oldest night first; of two rows of an item the first one counts.
    """
    _, first = np.unique(rows["item_index"].to_numpy(), return_index=True)
    rows = rows.take(pa.array(np.sort(first))).combine_chunks()
    items = rows.num_rows
    neighbours, similarities = _evidence(rows, "neighbours", "similarities", model.position, model.settings)
    nothing = np.full((items, model.predecessors.shape[1]), -1, np.int32)
    return replace(
        model,
        item_indexes=np.concatenate([model.item_indexes, rows["item_index"].to_numpy()]),
        item_ids=pa.concat_arrays([model.item_ids, rows["item_id"].combine_chunks()]),
        factors=np.concatenate([model.factors, _matrix(rows["factors"], model.factors.shape[1])]),
        confidence_weights=np.concatenate([model.confidence_weights, np.zeros(items)]),
        score_multipliers=np.concatenate([model.score_multipliers, rows["score_multiplier"].to_numpy()]),
        listeners=np.concatenate([model.listeners, np.zeros(items, np.int64)]),
        neighbours=np.concatenate([model.neighbours, neighbours]),
        similarities=np.concatenate([model.similarities, similarities]),
        predecessors=np.concatenate([model.predecessors, nothing]),
        predecessor_weights=np.concatenate([model.predecessor_weights, np.zeros(nothing.shape, np.float32)]),
        added_on=np.concatenate([model.added_on, rows["run_date"].cast(pa.int32()).to_numpy().astype(np.int64)]),
    )


def _matrix(lists: pa.ChunkedArray, width: int) -> Factors:
    matrix: Factors = lists.combine_chunks().flatten().to_numpy().reshape(-1, width)
    return matrix


def as_lists(lengths: npt.NDArray[np.integer[Any]], flat: npt.NDArray[Any]) -> pa.ListArray:
    """Lists of these lengths of values laid end to end."""
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(flat))


def _evidence(
    factors: pa.Table, items: str, weights: str, position: Indexes, settings: AlsSettings
) -> tuple[Indexes, Factors]:
    """Two aligned columns of lists as arrays of one width: positions, -1 where there are fewer, and weights."""
    shape = (factors.num_rows, settings.neighbours)
    places, aligned = np.full(shape, -1, np.int32), np.zeros(shape, np.float32)
    lists = factors[items].combine_chunks()
    lengths = pc.list_value_length(lists).to_numpy()
    item = np.repeat(np.arange(factors.num_rows), lengths)
    place = np.arange(len(item)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    places[item, place] = position[lists.flatten().to_numpy()]
    aligned[item, place] = factors[weights].combine_chunks().flatten().to_numpy()
    return places, aligned
