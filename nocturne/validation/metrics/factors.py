"""Metrics of factors and embeddings: their norms, whether they collapsed, and whether they are of their own items."""

import numpy as np

from nocturne.core.arrays import Floats, Positions
from nocturne.validation.metrics.metric import Metric
from nocturne.validation.metrics.sums import SegmentSums, metric, quantiles

PAIRS = 20_000
"""Pairs of a sample: their mean cosine is told to within 0.01."""

_NEIGHBOURS = 10
_ASKED = 500
"""Items whose nearest ones are compared."""

_FEWEST = 20
"""Items or pairs, of fewer of which nothing is said."""


def norm_metrics(vectors: np.ndarray, name: str = "norm") -> list[Metric]:
    """Quantiles of the length of each vector; shape (items, factors)."""
    sums = SegmentSums()
    sums.add_numbers(name, np.linalg.norm(vectors.astype(np.float64), axis=1))
    return quantiles(sums, name)


def weight_metrics(weights: np.ndarray) -> list[Metric]:
    """Quantiles of the weights of neighbours, of either sign; of no neighbours none."""
    sums = SegmentSums()
    sums.add_numbers("neighbour_weight", weights)
    return quantiles(sums, "neighbour_weight")


def random_pairs(items: int, pairs: int = PAIRS) -> tuple[Positions, Positions]:
    """Places of different items, the same whenever asked."""
    draw = np.random.default_rng(items)
    one = draw.integers(items, size=pairs)
    return one, (one + draw.integers(1, items, size=pairs)) % items


def cosines(vectors: np.ndarray, one: Positions, other: Positions) -> Floats:
    """Cosine of pairs of vectors; of one that is 0 it is 0."""
    unit = _unit(vectors)
    cosine: Floats = np.einsum("ij,ij->i", unit[one], unit[other])
    return cosine


def collapse_metrics(vectors: np.ndarray) -> list[Metric]:
    """Mean cosine of random pairs, towards 1 where all vectors are alike, and how many directions they really have."""
    if len(vectors) < _FEWEST:
        return []
    cosine = cosines(vectors, *random_pairs(len(vectors)))
    unit = _unit(vectors)
    return [
        metric("mean_random_cosine", float(cosine.mean()), count=float(len(cosine))),
        *rank_metrics(np.linalg.eigvalsh(unit.T @ unit)),
    ]


def rank_metrics(spectrum: np.ndarray) -> list[Metric]:
    """Number of directions that vectors really have, by the eigenvalues of their Gram matrix."""
    some = spectrum[np.isfinite(spectrum) & (spectrum > 0)]
    if not len(some):
        return []
    parts = some / some.sum()
    return [metric("effective_rank", float(np.exp(-(parts * np.log(parts)).sum())), count=float(len(spectrum)))]


def agreement_metrics(vectors: np.ndarray, one: Positions, other: Positions, name: str) -> list[Metric]:
    """Gain in cosine of pairs that belong together, beside the same items in other pairs.

    Vectors that are those of other items, by a shift of one index or by a shuffle, bring it to about 0.

    Args:
        one, other: places of items that belong together, such as two heard by one listener.
        name: of the metric.
    """
    if len(one) < _FEWEST:
        return []
    apart = np.random.default_rng(len(one)).permutation(other)
    gain = cosines(vectors, one, other).mean() - cosines(vectors, one, apart).mean()
    return [metric(name, float(gain), count=float(len(one)))]


def heard_together(items: Positions, offsets: Positions, pairs: int = PAIRS) -> tuple[Positions, Positions]:
    """Pairs of items that stand in one row, one after the other as drawn, at most so many.

    Args:
        items, offsets: of listeners' rows; negative items are left out.
    """
    row = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    row, items = row[items >= 0], items[items >= 0]
    shuffled = np.random.default_rng(len(items)).permutation(len(items))
    order = shuffled[np.argsort(row[shuffled], kind="stable")]
    row, items = row[order], items[order]
    same = np.flatnonzero((row[1:] == row[:-1]) & (items[1:] != items[:-1]))[:pairs]
    return items[same], items[same + 1]


def alignment_metrics(vectors: np.ndarray, before: np.ndarray) -> list[Metric]:
    """Vectors beside those of the model before, of the same items in the same order.

    Returns:
        The mean cosine after the rotation that brings the old ones nearest, and the share of each item's 10 nearest
        ones that are the same: rotations change neither.

    Source: orthogonal Procrustes, Schönemann (1966).
    """
    if len(vectors) < _FEWEST or vectors.shape[1] == 0 or before.shape[1] == 0:
        return []
    now, then = _unit(vectors), _unit(before)
    left, _, right = np.linalg.svd(then.T @ now, full_matrices=False)
    aligned = float(np.einsum("ij,ij->i", then @ left @ right, now).mean())
    asked = np.random.default_rng(len(now)).permutation(len(now))[:_ASKED]
    count = min(_NEIGHBOURS, len(now) - 1)
    near, near_then = (_nearest(unit, asked, count) for unit in (now, then))
    same = [len(np.intersect1d(one, other)) / count for one, other in zip(near, near_then, strict=True)]
    return [
        metric("cosine_to_last_model", aligned, count=float(len(now))),
        metric("neighbours_kept", float(np.mean(same)), count=float(len(asked))),
    ]


def _nearest(unit: Floats, asked: Positions, count: int) -> Positions:
    cosine = unit[asked] @ unit.T
    cosine[np.arange(len(asked)), asked] = -np.inf
    nearest: Positions = np.argpartition(-cosine, count - 1, axis=1)[:, :count]
    return nearest


def _unit(vectors: np.ndarray) -> Floats:
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    unit: Floats = np.divide(vectors, lengths, out=np.zeros(vectors.shape), where=(lengths > 0) & np.isfinite(lengths))
    return unit
