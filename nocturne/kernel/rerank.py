"""Lists chosen from candidates by more than their score, listener by listener.

`nocturne.ranking.reranker` says by which rules.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from nocturne.core.arrays import Codes, Floats, Offsets
from nocturne.core.csr import CsrRows
from nocturne.kernel.arguments import ConfidenceRows, Exploration, RerankRules, Traits, ValuedRows, frozen

SMOOTHING = 0.01
"""Share of the listener's own mix in that of a list, as Steck has it, so that no logarithm is infinite."""


def rerank(
    candidates: CsrRows,
    scores: Floats,
    rows: ConfidenceRows,
    traits: Traits,
    rules: RerankRules,
    exploration: Exploration,
) -> tuple[CsrRows, Floats, Floats]:
    """Every listener's list.

    Args:
        candidates: positions, best first.
        scores: aligned with the candidates, falling.
        rows: of the same listeners.

    Returns:
        The lists; scores, and the probability of each item given those chosen before it, aligned with them.
    """
    places, draws = frozen(exploration.places, exploration.draws)
    offsets, positions, listed_scores, propensities = _rerank(
        ValuedRows(*frozen(candidates.offsets, candidates.positions, scores)),
        ValuedRows.of_confidences(rows),
        Traits(*frozen(*traits)),
        rules.converted(),
        Exploration(places, draws, float(exploration.temperature)),
    )
    return CsrRows(offsets, positions), listed_scores, propensities


class _Listed(NamedTuple):
    """A listener's mix, and counts of the items listed: arrays that listeners share, empty between two of them.

    Attributes:
        used: items listed of each creator; the last place is of those without one.
        type_mix, tag_mix: shares of the listener's confidence.
        type_mass, tag_mass: items listed; an item's tags share what is its.
        marked: place in the list of the last item compared that has the tag.
    """

    used: Offsets
    type_mix: Floats
    tag_mix: Floats
    type_mass: Floats
    tag_mass: Floats
    marked: Offsets


class _Pool(NamedTuple):
    """A listener's candidates, with the value of each beside the items listed.

    Attributes:
        value: upper bound of it; -inf for a candidate that is listed or has no room.
        valued_at: length of the list for which the value was worked out; -1: not yet.
        alike: likeness to the most alike item listed.
    """

    items: Codes
    relevance: Floats
    value: Floats
    valued_at: Offsets
    alike: Floats


# What follows is compiled: plain loops over arrays, without types of their own.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# ruff: noqa: ANN001, ANN202


@njit(cache=True)
def _rerank(candidates, rows, traits, rules, exploration):
    starts, positions, scores = candidates
    offsets, columns, confidences = rows
    explored = exploration.places
    lengths = np.minimum(np.diff(starts), rules.top_k)
    ends = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
    listed_items, listed_scores = np.empty(ends[-1], np.int32), np.empty(ends[-1])
    propensities = np.ones(ends[-1])
    listed = _nothing_listed(traits)
    for listener in range(len(lengths)):
        length = lengths[listener]
        if length == 0:
            continue
        items = positions[starts[listener] : starts[listener + 1]]
        relevance = _shares_of_range(scores[starts[listener] : starts[listener + 1]])
        row = columns[offsets[listener] : offsets[listener + 1]]
        if rules.type_calibration > 0 or rules.genre_calibration > 0:
            _mix(row, confidences[offsets[listener] : offsets[listener + 1]], traits, listed)
        slots = np.searchsorted(explored, length)
        chosen = _greedy(items, relevance, length - slots, traits, rules, listed)
        if rules.fresh_slots > 0:
            chosen = _with_fresh(chosen, items, traits, rules, listed.used)
        draws = exploration.draws[listener, :slots]
        drawn, chances = _draw(chosen, items, relevance, draws, exploration.temperature, traits, rules, listed.used)
        start, explored_so_far = ends[listener], 0
        for place in range(length):
            taken = 0
            if explored_so_far < slots and explored[explored_so_far] == place:
                taken, propensities[start + place] = drawn[explored_so_far], chances[explored_so_far]
                explored_so_far += 1
            else:
                taken = chosen[place - explored_so_far]
            listed_items[start + place] = items[taken]
            listed_scores[start + place] = scores[starts[listener] + taken]
        _reset(items, row, traits, listed)
    return ends, listed_items, listed_scores, propensities


@njit(cache=True)
def _nothing_listed(traits):
    creators = traits.creators.max() + 2 if len(traits.creators) else 1
    types, tags = traits.types.max() + 1, traits.tags.max() + 1
    return _Listed(
        np.zeros(creators, np.int64), np.zeros(types), np.zeros(tags), np.zeros(types), np.zeros(tags),
        np.zeros(tags, np.int64),
    )  # fmt: skip


@njit(cache=True)
def _shares_of_range(scores):
    """Scores from 0, the smallest, to 1, the largest; 0 if all are the same."""
    least, most = scores.min(), scores.max()
    return (scores - least) / (most - least) if most > least else np.zeros(len(scores))


@njit(cache=True)
def _mix(row, weights, traits, listed):
    """Add up the listener's confidence in each content type and tag; an item's tags share what is its."""
    types, tag_offsets, tags = traits.types, traits.tag_offsets, traits.tags
    type_mix, tag_mix = listed.type_mix, listed.tag_mix
    total = weights.sum()
    for entry in range(len(row)):
        item, share = row[entry], weights[entry] / total
        type_mix[types[item]] += share
        first, last = tag_offsets[item], tag_offsets[item + 1]
        for place in range(first, last):
            tag_mix[tags[place]] += share / (last - first)


@njit(cache=True)
def _reset(items, row, traits, listed):
    """Empty the arrays that listeners share for the next one."""
    creators, _, tag_offsets, tags, _ = traits
    used, type_mix, tag_mix, type_mass, tag_mass, marked = listed
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
def _greedy(items, relevance, length, traits, rules, listed):
    """Places of so many candidates, in order; each was the one of most value beside those chosen before it.

    A candidate's value only falls as others are chosen, so it is worked out again only when it may be the largest.
    Source: Minoux (1978), "Accelerated greedy algorithms".
    """
    count, strength = len(items), rules.type_calibration
    type_gains = np.zeros(len(listed.type_mix))
    value, valued_at = np.full(count, np.inf), np.full(count, -1)
    if rules.diversity == 0 and strength == 0 and rules.genre_calibration == 0:
        value[:], valued_at[:] = relevance, length
    pool = _Pool(items, relevance, value, valued_at, np.zeros(count))
    taken, done = np.zeros(count, np.bool_), 0
    while done < length:
        first = np.argmax(value)
        best = first if value[first] > -np.inf else np.argmin(taken)
        for kind in range(len(type_gains) if strength > 0 else 0):
            type_gains[kind] = strength * _gain(listed.type_mix[kind], listed.type_mass[kind], 1.0, done)
        if value[first] > -np.inf and valued_at[first] < done:
            best = _most_valuable(first, pool, done, length, type_gains, traits, rules, listed)
        if value[best] > -np.inf and not _has_room(traits.creators[items[best]], listed.used, rules.max_per_creator):
            value[best] = -np.inf
            continue
        taken[best], value[best] = True, -np.inf
        _list(items[best], traits, listed)
        done += 1
        if rules.diversity > 0:
            _compare(items[best], done, pool, traits, listed.marked)
    return np.flatnonzero(taken)


@njit(cache=True)
def _most_valuable(first, pool, done, length, type_gains, traits, rules, listed):
    """The first candidate of most value. The one that was worth most goes first, so that few others need a look."""
    items, relevance, value, valued_at, alike = pool
    types, tag_offsets, tags = traits.types, traits.tag_offsets, traits.tags
    tag_mix, tag_mass = listed.tag_mix, listed.tag_mass
    diversity, tag_strength = rules.diversity, rules.genre_calibration
    weight = (1 - diversity) * (1 - rules.type_calibration) * (1 - tag_strength)
    best = first
    for step in range(len(items)):
        candidate = first if step == 0 else step - (step <= first)
        if step > 0 and (value[candidate] < value[best] or (value[candidate] == value[best] and candidate > best)):
            continue
        if valued_at[candidate] < done:
            item, gain = items[candidate], type_gains[types[items[candidate]]]
            if tag_strength > 0:
                own = tags[tag_offsets[item] : tag_offsets[item + 1]]
                gain += tag_strength * _tag_gain(own, tag_mix, tag_mass, done)
            value[candidate] = weight * relevance[candidate] - diversity * alike[candidate] + length * gain
            valued_at[candidate] = done
        if value[candidate] > value[best] or (value[candidate] == value[best] and candidate < best):
            best = candidate
    return best


@njit(cache=True)
def _tag_gain(tags, tag_mix, tag_mass, length):
    gain = 0.0
    for tag in tags:
        gain += _gain(tag_mix[tag], tag_mass[tag], 1.0 / len(tags), length)
    return gain


@njit(cache=True)
def _gain(share, mass, added, length):
    """Gain in closeness to the listener's mix by an item of one class, but for the part that all items have."""
    smoothed = mass + SMOOTHING / (1 - SMOOTHING) * share * (length + 1)
    return share * np.log1p(added / smoothed) if share > 0 else 0.0


@njit(cache=True)
def _list(item, traits, listed):
    """Book an item as listed."""
    listed.used[traits.creators[item]] += 1
    listed.type_mass[traits.types[item]] += 1
    first, last = traits.tag_offsets[item], traits.tag_offsets[item + 1]
    for place in range(first, last):
        listed.tag_mass[traits.tags[place]] += 1 / (last - first)


@njit(cache=True)
def _compare(chosen, mark, pool, traits, marked):
    """Raise every candidate's likeness to what is listed by the item that was chosen: the cosine of their labels."""
    items, _, value, _, alike = pool
    creators, _, tag_offsets, tags, _ = traits
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
    """Number of tags and creators of an item."""
    first, last = tag_offsets[item], tag_offsets[item + 1]
    return last - first - (tags[first] == 0) + (creators[item] >= 0)


@njit(cache=True)
def _with_fresh(chosen, items, traits, rules, used):
    """The same list with so many new items: the best that are missing, at its end instead of the last old ones."""
    creators, fresh = traits.creators, traits.fresh
    missing = min(rules.fresh_slots, len(chosen)) - fresh[items[chosen]].sum()
    stays, taken = np.ones(len(chosen), np.bool_), np.zeros(len(items), np.bool_)
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
        if leaves != comes and not _has_room(comes, used, rules.max_per_creator):
            continue
        used[leaves] -= 1
        used[comes] += 1
        stays[place] = False
        added.append(candidate)
        place -= 1
        missing -= 1
    return np.concatenate((chosen[stays], np.array(added, np.int64)))


@njit(cache=True)
def _draw(chosen, items, relevance, draws, temperature, traits, rules, used):
    """One candidate after the other of those that are not chosen, and the probability of each."""
    creators, cap = traits.creators, rules.max_per_creator
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
        target, passed = draws[slot] * total, 0.0
        for candidate in range(len(items)):
            if left[candidate] and (not bound or _has_room(creators[items[candidate]], used, cap)):
                passed += weights[candidate]
                drawn[slot] = candidate
                if passed > target:
                    break
        left[drawn[slot]] = False
        used[creators[items[drawn[slot]]]] += 1
        chances[slot] = weights[drawn[slot]] / total
    return drawn, chances
