"""Metrics of lists: by hand, and as TREC computes them."""

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from nocturne.evaluation.metrics import accuracy, churn, coverage, diversity, gini, mean_popularity, novelty


def sets(rows, items=10):
    matrix = np.zeros((len(rows), items))
    for place, row in enumerate(rows):
        matrix[place, list(row)] = 1
    return csr_matrix(matrix)


def test_two_hits_of_three_relevant_in_a_list_of_two_misses_and_two_hits():
    metrics = accuracy(np.array([[9, 0, 8, 1]]), sets([{0, 1, 2}]))
    ideal = 1 + 1 / np.log2(3) + 1 / 2
    assert {name: values.tolist() for name, values in metrics.items()} == {
        "recall@4": [2 / 3],
        "capped_recall@4": [2 / 3],
        "ndcg@4": [pytest.approx((1 / np.log2(3) + 1 / np.log2(5)) / ideal)],
        "map@4": [pytest.approx((1 / 2 + 2 / 4) / 3)],
        "mrr@4": [1 / 2],
        "hit_rate@4": [1.0],
    }


def test_a_full_list_of_hits_is_perfect_by_capped_recall_and_not_by_recall():
    metrics = accuracy(np.array([[0, 1]]), sets([{0, 1, 2, 3}]))
    assert (metrics["recall@2"].item(), metrics["capped_recall@2"].item(), metrics["ndcg@2"].item()) == (0.5, 1.0, 1.0)


def test_the_empty_places_of_a_short_list_hit_nothing():
    metrics = accuracy(np.array([[-1, -1], [5, -1]]), sets([{9}, {5}]))
    assert metrics["recall@2"].tolist() == [0.0, 1.0]
    assert metrics["mrr@2"].tolist() == [0.0, 1.0]


CASES = st.integers(1, 6).flatmap(
    lambda k: st.lists(
        st.tuples(
            st.lists(st.integers(0, 9), unique=True, max_size=k).map(lambda row: row + [-1] * (k - len(row))),
            st.sets(st.integers(0, 9), min_size=1),
        ),
        min_size=1,
        max_size=5,
    )
)


@settings(deadline=None, max_examples=50)
@given(CASES)
def test_accuracy_is_what_trec_eval_computes(cases):
    lists, relevant = np.array([row for row, _ in cases]), [wanted for _, wanted in cases]
    k = lists.shape[1]
    theirs = {"recall": f"recall_{k}", "ndcg": f"ndcg_cut_{k}", "map": f"map_cut_{k}", "mrr": "recip_rank"} | {
        "hit_rate": f"success_{k}"
    }
    judged = {str(user): {str(item): 1 for item in wanted} for user, wanted in enumerate(relevant)}
    run = {
        str(user): {str(item): float(k - place) for place, item in enumerate(row) if item >= 0}
        for user, row in enumerate(lists)
    }
    asked = {f"recall.{k}", f"ndcg_cut.{k}", f"map_cut.{k}", "recip_rank", f"success.{k}"}
    evaluated = pytrec_eval.RelevanceEvaluator(judged, asked).evaluate(run)
    ours = accuracy(lists, sets(relevant))
    for name, their_name in theirs.items():
        for user, row in enumerate(lists):
            expected = evaluated[str(user)][their_name] if (row >= 0).any() else 0.0
            assert ours[f"{name}@{k}"][user] == pytest.approx(expected), name


def test_coverage_counts_an_item_once_however_often_it_is_listed():
    assert coverage(np.array([[0, 1], [1, -1]]), listable=4) == 0.5


def test_gini_is_0_when_every_item_has_as_many_places_and_three_quarters_when_one_of_four_has_all():
    assert gini(np.array([[0, 1], [2, 3]]), listable=4) == 0.0
    assert gini(np.array([[2, 2]]), listable=4) == 0.75


def test_an_item_that_a_quarter_of_listeners_have_heard_holds_two_bits():
    heard_by = np.array([2.0, 8.0, 0.0])
    assert novelty(np.array([[0, -1], [0, 1]]), heard_by, listeners=8).tolist() == [2.0, 1.0]
    assert novelty(np.array([[2, -1]]), heard_by, listeners=8).tolist() == [3.0]
    assert mean_popularity(np.array([[0, 1]]), heard_by).tolist() == [5.0]


def test_diversity_is_one_minus_the_mean_overlap_of_labels():
    labels = sets([{0, 1}, {1, 2}, {5}, set()])
    # Pairs of the first list: 1 of 3 labels shared, none, none.
    assert diversity(np.array([[0, 1, 2], [0, 0, -1], [3, -1, -1]]), labels).tolist() == pytest.approx(
        [1 - 1 / 9, 0.0, np.nan], nan_ok=True
    )
    assert diversity(np.array([[3, 3]]), labels).tolist() == [1.0]


def test_churn_is_the_share_of_a_list_that_is_new_wherever_it_stands():
    assert churn(np.array([[0, 1, 2, 3], [4, -1, -1, -1]]), np.array([[3, 2], [4, -1]])).tolist() == [0.5, 0.0]
