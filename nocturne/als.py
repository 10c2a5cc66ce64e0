"""The interaction matrix -> item factors, by `implicit`'s alternating least squares.

What is learned is kept as a `Model`: item factors, and everything else global that a list depends on.
Listeners' factors are not kept: they follow from a listener's own row and the model.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from nocturne.contracts import contract
from nocturne.errors import SettingsError
from nocturne.interactions import strength_scale
from nocturne.settings import AlsSettings

Floats = npt.NDArray[np.float64]
Indexes = npt.NDArray[np.int32]
Progress = Callable[[int, float], None]

_BYTES_PER_ENTRY = 16
"""A float32 and an int32, in the matrix and in its transpose."""


@dataclass(frozen=True)
class Model:
    """Everything global that lists depend on, frozen until the next model.

    Attributes:
        item_indexes: columns of the model in the interaction matrix, ascending; shape (items,).
        item_ids: aligned with it.
        factors: item factors, float32; shape (items, factors).
        gram: factors.T @ factors in float64; shape (factors, factors).
        confidence_weights: what confidences in each item are multiplied by; shape (items,).
        score_multipliers: what each item's inner product is multiplied by; shape (items,).
        listeners: listeners of each item at training, count; shape (items,).
        market_listeners: the same by market.
    """

    version: str
    settings: AlsSettings
    anchor_date: date
    half_life_days: float
    item_indexes: Indexes
    item_ids: pa.Array
    factors: npt.NDArray[np.float32]
    gram: Floats
    confidence_weights: Floats
    score_multipliers: Floats
    listeners: npt.NDArray[np.int64]
    market_listeners: dict[str, npt.NDArray[np.int64]]


@dataclass(frozen=True)
class Training:
    """A trained model and how the training went."""

    model: Model
    listeners: int
    entries: int
    losses: tuple[float, ...]


def is_due(run_date: date, live_since: date | None, settings: AlsSettings) -> bool:
    """Whether a night trains, given the night on which the model live before it was trained."""
    return live_since is None or (run_date - live_since).days >= settings.retrain_every_nights


def strengths(
    rows: pa.Table | pa.RecordBatch, anchor_date: date, half_life_days: float, settings: AlsSettings
) -> tuple[npt.NDArray[np.int64], Indexes, Floats]:
    """Rows of `interactions` as CSR arrays of listening strength.

    Returns:
        row offsets (rows + 1,), item indexes and strengths (entries,): decayed plays and minutes, weighted.
    """
    lists = _one_chunk(rows, "item_indexes")
    offsets = lists.offsets.to_numpy().astype(np.int64)
    item_indexes = lists.flatten().to_numpy()
    offsets -= offsets[0]
    lengths = np.diff(offsets)
    periods, of_row = np.unique(_one_chunk(rows, "period").to_numpy(), return_inverse=True)
    scales = np.array([strength_scale(int(period), anchor_date, half_life_days) for period in periods])
    plays = _one_chunk(rows, "play_sums").flatten().to_numpy().astype(np.float64)
    seconds = _one_chunk(rows, "second_sums").flatten().to_numpy().astype(np.float64)
    amount = settings.play_weight * plays + settings.minute_weight / 60 * seconds
    return offsets, item_indexes, amount * np.repeat(scales[of_row], lengths)


def confidences(amounts: Floats, weights: Floats, items_heard: npt.NDArray[np.int64], settings: AlsSettings) -> Floats:
    """Confidence of each entry, all arguments aligned with the entries.

    Args:
        amounts: strengths, in plays as worth on the anchor date.
        weights: the item's confidence weight.
        items_heard: number of items in the listener's row.

    Source: Hu, Koren and Volinsky (2008), section 4, with weights against popular items and active listeners.
    """
    transforms: dict[str, Callable[[Floats], Floats]] = {
        "linear": lambda amount: amount,
        "log1p": np.log1p,
        "sqrt": np.sqrt,
        "binary": lambda amount: (amount > 0).astype(np.float64),
    }
    transformed = transforms[settings.transform](amounts)
    return settings.alpha * transformed * weights * items_heard.astype(np.float64) ** -settings.activity_exponent


def train(
    rows: pa.Table,
    item_ids: pa.Array,
    run_date: date,
    half_life_days: float,
    settings: AlsSettings,
    parent: Model | None = None,
    progress: Progress = lambda _iteration, _loss: None,
) -> Training:
    """Learn item factors from the interaction matrix.

    Args:
        rows: `interactions` of the night: user_id, market, period, item_indexes, play_sums, second_sums.
        item_ids: item id of each index, from 0 without gaps.
        parent: model whose item factors to start from; items it lacks start from seeded rows.
        progress: called after each iteration with its number, from 1, and the loss.

    Raises:
        SettingsError: the matrix is larger than settings or int32 indexes allow, or the factors diverge.
    """
    rows = _sample(rows, settings)
    offsets, columns, amounts = strengths(rows, run_date, half_life_days, settings)
    _check_size(len(columns), settings)
    heard = np.diff(offsets)
    listeners = np.bincount(columns, minlength=len(item_ids))
    trained = np.flatnonzero(listeners >= settings.min_item_listeners).astype(np.int32)
    if not len(trained):
        raise SettingsError(
            "no item has enough listeners to be trained",
            found=f"at most {listeners.max(initial=0)} listeners an item",
            expected=f"als.min_item_listeners = {settings.min_item_listeners}",
            fix="lower als.min_item_listeners",
        )
    weights = listeners[trained].astype(np.float64) ** -settings.popularity_exponent
    position = np.full(len(item_ids), -1, dtype=np.int32)
    position[trained] = np.arange(len(trained), dtype=np.int32)
    kept = (position[columns] >= 0) & (amounts > 0)
    values = confidences(
        amounts[kept], weights[position[columns[kept]]], np.repeat(heard, heard)[kept], settings
    ).astype(np.float32)
    matrix = csr_matrix(
        (values, position[columns[kept]], np.concatenate([[0], np.cumsum(kept)])[offsets]),
        shape=(len(heard), len(trained)),
    )
    initial = _initial_factors(trained, item_ids, settings, parent)
    factors, losses = _fit(matrix, settings, initial, progress)
    model = _freeze(factors, trained, item_ids, rows, columns, listeners, run_date, half_life_days, settings)
    return Training(model, listeners=len(heard), entries=int(matrix.nnz), losses=losses)


def _fit(
    matrix: csr_matrix, settings: AlsSettings, initial: npt.NDArray[np.float32] | None, progress: Progress
) -> tuple[npt.NDArray[np.float32], tuple[float, ...]]:
    losses: list[float] = []

    def note(iteration: int, _seconds: float, loss: float) -> None:
        losses.append(float(f"{loss:.4e}"))
        progress(iteration + 1, loss)

    # implicit runs its own threads over listeners; BLAS threads beneath them only get in the way.
    with threadpool_limits(limits=1, user_api="blas"):
        model = AlternatingLeastSquares(
            factors=settings.factors,
            regularization=settings.regularization,
            alpha=1.0,
            iterations=settings.iterations,
            calculate_training_loss=True,
            num_threads=settings.threads,
            random_state=settings.seed,
        )
        model.item_factors = initial
        model.fit(matrix, show_progress=False, callback=note)
    if not np.isfinite(model.item_factors).all():
        raise SettingsError(
            "the training diverged", found="factors that are not finite", fix="raise als.regularization"
        )
    return model.item_factors, tuple(losses)


def _freeze(
    factors: npt.NDArray[np.float32],
    trained: Indexes,
    item_ids: pa.Array,
    rows: pa.Table,
    columns: Indexes,
    listeners: npt.NDArray[np.int64],
    run_date: date,
    half_life_days: float,
    settings: AlsSettings,
) -> Model:
    """Keep the items that got factors; a zero vector would outrank every negative score."""
    usable = np.flatnonzero(np.any(factors != 0, axis=1))
    trained, factors = trained[usable], np.ascontiguousarray(factors[usable])
    ids = item_ids.take(pa.array(trained))
    exact = factors.astype(np.float64)
    digest = hashlib.sha256(factors.tobytes())
    digest.update("\n".join(ids.to_pylist()).encode())
    digest.update(settings.model_dump_json().encode())
    counts = listeners[trained].astype(np.float64)
    return Model(
        version=f"als-{run_date}-{digest.hexdigest()[:8]}",
        settings=settings,
        anchor_date=run_date,
        half_life_days=half_life_days,
        item_indexes=trained,
        item_ids=ids,
        factors=factors,
        gram=exact.T @ exact,
        confidence_weights=counts**-settings.popularity_exponent,
        score_multipliers=counts**settings.score_exponent,
        listeners=listeners[trained],
        market_listeners=_listeners_by_market(rows, columns, trained, len(item_ids)),
    )


def _listeners_by_market(
    rows: pa.Table, columns: Indexes, trained: Indexes, items: int
) -> dict[str, npt.NDArray[np.int64]]:
    heard = np.diff(_one_chunk(rows, "item_indexes").offsets.to_numpy())
    markets = _one_chunk(rows, "market").dictionary_encode()
    codes = np.repeat(markets.indices.fill_null(-1).to_numpy(zero_copy_only=False), heard)
    by_market = {
        market: np.bincount(columns[codes == code], minlength=items)[trained]
        for code, market in enumerate(markets.dictionary.to_pylist())
    }
    return dict(sorted(by_market.items()))


def _initial_factors(
    trained: Indexes, item_ids: pa.Array, settings: AlsSettings, parent: Model | None
) -> npt.NDArray[np.float32] | None:
    """The parent's factors where it has them, small seeded rows elsewhere; None to start from scratch."""
    if parent is None or parent.factors.shape[1] != settings.factors:
        return None
    rng = np.random.default_rng(settings.seed)
    initial = rng.random((len(item_ids), settings.factors), dtype=np.float32) * np.float32(0.01)
    initial[parent.item_indexes] = parent.factors
    return initial[trained]


def _sample(rows: pa.Table, settings: AlsSettings) -> pa.Table:
    """The listeners to train on, in order of user_id: the order decides their initial factors."""
    if settings.sample_share < 1:
        user_ids = rows["user_id"].to_pandas().to_numpy(dtype=object)
        hashes = pd.util.hash_array(user_ids, hash_key=f"{settings.seed:016d}", categorize=False)
        rows = rows.filter(pa.array(hashes < np.uint64(settings.sample_share * 2**63) * np.uint64(2)))
    return rows.sort_by("user_id").combine_chunks()


def _check_size(entries: int, settings: AlsSettings) -> None:
    needed = entries * _BYTES_PER_ENTRY
    if entries >= 2**31 or needed > settings.matrix_memory_mb * 2**20:
        raise SettingsError(
            "the training matrix is too large",
            found=f"{entries:,} entries, {needed / 2**20:,.0f} MiB with its transpose",
            expected=f"at most als.matrix_memory_mb = {settings.matrix_memory_mb} MiB and 2^31 entries (int32 indexes)",
            fix="lower als.sample_share, or raise als.matrix_memory_mb if the machine has the memory",
        )


def _one_chunk(rows: pa.Table | pa.RecordBatch, name: str) -> pa.Array:
    column = rows.column(name)
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def model_tables(training: Training, parent: str | None, seconds: float) -> tuple[pa.Table, pa.Table]:
    """A training as rows of `models` and `item_factors`.

    Args:
        parent: version of the model it started from, if any.
        seconds: time the training took.
    """
    model = training.model
    items = len(model.item_indexes)
    model_row = {
        "run_date": model.anchor_date,
        "model_version": model.version,
        "state": "live",
        "parent": parent,
        "settings": model.settings.model_dump_json(),
        "anchor_date": model.anchor_date,
        "regularization": model.settings.regularization,
        "listeners": training.listeners,
        "items": items,
        "entries": training.entries,
        "gram": model.gram.ravel(),
        "losses": training.losses,
        "seconds": seconds,
    }
    flat = pa.array(model.factors.ravel())
    offsets = pa.array(np.arange(items + 1, dtype=np.int32) * model.factors.shape[1])
    factors = {
        "run_date": pa.repeat(pa.scalar(model.anchor_date, pa.date32()), items),
        "model_version": pa.repeat(model.version, items),
        "item_index": pa.array(model.item_indexes),
        "item_id": model.item_ids,
        "factors": pa.ListArray.from_arrays(offsets, flat),
        "confidence_weight": pa.array(model.confidence_weights),
        "score_multiplier": pa.array(model.score_multipliers),
        "listeners": pa.array(model.listeners),
        "market_listeners": _market_maps(model),
    }
    return (
        pa.Table.from_pylist([model_row], schema=contract("models").arrow_schema),
        pa.table(factors).cast(contract("item_factors").arrow_schema),
    )


def model_from_tables(model_row: pa.Table, factors: pa.Table, half_life_days: float) -> Model:
    """The model that `model_tables` wrote down."""
    row = model_row.to_pylist()[0]
    factors = factors.sort_by("item_index").combine_chunks()
    width = int(np.sqrt(len(row["gram"])))
    maps = factors["market_listeners"].to_pylist()
    markets = sorted({market for entries in maps for market, _ in entries})
    by_item = [dict(entries) for entries in maps]
    return Model(
        version=row["model_version"],
        settings=AlsSettings.model_validate_json(row["settings"]),
        anchor_date=row["anchor_date"],
        half_life_days=half_life_days,
        item_indexes=factors["item_index"].to_numpy(),
        item_ids=_one_chunk(factors, "item_id"),
        factors=_one_chunk(factors, "factors").flatten().to_numpy().reshape(-1, width),
        gram=np.array(row["gram"]).reshape(width, width),
        confidence_weights=factors["confidence_weight"].to_numpy(),
        score_multipliers=factors["score_multiplier"].to_numpy(),
        listeners=factors["listeners"].to_numpy(),
        market_listeners={
            market: np.array([entries.get(market, 0) for entries in by_item], dtype=np.int64) for market in markets
        },
    )


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
