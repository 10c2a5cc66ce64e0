"""The top K is exact, and the same to the last bit however it is computed."""

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nocturne.core.csr import CsrRows
from nocturne.kernel.layout import BLOCK, Eligible, lay_out_items
from nocturne.kernel.query import Query
from nocturne.kernel.top_k import Top, exact_scores, sort_all, top_k
from nocturne.ranking import mapped_file
from tests.fixtures.random_catalogues import LENGTHS, RandomQuery, make, random_queries, rows_of


def parts(top: Top) -> list[tuple[list[int], bytes]]:
    """Each listener's list, and the bits of its scores."""
    cuts = top.lists.offsets[1:-1]
    listeners = zip(np.split(top.lists.positions, cuts), np.split(top.scores, cuts), strict=True)
    return [(positions.tolist(), scores.tobytes()) for positions, scores in listeners][: len(top.bounds)]


def assert_exact(case: RandomQuery, k: int, top: Top) -> None:
    """Lists and scores are those of a full sort; the bound covers what is left out, and lies under what is listed."""
    for listener, (positions, scores) in enumerate(parts(top)):
        allowed = np.flatnonzero(case.allowed(listener)).astype(np.int32)
        expected, exact, unlisted = sort_all(case.users[listener], case.items, allowed, k)
        assert positions == expected.tolist()
        assert scores == exact.tobytes()
        assert unlisted <= top.bounds[listener] <= min(exact, default=np.inf)
        assert len(positions) == min(k, case.allowed(listener).sum())


@settings(max_examples=200, deadline=None)
@given(case=random_queries(), k=LENGTHS, blocks_per_panel=st.integers(1, 12))
def test_lists_scores_and_bounds_are_those_of_a_full_sort_in_float64(
    case: RandomQuery, k: int, blocks_per_panel: int
) -> None:
    assert_exact(case, k, case.top(k, blocks_per_panel=blocks_per_panel))


@settings(max_examples=50, deadline=None)
@given(case=random_queries(), k=LENGTHS)
def test_no_item_that_numpy_scores_higher_is_missing(case: RandomQuery, k: int) -> None:
    top = case.top(k)
    for listener, user in enumerate(case.users):
        scores = (case.items.factors.astype(np.float64) @ user) * case.items.multipliers
        rounding = 1e-12 * np.linalg.norm(user) * case.items.scale[0]
        listed = top.lists.positions[top.lists.offsets[listener] : top.lists.offsets[listener + 1]]
        best = np.sort(scores[case.allowed(listener)])[::-1][:k]
        assert len(set(listed)) == len(best)
        np.testing.assert_allclose(scores[listed], best, rtol=0, atol=rounding)


@settings(max_examples=100, deadline=None)
@given(
    case=random_queries(),
    k=LENGTHS,
    cut=st.integers(0, 6),
    panels=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    seed=st.integers(0, 2**32 - 1),
)
def test_lists_do_not_depend_on_batch_order_lower_bounds_or_panel_to_the_last_bit(
    case: RandomQuery, k: int, cut: int, panels: tuple[int, int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    together = case.top(k)
    order = rng.permutation(len(case.users))
    lists = parts(together)
    kth = np.array([np.frombuffer(scores)[-1] if len(listed) == k else -np.inf for listed, scores in lists])
    bounded = (rng.random(len(kth)) < 0.7) & (kth > -np.inf)
    lower_bounds = np.where(bounded, kth, -np.inf)
    lower_bounds[bounded] -= np.abs(kth[bounded]) * rng.choice([0, 1e-7, 0.1], bounded.sum())
    batches = [
        parts(case.take(of_batch).top(k, lower_bounds=lower_bounds[of_batch], blocks_per_panel=blocks_per_panel))
        for of_batch, blocks_per_panel in zip((order[:cut], order[cut:]), panels, strict=True)
    ]
    assert batches[0] + batches[1] == [lists[listener] for listener in order]


@settings(max_examples=30, deadline=None)
@given(case=random_queries(), k=LENGTHS, excess=st.sampled_from([1e-6, 0.1, 10]))
def test_a_lower_bound_that_is_not_reached_costs_time_and_no_item(case: RandomQuery, k: int, excess: float) -> None:
    best = np.array([max(np.frombuffer(scores), default=0.0) for _, scores in parts(case.top(1))])
    assert_exact(case, k, case.top(k, lower_bounds=best + np.abs(best) * excess))


def test_more_listeners_than_a_tile_holds_are_each_ranked() -> None:
    case = make(3, listeners=2100, items=1500, width=8, kind="near copies")
    assert_exact(case, 30, case.top(30))


def test_skewed_norms_are_pruned_and_nothing_is_lost() -> None:
    case = make(5, listeners=40, items=20_000, width=16, kind="skewed norms")
    assert_exact(case, 50, case.top(50, blocks_per_panel=2))


def test_thousands_of_equal_items_are_listed_in_tie_order() -> None:
    items = lay_out_items(np.ones((3000, 4), np.float32), np.ones(3000), np.arange(3000)[::-1])
    eligible = Eligible.of(np.ones((1, 3000), bool), items)
    top = top_k(Query(np.ones((2, 4)), items, 5, rows_of([[2998, 2998], []]), np.zeros(2, np.int32), eligible))
    assert top.lists.positions.tolist() == [2999, 2997, 2996, 2995, 2994, 2999, 2998, 2997, 2996, 2995]
    assert top.scores.tolist() == [4.0] * 10
    assert top.bounds.tolist() == [4.0] * 2


def test_listeners_who_may_get_nothing_get_nothing() -> None:
    items = lay_out_items(np.ones((2, 1), np.float32), np.ones(2), np.arange(2))
    eligible = Eligible.of(np.array([[True, True], [False, False]]), items)
    already_heard, classes = rows_of([[0, 1], [0, 0], []]), np.array([0, 0, 1], np.int32)
    top = top_k(Query(np.ones((3, 1)), items, 2, already_heard, classes, eligible))
    assert top.lists.offsets.tolist() == [0, 0, 1, 1]
    assert top.lists.positions.tolist() == [1]
    assert top.bounds.tolist() == [-np.inf] * 3


def test_a_catalogue_mapped_from_disk_and_read_only_rows_give_the_same_bits(tmp_path: Path) -> None:
    case = make(7, listeners=20, items=1300, width=24, kind="near copies", forbidden=0.5)
    mapped_file.save(case.items, tmp_path / "items")
    items = mapped_file.load(tmp_path / "items")
    arrays = [
        case.users,
        case.classes,
        case.already_heard.offsets,
        case.already_heard.positions,
        case.eligible.masks,
    ]
    users, classes, offsets, positions, masks = (each.copy() for each in arrays)
    for each in (users, classes, offsets, positions, masks):
        each.flags.writeable = False
    already_heard, eligible = CsrRows(offsets, positions), Eligible.of(masks, items)
    assert not items.scaled.flags.owndata
    assert parts(top_k(Query(users, items, 9, already_heard, classes, eligible))) == parts(case.top(9))
    read_only = lay_out_items(items.factors.copy(), items.multipliers, items.tie_order)
    read_only.factors.flags.writeable = False
    read_only.scaled.flags.writeable = False
    assert parts(top_k(Query(users, read_only, 9, already_heard, classes, eligible))) == parts(case.top(9))


def test_scores_do_not_depend_on_the_layout_of_the_arrays() -> None:
    case = make(8, listeners=5, items=60, width=37)
    fortran = lay_out_items(np.asfortranarray(case.items.factors), case.items.multipliers, case.items.tie_order)
    rows = rows_of([[3, 1], [], [59], [0, 0], [7]])
    expected = exact_scores(case.users, case.items, rows)
    assert exact_scores(np.asfortranarray(case.users), fortran, rows).tobytes() == expected.tobytes()


def test_rows_are_taken_in_any_order() -> None:
    taken = rows_of([[4], [], [2, 2, 9]]).take(np.array([2, 1, 0, 2]))
    assert taken.offsets.tolist() == [0, 3, 3, 4, 7]
    assert taken.positions.tolist() == [2, 2, 9, 4, 2, 2, 9]
    assert CsrRows.empty(2).take(np.array([1])).offsets.tolist() == [0, 0]


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    width=st.one_of(st.integers(1, 300), st.sampled_from([512, 1024])),
    rows=st.sampled_from([1, 2, 5, 16, 63, 200]),
    kind=st.sampled_from(["normal", "alike", "cancelling", "long-tailed"]),
)
def test_no_float32_product_is_further_from_the_exact_one_than_the_margin_allows(
    seed: int, width: int, rows: int, kind: str
) -> None:
    rng = np.random.default_rng(seed)
    users, factors = rng.normal(size=(rows, width)), rng.normal(size=(700, width))
    if kind == "alike":
        users, factors = np.abs(users) + 3, np.abs(factors) + 3
    elif kind == "cancelling":
        users, factors = users + 9 * (-1.0) ** np.arange(width), np.abs(factors) + 9
    elif kind == "long-tailed":
        users, factors = users * 10 ** rng.uniform(-25, 0, users.shape), factors * 10 ** rng.uniform(-12, 0, (700, 1))
    items = lay_out_items(factors.astype(np.float32), rng.choice([1 / 3, 1.0, 7.0], 700), np.arange(700))
    units = users / np.linalg.norm(users, axis=1)[:, None]
    product = np.hstack([units.astype(np.float32) @ block for block in items.scaled]).astype(np.float64)
    exact = units @ (items.factors[items.order] * items.multipliers[items.order, None]).T / items.scale[0]
    assert np.abs(product[:, :700] - exact).max() <= items.rounding
    assert not product[:, 700:].any()
    assert product.shape[1] == 2 * BLOCK


def test_the_norms_of_items_fall_and_are_never_under_the_true_ones() -> None:
    items = make(9, listeners=0, items=1300, width=12, kind="skewed norms").items
    true = np.linalg.norm(items.factors.astype(np.float64), axis=1) * items.multipliers / items.scale[0]
    assert (items.norms >= true[items.order]).all()
    assert (np.diff(items.norms) <= 0).all()
    assert 0.5 < items.norms[0] <= 1
