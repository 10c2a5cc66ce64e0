"""Reactions: what listeners play of the lists that they are shown, by known truth.

A listener opens their list once on a day with probability rate / (rate + OPENING_RATE). Of a list that is opened, the
item in place k, from 1, is played with probability

    APPETITE x 1 / k x liking x SATIATION ^ days x (1 + NOVELTY, if it was not heard lately)

where liking is the world's own (`liking`), days are those of the last LATELY on which the item was shown or heard
(`memory`), and what cannot be played in the listener's market that day has 0. Whether it is played is then a hash of
seed, listener, day and item: the same list in the same place of a life is played alike in every arm and company, so
that the difference between two lists is known exactly.

Source of the position bias: Joachims, Swaminathan and Schnabel (2017), Unbiased Learning-to-Rank with Biased Feedback,
section 6, examination (1 / rank) ^ eta with eta = 1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Floats, Mask
from nocturne.core.errors import UsageError
from nocturne.core.hashing import SPLITMIX_STEP, Hashes, hash_ids, spread
from nocturne.ingestion.simulator.liking import Liking
from nocturne.ingestion.simulator.memory import MEMORIES, Memory, rows_of
from nocturne.ingestion.simulator.world import IntArray, Items, Listeners, Scenario, make_items, make_listeners

APPETITE = 0.6
"""Probability that what is liked without bound is played in the first place, but for satiation and novelty."""

SATIATION = 0.9
"""Factor for each of the last days on which the item was shown or heard."""

NOVELTY = 0.5
"""Bonus of an item that was not heard in the last days, share."""

OPENING_RATE = 5.0
"""Mean events on a night of a listener who opens their list every other day."""

OPENING, SHOWING, PLAYING, HEARING, LOSING = range(5)
"""Purposes of hashes."""

Recall = Callable[[int], pa.Table]
"""Rows of `memory.MEMORIES`, given the number of the first listener of a block."""


def play_probabilities(place: IntArray, liking: Floats, days: IntArray, heard: Mask) -> Floats:
    """Probability that each item of an opened list is played, 0 to APPETITE x (1 + NOVELTY).

    Args:
        place: in the list, from 1.
        liking: 0 to 1.
        days: on which it was shown or heard lately.
        heard: whether it was heard lately.
    """
    probabilities: Floats = APPETITE / place * liking * SATIATION**days * (1 + NOVELTY * ~heard)
    return probabilities


def recall_nothing(_first: int) -> pa.Table:
    """The memories of a block before its first day."""
    return MEMORIES.empty_table()


@dataclass(frozen=True)
class World:
    """A scenario with all that reactions need of its catalogue.

    Attributes:
        item_hashes: of the items' ids, (items,).
    """

    scenario: Scenario
    items: Items
    liking: Liking
    item_hashes: Hashes

    @classmethod
    def of(cls, scenario: Scenario) -> "World":
        """The world of a scenario."""
        items = make_items(scenario)
        return cls(scenario, items, Liking.of(items), hash_ids(items.ids, scenario.seed))


@dataclass(frozen=True)
class Views:
    """Items of lists, list by list and from the top, one element each.

    Attributes:
        listener: row in the block.
        item: row in the catalogue; -1 for one that is not in it.
        place: in the list, from 1.
        probability: that it is played if the list is opened.
    """

    listener: IntArray
    item: IntArray
    place: IntArray
    probability: Floats


@dataclass(frozen=True)
class Audience:
    """A block of listeners on a day.

    Attributes:
        night: the day, nights from the start.
        hashes: of the listeners' ids, (listeners,).
    """

    world: World
    listeners: Listeners
    night: int
    hashes: Hashes

    @classmethod
    def of(cls, world: World, first: int, day: date) -> "Audience":
        """The block that begins with the `first` listener."""
        listeners = make_listeners(world.scenario, world.items, first)
        night = (day - world.scenario.start).days
        return cls(world, listeners, night, hash_ids(listeners.ids, world.scenario.seed))

    def own(self, lists: pa.Table) -> tuple[IntArray, pa.Table]:
        """Those lists that are of the block's listeners, in order of these, and the row of each one's listener."""
        row = rows_of(lists["user_id"], self.listeners.ids)
        order = np.argsort(row, kind="stable")[np.count_nonzero(row < 0) :]
        return row[order], lists.take(pa.array(order))

    def opening(self) -> Floats:
        """Probability that each listener opens their list: 0 for bots and those who are still to join."""
        here = ~self.listeners.bot & (self.listeners.first_night <= self.night)
        opening: Floats = here * self.listeners.rate / (self.listeners.rate + OPENING_RATE)
        return opening

    def opens(self) -> Mask:
        """True for listeners who open their list on that day."""
        opens: Mask = self.chances(OPENING) < self.opening()
        return opens

    def loses(self, shares: Floats, rows: IntArray) -> Mask:
        """True where one of some listeners is in a share of all, the same ones every day; shapes (lists,)."""
        loses: Mask = _uniform(_mixed(self.hashes, LOSING, 0))[rows] < shares
        return loses

    def look_at(self, rows: IntArray, lists: pa.Table, memory: Memory) -> Views:
        """Lists as their listeners see them.

        Args:
            rows, lists: as from `own`; of the lists `items` is read.
        """
        items = lists["items"].combine_chunks()
        lengths = pc.list_value_length(items).to_numpy()
        listener = np.repeat(rows, lengths)
        item = rows_of(pc.struct_field(items.flatten(), "item_id"), self.world.items.ids)
        place = np.arange(len(item)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + 1
        liking = self.world.liking.of_pairs(self.listeners.tastes, listener, item)
        probability = play_probabilities(place, liking, *memory.of_pairs(listener, item))
        playable = self.world.items.playable(item, self.listeners.market[listener], self.night) & (item >= 0)
        return Views(listener, item, place, np.where(playable, probability, 0.0))

    def plays(self, views: Views) -> Mask:
        """True where an item of an opened list is played."""
        plays: Mask = self.chances(PLAYING, views) < views.probability
        return plays

    def react(self, lists: pa.Table, memory: Memory, loss: Mapping[str, float] | None = None) -> "Reaction":
        """The block's reaction to the lists of a night.

        Args:
            lists: `user_id`, `arm` and `items` at least, as in `ranked_lists`; one a listener, in any order.
            loss: by arm, the share of its listeners whose exposures are lost.
        """
        rows, own = self.own(lists)
        opened = self.opens()[rows]
        rows, lists_opened = rows[opened], own.filter(pa.array(opened))
        shares = np.array([(loss or {}).get(arm, 0.0) for arm in lists_opened["arm"].to_pylist()])
        views = self.look_at(rows, lists_opened, memory)
        return Reaction(self, own.num_rows, rows, lists_opened, self.loses(shares, rows), views, self.plays(views))

    def chances(self, purpose: int, views: Views | None = None) -> Floats:
        """A number from 0 to below 1 for each listener, or each item viewed: a hash of seed, listener, day and item."""
        mixed = _mixed(self.hashes, purpose, self.night + 1)
        if views is None:
            return _uniform(mixed)
        return _uniform(spread(mixed[views.listener] ^ self.world.item_hashes[views.item]))


@dataclass(frozen=True)
class Reaction:
    """A block's reaction to the lists of a night.

    Attributes:
        offered: lists of the block's listeners, opened or not, count.
        rows, lists: lists that were opened, in order of their listeners, and the row of each one's listener.
        lost: of the opened lists, whether the exposure is lost.
        views: items of the opened lists.
        played: of the views.
    """

    audience: Audience
    offered: int
    rows: IntArray
    lists: pa.Table
    lost: Mask
    views: Views
    played: Mask

    @property
    def counts(self) -> dict[str, int]:
        """Lists, those opened, those of them whose exposure is lost, and plays."""
        sums = {"lost": self.lost.sum(), "plays": self.played.sum()}
        return {"lists": self.offered, "opened": len(self.rows)} | {name: int(sum_) for name, sum_ in sums.items()}


class Effect(NamedTuple):
    """Mean plays of a listener and day under the lists of two arms, and how many listeners they are."""

    control: float
    treatment: float
    listeners: int

    @property
    def difference(self) -> float:
        """Plays more under treatment, a listener and day."""
        return self.treatment - self.control


def expected_plays(world: World, lists: pa.Table, day: date, recall: Recall = recall_nothing) -> pa.Table:
    """Expected plays that each list causes on a day, opened or not.

    Args:
        lists: `user_id` and `items`, as in `ranked_lists`; one a listener.
        recall: memories of a block; those of a landing zone are `memory.read_memories`.

    Returns:
        `user_id`, `mean` and `variance` in plays, in order of the world's listeners, of whom others are left out.
    """
    tables = []
    for first in world.scenario.blocks():
        audience = Audience.of(world, first, day)
        rows, own = audience.own(lists)
        if not own.num_rows:
            continue
        memory = Memory.of(recall(first), audience.listeners, world.items, audience.night)
        views = audience.look_at(rows, own, memory)
        count = len(audience.listeners.ids)
        opened = np.bincount(views.listener, views.probability, count)[rows]
        given_opened = np.bincount(views.listener, views.probability * (1 - views.probability), count)[rows]
        opening = audience.opening()[rows]
        variance = opening * given_opened + opening * (1 - opening) * opened**2
        tables.append(pa.table({"user_id": own["user_id"], "mean": opening * opened, "variance": variance}))
    empty = pa.schema({"user_id": pa.string(), "mean": pa.float64(), "variance": pa.float64()}).empty_table()
    return pa.concat_tables([empty, *tables])


def true_effect(
    world: World, control: pa.Table, treatment: pa.Table, day: date, recall: Recall = recall_nothing
) -> Effect:
    """The effect of showing the same listeners one arm's lists rather than another's on a day, in plays caused.

    Args:
        control, treatment: lists as of `expected_plays`, of the same listeners.

    Raises:
        UsageError: they are not.
    """
    of_control, of_treatment = (expected_plays(world, lists, day, recall) for lists in (control, treatment))
    if not of_control["user_id"].equals(of_treatment["user_id"]):
        raise UsageError(
            "the lists of two arms are of different listeners",
            where=f"day {day}",
            found=f"{of_control.num_rows} and {of_treatment.num_rows} lists of the simulation's listeners",
            expected="a list of each arm for every listener",
            fix="compare the lists of listeners whom both arms have lists for",
        )
    control_mean, treatment_mean = (
        float(plays["mean"].to_numpy().sum()) / max(1, plays.num_rows) for plays in (of_control, of_treatment)
    )
    return Effect(control_mean, treatment_mean, of_control.num_rows)


def _mixed(hashes: Hashes, purpose: int, night: int) -> Hashes:
    return spread(hashes + np.uint64((night * 8 + purpose + 1) * SPLITMIX_STEP % 2**64))


def _uniform(hashes: Hashes) -> Floats:
    """Numbers from 0 to below 1, of the upper 53 bits."""
    return (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53
