"""Re-ranking: caps, diversity, calibration, fresh and explored places do what they say, for each listener alone."""

import itertools
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from nocturne.core.csr import CsrRows
from nocturne.core.sections import RerankingSettings
from nocturne.core.settings import load_settings
from nocturne.kernel.arguments import Traits
from nocturne.ranking.item_traits import NONE, UNTAGGED, traits
from nocturne.ranking.reranker import Reranker
from nocturne.storage.contracts import contract
from nocturne.training.confidences import Confidences

NEUTRAL = load_settings().reranking
JAZZ, ROCK, POP = 1, 2, 3
TRACK, EPISODE = 1, 2
NIGHT = date(2025, 3, 2)
DAY = 20_149


def items(tags: list[list[int]], **changes: object) -> Traits:
    """Items with these tags; the rest plain."""
    columns = {
        "creators": np.full(len(tags), NONE, np.int32),
        "types": np.full(len(tags), TRACK, np.int32),
        "tag_offsets": np.cumsum([0, *map(len, tags)]).astype(np.int64),
        "tags": np.array(list(itertools.chain(*tags)), np.int32),
        "fresh": np.zeros(len(tags), np.bool_),
    }
    return Traits(**columns | {name: np.array(value, columns[name].dtype) for name, value in changes.items()})


def reranker(of_items: Traits, day: int = DAY, **changes: object) -> Reranker:
    return Reranker(RerankingSettings.model_validate(NEUTRAL.model_dump() | changes), of_items, day)


def heard(rows: list[dict[int, float]]) -> Confidences:
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    columns = np.array([item for row in rows for item in sorted(row)], np.int32)
    return Confidences(offsets, columns, np.array([row[item] for row in rows for item in sorted(row)]))


def one_list(made: Reranker, candidates: int, top_k: int, row: dict[int, float] | None = None) -> list[int]:
    """The list of a listener whose candidates are the first so many items, their scores evenly apart."""
    pool = CsrRows(np.array([0, candidates]), np.arange(candidates, dtype=np.int32))
    scores = np.arange(candidates, 0, -1) / candidates
    lists, _, _ = made.rerank(pa.array(["u"]), pool, scores, heard([row or {0: 1.0}]), top_k)
    return lists.positions.tolist()


@dataclass
class Crowd:
    """Listeners with pools of different depths, and items of all kinds."""

    users: pa.Array
    pools: CsrRows
    scores: np.ndarray
    rows: Confidences
    traits: Traits

    @classmethod
    def of(cls, seed: int, listeners: int = 12, count: int = 40) -> "Crowd":
        rng = np.random.default_rng(seed)
        pools = [rng.permutation(count)[: rng.integers(0, 16)] for _ in range(listeners)]
        scores = [np.sort(rng.integers(0, 12, len(pool)) / 4)[::-1] for pool in pools]
        rows = [{int(i): float(rng.uniform(1, 9)) for i in rng.permutation(count)[:6]} for _ in range(listeners)]
        tags = [sorted(rng.permutation(6)[: rng.integers(1, 4)].tolist()) for _ in range(count)]
        of_items = items(
            [own if own[0] else [UNTAGGED] for own in tags],
            creators=rng.integers(NONE, 5, count), types=rng.integers(0, 3, count), fresh=rng.random(count) < 0.2,
        )  # fmt: skip
        together = CsrRows(np.cumsum([0, *map(len, pools)]), np.concatenate(pools).astype(np.int32))
        users = pa.array([f"u{user}" for user in range(listeners)])
        return cls(users, together, np.concatenate(scores), heard(rows), of_items)

    def take(self, some: np.ndarray) -> "Crowd":
        scores = [self.scores[self.pools.offsets[i] : self.pools.offsets[i + 1]] for i in some]
        return Crowd(
            self.users.take(pa.array(some)), self.pools.take(some), np.concatenate([np.zeros(0), *scores]),
            self.rows.take(some), self.traits,
        )  # fmt: skip

    def lists(self, top_k: int, **changes: object) -> tuple[CsrRows, np.ndarray, np.ndarray]:
        return reranker(self.traits, **changes).rerank(self.users, self.pools, self.scores, self.rows, top_k)


STRENGTHS = st.sampled_from([0.0, 0.3, 1.0])
CHANGES = st.fixed_dictionaries(
    {
        "max_per_creator": st.integers(0, 3),
        "diversity": STRENGTHS,
        "type_calibration": STRENGTHS,
        "genre_calibration": STRENGTHS,
        "fresh_slots": st.integers(0, 3),
        "exploration_places": st.lists(st.integers(1, 12), max_size=3),
        "exploration": st.sampled_from(["uniform", "softmax"]),
    }
)


def test_without_a_setting_there_is_no_reranking() -> None:
    assert NEUTRAL.neutral
    assert not RerankingSettings.model_validate(NEUTRAL.model_dump() | {"fresh_slots": 1}).neutral


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), top_k=st.integers(1, 12))
def test_with_neutral_strengths_a_list_is_the_head_of_its_candidates(seed: int, top_k: int) -> None:
    crowd = Crowd.of(seed)
    lists, scores, propensities = crowd.lists(top_k)
    expected, of_expected = crowd.pools.heads(crowd.scores, top_k)
    assert lists.offsets.tolist() == expected.offsets.tolist()
    assert lists.positions.tolist() == expected.positions.tolist()
    assert scores.tobytes() == of_expected.tobytes()
    assert (propensities == 1).all()


def test_a_creator_over_the_cap_makes_room_and_comes_back_only_to_fill_the_list() -> None:
    made = reranker(items([[JAZZ]] * 6, creators=[0, 0, 0, 1, 1, NONE]), max_per_creator=1)
    assert one_list(made, 6, top_k=3) == [0, 3, 5]
    assert one_list(made, 6, top_k=4) == [0, 1, 3, 5]


def test_items_without_a_creator_are_not_capped() -> None:
    assert one_list(reranker(items([[JAZZ]] * 4), max_per_creator=1), 4, top_k=3) == [0, 1, 2]


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), top_k=st.integers(1, 12), changes=CHANGES)
def test_whatever_is_set_lists_are_full_sound_and_within_caps_while_the_candidates_allow(
    seed: int, top_k: int, changes: dict[str, object]
) -> None:
    crowd = Crowd.of(seed)
    lists, scores, propensities = crowd.lists(top_k, **changes)
    for user in range(len(crowd.users)):
        pool, entries = crowd.pools.row(user).tolist(), slice(*lists.offsets[user : user + 2])
        listed = lists.row(user).tolist()
        assert len(listed) == len(set(listed)) == min(top_k, len(pool))
        of_pool = dict(zip(pool, crowd.scores[crowd.pools.offsets[user] :], strict=False))
        assert [of_pool[item] for item in listed] == scores[entries].tolist()
        explored = {place for place in changes["exploration_places"] if place <= len(listed)}
        assert all(place + 1 in explored for place in np.flatnonzero(propensities[entries] < 1))
        assert ((propensities[entries] > 0) & (propensities[entries] <= 1)).all()
        cap = changes["max_per_creator"] or len(pool)
        creators = crowd.traits.creators
        named, counts = np.unique([creators[item] for item in pool if creators[item] != NONE], return_counts=True)
        room = np.minimum(counts, cap).sum() + sum(creators[item] == NONE for item in pool)
        listed_of_each = [sum(creators[item] == creator for item in listed) for creator in named]
        assert max(listed_of_each, default=0) <= cap or room < len(listed)


def test_a_likeness_to_what_is_listed_costs_as_much_as_the_strength_says() -> None:
    # Relevance 1, 1/2, 0: after the first, a half of 1/2 - 1 is less than a half of 0 - 0.
    made = reranker(items([[JAZZ], [JAZZ], [ROCK]]), diversity=0.5)
    assert one_list(made, 3, top_k=2) == [0, 2]
    # And 0.7 / 2 - 0.3 is more.
    assert one_list(reranker(made.traits, diversity=0.3), 3, top_k=2) == [0, 1]


def test_items_without_tags_are_not_alike_unless_their_creator_is_the_same() -> None:
    untagged = items([[UNTAGGED]] * 3)
    assert one_list(reranker(untagged, diversity=0.9), 3, top_k=2) == [0, 1]
    same = items([[UNTAGGED]] * 3, creators=[0, 0, 1])
    assert one_list(reranker(same, diversity=0.9), 3, top_k=2) == [0, 2]


def test_a_list_takes_the_listeners_own_mix_of_genres_weighted_by_confidence() -> None:
    # Three of four parts of what was heard is rock, which all comes behind jazz.
    made = reranker(items([[JAZZ]] * 4 + [[ROCK]] * 4), genre_calibration=0.9)
    listed = one_list(made, 8, top_k=4, row={0: 1.0, 7: 3.0})
    assert listed == [0, 4, 5, 6]


def test_a_list_takes_the_listeners_own_mix_of_content_types() -> None:
    made = reranker(items([[JAZZ]] * 6, types=[TRACK] * 4 + [EPISODE] * 2), type_calibration=0.9)
    assert one_list(made, 6, top_k=4, row={0: 1.0, 5: 1.0}) == [0, 1, 4, 5]
    assert one_list(made, 6, top_k=4, row={0: 1.0}) == [0, 1, 2, 3]


def mixes(of_items: Traits, positions: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares of content types and of tags, the slow way."""
    types, tags = np.zeros(of_items.types.max() + 1), np.zeros(of_items.tags.max() + 1)
    for item, weight in zip(positions, weights / weights.sum(), strict=True):
        own = of_items.tags[of_items.tag_offsets[item] : of_items.tag_offsets[item + 1]]
        types[of_items.types[item]] += weight
        tags[own] += weight / len(own)
    return types, tags


def divergence(own: np.ndarray, listed: np.ndarray) -> float:
    """Kullback-Leibler divergence of a listener's mix from a list's, smoothed as Steck (2018) has it."""
    some = own > 0
    return float((own[some] * np.log(own[some] / (0.99 * listed[some] + 0.01 * own[some]))).sum())


def likeness(of_items: Traits, one: int, other: int) -> float:
    of = [
        {*of_items.tags[of_items.tag_offsets[i] : of_items.tag_offsets[i + 1]].tolist()} - {UNTAGGED}
        | ({f"by {of_items.creators[i]}"} if of_items.creators[i] != NONE else set())
        for i in (one, other)
    ]
    return len(of[0] & of[1]) / np.sqrt(len(of[0]) * len(of[1])) if of[0] & of[1] else 0.0


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), strengths=st.tuples(STRENGTHS, STRENGTHS, STRENGTHS))
def test_every_item_is_the_one_of_most_value_by_the_formula_and_the_list_is_in_order_of_the_candidates(
    seed: int, strengths: tuple[float, float, float]
) -> None:
    crowd, top_k = Crowd.of(seed, listeners=3), 6
    diversity, of_types, of_genres = strengths
    lists, _, _ = crowd.lists(top_k, diversity=diversity, type_calibration=of_types, genre_calibration=of_genres)
    weight = (1 - diversity) * (1 - of_types) * (1 - of_genres)
    for user in range(3):
        pool = crowd.pools.row(user).tolist()
        scores = crowd.scores[crowd.pools.offsets[user] : crowd.pools.offsets[user + 1]]
        relevance = (scores - scores.min(initial=9)) / max(float(np.ptp(scores)) if pool else 1.0, 1e-9)
        row = crowd.rows.take(np.array([user]))
        own = mixes(crowd.traits, row.columns, row.confidences)
        listed: list[int] = []
        for _ in range(min(top_k, len(pool))):
            values = []
            for item, relevant in zip(pool, relevance, strict=True):
                alike = max((likeness(crowd.traits, item, other) for other in listed), default=0.0)
                then = mixes(crowd.traits, np.array([*listed, item]), np.ones(len(listed) + 1))
                far = [divergence(mine, theirs) for mine, theirs in zip(own, then, strict=True)]
                near = min(top_k, len(pool)) * (of_types * far[0] + of_genres * far[1])
                values.append(-np.inf if item in listed else weight * relevant - diversity * alike - near)
            listed.append(pool[int(np.argmax(np.array(values) >= max(values) - 1e-9))])
        assert lists.row(user).tolist() == sorted(listed, key=pool.index)


def test_calibration_brings_lists_closer_to_the_listeners_mixes() -> None:
    crowd = Crowd.of(5, listeners=300)
    plain, calibrated = (
        crowd.lists(5, genre_calibration=strength, type_calibration=strength)[0] for strength in (0.0, 0.5)
    )
    far = np.zeros((2, 2))
    for user in range(300):
        row = crowd.rows.take(np.array([user]))
        own = mixes(crowd.traits, row.columns, row.confidences)
        for version, lists in enumerate((plain, calibrated)):
            if len(lists.row(user)):
                then = mixes(crowd.traits, lists.row(user), np.ones(len(lists.row(user))))
                far[version] += [divergence(mine, theirs) for mine, theirs in zip(own, then, strict=True)]
    assert (far[1] < 0.8 * far[0]).all()


def test_new_items_take_the_end_of_the_list_from_the_last_old_ones() -> None:
    fresh = [False, True, False, False, False, True, False, True]
    made = reranker(items([[JAZZ]] * 8, fresh=fresh), fresh_slots=3)
    assert one_list(made, 8, top_k=5) == [0, 1, 2, 5, 7]
    assert one_list(reranker(made.traits, fresh_slots=1), 8, top_k=5) == [0, 1, 2, 3, 4]
    assert one_list(reranker(made.traits, fresh_slots=9), 8, top_k=2) == [1, 5]


def test_a_new_item_whose_creator_is_at_the_cap_gets_no_slot() -> None:
    of_items = items([[JAZZ]] * 5, creators=[0, 1, 2, 0, 3], fresh=[False, False, False, True, True])
    made = reranker(of_items, fresh_slots=1, max_per_creator=1)
    assert one_list(made, 5, top_k=3) == [0, 1, 4]


LISTENERS = 20_000


def drawn(**changes: object) -> tuple[np.ndarray, np.ndarray]:
    """Lists and propensities of many listeners whose candidates are the same five, of scores 4 to 0."""
    users = pa.array([f"listener-{user}" for user in range(LISTENERS)])
    pools = CsrRows(np.arange(LISTENERS + 1) * 5, np.tile(np.arange(5, dtype=np.int32), LISTENERS))
    made = reranker(items([[JAZZ]] * 5), **changes)
    lists, _, propensities = made.rerank(
        users, pools, np.tile(np.arange(4.0, -1, -1), LISTENERS), heard([{0: 1.0}] * LISTENERS), 3
    )
    return lists.positions.reshape(-1, 3), propensities.reshape(-1, 3)


@pytest.mark.parametrize("exploration", ["uniform", "softmax"])
def test_items_are_drawn_as_often_as_their_propensities_say(exploration: str) -> None:
    lists, propensities = drawn(exploration_places=[2, 3], exploration=exploration, exploration_temperature=0.5)
    assert (lists[:, 0] == 0).all()
    assert (propensities[:, 0] == 1).all()
    weights = np.exp(np.array([-0.25, -0.5, -0.75, -1]) / 0.5) if exploration == "softmax" else np.ones(4)
    expected = {
        (one + 1, two + 1): weights[one] * weights[two] / weights.sum() / (weights.sum() - weights[one])
        for one, two in itertools.permutations(range(4), 2)
    }
    pairs, counts = np.unique(lists[:, 1:], axis=0, return_counts=True)
    chances = [expected[int(one), int(two)] for one, two in pairs]
    assert len(pairs) == 12
    assert chisquare(counts, LISTENERS * np.array(chances)).pvalue > 0.01
    logged = [expected[int(one), int(two)] for one, two in lists[:, 1:]]
    assert np.allclose(propensities.prod(axis=1), logged)


def test_draws_differ_between_nights_and_seeds_and_are_the_same_again() -> None:
    lists = [
        drawn(exploration_places=[3], **changes)[0]
        for changes in ({}, {}, {"day": DAY + 1}, {"seed": NEUTRAL.seed + 1})
    ]
    assert (lists[0] == lists[1]).all()
    for other in lists[2:]:
        # Three items can be drawn, so by chance a third of the draws are the same.
        assert (lists[0] == other).all(axis=1).mean() == pytest.approx(1 / 3, abs=0.02)


def test_a_list_of_all_candidates_draws_what_is_left_with_certainty() -> None:
    made = reranker(items([[JAZZ]] * 3), exploration_places=[2])
    pool = CsrRows(np.array([0, 3]), np.arange(3, dtype=np.int32))
    lists, _, propensities = made.rerank(pa.array(["u"]), pool, np.array([3.0, 2, 1]), heard([{0: 1.0}]), 9)
    assert lists.positions.tolist() == [0, 2, 1]
    assert propensities.tolist() == [1, 1, 1]


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), changes=CHANGES, cuts=st.lists(st.integers(1, 11), max_size=4))
def test_a_list_depends_on_its_listener_alone(seed: int, changes: dict[str, object], cuts: list[int]) -> None:
    crowd, top_k = Crowd.of(seed), 7
    lists, scores, propensities = crowd.lists(top_k, **changes)
    order = np.random.default_rng(seed).permutation(12)
    for first, last in itertools.pairwise([0, *sorted(set(cuts)), 12]):
        some = order[first:last]
        part, of_part, chances = crowd.take(some).lists(top_k, **changes)
        for place, user in enumerate(some):
            in_part, in_whole = slice(*part.offsets[place : place + 2]), slice(*lists.offsets[user : user + 2])
            assert part.positions[in_part].tolist() == lists.positions[in_whole].tolist()
            assert of_part[in_part].tobytes() == scores[in_whole].tobytes()
            assert chances[in_part].tobytes() == propensities[in_whole].tobytes()


def test_traits_are_those_of_the_nights_catalogue_in_the_order_of_the_alphabet() -> None:
    plain = dict.fromkeys(contract("items").arrow_schema.names) | {"run_date": NIGHT}
    catalogue = [
        {"item_id": "c", "content_type": "track", "creator": "Zoe", "tags": ["rock", "jazz", "rock"]},
        {"item_id": "a", "content_type": "audiobook", "creator": "Ann", "tags": None, "available_from": NIGHT},
        {"item_id": "b", "content_type": "track", "creator": None, "tags": [], "available_from": date(2025, 2, 28)},
        {"item_id": "d", "content_type": "track", "creator": "Ann", "tags": ["jazz"]},
    ]
    rows = pa.Table.from_pylist([plain | row for row in catalogue], schema=contract("items").arrow_schema)
    first_nights = pa.array([NIGHT, None, date(2025, 3, 1), None, date(2025, 3, 1)], pa.date32())
    made = traits(pa.array(["a", "b", "c", "d", "unknown"]), rows, first_nights, NIGHT, fresh_nights=2)
    assert made.creators.tolist() == [0, NONE, 1, 0, NONE]
    assert made.types.tolist() == [1, 2, 2, 2, 0]
    assert made.tag_offsets.tolist() == [0, 1, 2, 4, 5, 6]
    assert made.tags.tolist() == [UNTAGGED, UNTAGGED, 1, 2, 1, UNTAGGED]
    assert made.fresh.tolist() == [True, False, True, False, True]
