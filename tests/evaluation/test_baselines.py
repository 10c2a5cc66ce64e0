"""Baselines: blocks of taste get what they lack, popularity is popularity, and rules hold for all."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from implicit.cpu.als import AlternatingLeastSquares
from pyspark.ml.recommendation import ALS
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from nocturne.evaluation.baselines import (
    Requests,
    count_left_out_by_ease,
    ease,
    implicit_als,
    item_knn,
    mllib_als,
    popular,
)

PERSONAL = {"item_knn": item_knn, "ease": partial(ease, regularization=1.0)}


def plays(rows):
    return csr_matrix(np.array(rows, dtype=np.float32))


@pytest.fixture(scope="module")
def blocks():
    """Six listeners of items 0-3 and six of items 4-7; in each block everyone lacks one item, in turn."""
    matrix = np.zeros((12, 8), dtype=np.float32)
    for listener in range(12):
        first = 0 if listener < 6 else 4
        matrix[listener, first : first + 4] = 2
        matrix[listener, first + listener % 4] = 0
    return csr_matrix(matrix)


@pytest.mark.parametrize("baseline", PERSONAL.values(), ids=PERSONAL)
def test_each_taste_block_is_recommended_its_own_missing_item(blocks, baseline):
    lists = baseline(blocks, Requests.for_everyone(blocks), 1)
    assert lists[:, 0].tolist() == [listener % 4 + (0 if listener < 6 else 4) for listener in range(12)]


@pytest.fixture(scope="module")
def some():
    """Plays of 12 listeners and 8 items; nobody has heard everything."""
    matrix = np.random.default_rng(3).poisson(0.7, (12, 8)).astype(np.float32)
    matrix[np.arange(12), np.arange(12) % 8] = 0
    return csr_matrix(matrix)


def test_implicit_als_gives_the_lists_of_implicit_itself(some):
    with threadpool_limits(limits=1, user_api="blas"):
        model = AlternatingLeastSquares(random_state=1)
        model.fit(some, show_progress=False)
    theirs, _ = model.recommend(np.arange(12), some, N=2)
    assert implicit_als(some, Requests.for_everyone(some), 2).tolist() == theirs.tolist()


def test_mllib_als_gives_the_lists_of_spark_without_what_was_heard(spark, some, tmp_path):
    lists = mllib_als(spark, some, Requests.for_everyone(some), 1)
    entries = some.tocoo()
    rows = [
        (int(user), int(item), float(plays)) for user, item, plays in zip(*entries.coords, entries.data, strict=True)
    ]
    spark.sparkContext.setCheckpointDir(str(tmp_path))
    model = ALS(implicitPrefs=True, seed=1, checkpointInterval=2).fit(
        spark.createDataFrame(rows, "user int, item int, rating float")
    )
    theirs = {row.user: [each.item for each in row.recommendations] for row in model.recommendForAllUsers(8).collect()}
    heard = some.toarray() > 0
    assert lists[:, 0].tolist() == [next(item for item in theirs[user] if not heard[user, item]) for user in range(12)]


def test_popularity_counts_listeners_and_not_plays_and_ties_go_by_number():
    history = plays([[9, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]])
    assert popular(history, Requests.for_everyone(history), 3).tolist() == [[1, -1, -1], [0, 1, -1], [2, 3, 0]]


def test_where_recent_listeners_are_equal_the_popularity_before_decides():
    recent, older = plays([[0, 0, 1], [0, 0, 0]]), plays([[0, 1, 1], [0, 1, 0]])
    nobody_has_heard = Requests.for_everyone(plays([[0, 0, 0], [0, 0, 0]]))
    assert popular(recent, nobody_has_heard, 3, older).tolist() == [[2, 1, 0], [2, 1, 0]]


def test_a_listener_gets_only_what_their_market_may():
    history = plays([[1, 1, 1], [0, 0, 0], [0, 0, 0]])
    masks = np.array([[True, True, True], [False, True, False]])
    requests = Requests(np.array([2, 1]), history[[2, 1]], masks, np.array([1, 0], dtype=np.int32))
    assert popular(history, requests, 2).tolist() == [[1, -1], [0, 1]]


def test_ease_ranks_items_beyond_its_limit_last_and_says_how_many_there_are():
    history = plays([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 1, 1]])
    requests = Requests(np.array([3]), plays([[0, 0, 1, 0]]), np.ones((1, 4), dtype=bool), np.zeros(1, dtype=np.int32))
    assert ease(history, requests, 3, items=3, regularization=1.0).tolist() == [[0, 1, 3]]
    assert (count_left_out_by_ease(history, items=3), count_left_out_by_ease(history, items=4)) == (1, 0)


def test_ease_gives_the_weights_of_its_closed_form():
    history = plays([[1, 1, 0], [0, 1, 1], [1, 1, 1], [1, 0, 0]])
    dense = history.toarray().astype(np.float64)
    inverse = np.linalg.inv(dense.T @ dense + 2 * np.eye(3))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    nothing_heard = Requests.for_everyone(csr_matrix(history.shape, dtype=np.float32))
    assert ease(history, nothing_heard, 3, regularization=2.0).tolist() == np.argsort(-(dense @ weights)).tolist()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.integers(0, 2), min_size=6, max_size=6), min_size=2, max_size=6), st.integers(1, 8))
def test_no_list_repeats_an_item_or_holds_a_heard_one_and_none_is_shorter_than_it_must_be(rows, top_k):
    history = plays(rows)
    requests = Requests.for_everyone(history)
    for lists in (popular(history, requests, top_k), item_knn(history, requests, top_k)):
        for heard, row in zip(rows, lists, strict=True):
            items = row[row >= 0].tolist()
            assert len(set(items)) == len(items) == min(top_k, heard.count(0))
            assert all(heard[item] == 0 for item in items)
