"""What training leaves and ranking needs: a `Model`, and listeners' rows as it weighs them.

Apart from training, so that the executors need not load what only training uses.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.csr import entries_of
from nocturne.core.settings import AlsSettings
from nocturne.ingestion.interactions import strength_scale
from nocturne.storage.contracts import contract

Counts = npt.NDArray[np.int64]
Factors = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Indexes = npt.NDArray[np.int32]

_TRANSFORMS: dict[str, Callable[[Floats], Floats]] = {
    "linear": lambda amount: amount,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "binary": lambda amount: (amount > 0).astype(np.float64),
}


@dataclass(frozen=True)
class Confidences:
    """Listeners' rows as the model sees them: a CSR matrix.

    Attributes:
        offsets: where each row begins and the last one ends, int64; shape (rows + 1,).
        columns: positions in the model, ascending within a row; shape (entries,).
        confidences: > 0, aligned with the columns.
    """

    offsets: Counts
    columns: Indexes
    confidences: Floats

    def take(self, listeners: npt.NDArray[np.intp]) -> "Confidences":
        """The rows of some listeners."""
        offsets, entries = entries_of(self.offsets, listeners)
        return Confidences(offsets, self.columns[entries], self.confidences[entries])


@dataclass(frozen=True)
class Model:
    """Everything global that lists depend on, frozen until the next model.

    Attributes:
        item_indexes: columns of the model in the interaction matrix, ascending; shape (items,).
        item_ids: aligned with it.
        factors: item factors on their principal axes, float32; shape (items, factors).
        spectrum: the diagonal of factors.T @ factors, which is zero elsewhere; largest first; shape (factors,).
        confidence_weights: what confidences in each item are multiplied by; shape (items,).
        score_multipliers: what each item's inner product is multiplied by; shape (items,).
        listeners: listeners of each item at training, count; shape (items,).
        market_listeners: the same by market.
        neighbours: positions of the items most similar to each, ascending; -1 where there are fewer; shape
            (items, neighbours).
        similarities: aligned with them.
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
    market_listeners: dict[str, Counts]
    neighbours: Indexes
    similarities: Factors

    @cached_property
    def position(self) -> Indexes:
        """Position in the model of each item index; -1 for items without factors."""
        return positions(self.item_indexes, int(self.item_indexes.max()) + 1)

    def confidence_rows(self, rows: pa.RecordBatch) -> Confidences:
        """Rows of `interactions` as this model weighs them."""
        return confidence_rows(
            rows, self.position, self.confidence_weights, self.anchor_date, self.half_life_days, self.settings
        )


def strengths(
    rows: pa.RecordBatch, anchor_date: date, half_life_days: float, settings: AlsSettings
) -> tuple[Counts, Indexes, Floats]:
    """Rows of `interactions` as CSR arrays of listening strength.

    Returns:
        row offsets (rows + 1,), item indexes and strengths (entries,): decayed plays and minutes, weighted.
    """
    offsets, item_indexes = heard_items(rows)
    periods, of_row = np.unique(rows.column("period").to_numpy(), return_inverse=True)
    scales = np.array([strength_scale(int(period), anchor_date, half_life_days) for period in periods])
    plays = rows.column("play_sums").flatten().to_numpy().astype(np.float64)
    seconds = rows.column("second_sums").flatten().to_numpy().astype(np.float64)
    amount = settings.play_weight * plays + settings.minute_weight / 60 * seconds
    return offsets, item_indexes, amount * np.repeat(scales[of_row], np.diff(offsets))


def confidences(amounts: Floats, weights: Floats, items_heard: Counts, settings: AlsSettings) -> Floats:
    """Confidence of each entry, all arguments aligned with the entries.

    Args:
        amounts: strengths, in plays as worth on the anchor date.
        weights: the item's confidence weight.
        items_heard: number of items in the listener's row.

    Source: Hu, Koren and Volinsky (2008), section 4, with weights against popular items and active listeners.
    """
    transformed = _TRANSFORMS[settings.transform](amounts)
    return settings.alpha * transformed * weights * items_heard.astype(np.float64) ** -settings.activity_exponent


def confidence_rows(
    rows: pa.RecordBatch,
    position: Indexes,
    weights: Floats,
    anchor_date: date,
    half_life_days: float,
    settings: AlsSettings,
) -> Confidences:
    """Rows of `interactions` as confidences in the items of a model.

    Items that the model lacks are left out, and so is what has faded to nothing.

    Args:
        rows: period, item_indexes (ascending in each row), play_sums and second_sums of some listeners.
        position: column in the model of each item index, ascending; -1, or beyond its end, for items it lacks.
        weights: confidence weight of each of the model's items; shape (items,).
    """
    offsets, item_indexes, amounts = strengths(rows, anchor_date, half_life_days, settings)
    columns = columns_of(item_indexes, position)
    used = (columns >= 0) & (amounts > 0)
    heard = np.diff(offsets)
    columns = columns[used]
    values = confidences(amounts[used], weights[columns], np.repeat(heard, heard)[used], settings)
    return Confidences(np.concatenate([[0], np.cumsum(used)])[offsets], columns, values)


def columns_of(item_indexes: Indexes, position: Indexes) -> Indexes:
    """Column in a model of each item index: -1 for items it lacks, those beyond the end of `position` among them."""
    columns = position.take(item_indexes, mode="clip")
    columns[item_indexes >= len(position)] = -1
    return columns


def heard_items(rows: pa.RecordBatch) -> tuple[Counts, Indexes]:
    """Row offsets, from 0, and item indexes of some rows of `interactions`, which may be a slice of a batch."""
    lists = rows.column("item_indexes")
    offsets = lists.offsets.to_numpy().astype(np.int64)
    return offsets - offsets[0], lists.flatten().to_numpy()


def positions(item_indexes: Indexes, length: int) -> Indexes:
    """Place of each item index below `length` among those given; -1 elsewhere."""
    position = np.full(length, -1, dtype=np.int32)
    position[item_indexes] = np.arange(len(item_indexes), dtype=np.int32)
    return position


def factors_table(model: Model) -> pa.Table:
    """The model's items as rows of `item_factors`."""
    items = len(model.item_indexes)
    there = model.neighbours >= 0
    counts = there.sum(axis=1)
    factors = {
        "run_date": pa.repeat(pa.scalar(model.anchor_date, pa.date32()), items),
        "model_version": pa.repeat(model.version, items),
        "item_index": pa.array(model.item_indexes),
        "item_id": model.item_ids,
        "factors": _lists(np.full(items, model.factors.shape[1]), model.factors.ravel()),
        "confidence_weight": pa.array(model.confidence_weights),
        "score_multiplier": pa.array(model.score_multipliers),
        "listeners": pa.array(model.listeners),
        "market_listeners": _market_maps(model),
        "neighbours": _lists(counts, model.item_indexes[model.neighbours[there]]),
        "similarities": _lists(counts, model.similarities[there]),
    }
    return pa.table(factors).cast(contract("item_factors").arrow_schema)


def model_from_tables(row: Mapping[str, Any], factors: pa.Table, half_life_days: float) -> Model:
    """The model that its row of `models` and its rows of `item_factors` hold."""
    factors = factors.sort_by("item_index").combine_chunks()
    spectrum = np.array(row["spectrum"])
    item_indexes = factors["item_index"].to_numpy()
    settings = AlsSettings.model_validate_json(row["settings"])
    neighbours, similarities = _neighbours(factors, positions(item_indexes, int(item_indexes.max()) + 1), settings)
    return Model(
        version=row["model_version"],
        settings=settings,
        anchor_date=row["anchor_date"],
        half_life_days=half_life_days,
        item_indexes=item_indexes,
        item_ids=factors["item_id"].combine_chunks(),
        factors=factors["factors"].combine_chunks().flatten().to_numpy().reshape(-1, len(spectrum)),
        spectrum=spectrum,
        confidence_weights=factors["confidence_weight"].to_numpy(),
        score_multipliers=factors["score_multiplier"].to_numpy(),
        listeners=factors["listeners"].to_numpy(),
        market_listeners=_market_counts(factors["market_listeners"].combine_chunks()),
        neighbours=neighbours,
        similarities=similarities,
    )


def _lists(lengths: npt.NDArray[np.integer[Any]], flat: npt.NDArray[Any]) -> pa.ListArray:
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(flat))


def _neighbours(factors: pa.Table, position: Indexes, settings: AlsSettings) -> tuple[Indexes, Factors]:
    """Neighbours and similarities of items as arrays of one width."""
    shape = (factors.num_rows, settings.neighbours)
    neighbours, similarities = np.full(shape, -1, np.int32), np.zeros(shape, np.float32)
    held = factors["neighbours"].combine_chunks()
    lengths = pc.list_value_length(held).to_numpy()
    item = np.repeat(np.arange(factors.num_rows), lengths)
    place = np.arange(len(item)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    neighbours[item, place] = position[held.flatten().to_numpy()]
    similarities[item, place] = factors["similarities"].combine_chunks().flatten().to_numpy()
    return neighbours, similarities


def _market_maps(model: Model) -> pa.MapArray:
    """Per item the markets in which it has listeners, in order of name."""
    markets = list(model.market_listeners)
    counts = np.array([model.market_listeners[market] for market in markets], dtype=np.int64)
    counts = counts.reshape(len(markets), len(model.item_indexes)).T
    item, market = np.nonzero(counts)
    offsets = np.searchsorted(item, np.arange(len(model.item_indexes) + 1)).astype(np.int32)
    return pa.MapArray.from_arrays(
        pa.array(offsets), pa.array(markets, pa.string()).take(pa.array(market)), pa.array(counts[item, market])
    )


def _market_counts(maps: pa.MapArray) -> dict[str, Counts]:
    """The inverse of `_market_maps`: by market, in order of name, the listeners of each item."""
    item = np.repeat(np.arange(len(maps)), np.diff(maps.offsets.to_numpy()))
    markets = maps.keys.dictionary_encode()
    counts = np.zeros((len(markets.dictionary), len(maps)), dtype=np.int64)
    counts[markets.indices.to_numpy(), item] = maps.items.to_numpy()
    return dict(sorted(zip(markets.dictionary.to_pylist(), counts, strict=True)))
