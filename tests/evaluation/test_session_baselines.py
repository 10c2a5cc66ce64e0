"""Baselines of sessions by hand: what was played together, and what followed what."""

import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import csr_matrix

from nocturne.core.csr import CsrRows
from nocturne.evaluation import session_baselines as baselines
from nocturne.evaluation.baselines import Requests
from nocturne.evaluation.sessions import Sessions

A, B, C, D, E = range(5)


def rows(*lists: list[int]) -> CsrRows:
    lengths = [len(each) for each in lists]
    return CsrRows(
        np.concatenate([[0], np.cumsum(lengths)]), np.array([item for each in lists for item in each], np.int32)
    )


SESSIONS = Sessions(
    pa.array(["u", "v"]), pa.nulls(2, pa.string()), np.array([0, 0, 1, 1]), rows([A, B], [A, C, C], [C, D], [C, E])
)
"""a with b in one of b's one sessions, with c in one of c's three."""


def lists(answer, *contexts: list[int], top_k: int = 3, barred: list[int] | None = None):
    context = rows(*contexts)
    heard = np.zeros((len(contexts), 5))
    heard[:, barred or []] = 1
    for number, items in enumerate(contexts):
        heard[number, items] = 1
    requests = Requests(
        np.arange(len(contexts)), csr_matrix(heard), np.ones((1, 5), bool), np.zeros(len(contexts), np.int32)
    )
    return answer(SESSIONS, baselines.plays_of(SESSIONS, 5), context, requests, top_k).tolist()


def test_plays_are_counted_by_listener_and_item():
    assert baselines.plays_of(SESSIONS, 5).toarray().tolist() == [[2, 1, 2, 0, 0], [0, 0, 2, 1, 1]]


def test_what_shares_the_larger_part_of_its_sessions_with_what_plays_comes_first():
    # with a, once each: b of 1 session, c of 3; d and e, with a never, by popularity, then number
    assert lists(baselines.co_occurrence, [A], top_k=4) == [[B, C, D, E]]
    # with c, once each: d and e of 1 session, a of 2
    assert lists(baselines.co_occurrence, [C]) == [[D, E, A]]
    assert lists(baselines.co_occurrence, [C], barred=[D]) == [[E, A, B]]


def test_the_last_items_count_by_their_weights():
    # b with a, 1 / sqrt(2); d and e with c, .6 / sqrt(3)
    assert lists(baselines.co_occurrence, [C, A]) == [[B, D, E]]
    both = lambda *args: baselines.co_occurrence(*args, weights=(0.1, 1.0))  # noqa: E731
    assert lists(both, [C, A], top_k=1) == [[D]]


def test_rules_keep_to_sessions_and_to_their_direction():
    # after a of two plays: b 1, c 1 + 1/2, which is 3/4 a play; nothing ever followed b
    assert lists(baselines.session_rules, [A]) == [[C, B, D]]
    assert lists(baselines.session_rules, [B], top_k=2) == [[C, A]]


def test_what_else_the_creator_has_comes_most_heard_first():
    def of_creators(codes: list[int]):
        return lambda _sessions, *rest: baselines.same_creator(np.array(codes, np.int32), *rest)

    # of two listeners, both heard c, one each all others
    assert lists(of_creators([0, 1, 0, 0, 1]), [B, A]) == [[C, D, E]]
    assert lists(of_creators([0, 1, 0, 0, 1]), [A, B]) == [[E, C, D]]
    assert lists(of_creators([-1, -1, 0, 0, 1]), [A]) == [[C, B, D]]


def test_the_last_items_have_weights_the_last_one_first():
    last = baselines.last_items(rows([A, B, A], [C]), np.array([1.0, 0.5, 0.25]), 5)
    assert last.toarray().tolist() == [[1.25, 0.5, 0, 0, 0], [0, 0, 1, 0, 0]]
    assert last.dtype == np.float32
    assert pytest.approx(last.sum()) == 2.75
