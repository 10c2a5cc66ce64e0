"""The encoder: the items that a listener heard last -> their vector, in NumPy alone.

Every listener is encoded in products of one fixed shape, so that a vector depends on nobody beside them: not on the
batch, nor on where in it they stand.

Source: Kang and McAuley (2018), Self-Attentive Sequential Recommendation, section III; the gates of residuals after
Borisyuk et al. (2024), LiGR, section 4; attention's bias by distance after Shaw et al. (2018), section 3.2.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nocturne.core.arrays import Factors, Indexes

NOTHING = -1
"""Place of a window before its first item."""

_EPSILON = 1e-6
_HIDDEN = np.float32(-1e9)

Weights = Mapping[str, Factors]
"""Arrays of a network by name: `items`, `first_item`, and of block b `b/query`, `b/distance` and so on."""


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


def encode(weights: Weights, shape: Shape, windows: Indexes) -> Factors:
    """Vectors of listeners, whose inner products with `weights["items"]` are scores.

    Args:
        windows: positions of the items heard last, the last one at the end, NOTHING before the first one; at least
            one item each; shape (listeners, length).

    Returns:
        float32; shape (listeners, width).
    """
    hidden = np.where((windows >= 0)[:, :, None], weights["items"][np.maximum(windows, 0)], np.float32(0))
    hidden = hidden * np.float32(np.sqrt(shape.width))
    for block in range(shape.blocks):
        last = block == shape.blocks - 1
        hidden = _block(weights, f"{block}/", shape, hidden, windows, last_only=last)
    vectors: Factors = _normalised(hidden[:, -1, :], weights["end/scale"])
    return vectors


def windows_of(offsets: Indexes, positions: Indexes, length: int) -> Indexes:
    """The last items of every listener, as `encode` takes them; shape (listeners, length)."""
    lengths = np.minimum(np.diff(offsets), length)
    windows = np.full((len(lengths), length), NOTHING, np.int32)
    place = np.arange(length)[None, :] - (length - lengths)[:, None]
    source = offsets[1:, None] - lengths[:, None] + place
    present = place >= 0
    windows[present] = positions[source[present]]
    return windows


def _block(
    weights: Weights, name: str, shape: Shape, hidden: Factors, windows: Indexes, *, last_only: bool
) -> Factors:
    """One block of attention and a feed-forward layer, of all places or, where no block follows, of the last one."""
    inner = _normalised(hidden, weights[name + "attend/scale"])
    asking = inner[:, -1:, :] if last_only else inner
    residual = hidden[:, -1:, :] if last_only else hidden
    attended = _attend(weights, name, shape, asking, inner, windows)
    hidden = residual + attended * _sigmoid(asking @ weights[name + "attend/gate"])
    inner = _normalised(hidden, weights[name + "feed/scale"])
    up = inner @ weights[name + "feed/up"]
    fed = (up * _sigmoid(up)) @ weights[name + "feed/down"]
    return hidden + fed * _sigmoid(inner @ weights[name + "feed/gate"])


def _attend(
    weights: Weights, name: str, shape: Shape, asking: Factors, inner: Factors, windows: Indexes
) -> Factors:
    listeners, queries, _ = asking.shape
    split = (listeners, -1, shape.heads, shape.width // shape.heads)
    query = (asking @ weights[name + "query"]).reshape(split).transpose(0, 2, 1, 3)
    key = (inner @ weights[name + "key"]).reshape(split).transpose(0, 2, 3, 1)
    value = (inner @ weights[name + "value"]).reshape(split).transpose(0, 2, 1, 3)
    scores = (query @ key) / np.float32(np.sqrt(shape.width // shape.heads))
    place = np.arange(shape.length)
    distance = place[shape.length - queries :, None] - place[None, :]
    scores = scores + weights[name + "distance"][:, np.maximum(distance, 0)]
    seen = (distance >= 0)[None, None] & (windows >= 0)[:, None, None, :]
    scores = np.where(seen, scores, _HIDDEN)
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True)) * seen
    scores = scores / np.maximum(scores.sum(axis=-1, keepdims=True), np.float32(_EPSILON))
    mixed = (scores @ value).transpose(0, 2, 1, 3).reshape(listeners, queries, shape.width)
    return mixed @ weights[name + "mix"]


def _normalised(values: Factors, scale: Factors) -> Factors:
    """Values divided by their root mean square, along the last axis."""
    mean = np.mean(np.square(values), axis=-1, keepdims=True)
    normalised: Factors = values / np.sqrt(mean + np.float32(_EPSILON)) * scale
    return normalised


def _sigmoid(values: Factors) -> Factors:
    return 1 / (1 + np.exp(-values))
