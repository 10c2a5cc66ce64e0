"""A year of the arena's service: the simulator's listeners and items, who grow and have weekdays and holidays."""

from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property

import numpy as np
import pyarrow as pa

from nocturne.core.arrays import Floats
from nocturne.core.hashing import hash_ids
from nocturne.ingestion.simulator.reactions import Audience, World
from nocturne.ingestion.simulator.world import ALWAYS, MARKETS, Scenario, catalogue, make_listeners

START = date(2024, 11, 6)
"""First night of all: a Wednesday."""

WARM_UP = 56
"""Nights before those that are judged: what an established service has behind it."""

BUSY = (0.96, 0.95, 0.97, 1.0, 1.12, 1.2, 1.05)
"""Listening on each weekday, Monday first."""

HOLIDAYS = {
    **{date(2024, 12, day): None for day in (24, 25, 26, 31)},
    **{date(2025, *day): None for day in ((1, 1), (4, 18), (4, 20), (4, 21), (5, 1), (12, 24), (12, 25), (12, 26))},
    date(2025, 12, 31): None,
    date(2025, 7, 4): "US",
    date(2025, 11, 27): "US",
    date(2025, 10, 3): "DE",
    date(2025, 6, 20): "SE",
    date(2025, 3, 3): "BR",
    date(2025, 3, 4): "BR",
}
"""Holidays, and the market that has it; None: every one."""

QUIET = 0.7
"""Listening on a holiday."""

WOBBLE = 0.03
"""Standard deviation of the logarithm of a night's listening, of which 0.7 stays until the next."""

JOINING, APPEARING = 0.35, 0.25
"""Share of the listeners who join, and of the items that appear, some time in the year."""

FIRST_EXPERIMENT, EXPERIMENT, BETWEEN = 14, 28, 14
"""Nights until the first experiment, of one, and between two."""


@dataclass(frozen=True)
class Year:
    """A service and its nights, numbered from START.

    Attributes:
        nights: that are judged.
        warm_up: nights before those.
    """

    world: World
    audience: Audience
    nights: int
    warm_up: int

    @classmethod
    def of(cls, listeners: int, items: int, nights: int, seed: int, warm_up: int = WARM_UP) -> "Year":
        """A service of so many listeners and items on the last night."""
        world = World.of(Scenario(listeners, items, seed, START, 0.0))
        last = warm_up + nights
        rng = np.random.default_rng((seed, 1))
        appears = np.where(rng.random(items) < APPEARING, rng.integers(1, last, items), 0)
        leaves = np.where(
            rng.random(items) < 0.06, np.maximum(appears + 14, rng.integers(1, last, items)), np.int64(ALWAYS)
        )
        appears[0], leaves[0] = 0, ALWAYS
        world = replace(world, items=replace(world.items, first_night=appears, last_night=leaves))
        people = make_listeners(world.scenario, world.items, 0)
        joins = np.where(rng.random(listeners) < JOINING, rng.integers(1, last, listeners), 0)
        people = replace(people, first_night=joins, bot=np.zeros(listeners, bool), rate=np.minimum(people.rate, 60))
        return cls(world, Audience(world, people, 0, hash_ids(people.ids, seed)), nights, warm_up)

    @property
    def last(self) -> int:
        """Number of the night after the last one."""
        return self.warm_up + self.nights

    @property
    def ids(self) -> pa.Array:
        """Ids of the items; an item's index is its place here."""
        return self.world.items.ids

    def date(self, number: int) -> date:
        """The date of a night."""
        return START + timedelta(days=number)

    def audience_of(self, number: int) -> Audience:
        """The listeners on a day."""
        return replace(self.audience, night=number)

    @cached_property
    def wobbles(self) -> Floats:
        """The logarithm of what each night has more than its weekday; shape (nights,)."""
        rng = np.random.default_rng((self.world.scenario.seed, 2))
        shocks = rng.normal(0, WOBBLE, self.last + 1)
        for number in range(1, len(shocks)):
            shocks[number] = 0.7 * shocks[number - 1] + shocks[number] * (1 - 0.7**2) ** 0.5
        return shocks

    def rates(self, number: int) -> Floats:
        """Mean events of each listener on a night with listening."""
        day = self.date(number)
        people = self.audience.listeners
        rates = people.rate * BUSY[day.weekday()] * np.exp(self.wobbles[number])
        if day in HOLIDAYS:
            market = HOLIDAYS[day]
            quiet = np.ones(len(rates), bool) if market is None else people.market == [*MARKETS].index(market)
            rates = np.where(quiet, QUIET * rates, rates)
        return np.asarray(rates)

    @cached_property
    def _whole_catalogue(self) -> pa.Table:
        rows = catalogue(self.world.scenario, self.world.items)
        return rows.append_column("absent", pa.array(np.zeros(rows.num_rows, bool)))

    def catalogue(self, number: int) -> pa.Table:
        """The rows of `items` of a night: an item is named from a week before it appears."""
        named = self.world.items.first_night <= number + 7
        return self._whole_catalogue.filter(pa.array(named)).combine_chunks()

    def experiment(self, number: int) -> str | None:
        """The experiment that runs on a night."""
        since = number - self.warm_up - FIRST_EXPERIMENT
        turn, night = divmod(since, EXPERIMENT + BETWEEN)
        return f"calibration-{turn + 1}" if since >= 0 and night < EXPERIMENT else None


def rearranged(first: int, last: int) -> set[date]:
    """Nights on which an experiment begins, or no longer runs, of a year whose first judged night has a number."""
    begins = range(first + FIRST_EXPERIMENT, last + 1, EXPERIMENT + BETWEEN)
    return {START + timedelta(days=number + after) for number in begins for after in (0, EXPERIMENT)}
