"""Batches of training: windows of listeners' events with the item after each, of few lengths, in a seeded order."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from nocturne.core.arrays import Indexes
from nocturne.core.csr import CsrRows
from nocturne.kernel.encoder import NOTHING

_HALVINGS = 3


class Batch(NamedTuple):
    """Windows of one length.

    Attributes:
        windows: positions of items, the last one at the end, NOTHING before the first; shape (listeners, length).
        targets: the item after each, NOTHING where none is; aligned with the windows.
        negatives: positions of items, without repetition; shape (negatives,).
    """

    windows: Indexes
    targets: Indexes
    negatives: Indexes


def lengths_of(longest: int) -> list[int]:
    """Lengths of windows, ascending: the longest and a few parts of it, so that few programs are compiled."""
    return sorted({max(2, -(-longest // 2**halving)) for halving in range(_HALVINGS + 1)})


def epoch(
    sequences: CsrRows, items: int, length: int, listeners: int, negatives: int, seed: tuple[int, int]
) -> Iterator[Batch]:
    """Every listener once: of longer histories a window that is drawn anew every epoch.

    Args:
        sequences: positions of the items of each listener, oldest first; those with fewer than 2 are left out.
        length: items of the longest window.
        listeners: in a batch of the longest windows; of shorter ones there are more, so that places are as many.
        seed: of the epoch.
    """
    rng = np.random.default_rng(seed)
    pairs = sequences.lengths - 1
    lengths = np.array(lengths_of(length))
    group = np.searchsorted(lengths, np.minimum(pairs, length))
    plan = []
    for number, places in enumerate(lengths.tolist()):
        members = rng.permutation(np.flatnonzero((group == number) & (pairs > 0)))
        size = max(1, listeners * length // places)
        plan += [(members[first : first + size], places, size) for first in range(0, len(members), size)]
    for number in rng.permutation(len(plan)).tolist():
        members, places, size = plan[number]
        windows = np.full((size, places + 1), NOTHING, np.int32)
        for row, listener in enumerate(members.tolist()):
            events = sequences.row(listener)
            first = int(rng.integers(0, len(events) - places)) if len(events) > places + 1 else 0
            events = events[first : first + places + 1]
            windows[row, places + 1 - len(events) :] = events
        targets = np.where(windows[:, :-1] >= 0, windows[:, 1:], NOTHING)
        drawn = rng.choice(items, min(negatives, items), replace=False).astype(np.int32)
        yield Batch(windows[:, :-1], targets, drawn)
