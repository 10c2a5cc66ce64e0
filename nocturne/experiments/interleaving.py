"""Interleaving: two rankings compared by what each listener plays of a list that is drafted from both.

Every play of a drafted item is credit of the team that picked it: the first is control's, the second the treatment's.
A listener wins if the treatment has more credit from all their nights, and is lost if it has less. Listeners are the
unit: they are independent of each other, their plays are not. Those whose lists were the same on every night have no
say, and are not counted.
"""

from dataclasses import astuple, dataclass
from math import copysign, inf, sqrt

import numpy as np

from nocturne.core.arrays import Counts, Floats
from nocturne.kernel.team_draft import FIRST, SECOND, Teams


@dataclass(frozen=True)
class Preferences:
    """Sums over listeners; those of some and of others can be added up.

    Attributes:
        listeners: who were counted.
        wins, losses: who gave the treatment more credit, and less; the rest are ties.
        control, treatment: credit.
        squares: of each listener's difference in credit.
    """

    listeners: int
    wins: int
    losses: int
    control: float
    treatment: float
    squares: float

    def __add__(self, other: "Preferences") -> "Preferences":
        return Preferences(*(one + another for one, another in zip(astuple(self), astuple(other), strict=True)))

    @property
    def ties(self) -> int:
        """Listeners who gave both the same credit, most of them none."""
        return self.listeners - self.wins - self.losses


@dataclass(frozen=True)
class Preference:
    """An estimate, above zero if the treatment is preferred.

    Attributes:
        estimate: mean over listeners.
        standard_error: of the estimate; infinite below two listeners.
    """

    estimate: float
    standard_error: float

    @property
    def z(self) -> float:
        """The estimate in standard errors; 0 without a difference."""
        if not self.estimate:
            return 0.0
        return self.estimate / self.standard_error if self.standard_error else copysign(inf, self.estimate)


def credit(listeners: Counts, teams: Teams, values: Floats, count: int) -> Floats:
    """Credit of both teams from so many listeners; shape (count, 2), control's first.

    Args:
        listeners: number of whoever played an item of their drafted list, from 0; shape (plays,).
        teams: of the items played, as `team_draft` gives them; those of neither team give no credit.
        values: what a play counts, such as 1, or its minutes.
    """
    of_both = [np.where(teams == team, values, 0.0) for team in (FIRST, SECOND)]
    return np.stack([np.bincount(listeners, of_one, count) for of_one in of_both], axis=1)


def preferences(credits_of: Floats) -> Preferences:
    """Sums of the credit that each listener gave, from all nights of the experiment so far; shape (listeners, 2)."""
    control, treatment = credits_of.T
    differences = treatment - control
    return Preferences(
        listeners=len(differences),
        wins=int((differences > 0).sum()),
        losses=int((differences < 0).sum()),
        control=float(control.sum()),
        treatment=float(treatment.sum()),
        squares=float(differences @ differences),
    )


def net_preference(sums: Preferences) -> Preference:
    """Share of listeners who prefer the treatment minus that of those who prefer control, from -1 to 1.

    A listener counts once, however much they play, so that a few heavy ones decide nothing.

    Source: twice the preference of Chapelle, Joachims, Radlinski and Yue (2012), "Large-scale validation and analysis
    of interleaved search evaluation", section 3, which is counted from one half.
    """
    return _mean(sums.listeners, sums.wins - sums.losses, sums.wins + sums.losses)


def credit_difference(sums: Preferences) -> Preference:
    """Mean of the listeners' differences, treatment minus control, in the unit of the credit."""
    return _mean(sums.listeners, sums.treatment - sums.control, sums.squares)


def _mean(count: int, total: float, squares: float) -> Preference:
    """Mean and its standard error from sums of values and of their squares."""
    if count < 2:
        return Preference(total / count if count else 0.0, inf)
    mean = total / count
    return Preference(mean, sqrt(max(squares / count - mean**2, 0.0) / (count - 1)))
