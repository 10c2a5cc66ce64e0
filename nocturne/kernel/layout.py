"""The layout of a catalogue for ranking: made once a night, the same for every worker."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nocturne.core.arrays import Floats, Mask, Positions

BLOCK = 512
"""Items are laid out in blocks of this many, the last one filled up with zero vectors."""

_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class ItemLayout:
    """The items that can be ranked.

    Attributes:
        factors: shape (items, factors), C-contiguous, any order; a position is a row of it.
        multipliers: what a position's inner products are multiplied by; > 0; shape (items,).
        tie_order: rank of each position among equal scores; shape (items,).
        order: positions by falling norm; shape (items,).
        scaled: factors * multipliers / scale in that order, float32, a matrix a block; shape (blocks, factors, BLOCK).
        norms: upper bounds of their norms, falling; shape (items,).
        scale: power of two that brings every norm to at most 1; shape (1,).
    """

    factors: npt.NDArray[np.float32]
    multipliers: Floats
    tie_order: Positions
    order: npt.NDArray[np.int32]
    scaled: npt.NDArray[np.float32]
    norms: Floats
    scale: Floats

    @cached_property
    def place(self) -> npt.NDArray[np.int32]:
        """Place of each position in `order`; shape (items,)."""
        place = np.empty(len(self.order), dtype=np.int32)
        place[self.order] = np.arange(len(self.order), dtype=np.int32)
        return place

    @cached_property
    def rounding(self) -> float:
        """Largest difference between the float32 score of a unit vector and the exact one, in units of `scale`.

        Source: Higham, Accuracy and Stability of Numerical Algorithms (2002), section 3.1, in any order of summation;
            three more roundings for the user's, the item's and the multiplier's entries, and underflow.
        """
        width = self.factors.shape[1]
        roundings = (width + 3) * 2.0**-24
        return float(roundings / (1 - roundings) * (1 + 1e-6) + 3 * width * 2.0**-126)


@dataclass(frozen=True)
class Eligible:
    """The items that may be listed for each class of listeners, laid out as the catalogue is.

    Attributes:
        masks: by position; shape (classes, items).
        forbidden: items that may not be listed, laid out as `ItemLayout.scaled`; shape (classes, blocks, BLOCK).
        any_forbidden: blocks with anything forbidden; shape (classes, blocks).
    """

    masks: Mask
    forbidden: Mask
    any_forbidden: Mask

    @classmethod
    def of(cls, masks: Mask, items: ItemLayout) -> "Eligible":
        """Lay out masks of shape (classes, items)."""
        forbidden: Mask = np.ones((len(masks), len(items.scaled), BLOCK), dtype=np.bool_)
        for mask, of_class in zip(masks, forbidden.reshape(len(masks), -1), strict=True):
            of_class[: len(items.order)] = ~mask[items.order]
        return cls(masks, forbidden, np.asarray(forbidden.any(axis=2)))


def lay_out_items(factors: npt.NDArray[np.float32], multipliers: Floats, tie_order: Positions) -> ItemLayout:
    """Lay a catalogue out by falling norm, so that what cannot be listed comes last.

    Args:
        factors: shape (items, factors), finite; there is at least one item.
        multipliers: > 0; shape (items,).
        tie_order: a permutation; shape (items,).
    """
    factors = np.ascontiguousarray(factors)
    parts = [slice(first, first + _ROWS_AT_ONCE) for first in range(0, len(factors), _ROWS_AT_ONCE)]
    squares = [np.einsum("if,if->i", *[factors[part].astype(np.float64)] * 2) for part in parts]
    norms = np.sqrt(np.concatenate(squares)) * multipliers * (1 + 1e-6)
    order = np.argsort(-norms, kind="stable").astype(np.int32)
    scale = 2.0 ** np.ceil(np.log2(norms.max())) if norms.any() else 1.0
    blocks = -(-len(order) // BLOCK)
    scaled = np.zeros((blocks, factors.shape[1], BLOCK), dtype=np.float32)
    for block in range(blocks):
        of_block = order[block * BLOCK : (block + 1) * BLOCK]
        scaled[block, :, : len(of_block)] = (factors[of_block] * (multipliers[of_block] / scale)[:, None]).T
    return ItemLayout(factors, multipliers, tie_order, order, scaled, norms[order] / scale, np.array([scale]))
