"""The items that an item is heard after: evidence of what comes next, from listeners' last listens in their order."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nocturne.core.arrays import Counts, Floats, Indexes
from nocturne.core.hashing import hash_ids
from nocturne.core.sections import AlsSettings
from nocturne.training.confidences import columns_of, listed
from nocturne.training.neighbours import MEMORY_SHARE, Weights, best_of_each, scaled

_STEPS = 10
"""Listens apart, at most."""

_BYTES_PER_PAIR = 64
"""While pairs are sorted: keys, weights and the order of both."""

_OTHER_SEED = 1
"""Added to that of the sample that is trained on, all of whose listeners would be below a share of theirs."""

_MERGED_AT_ONCE = 2**22


def predecessors(
    rows: Iterable[pa.RecordBatch], position: Indexes, items: int, settings: AlsSettings
) -> tuple[Indexes, Weights]:
    """The items after which each item is heard most, and how often it is.

    A listen counts for those of the ten listens before it, one over the distance. Sums are divided by listens of
    either item ^ als.neighbour_exponent. If all pairs of listens need more than a quarter of als.matrix_memory_mb,
    only a share of listeners is counted, picked by hash.

    Args:
        rows: user_id and recent_items of `interactions`; can be iterated twice.
        position: column in the model of each item index; -1 for items it lacks.
        items: of the model.

    Returns:
        Positions, ascending, -1 where there are fewer, and weights aligned with them, the largest of all 1; both of
        shape (items, als.neighbours).

    Source: sequential rules, Ludewig and Jannach (2018), "Evaluation of session-based recommendation algorithms",
    section 2.2.
    """
    if not settings.neighbours:
        return np.zeros((items, 0), np.int32), np.zeros((items, 0), np.float32)
    most = _STEPS * sum(len(listed(batch.column("recent_items"))[1]) for batch in rows)
    share = min(1.0, (settings.matrix_memory_mb << 20) / MEMORY_SHARE / _BYTES_PER_PAIR / max(1, most))
    listens = np.zeros(items, np.int64)
    keys, weights = np.zeros(0, np.int64), np.zeros(0)
    pending: list[tuple[Counts, Floats]] = []
    for some_keys, some_weights, columns in _pairs(rows, position, items, share, settings.seed):
        listens += np.bincount(columns, minlength=items)
        pending.append((some_keys, some_weights))
        if sum(len(part) for part, _ in pending) > _MERGED_AT_ONCE + len(keys):
            keys, weights = _merged([(keys, weights), *pending])
            pending = []
    keys, weights = _merged([(keys, weights), *pending])
    after, before = keys // items, keys % items
    held_back = np.maximum(listens, 1).astype(np.float64) ** -settings.neighbour_exponent
    positions, best = best_of_each(
        after, before, weights * held_back[after] * held_back[before], items, settings.neighbours
    )
    return positions, scaled(best)


def _pairs(
    rows: Iterable[pa.RecordBatch], position: Indexes, items: int, share: float, seed: int
) -> Iterator[tuple[Counts, Floats, Indexes]]:
    """Pairs of listens as item x items + item before it, their weights, and the items of all listens, by batch."""
    for batch in rows:
        some = batch
        if share < 1:
            some = batch.filter(pa.array(hash_ids(batch.column("user_id"), seed + _OTHER_SEED) / 2.0**64 < share))
        starts, recent = listed(some.column("recent_items"))
        listener = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        column = columns_of(recent, position)
        parts = []
        for steps in range(1, _STEPS + 1):
            before, after = column[:-steps], column[steps:]
            pair = (listener[:-steps] == listener[steps:]) & (before >= 0) & (after >= 0) & (before != after)
            key = after[pair].astype(np.int64) * items + before[pair]
            parts.append((key, np.full(len(key), 1 / steps)))
        yield (*_merged(parts), column[column >= 0])


def _merged(parts: list[tuple[npt.NDArray[np.int64], Floats]]) -> tuple[Counts, Floats]:
    """Every key once, ascending, with the sum of its weights."""
    keys, place = np.unique(np.concatenate([keys for keys, _ in parts]), return_inverse=True)
    sums = np.bincount(place, np.concatenate([weights for _, weights in parts]), minlength=len(keys))
    return keys, sums.astype(np.float64)
