"""The encoder: the items that a listener heard last -> their vector, in NumPy alone.

Arrays are single precision, arithmetic is double, and every listener is encoded in products of a shape of their own,
so that a vector depends on nobody beside them: not on the batch, nor on where in it they stand.

Source: Kang and McAuley (2018), Self-Attentive Sequential Recommendation, section III; the gates of residuals after
Borisyuk et al. (2024), LiGR, section 4; attention's bias by distance after Shaw et al. (2018), section 3.2.
"""

import io
from collections.abc import Mapping
from dataclasses import astuple, dataclass

import numpy as np
import numpy.typing as npt

from nocturne.core.arrays import Factors, Floats, Indexes
from nocturne.core.csr import CsrRows
from nocturne.core.sections import SequenceSettings

NOTHING = -1
"""Place of a window before its first item."""

AXES = "axes"
"""Name of the axes beside the arrays of a network, wherever they are stored."""

_SHAPE = "shape"

_AT_ONCE = 256
_EPSILON = 1e-6

Arrays = Mapping[str, Factors]
"""Arrays of a network by name, without embeddings: `end/scale`, and of block b `b/query`, `b/distance` and so on."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a network.

    Attributes:
        length: items of a window, count.
        width: numbers of a vector, count.
        blocks, heads: of attention, count; width is a multiple of heads.
    """

    length: int
    width: int
    blocks: int
    heads: int

    @classmethod
    def of(cls, settings: SequenceSettings) -> "Shape":
        """The shape that a recipe asks for."""
        return cls(settings.length, settings.width, settings.blocks, settings.heads)


@dataclass(frozen=True)
class Encoder:
    """A trained network, whose vectors score items by their factors on principal axes.

    Attributes:
        axes: orthogonal, from embeddings to factors; shape (width, width).
    """

    shape: Shape
    weights: Arrays
    axes: Factors

    def embeddings(self, factors: Factors) -> Factors:
        """Embeddings of items, which the network reads, from the last of their factors; shape (items, width)."""
        embeddings: Factors = factors[:, -self.shape.width :] @ self.axes.T
        return embeddings

    def vectors(self, embeddings: Factors, recent: CsrRows) -> Floats:
        """Vectors of listeners, whose inner products with factors are scores; zeros for who heard nothing.

        Args:
            embeddings: of items; shape (items, width).
            recent: positions of the items that each listener heard, oldest first.

        Returns:
            Shape (listeners, width).
        """
        encoded = encode_rows(self.weights, self.shape, embeddings, recent)
        vectors: Floats = (encoded[:, None, :] @ self.axes.astype(np.float64))[:, 0]
        return vectors


def to_bytes(encoder: Encoder) -> bytes:
    """An encoder as a file of NumPy."""
    file = io.BytesIO()
    arrays = {_SHAPE: np.array(astuple(encoder.shape)), AXES: encoder.axes, **encoder.weights}
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def from_bytes(file: bytes) -> Encoder:
    """The encoder of `to_bytes`."""
    with np.load(io.BytesIO(file)) as stored:
        arrays = {name: stored[name] for name in stored.files}
    shape = Shape(*arrays.pop(_SHAPE).tolist())
    axes = arrays.pop(AXES)
    return Encoder(shape, arrays, axes)


def windows_of(recent: CsrRows, length: int) -> Indexes:
    """The last items of listeners, the last one at the end, NOTHING before the first; shape (listeners, length)."""
    lengths = np.minimum(recent.lengths, length)
    windows = np.full((len(lengths), length), NOTHING, np.int32)
    place = np.arange(length)[None, :] - (length - lengths)[:, None]
    source = recent.offsets[1:, None] - lengths[:, None] + place
    present = place >= 0
    windows[present] = recent.positions[source[present]]
    return windows


def encode_rows(weights: Arrays, shape: Shape, embeddings: Factors, recent: CsrRows) -> Floats:
    """The same as `encode`, of any number of listeners, a few at a time; zeros for who heard nothing."""
    windows = windows_of(recent, shape.length)
    encoded = np.zeros((len(windows), shape.width))
    some = np.flatnonzero(recent.lengths)
    for first in range(0, len(some), _AT_ONCE):
        part = some[first : first + _AT_ONCE]
        encoded[part] = encode(weights, shape, embeddings, windows[part])
    return encoded


def encode(weights: Arrays, shape: Shape, embeddings: Factors, windows: Indexes) -> Floats:
    """Vectors of listeners, whose inner products with embeddings are scores; shape (listeners, width).

    Args:
        windows: as of `windows_of`, at least one item each; shape (listeners, length).
    """
    exact = {name: values.astype(np.float64) for name, values in weights.items()}
    read = np.where((windows >= 0)[:, :, None], embeddings[np.maximum(windows, 0)], np.float32(0))
    hidden = read.astype(np.float64) * shape.width**0.5
    for block in range(shape.blocks):
        of_block = {name.removeprefix(f"{block}/"): values for name, values in exact.items()}
        hidden = _block(of_block, shape, hidden, windows, last_only=block == shape.blocks - 1)
    return _normalise(hidden[:, -1, :], exact["end/scale"])


_Exact = Mapping[str, Floats]


def _block(weights: _Exact, shape: Shape, hidden: Floats, windows: Indexes, *, last_only: bool) -> Floats:
    """One block of attention and a feed-forward layer, of all places or, where no block follows, of the last one."""
    inner = _normalise(hidden, weights["attend/scale"])
    asking, residual = (inner[:, -1:, :], hidden[:, -1:, :]) if last_only else (inner, hidden)
    attended = _attend(weights, shape, asking, inner, windows)
    hidden = residual + attended * _sigmoid(asking @ weights["attend/gate"])
    inner = _normalise(hidden, weights["feed/scale"])
    up = inner @ weights["feed/up"]
    fed = (up * _sigmoid(up)) @ weights["feed/down"]
    return hidden + fed * _sigmoid(inner @ weights["feed/gate"])


def _attend(weights: _Exact, shape: Shape, asking: Floats, inner: Floats, windows: Indexes) -> Floats:
    listeners, queries, _ = asking.shape
    split = (listeners, -1, shape.heads, shape.width // shape.heads)
    query = (asking @ weights["query"]).reshape(split).transpose(0, 2, 1, 3)
    key = (inner @ weights["key"]).reshape(split).transpose(0, 2, 3, 1)
    value = (inner @ weights["value"]).reshape(split).transpose(0, 2, 1, 3)
    place = np.arange(shape.length)
    distance = place[shape.length - queries :, None] - place[None, :]
    scores = (query @ key) / (shape.width // shape.heads) ** 0.5 + weights["distance"][:, np.maximum(distance, 0)]
    seen: npt.NDArray[np.bool_] = (distance >= 0)[None, None] & (windows >= 0)[:, None, None, :]
    scores = np.where(seen, scores, -np.inf)
    scores = np.exp(scores - np.maximum(scores.max(axis=-1, keepdims=True), np.finfo(np.float64).min))
    scores /= np.maximum(scores.sum(axis=-1, keepdims=True), _EPSILON)
    mixed = (scores @ value).transpose(0, 2, 1, 3).reshape(listeners, queries, shape.width)
    attended: Floats = mixed @ weights["mix"]
    return attended


def _normalise(values: Floats, scale: Floats) -> Floats:
    """Values divided by their root mean square, along the last axis."""
    mean = np.mean(np.square(values), axis=-1, keepdims=True)
    normalised: Floats = values / np.sqrt(mean + _EPSILON) * scale
    return normalised


def _sigmoid(values: Floats) -> Floats:
    return 1 / (1 + np.exp(-values))
