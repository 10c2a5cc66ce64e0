"""Lists of some listeners, and the columns that tables of lists have in common."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from nocturne.core.arrays import Floats
from nocturne.core.csr import CsrRows
from nocturne.core.hashing import Hashes, hash_ids, spread
from nocturne.kernel.blend import neighbourhoods, order_by_both
from nocturne.training.confidences import Confidences
from nocturne.training.model import Model


@dataclass(frozen=True)
class Lists:
    """Some listeners' lists.

    Attributes:
        items: positions, best first.
        scores: aligned with the items.
        sources: a source each; shape (listeners,).
        propensities: of each item, given those above it; null for lists of which nothing was drawn.
    """

    items: CsrRows
    scores: Floats
    sources: list[str]
    propensities: pa.Array


@dataclass(frozen=True)
class SecondStage:
    """The heads of some listeners' pools, and their neighbourhoods.

    Attributes:
        candidates: positions, best first by the factors.
        scores: by the factors, aligned with them.
        near: neighbourhood scores, aligned with them; zeros where they have no weight.
        weight: of the neighbourhoods; 0: the order is that of the factors.
    """

    candidates: CsrRows
    scores: Floats
    near: Floats
    weight: float

    @classmethod
    def of(cls, candidates: CsrRows, scores: Floats, entries: Confidences, model: Model) -> "SecondStage":
        """Score the neighbourhoods of candidates.

        Args:
            entries: the listeners' confidences in the model's items.
        """
        weight = model.settings.neighbour_weight if model.neighbours.shape[1] else 0.0
        if not weight:
            return cls(candidates, scores, np.zeros(len(scores)), 0.0)
        near = neighbourhoods(candidates, entries, model.neighbours, model.similarities)
        return cls(candidates, scores, near, weight)

    def in_order(self) -> tuple[CsrRows, Floats]:
        """Candidates in the order of the factors and their neighbourhoods together, and their scores."""
        if not self.weight:
            return self.candidates, self.scores
        return order_by_both(self.candidates, self.scores, self.near, self.weight)


def list_entries(item_ids: pa.Array, lists: CsrRows, scores: pa.Array) -> pa.ListArray:
    """Lists of structs of item_id and score.

    Args:
        item_ids: of the positions.
        scores: aligned with the positions of the lists.
    """
    pairs = pa.StructArray.from_arrays([item_ids.take(pa.array(lists.positions)), scores], names=["item_id", "score"])
    return pa.ListArray.from_arrays(pa.array(lists.offsets.astype(np.int32)), pairs)


def digests(item_hashes: Hashes, lists: CsrRows, scores: Floats, sources: pa.Array) -> pa.Array:
    """64 bits of every list and its source, in hexadecimal.

    Args:
        item_hashes: 64 bits of the id of each position.
    """
    places = np.arange(len(scores)) - np.repeat(lists.offsets[:-1], lists.lengths)
    entries = item_hashes[lists.positions] ^ spread(scores.view(np.uint64) + places.astype(np.uint64))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(spread(entries), dtype=np.uint64)])[lists.offsets]
    bits = spread((sums[1:] - sums[:-1]) ^ hash_ids(sources, 0))
    digits = np.frombuffer(bits.astype(">u8").tobytes().hex().encode(), "S16")
    return pa.array(digits).cast(pa.string())
