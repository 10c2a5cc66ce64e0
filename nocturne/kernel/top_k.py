"""The exact top K of listeners x items scores.

A float32 product of a tile of listeners with a block of items stays in the processor's cache while the largest
score of every 16 items is found; the K-th largest of those bounds a listener's K-th score from below, so that only
the few that reach it are looked into. What is within rounding of the K-th score is scored again in float64, in a
fixed order of operations: the outcome does not depend on how the product was blocked.

The margin: a float32 score and the exact one are within `ItemLayout.rounding` of each other, times the listener's norm
and the catalogue's scale. If K items reach a float32 score t, the exact K-th is at least t - rounding, and whatever has
that has a float32 score of at least t - 2 * rounding. So nothing is dropped but what lies under that.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from nocturne.core.arrays import Counts, Floats, Indexes, Mask
from nocturne.core.csr import CsrRows
from nocturne.kernel.arguments import frozen
from nocturne.kernel.layout import BLOCK, ItemLayout
from nocturne.kernel.query import Query

_TILE = 1024
"""Listeners that are ranked together."""

_GROUP, _LANES = 256, 16
"""Of a group of items that lie together, every 16th is in one lane, which has one maximum."""

_GROUPS = BLOCK // _GROUP
_BELOW_ALL = -2.0
"""Under every score of a unit vector, and over the -inf of what may not be listed."""

_ROOM = 256
"""Finalists beyond 2k that a listener has room for; more are within rounding of each other, and sorted in full."""


@dataclass(frozen=True)
class Top:
    """The best items of each listener, with the proof that nothing is missing.

    Attributes:
        lists: positions, best first.
        scores: aligned with them, float64.
        bounds: upper bound of the score of every item that a listener could get and did not; -inf if there is none;
            shape (listeners,). It is at most the last score, and depends on how the scores were computed.
    """

    lists: CsrRows
    scores: Floats
    bounds: Floats


def top_k(query: Query, lower_bounds: Floats | None = None, blocks_per_panel: int = 8) -> Top:
    """The k items with the largest scores that each listener may get, best first, ties by `tie_order`.

    Args:
        query: the listeners, the catalogue and what they may get.
        lower_bounds: exact scores that each listener's k-th one reaches, or -inf; shape (listeners,).
        blocks_per_panel: blocks of items whose scores are kept until the listeners' thresholds are raised.
    """
    listeners, items = len(query.users), query.items
    shape = (listeners, min(query.k, len(items.order)))
    results = _Results(np.empty(shape, np.int32), np.empty(shape), np.empty(listeners, np.int64), np.empty(listeners))
    blocks_per_panel = min(blocks_per_panel, len(items.scaled))
    buffer = np.empty(min(_TILE, listeners) * blocks_per_panel * BLOCK, dtype=np.float32)
    for first in range(0, listeners, _TILE):
        tile = slice(first, min(first + _TILE, listeners))
        bounds = np.full(tile.stop - tile.start, -np.inf) if lower_bounds is None else lower_bounds[tile]
        _top_of_tile(query.part(tile), bounds, blocks_per_panel, buffer, results.part(tile))
    filled = np.arange(shape[1]) < results.lengths[:, None]
    offsets = np.concatenate([[0], np.cumsum(results.lengths)])
    return Top(CsrRows(offsets, results.positions[filled]), results.scores[filled], results.bounds)


def exact_scores(users: Floats, items: ItemLayout, rows: CsrRows) -> Floats:
    """The float64 scores of given positions, to the last bit as `top_k` gives them; aligned with the positions."""
    return np.asarray(_scores(*frozen(users, items.factors, items.multipliers, rows.offsets, rows.positions)))


class _Results(NamedTuple):
    """Lists as they are filled in: a row a listener; a length of -1 where there were too many ties to hold."""

    positions: npt.NDArray[np.int32]
    scores: Floats
    lengths: Counts
    bounds: Floats

    def part(self, listeners: slice) -> "_Results":
        return _Results(
            self.positions[listeners], self.scores[listeners], self.lengths[listeners], self.bounds[listeners]
        )


class _Finalists(NamedTuple):
    """Candidates that can still be in a list: a row a listener; a count of -1 means too many ties to hold.

    Attributes:
        positions: the first `counts` of them are set; shape (listeners, room).
        scores: float32, aligned with the positions.
        counts: shape (listeners,).
        thresholds: float32 scores under which nothing can be in the list; shape (listeners,).
    """

    positions: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    counts: Counts
    thresholds: npt.NDArray[np.float32]


def sort_all(user: Floats, items: ItemLayout, candidates: Indexes, k: int) -> tuple[Indexes, Floats, float]:
    """One listener's list by scoring every candidate in float64: the list that `top_k` must give, the slow way.

    Args:
        user: shape (factors,).
        candidates: positions of the items that may be in it.

    Returns:
        positions and scores, best first, and the best score that is not among them, or -inf.
    """
    scores = exact_scores(user[None], items, CsrRows(np.array([0, len(candidates)]), candidates))
    if len(scores) > k + 1:
        reaching = scores >= np.partition(scores, len(scores) - k - 1)[len(scores) - k - 1]
        candidates, scores = candidates[reaching], scores[reaching]
    order = np.lexsort((items.tie_order[candidates], -scores))
    unlisted = scores[order[k]] if len(order) > k else -np.inf
    return candidates[order[:k]], scores[order[:k]], float(unlisted)


def _top_of_tile(
    query: Query, lower_bounds: Floats, blocks_per_panel: int, buffer: npt.NDArray[np.float32], out: _Results
) -> None:
    users, items, k = query.users, query.items, query.k
    already_heard, classes, eligible = query.already_heard, query.classes, query.eligible
    norms = np.sqrt(np.einsum("uf,uf->u", users, users))
    norms[norms == 0] = 1
    scales = norms * items.scale[0]
    units = (users / norms[:, None]).astype(np.float32)
    margin = 2 * items.rounding
    thresholds = np.maximum(lower_bounds / scales - margin, _BELOW_ALL).astype(np.float32)
    thresholds = np.nextafter(thresholds, np.float32(-np.inf))
    room = (len(users), 2 * k + _ROOM)
    finalists = _Finalists(
        np.empty(room, np.int32), np.empty(room, np.float32), np.zeros(len(users), np.int64), thresholds
    )
    maxima = np.empty((len(users), blocks_per_panel * _GROUPS, _LANES), dtype=np.float32)
    starts, heard_by, heard_at = _by_block(
        already_heard.offsets, already_heard.positions, items.place, len(items.scaled), BLOCK
    )
    any_forbidden: Mask = np.asarray(eligible.any_forbidden[np.unique(classes)].any(axis=0))
    active_units, classes_of_active, row_of = units, classes, np.arange(len(users))
    for first in range(0, len(items.scaled), blocks_per_panel):
        last = min(first + blocks_per_panel, len(items.scaled))
        # Norms fall: what cannot reach a listener's threshold here cannot do so later either.
        active = np.flatnonzero(items.norms[first * BLOCK] + items.rounding >= thresholds)
        if not len(active):
            break
        if len(active) < len(active_units):
            active_units, classes_of_active = units[active], classes[active]
            row_of[:] = -1
            row_of[active] = np.arange(len(active))
        scores = buffer[: (last - first) * len(active) * BLOCK].reshape(last - first, len(active), BLOCK)
        for block in range(first, last):
            of_block = scores[block - first]
            np.dot(active_units, items.scaled[block], out=of_block)
            entries = slice(starts[block], starts[block + 1])
            _forbid_heard(of_block, row_of, heard_by[entries], heard_at[entries])
            if any_forbidden[block]:
                _forbid_ineligible(of_block, classes_of_active, eligible.forbidden[:, block])
            _take_maxima(of_block, maxima, (block - first) * _GROUPS)
        _collect(scores, maxima, active, items.order[first * BLOCK :], k, margin, finalists)
    _keep_finalists(k, margin, finalists)
    out.lengths[:] = np.where((finalists.counts < k) & (thresholds >= _BELOW_ALL), -1, finalists.counts)
    used = np.arange(room[1]) < out.lengths[:, None]
    scored = CsrRows(np.concatenate([[0], np.cumsum(used.sum(axis=1))]), finalists.positions[used])
    exact = exact_scores(users, items, scored)
    pruned = np.where(thresholds >= _BELOW_ALL, (thresholds.astype(np.float64) + items.rounding) * scales, -np.inf)
    _order(scored.offsets, scored.positions, exact, items.tie_order, pruned, out)
    for listener in np.flatnonzero(out.lengths < 0).tolist():
        positions, best, out.bounds[listener] = sort_all(
            users[listener], items, np.flatnonzero(query.allowed(listener)).astype(np.int32), k
        )
        out.lengths[listener] = len(positions)
        out.positions[listener, : len(positions)], out.scores[listener, : len(positions)] = positions, best


# What follows is compiled: plain loops over arrays, without types of their own.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# ruff: noqa: ANN001, ANN202, C901


@njit(cache=True)
def _below(score):
    """The float32 under a score, so that no rounding of a score puts it below its own threshold."""
    return np.nextafter(np.float32(score), np.float32(-np.inf))


@njit(cache=True)
def _keep_finalists(k, margin, finalists):
    """Drop the finalists that are not within rounding of their listener's k-th score."""
    positions, scores, counts, thresholds = finalists
    for row in range(len(counts)):
        if counts[row] > k:
            counts[row], thresholds[row] = _compact(
                scores[row], positions[row], counts[row], k, margin, thresholds[row]
            )


@njit(cache=True)
def _by_block(offsets, positions, place, blocks, size):
    """The entries of CSR rows by the block of items they fall into: starts, and each entry's row and column."""
    starts = np.zeros(blocks + 1, np.int64)
    for entry in range(offsets[0], offsets[-1]):
        starts[place[positions[entry]] // size + 1] += 1
    starts = np.cumsum(starts)
    free = starts.copy()
    rows, columns = np.empty(starts[-1], np.int64), np.empty(starts[-1], np.int64)
    for row in range(len(offsets) - 1):
        for entry in range(offsets[row], offsets[row + 1]):
            at = place[positions[entry]]
            rows[free[at // size]], columns[free[at // size]] = row, at % size
            free[at // size] += 1
    return starts, rows, columns


@njit(cache=True)
def _forbid_heard(scores, row_of, listeners, columns):
    for entry in range(len(listeners)):
        if row_of[listeners[entry]] >= 0:
            scores[row_of[listeners[entry]], columns[entry]] = -np.inf


@njit(cache=True)
def _forbid_ineligible(scores, classes, forbidden):
    for row in range(len(scores)):
        for item in range(scores.shape[1]):
            scores[row, item] = -np.inf if forbidden[classes[row], item] else scores[row, item]


@njit(cache=True)
def _take_maxima(scores, maxima, first_group):
    """The largest score in each lane of each group; written so that the compiler keeps the lanes in one register."""
    for row in range(len(scores)):
        for group in range(scores.shape[1] // _GROUP):
            of_group = scores[row, group * _GROUP : (group + 1) * _GROUP]
            lanes = maxima[row, first_group + group]
            for lane in range(_LANES):
                largest = of_group[lane]
                for step in range(1, _GROUP // _LANES):
                    score = of_group[lane + _LANES * step]
                    largest = score if score > largest else largest  # noqa: FURB136 - max() is no vector instruction
                lanes[lane] = largest


@njit(cache=True)
def _collect(scores, maxima, active, order, k, margin, finalists):
    """Append what reaches a listener's threshold."""
    positions, approximate, counts, thresholds = finalists
    per_block, capacity = scores.shape[2] // _GROUP, positions.shape[1]
    groups = len(scores) * per_block
    for row in range(len(active)):
        listener = active[row]
        count, threshold = counts[listener], thresholds[listener]
        reached = _reached_by(maxima[row, :groups].reshape(-1), k, threshold)
        if reached > threshold:
            threshold = max(threshold, _below(reached - margin))
        for group in range(groups):
            if count < 0 or not _any_reaches(maxima[row, group], threshold):
                continue
            of_group = scores[group // per_block, row, group % per_block * _GROUP : (group % per_block + 1) * _GROUP]
            for lane in range(_LANES):
                if maxima[row, group, lane] < threshold:
                    continue
                for item in range(lane, _GROUP, _LANES):
                    if of_group[item] < threshold:
                        continue
                    if count == capacity:
                        count, threshold = _compact(
                            approximate[listener], positions[listener], count, k, margin, threshold
                        )
                    if count < 0 or of_group[item] < threshold:
                        continue
                    approximate[listener, count] = of_group[item]
                    positions[listener, count] = order[group * _GROUP + item]
                    count += 1
        if count > k + k // 4:
            count, threshold = _compact(approximate[listener], positions[listener], count, k, margin, threshold)
        counts[listener], thresholds[listener] = count, threshold


@njit(cache=True)
def _any_reaches(scores, threshold):
    hit = np.uint8(0)
    for place in range(_LANES):
        hit |= np.uint8(scores[place] >= threshold)
    return hit


@njit(cache=True)
def _compact(scores, positions, count, k, margin, threshold):
    """Drop what is out of reach of the k-th score; returns how many stay, -1 if all do, and the threshold."""
    threshold = max(threshold, _below(_reached_by(scores[:count], k, threshold) - margin))
    staying = 0
    for place in range(count):
        scores[staying], positions[staying] = scores[place], positions[place]
        staying += scores[place] >= threshold
    return (staying if staying < len(scores) else -1), threshold


@njit(cache=True)
def _reached_by(scores, k, low):
    """A score that at least k reach, the k-th largest or one between it and the next; `low` if fewer reach that."""
    if _count_reaching(scores, low) < k:
        return low
    high = scores.max()
    if _count_reaching(scores, high) >= k:
        return high
    while True:
        middle = low + (high - low) * np.float32(0.5)
        if not low < middle < high:
            return low
        count = _count_reaching(scores, middle)
        if count >= k:
            low = middle
        else:
            high = middle
        if count == k:
            return low


@njit(cache=True)
def _count_reaching(scores, threshold):
    count = np.int32(0)
    for place in range(len(scores)):
        count += np.int32(scores[place] >= threshold)
    return count


@njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
def _scores(users, factors, multipliers, offsets, positions):
    """The only place where scores are computed in float64, so that every one has the same order of operations."""
    scores = np.empty(len(positions))
    for row in range(len(offsets) - 1):
        for entry in range(offsets[row], offsets[row + 1]):
            score = 0.0
            for factor in range(users.shape[1]):
                score += users[row, factor] * factors[positions[entry], factor]
            scores[entry] = score * multipliers[positions[entry]]
    return scores


@njit(cache=True)
def _order(offsets, finalists, exact, tie_order, pruned, out):
    """Put each listener's finalists in order, and the best of them out."""
    positions, scores, lengths, bounds = out
    k = positions.shape[1]
    for row in range(len(lengths)):
        if lengths[row] < 0:
            continue
        of_row = finalists[offsets[row] : offsets[row + 1]]
        score = exact[offsets[row] : offsets[row + 1]]
        order = np.argsort(-score)
        for place in range(1, len(order)):
            moved, at = order[place], place
            while at > 0 and score[order[at - 1]] == score[moved]:
                if tie_order[of_row[order[at - 1]]] < tie_order[of_row[moved]]:
                    break
                order[at] = order[at - 1]
                at -= 1
            order[at] = moved
        length = min(len(order), k)
        for place in range(length):
            positions[row, place] = of_row[order[place]]
            scores[row, place] = score[order[place]]
        unlisted = score[order[length]] if length < len(order) else -np.inf
        lengths[row] = length
        bounds[row] = max(unlisted, min(pruned[row], score[order[length - 1]])) if length else pruned[row]
