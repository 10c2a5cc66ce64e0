"""The truth of a fork: what its lists lose by the simulator's own law, and which rules they break."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.arena.night import NO_TAKEDOWNS, Night
from benchmarks.arena.rows import list_rows
from benchmarks.arena.year import Year
from nocturne.core.arrays import Floats
from nocturne.ingestion.simulator.memory import Memory
from nocturne.validation.profiles.catalogue_rules import Catalogue

LOSS, LOSS_OF_ONE, SHARE_OF_LISTENERS = 0.02, 0.1, 0.01
"""Limits of harm: this part of all plays lost, or this part of theirs for this share of the listeners."""


@dataclass(frozen=True)
class Truth:
    """The harm that a fork does to listeners.

    Attributes:
        lost: share of the expected plays of all lists together.
        losing: share of the listeners whose list loses LOSS_OF_ONE of its plays or more.
        gaining: share of the listeners whose list gains as much: of lists that are merely others, as many.
        broken: places that break a rule of the true catalogue.
    """

    lost: float
    losing: float
    gaining: float
    broken: int

    @property
    def hurts(self) -> bool:
        """True as the issue says, of listeners those counted who lose beyond as many who gain."""
        return self.lost >= LOSS or self.losing - self.gaining >= SHARE_OF_LISTENERS or self.broken > 0

    @property
    def hurts_anyone(self) -> bool:
        """True as well if those who lose are made up for by others."""
        return self.hurts or self.losing >= SHARE_OF_LISTENERS


def expected_plays(year: Year, number: int, lists: pa.Table, memory: Memory) -> Floats:
    """Expected plays that the list of each listener causes on a day; shape (listeners,).

    Args:
        lists: rows of `ranked_lists`; of a listener with several the first counts.
        memory: of the listeners on that day.
    """
    audience = year.audience_of(number)
    rows, own = audience.own(lists)
    first = np.diff(rows, prepend=-1) != 0
    rows, own = rows[first], own.filter(pa.array(first))
    views = audience.look_at(rows, own, memory)
    plays = np.bincount(views.listener, views.probability, len(audience.listeners.ids))
    return np.asarray(audience.opening() * plays)


def truth_of(fork: Night, clean: Night, usual: Floats, plays: Floats) -> Truth:
    """The harm that a fork does.

    Args:
        clean: the same night without the fault.
        usual, plays: expected plays of both nights' lists.
    """
    some = usual > 0
    losing = float((plays[some] <= (1 - LOSS_OF_ONE) * usual[some]).mean())
    gaining = float((plays[some] * (1 - LOSS_OF_ONE) >= usual[some]).mean())
    return Truth(1 - float(plays.sum() / usual.sum()), losing, gaining, broken_rules(fork, clean))


def broken_rules(fork: Night, clean: Night) -> int:
    """Places of a fork's lists that the true catalogue bars."""
    lists = fork.lists
    assert lists is not None
    markets = lists["market"].combine_chunks().dictionary_encode()
    blocked = clean.recipe.ranking.explicit_blocked_markets
    rules = Catalogue(clean.catalogue, clean.run_date, blocked, NO_TAKEDOWNS)
    barred, _ = rules.judge(fork.ids, markets.dictionary)
    items = list_rows(lists, fork.ids)
    market = pc.fill_null(markets.indices, len(markets.dictionary)).to_numpy()[items.owners]
    return int((barred[market, items.items] & (items.items >= 0)).sum())
