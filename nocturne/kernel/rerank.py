"""Lists chosen from candidates by more than their score, listener by listener.

Compiled: plain loops over arrays, without types of their own. `nocturne.ranking.reranker` says what it is for.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# ruff: noqa: ANN001, ANN201, ANN202

import numpy as np
from numba import njit

SMOOTHING = 0.01
"""Share of the listener's own mix in that of a list, as Steck has it, so that no logarithm is infinite."""


@njit(cache=True)
def choose(
    starts, positions, scores, offsets, columns, confidences, creators, types, tag_offsets, tags, fresh,
    top_k, cap, diversity, type_strength, tag_strength, smoothing, fresh_slots, explored, draws, temperature,
):  # fmt: skip
    """Every listener's list.

    Args:
        starts, positions, scores: candidates, best first, CSR.
        offsets, columns, confidences: the listeners' rows, CSR; columns are positions.
        creators, types, tag_offsets, tags, fresh: as in `Traits`.
        cap: items of a creator; 0: any number.
        explored: places that are drawn, from 0, ascending.
        draws: numbers in [0, 1) for them; shape (listeners, places).
        temperature: of the draw; 0: all are as likely.

    Returns:
        offsets, positions, scores and propensities of the lists, CSR.
    """
    lengths = np.minimum(np.diff(starts), top_k)
    ends = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
    listed, of_listed = np.empty(ends[-1], np.int32), np.empty(ends[-1])
    propensities = np.ones(ends[-1])
    used = np.zeros(creators.max() + 2 if len(creators) else 1, np.int64)
    type_mix, tag_mix = np.zeros(types.max() + 1), np.zeros(tags.max() + 1)
    type_mass, tag_mass = np.zeros(len(type_mix)), np.zeros(len(tag_mix))
    marked = np.zeros(len(tag_mix), np.int64)
    for listener in range(len(lengths)):
        length = lengths[listener]
        if length == 0:
            continue
        items = positions[starts[listener] : starts[listener + 1]]
        relevance = _shares_of_range(scores[starts[listener] : starts[listener + 1]])
        row = columns[offsets[listener] : offsets[listener + 1]]
        weights = confidences[offsets[listener] : offsets[listener + 1]]
        if type_strength > 0 or tag_strength > 0:
            _mix(row, weights, types, tag_offsets, tags, type_mix, tag_mix)
        slots = np.searchsorted(explored, length)
        chosen = _greedy(
            items, relevance, length - slots, creators, cap, used, diversity, type_strength, tag_strength, smoothing,
            types, type_mix, type_mass, tag_offsets, tags, tag_mix, tag_mass, marked,
        )  # fmt: skip
        if fresh_slots > 0:
            chosen = _with_fresh(chosen, items, fresh, fresh_slots, creators, cap, used)
        drawn, chances = _draw(chosen, items, relevance, draws[listener, :slots], temperature, creators, cap, used)
        start, explored_so_far = ends[listener], 0
        for place in range(length):
            taken = 0
            if explored_so_far < slots and explored[explored_so_far] == place:
                taken, propensities[start + place] = drawn[explored_so_far], chances[explored_so_far]
                explored_so_far += 1
            else:
                taken = chosen[place - explored_so_far]
            listed[start + place] = items[taken]
            of_listed[start + place] = scores[starts[listener] + taken]
        _forget(items, row, creators, used, type_mix, type_mass, tag_offsets, tags, tag_mix, tag_mass, marked)
    return ends, listed, of_listed, propensities


@njit(cache=True)
def _shares_of_range(scores):
    """Scores from 0, the smallest, to 1, the largest; 0 if all are the same."""
    least, most = scores.min(), scores.max()
    return (scores - least) / (most - least) if most > least else np.zeros(len(scores))


@njit(cache=True)
def _mix(row, weights, types, tag_offsets, tags, type_mix, tag_mix):
    """Shares of the listener's confidence in each content type and tag; an item's tags share what is its."""
    total = weights.sum()
    for entry in range(len(row)):
        item, share = row[entry], weights[entry] / total
        type_mix[types[item]] += share
        first, last = tag_offsets[item], tag_offsets[item + 1]
        for place in range(first, last):
            tag_mix[tags[place]] += share / (last - first)


@njit(cache=True)
def _forget(items, row, creators, used, type_mix, type_mass, tag_offsets, tags, tag_mix, tag_mass, marked):
    """Leave the arrays that listeners share empty for the next one."""
    type_mix[:] = 0
    type_mass[:] = 0
    for item in row:
        for place in range(tag_offsets[item], tag_offsets[item + 1]):
            tag_mix[tags[place]] = 0
    for item in items:
        used[creators[item]] = 0
        for place in range(tag_offsets[item], tag_offsets[item + 1]):
            tag_mass[tags[place]], marked[tags[place]] = 0, 0


@njit(cache=True)
def _has_room(creator, used, cap):
    return cap == 0 or creator < 0 or used[creator] < cap


@njit(cache=True)
def _greedy(
    items, relevance, wanted, creators, cap, used, diversity, type_strength, tag_strength, smoothing,
    types, type_mix, type_mass, tag_offsets, tags, tag_mix, tag_mass, marked,
):  # fmt: skip
    """Places of so many candidates, in order; each was the one of most value beside those chosen before it.

    A candidate's value only falls as others are chosen, so it is worked out again only when it may be the largest.
    Source: Minoux (1978), "Accelerated greedy algorithms".
    """
    count = len(items)
    weight = (1 - diversity) * (1 - type_strength) * (1 - tag_strength)
    alike, gains_of_types = np.zeros(count), np.zeros(len(type_mix))
    value, seen = np.full(count, np.inf), np.full(count, -1)
    if diversity == 0 and type_strength == 0 and tag_strength == 0:
        value[:], seen[:] = relevance, wanted
    taken, done = np.zeros(count, np.bool_), 0
    while done < wanted:
        first = np.argmax(value)
        best = first if value[first] > -np.inf else np.argmin(taken)
        for kind in range(len(type_mix) if type_strength > 0 else 0):
            gains_of_types[kind] = type_strength * _gain(type_mix[kind], type_mass[kind], 1.0, done, smoothing)
        if value[first] > -np.inf and seen[first] < done:
            best = _of_most_value(
                first, items, relevance, wanted, done, weight, diversity, alike, types, gains_of_types, tag_strength,
                smoothing, tag_offsets, tags, tag_mix, tag_mass, value, seen,
            )  # fmt: skip
        if value[best] > -np.inf and not _has_room(creators[items[best]], used, cap):
            value[best] = -np.inf
            continue
        taken[best], value[best] = True, -np.inf
        _list(items[best], creators, used, types, type_mass, tag_offsets, tags, tag_mass)
        done += 1
        if diversity > 0:
            _compare(items[best], done, items, value, alike, creators, tag_offsets, tags, marked)
    return np.flatnonzero(taken)


@njit(cache=True)
def _of_most_value(
    first, items, relevance, wanted, done, weight, diversity, alike, types, gains_of_types, tag_strength,
    smoothing, tag_offsets, tags, tag_mix, tag_mass, value, seen,
):  # fmt: skip
    """The first candidate of most value. The one that was worth most goes first, so that few others need a look."""
    best = first
    for step in range(len(items)):
        candidate = first if step == 0 else step - (step <= first)
        if step > 0 and (value[candidate] < value[best] or (value[candidate] == value[best] and candidate > best)):
            continue
        if seen[candidate] < done:
            item, gain = items[candidate], gains_of_types[types[items[candidate]]]
            if tag_strength > 0:
                gain += tag_strength * _gain_of_tags(item, tag_offsets, tags, tag_mix, tag_mass, done, smoothing)
            value[candidate] = weight * relevance[candidate] - diversity * alike[candidate] + wanted * gain
            seen[candidate] = done
        if value[candidate] > value[best] or (value[candidate] == value[best] and candidate < best):
            best = candidate
    return best


@njit(cache=True)
def _gain_of_tags(item, tag_offsets, tags, tag_mix, tag_mass, listed, smoothing):
    first, last = tag_offsets[item], tag_offsets[item + 1]
    gain = 0.0
    for place in range(first, last):
        gain += _gain(tag_mix[tags[place]], tag_mass[tags[place]], 1.0 / (last - first), listed, smoothing)
    return gain


@njit(cache=True)
def _gain(share, mass, added, listed, smoothing):
    """How much closer to the listener's mix a list comes in one class by an item, but for what all items change."""
    held = mass + smoothing / (1 - smoothing) * share * (listed + 1)
    return share * np.log1p(added / held) if share > 0 else 0.0


@njit(cache=True)
def _list(item, creators, used, types, type_mass, tag_offsets, tags, tag_mass):
    """Book an item as listed."""
    used[creators[item]] += 1
    type_mass[types[item]] += 1
    first, last = tag_offsets[item], tag_offsets[item + 1]
    for place in range(first, last):
        tag_mass[tags[place]] += 1 / (last - first)


@njit(cache=True)
def _compare(chosen, mark, items, value, alike, creators, tag_offsets, tags, marked):
    """Raise every candidate's likeness to what is listed by the item that was chosen: the cosine of their labels."""
    creator, labels = creators[chosen], _labels(chosen, creators, tag_offsets, tags)
    for place in range(tag_offsets[chosen], tag_offsets[chosen + 1]):
        marked[tags[place]] = mark if tags[place] > 0 else 0
    for candidate in range(len(items)):
        if value[candidate] == -np.inf:
            continue
        item = items[candidate]
        same = 1 if creators[item] == creator and creator >= 0 else 0
        for place in range(tag_offsets[item], tag_offsets[item + 1]):
            same += marked[tags[place]] == mark
        if same:
            likeness = same / np.sqrt(labels * _labels(item, creators, tag_offsets, tags))
            alike[candidate] = max(alike[candidate], likeness)


@njit(cache=True)
def _labels(item, creators, tag_offsets, tags):
    """How many tags and creators an item has."""
    first, last = tag_offsets[item], tag_offsets[item + 1]
    return last - first - (tags[first] == 0) + (creators[item] >= 0)


@njit(cache=True)
def _with_fresh(chosen, items, fresh, slots, creators, cap, used):
    """The same list with so many new items: the best that are missing, at its end instead of the last old ones."""
    missing = min(slots, len(chosen)) - fresh[items[chosen]].sum()
    kept, taken = np.ones(len(chosen), np.bool_), np.zeros(len(items), np.bool_)
    taken[chosen] = True
    added, place = [-1 for _ in range(0)], len(chosen) - 1
    for candidate in range(len(items)):
        if missing <= 0:
            break
        if taken[candidate] or not fresh[items[candidate]]:
            continue
        while fresh[items[chosen[place]]]:
            place -= 1
        leaves, comes = creators[items[chosen[place]]], creators[items[candidate]]
        if leaves != comes and not _has_room(comes, used, cap):
            continue
        used[leaves] -= 1
        used[comes] += 1
        kept[place] = False
        added.append(candidate)
        place -= 1
        missing -= 1
    return np.concatenate((chosen[kept], np.array(added, np.int64)))


@njit(cache=True)
def _draw(chosen, items, relevance, draws, temperature, creators, cap, used):
    """One candidate after the other of those that are not chosen, and the probability of each."""
    drawn, chances = np.empty(len(draws), np.int64), np.ones(len(draws))
    left, weights = np.ones(len(items), np.bool_), np.ones(len(items))
    left[chosen] = False
    if len(draws) and temperature > 0:
        weights = np.exp((relevance - 1) / temperature)
    for slot in range(len(draws)):
        total, bound = 0.0, False
        for candidate in range(len(items)):
            bound = bound or (left[candidate] and _has_room(creators[items[candidate]], used, cap))
        for candidate in range(len(items)):
            if left[candidate] and (not bound or _has_room(creators[items[candidate]], used, cap)):
                total += weights[candidate]
        wanted, passed = draws[slot] * total, 0.0
        for candidate in range(len(items)):
            if left[candidate] and (not bound or _has_room(creators[items[candidate]], used, cap)):
                passed += weights[candidate]
                drawn[slot] = candidate
                if passed > wanted:
                    break
        left[drawn[slot]] = False
        used[creators[items[drawn[slot]]]] += 1
        chances[slot] = weights[drawn[slot]] / total
    return drawn, chances
