"""Related items: the exact head of the whole catalogue, by cosine and by what is heard after what."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.core.csr import CsrRows
from nocturne.kernel.layout import lay_out_items
from nocturne.kernel.top_k import exact_scores
from nocturne.ranking import related
from nocturne.ranking.related import SOURCES, RelatedRows, Relations

NOTHING = np.zeros((4, 0), np.int32), np.zeros((4, 0), np.float32)
EVERYTHING = np.ones(4, bool)
KINDS = ("normal", "near copies", "equal", "small integers", "skewed norms", "some zeros", "zeros")


def relations(factors: np.ndarray, before: np.ndarray, weights: np.ndarray, weight: float = 1.0) -> Relations:
    return Relations(
        factors=factors.astype(np.float32),
        tie_order=np.arange(len(factors)),
        predecessors=before.astype(np.int32),
        predecessor_weights=weights.astype(np.float32),
        weight=weight,
        memory_mb=64,
        threads=1,
    )


def read(rows: RelatedRows) -> list[list[tuple[int, float, str]]]:
    """Rows as a test writes them: position, score and source, best first."""
    entries = zip(rows.items.positions.tolist(), rows.scores.round(6).tolist(), rows.sources.tolist(), strict=True)
    named = [(position, score, SOURCES[source]) for position, score, source in entries]
    return [named[start:end] for start, end in zip(rows.items.offsets[:-1], rows.items.offsets[1:], strict=True)]


ANGLES = relations(np.array([[2.0, 0.0], [3.0, 4.0], [0.0, 5.0], [-1.0, 0.0]]), *NOTHING)
"""Cosines of 0 with the others: .6, 0 and -1; of 2 with them: 0, .8 and 0."""


def test_items_are_related_by_the_angle_of_their_factors_whatever_their_length_and_never_to_themselves() -> None:
    assert read(ANGLES.best(np.array([0, 2]), EVERYTHING, 9)) == [
        [(1, 0.6, "factors"), (2, 0.0, "factors"), (3, -1.0, "factors")],
        [(1, 0.8, "factors"), (0, 0.0, "factors"), (3, 0.0, "factors")],
    ]


def test_the_first_k_are_listed_of_what_may_be() -> None:
    listable = np.array([True, False, True, True])
    assert read(ANGLES.best(np.array([1, 0]), listable, 1)) == [[(2, 0.8, "factors")], [(2, 0.0, "factors")]]


def test_what_is_heard_after_an_item_counts_as_a_share_of_what_is_so_most() -> None:
    before = np.array([[-1, -1], [0, -1], [0, 3], [0, -1]])
    weights = np.array([[0, 0], [0.5, 0], [0.25, 1.0], [0.125, 0]])
    # After 0 come 1, 2 and 3: by 1, 1/2 and 1/4 of the most, whatever comes after 3.
    assert read(relations(ANGLES.factors, before, weights, weight=2.0).best(np.array([0]), EVERYTHING, 9)) == [
        [(1, 2.6, "both"), (2, 1.0, "neighbours"), (3, -0.5, "neighbours")]
    ]


def test_an_item_far_away_is_related_by_evidence_alone() -> None:
    before, weights = np.array([[-1], [-1], [-1], [0]]), np.array([[0], [0], [0], [0.1]])
    far = relations(ANGLES.factors, before, weights, weight=3.0)
    assert read(far.best(np.array([0]), EVERYTHING, 2)) == [[(3, 2.0, "neighbours"), (1, 0.6, "factors")]]


def test_an_item_without_factors_is_related_to_nothing() -> None:
    factors, evidence = ANGLES.factors.copy(), (np.array([[-1], [2], [1], [-1]]), np.ones((4, 1)))
    factors[2] = 0
    found = read(relations(factors, *evidence).best(np.array([2, 1]), EVERYTHING, 9))
    assert found == [[], [(0, 0.6, "factors"), (3, -0.6, "factors")]]


def test_where_nothing_may_be_listed_every_row_is_empty() -> None:
    assert read(ANGLES.best(np.array([0, 2]), ~EVERYTHING, 9)) == [[], []]
    assert read(ANGLES.best(np.zeros(0, np.int64), EVERYTHING, 9)) == []


@dataclass(frozen=True)
class World:
    relations: Relations
    listable: np.ndarray
    k: int


def make(seed: int, items: int, width: int, kind: str, evidence: int, forbidden: float, weight: float, k: int) -> World:
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(items, width))
    if kind == "near copies":
        factors = factors[rng.integers(0, max(1, items // 8), items)] * (1 + rng.integers(-1, 2, (items, 1)) * 1e-7)
    elif kind == "equal":
        factors[:] = factors[0]
    elif kind == "small integers":
        factors = factors.round()
    elif kind == "skewed norms":
        factors *= 10 ** rng.uniform(-6, 6, (items, 1))
    elif kind == "some zeros":
        factors[rng.random(items) < 0.5] = 0
    elif kind == "zeros":
        factors[:] = 0
    before = np.full((items, evidence), -1)
    for item in range(items):
        others = np.setdiff1d(rng.permutation(items)[: rng.integers(0, evidence + 1)], [item])
        before[item, : len(others)] = np.sort(others)
    weights = np.where(before >= 0, rng.choice([0.0, 0.25, 0.5, 1.0], before.shape), 0)
    found = relations(factors, before, weights, weight)
    return World(replace(found, tie_order=rng.permutation(items)), rng.random(items) >= forbidden, k)


WORLDS = st.builds(
    make,
    seed=st.integers(0, 2**32 - 1),
    items=st.one_of(st.integers(1, 60), st.sampled_from([512, 513, 1100])),
    width=st.integers(1, 24),
    kind=st.sampled_from(KINDS),
    evidence=st.integers(0, 12),
    forbidden=st.sampled_from([0.0, 0.5, 0.99, 1.0]),
    weight=st.sampled_from([0.0, 0.5, 1.0, 3.0]),
    k=st.one_of(st.integers(1, 12), st.just(700)),
)


def cosines_of(world: World) -> np.ndarray:
    """Every item's cosine with every other, in float64, in the order of operations that the kernel keeps to."""
    norms, items = world.relations.norms, len(world.listable)
    one = np.where(norms > 0, norms, 1)
    laid_out = lay_out_items(world.relations.factors, 1 / one, world.relations.tie_order)
    everyone = CsrRows(np.arange(items + 1) * items, np.tile(np.arange(items, dtype=np.int32), items))
    return exact_scores(world.relations.factors / one[:, None], laid_out, everyone).reshape(items, items)


def evidence_of(world: World) -> np.ndarray:
    items = len(world.listable)
    evidence = np.zeros((items, items))
    for after in range(items):
        for before, weight in zip(
            world.relations.predecessors[after], world.relations.predecessor_weights[after], strict=True
        ):
            if before >= 0:
                evidence[before, after] = weight
    return evidence / np.maximum(evidence.max(axis=1, keepdims=True), np.finfo(float).tiny)


@given(WORLDS)
def test_a_row_is_the_head_of_everything_scored_in_float64_to_the_last_bit(world: World) -> None:
    some = np.random.default_rng(len(world.listable)).permutation(len(world.listable))[:20]

    found = world.relations.best(some, world.listable, world.k)

    usable = world.relations.norms > 0
    scores = cosines_of(world) + world.relations.weight * evidence_of(world)
    for row, item in enumerate(some.tolist()):
        may = world.listable & usable & usable[item]
        may[item] = False
        order = np.lexsort((world.relations.tie_order, -scores[item]))
        expected = order[may[order]][: world.k]
        part = slice(found.items.offsets[row], found.items.offsets[row + 1])
        assert found.items.row(row).tolist() == expected.tolist()
        assert found.scores[part].tobytes() == scores[item, expected].tobytes()


@given(WORLDS)
def test_a_source_says_whether_there_is_evidence_and_whether_the_cosine_is_above_0(world: World) -> None:
    some = np.arange(len(world.listable))[:20]
    found = world.relations.best(some, world.listable, world.k)
    row = np.repeat(some, found.items.lengths)
    evidence, cosines = (each[row, found.items.positions] for each in (evidence_of(world), cosines_of(world)))
    expected = np.where(evidence == 0, "factors", np.where(cosines > 0, "both", "neighbours"))
    assert [SOURCES[source] for source in found.sources] == expected.tolist()


@pytest.mark.parametrize("threads", [1, 3])
def test_rows_depend_neither_on_the_parts_that_memory_allows_nor_on_threads(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make(1, 300, 8, "near copies", 6, 0.2, 1.0, 12)
    whole = world.relations.best(np.arange(300), world.listable, 12)
    monkeypatch.setattr(related, "_BYTES_PER_ENTRY", 2**18)
    cut = replace(world.relations, threads=threads).best(np.arange(300), world.listable, 12)
    assert cut.items.positions.tobytes() == whole.items.positions.tobytes()
    assert cut.items.offsets.tolist() == whole.items.offsets.tolist()
    assert cut.scores.tobytes() == whole.scores.tobytes()
