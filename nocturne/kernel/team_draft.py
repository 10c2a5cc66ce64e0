"""Team drafts: two lists of a listener made into one, and the list that each item was picked from."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from nocturne.core.arrays import Offsets
from nocturne.core.csr import CsrRows
from nocturne.kernel.arguments import frozen

FIRST, SECOND, NEITHER = 0, 1, -1
"""Teams: of the first list, of the second, and of what was left when a team had nothing more to pick."""

_COINS = 64
"""In a word of them."""

Teams = npt.NDArray[np.int8]


class Draft(NamedTuple):
    """Drafted lists.

    Attributes:
        lists: positions, best first.
        teams: FIRST, SECOND or NEITHER; aligned with the positions.
        entries: place of each item among the positions of both lists' rows, those of the second behind those of the
            first; aligned with the positions.
    """

    lists: CsrRows
    teams: Teams
    entries: Offsets


def coin_words(top_k: int) -> int:
    """Words of coins that a draft of so many items needs: a coin for every two of them."""
    return -(-top_k // (2 * _COINS))


def team_draft(first: CsrRows, second: CsrRows, coins: npt.NDArray[np.uint64], top_k: int) -> Draft:
    """Every listener's list, drafted from two of theirs, as two captains pick their teams.

    Two by two the teams pick the best item of their own list that nobody has picked; a coin says who begins. Teams of
    any head of the list differ by one item at most. When a team has nothing more to pick, the rest of the other list
    follows, of neither team. A listener's list depends on their own two lists and coins alone.

    Args:
        first, second: positions of the same listeners, best first, distinct within a list.
        coins: random bits, 1 if the second team begins; shape (listeners, `coin_words(top_k)` or more).
        top_k: items that a list has at most.

    Source: team-draft interleaving, Radlinski, Kurup and Joachims (2008), "How does clickthrough data reflect
    retrieval quality?", algorithm 2.
    """
    assert len(first.offsets) == len(second.offsets) == len(coins) + 1
    assert coins.shape[1] >= coin_words(top_k)
    starts, positions, other_starts, others, flips = frozen(
        first.offsets, first.positions, second.offsets, second.positions, coins
    )
    offsets, entries, teams = _draft(starts, positions, other_starts, others, flips, int(top_k))
    return Draft(CsrRows(offsets, np.concatenate([positions, others])[entries]), teams, entries)


# What follows is compiled: plain loops over arrays, without types of their own.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# ruff: noqa: ANN001, ANN202


@njit(cache=True)
def _draft(starts, positions, other_starts, others, coins, top_k):
    listeners = len(starts) - 1
    most = min(len(positions) + len(others), listeners * top_k)
    offsets, entries, teams = np.zeros(listeners + 1, np.int64), np.empty(most, np.int64), np.empty(most, np.int8)
    items = 1 + max(positions.max() if len(positions) else 0, others.max() if len(others) else 0)
    picked = np.zeros(items, np.bool_)
    for listener in range(listeners):
        begin = offsets[listener]
        end = begin
        mine, yours = starts[listener], other_starts[listener]
        mine_end, yours_end = starts[listener + 1], other_starts[listener + 1]
        drafting, team = True, FIRST
        while end - begin < top_k:
            while mine < mine_end and picked[positions[mine]]:
                mine += 1
            while yours < yours_end and picked[others[yours]]:
                yours += 1
            if mine == mine_end and yours == yours_end:
                break
            turn, odd = divmod(end - begin, 2)
            team = 1 - team if odd else _coin(coins[listener], turn)
            drafting = drafting and (mine < mine_end if team == FIRST else yours < yours_end)
            if not drafting:
                team = FIRST if mine < mine_end else SECOND
            item = positions[mine] if team == FIRST else others[yours]
            picked[item] = True
            entries[end] = mine if team == FIRST else len(positions) + yours
            teams[end] = team if drafting else NEITHER
            end += 1
        for place in range(begin, end):
            entry = entries[place]
            picked[positions[entry] if entry < len(positions) else others[entry - len(positions)]] = False
        offsets[listener + 1] = end
    return offsets, entries[: offsets[-1]], teams[: offsets[-1]]


@njit(cache=True)
def _coin(words, turn):
    return np.int64(words[turn // _COINS] >> np.uint64(turn % _COINS)) & 1
