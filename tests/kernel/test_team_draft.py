"""Team drafts: fair, whole, in the order of both lists, and a listener's own affair."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.core.csr import CsrRows
from nocturne.kernel.team_draft import FIRST, NEITHER, SECOND, coin_words, team_draft

HEADS, TAILS = 0, 2**64 - 1
"""Coins by which the first team always begins, and the second."""


def csr(rows):
    return CsrRows(np.cumsum([0, *map(len, rows)]), np.array([item for row in rows for item in row], np.int32))


def drafted(first, second, coins, top_k=10):
    """List and teams of one listener."""
    draft = team_draft(csr([first]), csr([second]), np.array([[coins]], np.uint64), top_k)
    return draft.lists.positions.tolist(), draft.teams.tolist()


def test_teams_pick_in_turn_and_an_item_that_both_want_goes_to_whoever_picks_it():
    # first takes 7; second wants 7, takes 8; first wants 8, takes 9; second wants 9, takes 5
    assert drafted([7, 8, 9, 1], [7, 8, 9, 5], HEADS) == ([7, 8, 9, 5, 1], [FIRST, SECOND, FIRST, SECOND, FIRST])


def test_the_coin_decides_who_begins():
    assert drafted([1, 2], [3, 4], TAILS, 4) == ([3, 1, 4, 2], [SECOND, FIRST, SECOND, FIRST])
    # the second team begins the second turn alone
    assert drafted([1, 2], [3, 4], 0b10, 4) == ([1, 3, 4, 2], [FIRST, SECOND, SECOND, FIRST])


def test_the_rest_of_the_longer_list_is_of_neither_team():
    assert drafted([1], [2, 3, 4], HEADS) == ([1, 2, 3, 4], [FIRST, SECOND, NEITHER, NEITHER])
    assert drafted([1], [2, 3, 4], 0b10) == ([1, 2, 3, 4], [FIRST, SECOND, SECOND, NEITHER])
    assert drafted([], [2, 3], HEADS) == ([2, 3], [NEITHER, NEITHER])
    assert drafted([], [], HEADS) == ([], [])


def test_a_list_ends_with_its_last_place():
    assert drafted([1, 2, 3], [4, 5, 6], HEADS, 3) == ([1, 4, 2], [FIRST, SECOND, FIRST])
    assert drafted([1, 2, 3], [4, 5, 6], HEADS, 0) == ([], [])


def test_entries_lead_back_to_the_lists():
    first, second = csr([[5, 6], [1]]), csr([[6, 7], [2]])
    draft = team_draft(first, second, np.full((2, 1), HEADS, np.uint64), 10)
    # 5 of the first list, 6 of the second, then 7 of the second: behind the three entries of the first lists
    assert draft.lists.positions.tolist() == [5, 6, 7, 1, 2]
    assert draft.entries.tolist() == [0, 3, 4, 2, 5]


@pytest.mark.parametrize(("top_k", "words"), [(0, 0), (1, 1), (128, 1), (129, 2)])
def test_a_word_has_the_coins_of_128_items(top_k, words):
    assert coin_words(top_k) == words


def test_every_coin_of_every_word_counts():
    first, second = csr([range(200)]), csr([range(200, 400)])
    coins = np.array([[0b1011, 1 << 2]], np.uint64)
    teams = team_draft(first, second, coins, 200).teams
    assert np.flatnonzero(teams[::2] == SECOND).tolist() == [0, 1, 3, 66]


@st.composite
def listeners(draw):
    """Two lists and coins of some listeners, and the length of a full list."""
    rows = st.lists(st.integers(0, 11), unique=True, max_size=9)
    pairs = draw(st.lists(st.tuples(rows, rows, st.integers(0, 2**64 - 1)), min_size=1, max_size=5))
    return [*zip(*pairs, strict=True), draw(st.integers(1, 20))]


@given(listeners())
def test_a_draft_is_fair_whole_and_in_order(world):
    firsts, seconds, coins, top_k = world
    words = np.array(coins, np.uint64)[:, None]
    draft = team_draft(csr(firsts), csr(seconds), words, top_k)
    for listener, (first, second) in enumerate(zip(firsts, seconds, strict=True)):
        row = slice(*draft.lists.offsets[listener : listener + 2])
        items, teams = draft.lists.positions[row].tolist(), draft.teams[row].tolist()
        assert len(set(items)) == len(items) == min(top_k, len({*first, *second}))
        for team, own in ((FIRST, first), (SECOND, second)):
            for place in (place for place, each in enumerate(teams) if each == team):
                assert items[place] == next(item for item in own if item not in items[:place])
        if NEITHER in teams:
            assert any(set(own) <= set(items[: teams.index(NEITHER)]) for own in (first, second))
        if first == second:
            assert items == first[:top_k]
        for length in range(len(teams) + 1):
            head = teams[:length]
            assert abs(head.count(FIRST) - head.count(SECOND)) <= 1
        assert teams == sorted(teams, key=lambda team: team == NEITHER)
        alone = team_draft(csr([first]), csr([second]), words[listener : listener + 1], top_k)
        assert (alone.lists.positions.tolist(), alone.teams.tolist()) == (items, teams)
    both = np.concatenate([csr(firsts).positions, csr(seconds).positions])
    assert both[draft.entries].tolist() == draft.lists.positions.tolist()


@given(listeners())
def test_lists_and_coins_the_other_way_round_give_the_same_list_with_the_teams_the_other_way_round(world):
    firsts, seconds, coins, top_k = world
    words = np.array(coins, np.uint64)[:, None]
    draft, swapped = (
        team_draft(csr(firsts), csr(seconds), words, top_k),
        team_draft(csr(seconds), csr(firsts), ~words, top_k),
    )
    assert swapped.lists.positions.tolist() == draft.lists.positions.tolist()
    assert swapped.teams.tolist() == np.array([SECOND, FIRST, NEITHER])[draft.teams].tolist()
