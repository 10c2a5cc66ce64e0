"""Scores of next items: what the compiled loops give is what the formula says, whatever the items and the listener."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nocturne.kernel.arguments import frozen
from nocturne.kernel.next_items import ContextItems, Listener, Weights, next_items

FACTORS, CREATOR = 3, 2
WEIGHTS = Weights(
    personal_weight=0.25,
    session_weight=0.1,
    related_weight=0.5,
    creator_weight=0.75,
    popularity_weight=0.125,
    recent_decay=0.5,
)


def by_the_formula(items, listener, masks):
    """Score and reason by number of all that may be offered, worked out densely, item after item."""
    context = listener.context.tolist()
    decay = np.array([WEIGHTS.recent_decay**place for place in range(len(context))])
    decay /= max(1, decay.sum())
    related = [
        dict(
            zip(
                items.related[items.starts[other] : items.starts[other + 1]].tolist(),
                range(items.starts[other], items.starts[other + 1]),
                strict=True,
            )
        )
        for other in context
    ]
    candidates = sorted({*listener.own.tolist(), *(number for of_one in related for number in of_one)})
    offered = [n for n in candidates if all(mask[n] for mask in masks) and n not in listener.barred.tolist()]
    factors = items.factors.astype(float)
    mean = sum((weight * factors[other] for weight, other in zip(decay, context, strict=True)), np.zeros(FACTORS))

    def shares(vector):
        scores = {n: max(0.0, float(factors[n] @ vector * items.multipliers[n])) for n in candidates}
        largest = max((scores[n] for n in offered), default=0.0)
        return {n: score / (largest or 1.0) for n, score in scores.items()}

    known = len(listener.factors) > 0
    likings, sessions = shares(listener.factors.astype(float) if known else np.zeros(FACTORS)), shares(mean)
    results = {}
    for n in offered:
        cosines = [factors[n] @ factors[o] * items.inverse_norms[n] * items.inverse_norms[o] for o in context]
        relations = [
            0.0
            if n not in of_one
            else WEIGHTS.creator_weight
            if items.related_sources[of_one[n]] == CREATOR
            else WEIGHTS.related_weight * max(0.0, items.related_scores[of_one[n]] - cosine)
            for of_one, cosine in zip(related, cosines, strict=True)
        ]
        fit = sum(weight * max(0.0, cosine) for weight, cosine in zip(decay, cosines, strict=True))
        relation = float(decay @ relations) if context else 0.0
        liking = likings[n] if known else 1.0
        popular = listener.leading.tolist()
        popularity = 1 / np.log2(popular.index(n) + 2) if n in popular else 0.0
        results[n] = (
            liking * (WEIGHTS.personal_weight + fit)
            + WEIGHTS.session_weight * sessions[n]
            + relation
            + WEIGHTS.popularity_weight * popularity
        )
    return candidates, results


@st.composite
def worlds(draw):
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(1, 12))
    factors = random.integers(-2, 3, (count, FACTORS)).astype(np.float32)
    norms = np.sqrt((factors**2).sum(axis=1))
    lengths = random.integers(0, min(4, count) + 1, count)
    related = [random.choice(count, length, replace=False) for length in lengths]
    total = int(lengths.sum())
    arrays = frozen(
        factors,
        np.divide(1, norms, out=np.zeros(count), where=norms > 0).astype(np.float32),
        random.choice([0.5, 1.0, 2.0], count),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
        np.concatenate([*related, np.zeros(0)]).astype(np.int32),
        random.random(total).astype(np.float32),
        random.integers(0, 3, total).astype(np.uint8),
    )

    def some(most):
        return random.permutation(count)[: draw(st.integers(0, most))].astype(np.int32)

    of_listener = random.normal(size=draw(st.sampled_from([0, FACTORS]))).astype(np.float32)
    listener = Listener(of_listener, some(8), some(5), some(4), some(4))
    masks = tuple(random.random(count) < share for share in draw(st.sampled_from([(0.8,), (0.8, 0.7), (1, 1, 0.5)])))
    return ContextItems._make([*arrays, CREATOR]), listener, masks


@given(worlds())
def test_scores_are_those_of_the_formula(world):
    items, listener, masks = world
    candidates, expected = by_the_formula(items, listener, masks)
    scored = next_items(items, listener, WEIGHTS, masks)
    assert scored.candidates.tolist() == candidates
    assert sorted(scored.numbers.tolist()) == sorted(expected)
    np.testing.assert_allclose(scored.scores, [expected[n] for n in scored.numbers.tolist()], rtol=1e-5, atol=1e-6)
    assert (np.diff(scored.scores) <= 0).all()
    assert ((scored.goes_with >= -1) & (scored.goes_with < max(1, len(listener.context)))).all()


def test_equal_scores_come_in_the_order_of_their_numbers():
    items = ContextItems._make(
        [
            *frozen(
                np.zeros((3, FACTORS), np.float32),
                np.zeros(3, np.float32),
                np.ones(3),
                np.zeros(4, np.int32),
                np.zeros(0, np.int32),
                np.zeros(0, np.float32),
                np.zeros(0, np.uint8),
            ),
            CREATOR,
        ]
    )
    nothing = np.zeros(0, np.int32)
    listener = Listener(np.ones(FACTORS, np.float32), np.array([2, 0, 1], np.int32), nothing, nothing, nothing)
    assert next_items(items, listener, WEIGHTS, (np.ones(3, bool),)).numbers.tolist() == [0, 1, 2]
