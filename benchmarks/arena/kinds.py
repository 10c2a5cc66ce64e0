"""Kinds of faults: what each does to a night, and from which step on the night is made again."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from benchmarks.arena.night import Night
from nocturne.core.hashing import hash_ids

Rng = np.random.Generator
Change = Callable[[Night, Rng, float], Night]

BUILD, LEARN, RANK, SERVE = range(4)
"""The step from which on a night is made again; of SERVE none is."""

HELD_OUT = 3
"""One kind in so many is no one's to tune for."""


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
        change: gives the night with the fault, of a magnitude.
        magnitudes: smallest first; the docstring of the change says what they are.
        needs: `training` or `experiment`, on whose nights alone the fault does anything; empty: any.
        group: the module's last word: `listens`, `catalogue`, `rows`, `model`, `lists` or `exposures`.
    """

    name: str
    change: Change
    first: int
    magnitudes: tuple[float, ...]
    needs: str
    group: str

    @property
    def held_out(self) -> bool:
        """True for a third of the kinds, by the hash of the name."""
        return int(hash_ids(pa.array([self.name]), 2)[0]) % HELD_OUT == 0

    @property
    def meaning(self) -> str:
        """The sentence that says what goes wrong."""
        return (self.change.__doc__ or "").strip().splitlines()[0]


KINDS: dict[str, Kind] = {}


def kind(first: int, *magnitudes: float, needs: str = "") -> Callable[[Change], Change]:
    """A decorator that makes a function a kind of fault."""

    def register(change: Change) -> Change:
        name, group = change.__name__, change.__module__.rsplit("_", 1)[-1]
        KINDS[name] = Kind(name, change, first, magnitudes, needs or ("training" if group == "model" else ""), group)
        return change

    return register


def some(values: pa.Array | pa.ChunkedArray, share: float, seed: int) -> np.ndarray:
    """True for a share of the values, the same ones wherever they are."""
    return np.asarray(
        hash_ids(values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values, seed) / 2.0**64 < share
    )
