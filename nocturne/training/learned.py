"""Vectors of items as they were learned, on principal axes: factors, embeddings of a network, or both.

Where both are, an item's vector is its factors and behind them its embedding, and a listener's is solved and encoded
alike, so that the score is the sum of the two. The encoder is scaled for that: the standard deviation of its scores
over the items, in the mean of some listeners, is `als.blend_weight` times that of the others.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_matrix

from nocturne.core.arrays import Factors, Floats, Mask
from nocturne.core.csr import CsrRows
from nocturne.core.sections import AlsSettings
from nocturne.kernel.encoder import Arrays, Encoder, Shape
from nocturne.kernel.solve import solve_users
from nocturne.training.confidences import Confidences
from nocturne.training.principal_axes import axes_of, principal_axes

_LISTENERS = 1_000
"""Whose scores say how the two parts compare."""


@dataclass(frozen=True)
class Learned:
    """Vectors of items as a training leaves them.

    Attributes:
        factors: of the factorization; shape (items, factors), of no columns without one.
        embeddings: of the network; shape (items, width), of no columns without one.
        weights: of the network's encoder; empty without one.
        losses: of the iterations or epochs; of both, those of the factorization.
    """

    factors: Factors
    embeddings: Factors
    weights: Arrays
    losses: tuple[float, ...]

    @property
    def usable(self) -> Mask:
        """True for items whose vector is not zero; shape (items,)."""
        usable: Mask = np.any(self.factors != 0, axis=1) | np.any(self.embeddings != 0, axis=1)
        return usable


@dataclass(frozen=True)
class Rotated:
    """Vectors of items on principal axes, those of each part.

    Attributes:
        vectors: shape (items, factors + width).
        spectrum: diagonal of the Gram matrix of either part; shape (factors + width,).
        encoder: of a network; None without one.
    """

    vectors: Factors
    spectrum: Floats
    encoder: Encoder | None


def rotate(learned: Learned, matrix: csr_matrix, sequences: CsrRows, settings: AlsSettings) -> Rotated:
    """Put what was learned on its principal axes, and the network's scores beside those of the factors.

    Args:
        learned: of usable items.
        matrix: confidences of listeners; shape (listeners, items).
        sequences: of the same listeners.
    """
    parts = [principal_axes(part) for part in (learned.factors, learned.embeddings) if part.shape[1]]
    vectors, spectrum = (np.concatenate(each, axis=-1) for each in zip(*parts, strict=True))
    if not learned.weights:
        return Rotated(vectors, spectrum, None)
    shape, axes = Shape.of(settings.sequence), axes_of(learned.embeddings).astype(np.float32)
    encoder = Encoder(shape, learned.weights, axes)
    if learned.factors.shape[1]:
        rows = matrix[:_LISTENERS]
        heard = Confidences(rows.indptr.astype(np.int64), rows.indices, rows.data.astype(np.float64))
        (factors, own), _ = parts
        ridge, exponent = settings.regularization, settings.regularization_exponent
        solved = solve_users(factors, own, ridge, heard, exponent) @ factors.T
        some = sequences.take(np.arange(rows.shape[0]))
        encoded = encoder.vectors(encoder.embeddings(vectors), some) @ vectors[:, -shape.width :].T
        ratio = _spread(solved) / max(_spread(encoded), np.finfo(float).tiny)
        encoder = _scaled(encoder, settings.blend_weight * ratio)
    return Rotated(np.ascontiguousarray(vectors), spectrum, encoder)


def _spread(scores: Floats) -> float:
    return float(scores.std(axis=1).mean()) if len(scores) else 0.0


def _scaled(encoder: Encoder, scale: float) -> Encoder:
    last = "end/scale"
    return replace(encoder, weights={**encoder.weights, last: encoder.weights[last] * np.float32(scale)})
