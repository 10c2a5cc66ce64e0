"""The interaction matrix -> item factors, by `implicit`'s alternating least squares or by a network.

What is learned is kept as a `Model`. Listeners' factors are not kept: they follow from a listener's own row and
the model.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from nocturne.core.arrays import Counts, Factors, Floats, Indexes
from nocturne.core.csr import CsrRows
from nocturne.core.errors import UsageError
from nocturne.core.sections import AlsSettings
from nocturne.training.confidences import confidence_rows, heard_items, positions
from nocturne.training.item_counts import ItemCounts, MarketCensus
from nocturne.training.learned import Learned, rotate
from nocturne.training.model import Model
from nocturne.training.neighbours import Weights, nearest
from nocturne.training.predecessors import predecessors
from nocturne.training.sampling import doubled, levels
from nocturne.training.sequence.sequences import sequences_of

Progress = Callable[[int, float], None]

COLUMNS = ("user_id", "market", "period", "item_indexes", "play_sums", "second_sums", "recent_items")
"""Columns of `interactions` that training reads."""

_BYTES_PER_ENTRY = 16
"""A float32 and an int32, in the matrix and in its transpose."""

_BYTES_PER_ENTRY_OF_NEIGHBOURS = 24
"""A float64 and an int32, in the matrix as it is weighted for them and in its transpose."""

_BYTES_PER_FACTOR = 4


@dataclass(frozen=True)
class Training:
    """A trained model and how the training went.

    Attributes:
        parent: version of the model whose factors it started from; None from scratch.
        sample_share: share of listeners that it was trained on.
        item_coverage: items that got enough listeners in that sample, of those that have enough.
        listeners: rows of the matrix.
        entries: non-zeros of the matrix.
        losses: training loss after each iteration or epoch, 5 significant digits.
    """

    model: Model
    parent: str | None
    sample_share: float
    item_coverage: float
    listeners: int
    entries: int
    losses: tuple[float, ...]


@dataclass(frozen=True)
class Census:
    """Rows and listeners there are to train on, counted before memory is taken for them.

    Attributes:
        shares: shares of listeners that may be trained on; the last is everyone.
        rows: listeners in each sample; shape (shares,).
        listeners: listeners of each item in each sample; shape (shares, items).
        market_listeners: listeners of items by market, of everyone.
    """

    shares: tuple[float, ...]
    rows: Counts
    listeners: Counts
    market_listeners: dict[str, ItemCounts]


@dataclass(frozen=True)
class _TrainingInputs:
    """Inputs of a training beside the rows."""

    item_ids: pa.Array
    run_date: date
    half_life_days: float
    settings: AlsSettings


def train(
    rows: Iterable[pa.RecordBatch],
    item_ids: pa.Array,
    run_date: date,
    half_life_days: float,
    settings: AlsSettings,
    parent: Model | None = None,
    progress: Progress = lambda _iteration, _loss: None,
    census: Census | None = None,
    checkpoint: Path | None = None,
) -> Training:
    """Learn item factors from the interaction matrix, or from the order of its last listens.

    The rows are gone through twice, to count and to fill, and twice more for what is heard after what, so that the
    matrix is all that is ever held of them, and of a sequence model the last listens.

    Args:
        rows: `COLUMNS` of the night's `interactions`, the same rows in the same order each time; the order decides
            the listeners' initial factors.
        item_ids: item id of each index, from 0 without gaps.
        parent: model whose item factors to start from; items it lacks start from seeded rows.
        progress: called after each iteration with its number, from 1, and the loss.
        census: of everyone, where `rows` are those of the sample alone.
        checkpoint: file that the training of a sequence model goes on from; None: none is written.

    Raises:
        UsageError: the matrix is larger than settings or int32 indexes allow, the factors diverge, or what a sequence
            model needs is not installed.
    """
    census = census or take_census(rows, len(item_ids), settings)
    level, coverage = _smallest_sample(census, settings)
    share, everyone = census.shares[level], census.listeners[-1]
    trained = np.flatnonzero(census.listeners[level] >= settings.min_item_listeners).astype(np.int32)
    weights = everyone[trained].astype(np.float64) ** -settings.popularity_exponent
    position = positions(trained, len(item_ids))
    _check_size(int(census.rows[level]), int(census.listeners[level, trained].sum()), settings)
    inputs = _TrainingInputs(item_ids, run_date, half_life_days, settings)
    matrix = _matrix(rows, census, level, position, weights, inputs)
    alike = parent is not None and not parent.encoder and parent.factors.shape[1] == settings.factors
    parent = parent if alike and settings.family == "als" else None
    # implicit runs its own threads over listeners; BLAS threads beneath them only get in the way.
    with threadpool_limits(limits=1, user_api="blas"):
        initial = _initial_factors(trained, len(item_ids), settings, parent)
        nothing, sequences = np.zeros((len(trained), 0), np.float32), CsrRows.empty(matrix.shape[0])
        learned = Learned(nothing, nothing, {}, ())
        if settings.family != "als":
            sequences = sequences_of(_sampled(rows, census, level, settings), position)
            learned = _fit_sequences(sequences, len(trained), settings, checkpoint, progress)
        if settings.family != "sequence":
            factors, losses = _fit(matrix, share, initial, settings, progress)
            learned = replace(learned, factors=factors, losses=losses)
        model = _freeze(learned, matrix, sequences, rows, trained, census, inputs)
    return Training(
        model,
        parent=parent.version if parent else None,
        sample_share=share,
        item_coverage=coverage,
        listeners=matrix.shape[0],
        entries=int(matrix.nnz),
        losses=learned.losses,
    )


def take_census(rows: Iterable[pa.RecordBatch], items: int, settings: AlsSettings) -> Census:
    """Count listeners in the samples that may be trained on, and of each item."""
    shares = doubled(settings.sample_share)
    sizes = np.zeros(len(shares), dtype=np.int64)
    listeners = np.zeros((len(shares), items), dtype=np.int64)
    by_market = MarketCensus()
    for batch in rows:
        offsets, item_indexes = heard_items(batch)
        heard = np.diff(offsets)
        level = levels(batch.column("user_id"), shares, settings.seed)
        sizes += np.bincount(level, minlength=len(shares))
        np.add.at(listeners, (np.repeat(level, heard), item_indexes), 1)
        by_market.add(batch.column("market"), heard, item_indexes)
    return Census(shares, sizes.cumsum(), listeners.cumsum(axis=0, out=listeners), by_market.by_market())


def _smallest_sample(census: Census, settings: AlsSettings) -> tuple[int, float]:
    """Index of the smallest share of listeners that covers the items, and the share of the items it covers."""
    enough = census.listeners[-1] >= settings.min_item_listeners
    if not enough.any():
        raise UsageError(
            "no item has enough listeners to be trained",
            found=f"at most {census.listeners[-1].max(initial=0)} listeners an item",
            expected=f"als.min_item_listeners = {settings.min_item_listeners}",
            fix="lower als.min_item_listeners",
        )
    coverage = (census.listeners >= settings.min_item_listeners).sum(axis=1) / enough.sum()
    # An empty sample covers nothing, whatever is demanded.
    level = int(np.argmax((coverage >= settings.min_item_coverage) & (coverage > 0)))
    return level, float(coverage[level])


def _matrix(
    rows: Iterable[pa.RecordBatch],
    census: Census,
    level: int,
    position: Indexes,
    weights: Floats,
    inputs: _TrainingInputs,
) -> csr_matrix:
    """The sample's confidences, written in place: shape (listeners, items), int32 indexes, float32."""
    listeners, most = int(census.rows[level]), int(census.listeners[level, position >= 0].sum())
    values, columns = np.empty(most, np.float32), np.empty(most, np.int32)
    ends = np.zeros(listeners + 1, np.int32)
    row, entry, settings = 0, 0, inputs.settings
    for sampled in _sampled(rows, census, level, settings):
        part = confidence_rows(sampled, position, weights, inputs.run_date, inputs.half_life_days, settings)
        ends[row + 1 : row + 1 + sampled.num_rows] = entry + part.offsets[1:]
        row, start, entry = row + sampled.num_rows, entry, entry + len(part.columns)
        values[start:entry], columns[start:entry] = part.confidences, part.columns
    if row != listeners:
        raise ValueError(f"{listeners} rows were counted and then {row} read: rows must be iterable twice")
    return csr_matrix((values[:entry], columns[:entry], ends), shape=(listeners, len(weights)))


def _sampled(
    rows: Iterable[pa.RecordBatch], census: Census, level: int, settings: AlsSettings
) -> Iterator[pa.RecordBatch]:
    """The rows of the listeners of a sample."""
    for batch in rows:
        if level == len(census.shares) - 1:
            yield batch
        else:
            yield batch.filter(pa.array(levels(batch.column("user_id"), census.shares, settings.seed) <= level))


def _fit_sequences(
    sequences: CsrRows, items: int, settings: AlsSettings, checkpoint: Path | None, progress: Progress
) -> Learned:
    """Embeddings and encoder of a sequence model."""
    try:
        from nocturne.training.sequence.fit import fit
    except ImportError as error:
        raise UsageError(
            "what trains sequence models is not installed",
            where="als.family = sequence",
            found=f"no module {error.name}",
            fix="`setup/environment.sh --group sequence` installs it, 300 MB; or set als.family = als",
        ) from error
    fitted = fit(sequences, items, settings.sequence, checkpoint, lambda epoch, loss, _ndcg: progress(epoch, loss))
    return Learned(np.zeros((items, 0), np.float32), fitted.embeddings, fitted.weights, fitted.losses)


def _fit(
    matrix: csr_matrix, share: float, initial: Factors | None, settings: AlsSettings, progress: Progress
) -> tuple[Factors, tuple[float, ...]]:
    """Item factors as training on everyone would scale them, and the losses.

    In a sample there is less evidence of each item, by its share, but not of each listener; so the items' ridge
    term must be less by the share too. implicit has one ridge term for both. But what both sides' terms ask for
    depends on their product alone, if afterwards the factors are scaled: hence share^1/2 here and share^-1/4 there.
    """
    losses: list[float] = []

    def note(iteration: int, _seconds: float, loss: float) -> None:
        losses.append(float(f"{loss:.4e}"))
        progress(iteration + 1, loss)

    model = AlternatingLeastSquares(
        factors=settings.factors,
        regularization=settings.regularization * share**0.5,
        alpha=1.0,
        iterations=settings.iterations,
        calculate_training_loss=True,
        num_threads=settings.threads,
    )
    # implicit would draw the same numbers, but hold them twice while it scales them.
    rng = np.random.default_rng(settings.seed)
    model.user_factors = _seeded(rng, matrix.shape[0], settings)
    model.item_factors = (_seeded(rng, matrix.shape[1], settings) if initial is None else initial) * share**0.25
    model.fit(matrix, show_progress=False, callback=note)
    if not np.isfinite(model.item_factors).all():
        raise UsageError("the training diverged", found="factors that are not finite", fix="raise als.regularization")
    return model.item_factors * share**-0.25, tuple(losses)


def _seeded(rng: np.random.Generator, rows: int, settings: AlsSettings) -> Factors:
    """Small random factors, as implicit starts from."""
    factors = rng.random((rows, settings.factors), dtype=np.float32)
    factors *= np.float32(0.01)
    return factors


def neighbours_of(model: Model, rows: Iterable[pa.RecordBatch], settings: AlsSettings) -> tuple[Indexes, Weights]:
    """Neighbours of a model's items, and their weights, by another recipe of the second stage.

    Args:
        rows: those that it was trained on.
        settings: with its own recipe of confidences.
    """
    parts = [model.unordered_rows(batch) for batch in rows]
    ends = np.concatenate([[0], *(np.diff(part.offsets) for part in parts)]).cumsum()
    matrix = csr_matrix(
        (
            np.concatenate([part.confidences for part in parts]).astype(np.float32),
            np.concatenate([part.columns for part in parts]),
            ends.astype(np.int32),
        ),
        shape=(len(ends) - 1, len(model.item_indexes)),
    )
    with threadpool_limits(limits=1, user_api="blas"):
        return _weigh_neighbours(matrix, rows, model.listeners, model.position, settings)


def _weigh_neighbours(
    matrix: csr_matrix, rows: Iterable[pa.RecordBatch], listeners: Counts, position: Indexes, settings: AlsSettings
) -> tuple[Indexes, Weights]:
    if settings.neighbour_weights == "succession":
        return predecessors(rows, position, len(listeners), settings)
    return nearest(matrix, listeners, settings)


def _freeze(
    learned: Learned,
    matrix: csr_matrix,
    sequences: CsrRows,
    rows: Iterable[pa.RecordBatch],
    trained: Indexes,
    census: Census,
    inputs: _TrainingInputs,
) -> Model:
    """Keep the items that got factors; a zero vector would outrank every negative score."""
    settings, usable = inputs.settings, learned.usable
    trained, used = trained[usable], matrix if usable.all() else matrix[:, usable]
    learned = replace(learned, factors=learned.factors[usable], embeddings=learned.embeddings[usable])
    rotated = rotate(learned, used, sequences, settings)
    encoder, ids = rotated.encoder, inputs.item_ids.take(pa.array(trained))
    digest = hashlib.sha256(rotated.vectors.data)
    for _, weights in sorted(encoder.weights.items() if encoder else ()):
        digest.update(weights.tobytes())
    digest.update("\n".join(ids.to_pylist()).encode())
    digest.update(settings.model_dump_json().encode())
    listeners = census.listeners[-1, trained]
    position = positions(trained, len(inputs.item_ids))
    before, successions = predecessors(rows, position, len(listeners), settings)
    neighbours, similarities = before, successions
    if settings.neighbour_weights != "succession":
        neighbours, similarities = nearest(used, listeners, settings)
    digest.update(similarities.data)
    digest.update(successions.data)
    counts = listeners.astype(np.float64)
    return Model(
        version=f"{settings.family}-{inputs.run_date}-{digest.hexdigest()[:8]}",
        settings=settings,
        anchor_date=inputs.run_date,
        half_life_days=inputs.half_life_days,
        item_indexes=trained,
        item_ids=ids,
        factors=rotated.vectors,
        spectrum=rotated.spectrum,
        confidence_weights=counts**-settings.popularity_exponent,
        # Of a network popularity is learned, and a score below 0 would be turned round.
        score_multipliers=counts**settings.score_exponent if encoder is None else np.ones(len(counts)),
        listeners=listeners,
        market_listeners={market: heard.among(trained) for market, heard in census.market_listeners.items()},
        neighbours=neighbours,
        similarities=similarities,
        predecessors=before,
        predecessor_weights=successions,
        added_on=np.zeros(len(trained), np.int64),
        encoder=encoder,
    )


def _initial_factors(trained: Indexes, items: int, settings: AlsSettings, parent: Model | None) -> Factors | None:
    """The parent's factors where it has them, small seeded rows elsewhere; None to start from scratch."""
    if parent is None:
        return None
    initial = _seeded(np.random.default_rng(settings.seed), items, settings)
    initial[parent.item_indexes] = parent.factors
    return initial[trained]


def bytes_needed(listeners: int, entries: int, settings: AlsSettings) -> int:
    """Memory of a training: its matrix with the transpose, and the listeners' factors or what neighbours take."""
    fit = entries * _BYTES_PER_ENTRY + listeners * settings.factors * _BYTES_PER_FACTOR
    return max(fit, entries * _BYTES_PER_ENTRY_OF_NEIGHBOURS if settings.neighbours else 0)


def _check_size(listeners: int, entries: int, settings: AlsSettings) -> None:
    needed = bytes_needed(listeners, entries, settings)
    if max(listeners, entries) >= 2**31 or needed > settings.matrix_memory_mb * 2**20:
        raise UsageError(
            "the training matrix is too large",
            found=f"{entries:,} entries of {listeners:,} listeners, {needed / 2**20:,.0f} MiB with its transpose, "
            f"{settings.factors} factors a listener and neighbours",
            expected=f"at most als.matrix_memory_mb = {settings.matrix_memory_mb} MiB and 2^31 entries (int32 indexes)",
            fix="lower als.sample_share, or als.min_item_coverage where it enlarged the sample, "
            "or raise als.matrix_memory_mb if the machine has the memory",
        )
