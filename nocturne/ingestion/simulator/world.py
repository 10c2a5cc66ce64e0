"""The simulated service: its items, its listeners and their tastes.

A listener plays item i with probability sum over topics t of tastes[t] * P(i | t): a factor model whose
factors are known. The last topic is the mainstream, which everybody has a share of. That is so in the long
run; within a session topics drift, so that what plays tells of what comes next: `sessions`. Everything is
drawn from the seed alone, listeners in blocks of fixed size, so that any part can be made again by itself.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nocturne.core.arrays import Floats, Mask
from nocturne.ingestion.simulator.names import TOPICS, name_items

IntArray = npt.NDArray[np.int64]

BLOCK = 50_000
"""Listeners that are drawn together: the unit of randomness and of memory."""

MARKETS = {"US": (0.30, -5), "GB": (0.20, 0), "DE": (0.20, 1), "BR": (0.15, -3), "SE": (0.10, 1), "JP": (0.05, 9)}
"""Share of the listeners, and hours from UTC."""

CONTENT_TYPES = {"track": (0.82, 210, 0.10), "podcast_episode": (0.13, 1_900, 0.06), "audiobook": (0.05, 2_700, 0.02)}
"""Share of the catalogue, median length in seconds, share marked explicit."""

ALWAYS = np.iinfo(np.int32).max
COMMUNITIES = 12
MAINSTREAM = len(TOPICS)
FACTORS = len(TOPICS) + 1
ITEMS, COMMUNITY, BOTS, LISTENERS, LISTENING, DELIVERY, CORRUPTION = range(7)
"""Streams of random numbers, by their use."""


@dataclass(frozen=True)
class Scenario:
    """The parameters of a simulation.

    Attributes:
        listeners: people and bots, those included who join on later nights.
        items: rows of the catalogue, those included that appear on later nights.
        seed: of every random number.
        start: first night.
        corruption: corrupted events per sound one.
    """

    listeners: int
    items: int
    seed: int
    start: date
    corruption: float

    @property
    def arguments(self) -> str:
        """The options of the command that simulates it, but for the nights."""
        return (
            f"--listeners {self.listeners} --items {self.items} --seed {self.seed} --start {self.start} "
            f"--dirt {self.corruption}"
        )

    @classmethod
    def parse(cls, arguments: str) -> "Scenario":
        """The scenario of `arguments`; ValueError where they are none."""
        words = arguments.split()
        values = dict(zip(words[::2], words[1::2], strict=True))
        if list(values) != ["--listeners", "--items", "--seed", "--start", "--dirt"]:
            raise ValueError(arguments)
        listeners, items, seed, start, dirt = values.values()
        return cls(int(listeners), int(items), int(seed), date.fromisoformat(start), float(dirt))

    def rng(self, stream: int, *part: int) -> np.random.Generator:
        """Random numbers of one part of the service; they do not depend on what else is drawn."""
        return np.random.default_rng((self.seed, stream, *part))

    def blocks(self) -> range:
        """The first listener of each block."""
        return range(0, self.listeners, BLOCK)


@dataclass(frozen=True)
class Items:
    """The catalogue, one element per item.

    Attributes:
        ids: item ids.
        topics: home topic and a second one, (items, 2).
        popularity: share of all mainstream plays, sums to 1.
        first_night, last_night: when it can be played, nights from the start.
        markets: bit m is set if it may be played in the m-th market.
        duration_ms: length.
        explicit: whether it is marked so.
        drawn: items in the order of `shares`, topic after topic.
        shares: topic plus the cumulated P(item | topic), ascending over all topics.
    """

    ids: pa.Array
    topics: IntArray
    popularity: Floats
    first_night: IntArray
    last_night: IntArray
    markets: IntArray
    duration_ms: IntArray
    explicit: Mask
    drawn: IntArray
    shares: Floats

    def playable(self, items: IntArray, markets: IntArray, night: int) -> Mask:
        """Mask of the items that can be played, each in the market beside it, on that night."""
        in_time = (self.first_night[items] <= night) & (night <= self.last_night[items])
        allowed: Mask = in_time & ((self.markets[items] >> markets & 1) == 1)
        return allowed

    def draw(self, topics: IntArray, rng: np.random.Generator) -> IntArray:
        """One item of each topic, by its share."""
        position = np.searchsorted(self.shares, topics + rng.random(len(topics)), side="right")
        return self.drawn[np.minimum(position, len(self.drawn) - 1)]

    def factors(self) -> npt.NDArray[np.float32]:
        """P(item | topic), (items, FACTORS)."""
        factors = np.zeros((len(self.topics), FACTORS), np.float32)
        topic = np.ceil(self.shares).astype(np.int64) - 1
        lower = np.maximum(np.roll(self.shares, 1), topic)  # each topic cumulates anew
        lower[0] = topic[0]
        factors[self.drawn, topic] = self.shares - lower
        return factors


@dataclass(frozen=True)
class Listeners:
    """A block of listeners, one element each.

    Attributes:
        ids: user ids.
        tastes: probability of each topic, the mainstream last, rows sum to 1, (listeners, FACTORS).
        rate: mean events on a night with listening.
        market: index into MARKETS.
        first_night: night of joining, from the start.
        bot: whether it is a bot.
    """

    ids: pa.Array
    tastes: Floats
    rate: Floats
    market: IntArray
    first_night: IntArray
    bot: Mask


def make_items(scenario: Scenario) -> Items:
    """The catalogue of a scenario."""
    rng = scenario.rng(ITEMS)
    count = scenario.items
    kinds = list(CONTENT_TYPES)
    kind = rng.choice(len(kinds), size=count, p=[share for share, _, _ in CONTENT_TYPES.values()])
    topic_kind = np.array([kinds.index(topic.content_type) for topic in TOPICS])
    topics = np.empty((count, 2), np.int64)
    for index in range(len(kinds)):
        members = np.flatnonzero(kind == index)
        topics[members] = rng.choice(np.flatnonzero(topic_kind == index), size=(len(members), 2))
    popularity = np.power(rng.permutation(count) + 5.0, -0.9).astype(np.float64)
    popularity /= popularity.sum()
    first_night = np.where(rng.random(count) < 0.1, 1 + rng.exponential(10, count).astype(int), 0)
    leaves = rng.random(count) < 0.03
    last_night = np.where(leaves, first_night + 1 + rng.exponential(30, count).astype(int), ALWAYS)
    everywhere = 2 ** len(MARKETS) - 1
    markets = np.where(rng.random(count) < 0.08, rng.integers(1, everywhere, count), everywhere)
    first_night[0], last_night[0], markets[0] = 0, ALWAYS, everywhere  # the smallest catalogue can be played too
    seconds = np.array([median for _, median, _ in CONTENT_TYPES.values()])[kind] * rng.lognormal(0, 0.3, count)
    explicit = rng.random(count) < np.array([share for _, _, share in CONTENT_TYPES.values()])[kind]
    drawn, shares = _shares(topics, popularity)
    return Items(
        ids=pa.array([f"{kinds[k][0]}{number:07d}" for number, k in enumerate(kind)]),
        topics=topics,
        popularity=popularity,
        first_night=first_night,
        last_night=last_night,
        markets=markets,
        duration_ms=(seconds * 1000).astype(np.int64),
        explicit=explicit,
        drawn=drawn,
        shares=shares,
    )


def _shares(topics: IntArray, popularity: Floats) -> tuple[IntArray, Floats]:
    """Items of each topic with the topic plus their cumulated share of it; empty topics have none."""
    drawn, shares = [], []
    for topic in range(FACTORS):
        if topic == MAINSTREAM:
            members, weights = np.arange(len(popularity)), popularity
        else:
            home, second = np.equal(topics.T, topic)
            weight = (0.8 * home + 0.2 * second) * popularity
            members = np.flatnonzero(weight)
            weights = weight[members]
        if len(members):
            cumulated = np.cumsum(weights)
            drawn.append(members)
            shares.append(topic + cumulated / cumulated[-1])
    return np.concatenate(drawn), np.concatenate(shares)


def catalogue(scenario: Scenario, items: Items) -> pa.Table:
    """The catalogue in the columns of the landing zone; null where nothing restricts an item."""
    titles, creators = name_items(items.topics[:, 0], scenario.rng(ITEMS, 1))
    everywhere = 2 ** len(MARKETS) - 1
    markets = [
        None if mask == everywhere else [market for bit, market in enumerate(MARKETS) if mask >> bit & 1]
        for mask in items.markets.tolist()
    ]
    home = items.topics[:, 0].tolist()
    return pa.table(
        {
            "item_id": items.ids,
            "content_type": pa.array([TOPICS[topic].content_type for topic in home]),
            "title": pa.array(titles),
            "creator": pa.array(creators),
            "tags": pa.array([list(TOPICS[topic].tags) for topic in home], pa.list_(pa.string())),
            "duration_ms": pa.array(items.duration_ms),
            "explicit": pa.array(items.explicit),
            "markets": pa.array(markets, pa.list_(pa.string())),
            "available_from": _dates(scenario.start, items.first_night, open_end=0),
            "available_until": _dates(scenario.start, items.last_night, open_end=ALWAYS),
        }
    )


def _dates(start: date, nights: IntArray, open_end: int) -> pa.Array:
    dates = [None if night == open_end else start + timedelta(days=night) for night in nights.tolist()]
    return pa.array(dates, pa.date32())


def make_listeners(scenario: Scenario, items: Items, first: int) -> Listeners:
    """The block of listeners that begins with the `first`."""
    rng = scenario.rng(LISTENERS, first)
    numbers = np.arange(first, min(first + BLOCK, scenario.listeners))
    count = len(numbers)
    communities = _communities(scenario)
    playable = np.isin(np.arange(MAINSTREAM), items.topics)  # a small catalogue lacks some topics
    shape = (0.01 + 3 * communities[rng.integers(COMMUNITIES, size=count)]) * playable
    tastes = rng.standard_gamma(shape) + 1e-12 * playable
    mainstream = rng.beta(2, 10, count)
    tastes *= ((1 - mainstream) / tastes.sum(axis=1))[:, None]
    shares = [share for share, _ in MARKETS.values()]
    joins = np.where(rng.random(count) < 0.1, 1 + rng.exponential(10, count).astype(int), 0)
    return Listeners(
        ids=pa.array([f"u{number:08d}" for number in numbers]),
        tastes=np.column_stack([tastes, mainstream]),
        rate=np.minimum(rng.lognormal(np.log(7.5), 1.0, count), 300),
        market=rng.choice(len(MARKETS), size=count, p=shares),
        first_night=joins,
        bot=np.isin(numbers, _bots(scenario)),
    )


def _communities(scenario: Scenario) -> Floats:
    """The taste of each community for each topic, rows sum to 1, (COMMUNITIES, topics)."""
    return scenario.rng(COMMUNITY).dirichlet(np.full(MAINSTREAM, 0.08), size=COMMUNITIES)


def _bots(scenario: Scenario) -> IntArray:
    """One listener in 5,000; a service of fewer than 1,000 has none, whom a single one would drown."""
    if scenario.listeners < 1_000:
        return np.empty(0, np.int64)
    return scenario.rng(BOTS).choice(scenario.listeners, size=-(-scenario.listeners // 5_000), replace=False)
