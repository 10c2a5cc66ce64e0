"""Baselines of what comes next in a session: each gives every question a list, under the same rules as ours.

Ties, and items of which a recommender knows nothing, go by popularity, then by number.
"""

import numpy as np
from scipy.sparse import csr_matrix

from nocturne.core.arrays import Codes, Factors, Floats, Positions
from nocturne.core.csr import CsrRows
from nocturne.core.list_arrays import Lists
from nocturne.evaluation.baselines import RULE_ITEMS, Requests, best_lists, rules_of
from nocturne.evaluation.sessions import Sessions

LAST_WEIGHTS = (1.0, 0.6, 0.36, 0.216)
"""Weights of the last items in co-occurrence, the one that plays first."""

POPULARITY_EXPONENT = 0.3
"""Sessions of an item ^ this is what co-occurrence with it is divided by. Both were the best of those tried on the
sessions that the weights of ours were tuned on: of one to eight items, and of 0 to .7."""


def plays_of(sessions: Sessions, items: int) -> csr_matrix:
    """Listens by listener and item, float32; shape (listeners, items)."""
    listener = np.repeat(sessions.listener, sessions.items.lengths)
    ones = np.ones(len(listener), np.float32)
    plays = csr_matrix((ones, (listener, sessions.items.positions)), (len(sessions.user_ids), items))
    plays.sum_duplicates()
    return plays


def co_occurrence(
    sessions: Sessions,
    plays: csr_matrix,
    context: CsrRows,
    requests: Requests,
    top_k: int,
    weights: tuple[float, ...] = LAST_WEIGHTS,
) -> Lists:
    """Items by the sessions that they were played in together with the last items.

    Those of two items are divided by the root of the sessions of the one that was played, and by those of the other ^
    POPULARITY_EXPONENT.

    Args:
        plays: of the listeners, by whom equal scores are put in order.
        context: items of each question, the one that plays last.
        weights: of the last items of a context, the last one first.
    """
    items = plays.shape[1]
    session = np.repeat(np.arange(len(sessions.listener)), sessions.items.lengths)
    ones = np.ones(len(session), np.float32)
    held = csr_matrix((ones, (session, sessions.items.positions)), (len(sessions.listener), items))
    held.sum_duplicates()
    counts = np.maximum(np.bincount(held.indices, minlength=items), 1).astype(np.float32)
    held.data[:] = 1
    together = (held.T @ held).tocsr()
    together.data *= (
        np.repeat(counts**-0.5, np.diff(together.indptr)) * counts[together.indices] ** -POPULARITY_EXPONENT
    )
    asked = last_items(context, np.array(weights), items)
    return best_lists(lambda some: (asked[some] @ together).toarray(), plays, requests, top_k)


def session_rules(sessions: Sessions, plays: csr_matrix, context: CsrRows, requests: Requests, top_k: int) -> Lists:
    """Sequential rules within sessions: what followed the last five items, as in `baselines.sequential_rules`."""
    rules = rules_of(sessions.items.offsets, sessions.items.positions.astype(np.int64), plays.shape[1])
    asked = last_items(context, 1 / np.arange(1, RULE_ITEMS + 1), plays.shape[1])
    return best_lists(lambda some: (asked[some] @ rules).toarray(), plays, requests, top_k)


def same_creator(creators: Codes, plays: csr_matrix, context: CsrRows, requests: Requests, top_k: int) -> Lists:
    """Other items of the creator of the one that plays, most heard first.

    Args:
        creators: of each item; below 0 where there is none.
    """
    playing = context.positions[context.offsets[1:] - 1]

    def score(some: Positions) -> Factors:
        of_playing = creators[playing[some], None]
        same: Factors = ((creators == of_playing) & (of_playing >= 0)).astype(np.float32)
        return same

    return best_lists(score, plays, requests, top_k)


def last_items(context: CsrRows, weights: Floats, items: int) -> csr_matrix:
    """The last items of each context with their weights, the last one first; shape (questions, items)."""
    age = np.repeat(context.offsets[1:], context.lengths) - 1 - np.arange(len(context.positions))
    question = np.repeat(np.arange(len(context.lengths)), context.lengths)
    last = age < len(weights)
    values = weights[age[last]].astype(np.float32)
    return csr_matrix((values, (question[last], context.positions[last])), (len(context.lengths), items))
