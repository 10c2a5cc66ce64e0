"""Sessions of a night: events that belong together, topics that drift within them, and their time, context and device.

An event keeps the topic of the one before it in its session with probability STAY, and else draws anew from its
listener's tastes, as the first one does. Whatever its place, an event's own topic so follows the tastes; only its
neighbours tell of it. After an event whose topic is t, item i is next with probability

    STAY x P(i | t) + (1 - STAY) x sum over topics s of tastes[s] x P(i | s)
"""

import numpy as np

from nocturne.core.arrays import Floats, Mask
from nocturne.ingestion.simulator.world import MARKETS, IntArray

STAY = 0.8
"""Probability that an event keeps the topic of the one before it."""

END = 1 / 6
"""Probability that a session is over after an event."""

DAYPARTS = (
    (7.0, 9.0, 0.20, {"phone": 0.7, "car": 0.3}),
    (9.0, 17.0, 0.30, {"desktop": 0.6, "phone": 0.4}),
    (17.0, 19.0, 0.15, {"phone": 0.6, "car": 0.4}),
    (19.0, 23.5, 0.30, {"speaker": 0.5, "tv": 0.2, "phone": 0.3}),
    (0.0, 3.0, 0.05, {"phone": 1.0}),
)
"""First and last hour of a session's start, local time; share of the sessions; devices."""

CONTEXTS = {"playlist": 0.35, "now_playing": 0.25, "album": 0.15, "search": 0.15, "radio": 0.10}
DEVICES = ("phone", "desktop", "car", "speaker", "tv")
DAY_MS = 86_400_000
SILENCE_MS = 40 * 60_000
"""Time between two sessions of a listener, at least."""


def split_sessions(listener: IntArray, rng: np.random.Generator) -> IntArray:
    """The session of each event, numbered from 0 in the order of events.

    Args:
        listener: of each event, ascending.
    """
    opens = _changes(listener)
    opens |= rng.random(len(listener)) < END
    session: IntArray = np.cumsum(opens) - 1
    return session


def drift(session: IntArray, drawn: IntArray, rng: np.random.Generator) -> IntArray:
    """The topic of each event: that of the one before it, or its own.

    Args:
        session: of each event, ascending.
        drawn: a topic of its own for each event.
    """
    own = _changes(session)
    own |= rng.random(len(session)) >= STAY
    return drawn[np.maximum.accumulate(np.where(own, np.arange(len(session)), 0))]


def schedule(
    listener: IntArray, session: IntArray, ms_played: IntArray, market: IntArray, rng: np.random.Generator
) -> tuple[IntArray, IntArray, IntArray]:
    """Time of the UTC day in milliseconds, context and device of each event: one session, one of each.

    A listener's sessions follow one another with silence between them. Of a day that is too short for all that was
    heard in it, everything is shortened alike.

    Args:
        session: of each event, ascending; numbers may lack.
    """
    if not len(listener):
        return (np.empty(0, np.int64),) * 3
    opens = _changes(session)
    head, place = np.flatnonzero(opens), np.cumsum(opens) - 1
    start = np.cumsum(ms_played) - ms_played
    owner = listener[head]
    begin, daypart = _wishes(owner, market[head], rng)
    begin, shortened = _one_after_another(owner, begin, np.add.reduceat(ms_played, head))
    device = np.empty(len(head), np.int64)
    for index, (_, _, _, devices) in enumerate(DAYPARTS):
        members = np.flatnonzero(daypart == index)
        kinds = [DEVICES.index(name) for name in devices]
        device[members] = rng.choice(kinds, size=len(members), p=list(devices.values()))
    context = rng.choice(len(CONTEXTS), size=len(head), p=list(CONTEXTS.values()))
    elapsed = (start - start[head][place]) * shortened[place]
    return (begin[place] + elapsed).astype(np.int64), context[place], device[place]


def _wishes(owner: IntArray, market: IntArray, rng: np.random.Generator) -> tuple[Floats, IntArray]:
    """When each session would begin, in milliseconds of the UTC day, and its part of the day; in order by owner."""
    daypart = rng.choice(len(DAYPARTS), size=len(owner), p=[share for _, _, share, _ in DAYPARTS])
    hours = np.array([(begin, end) for begin, end, _, _ in DAYPARTS])[daypart]
    local = rng.uniform(hours[:, 0], hours[:, 1])
    offset = np.array([hours for _, hours in MARKETS.values()])[market]
    begin = (local - offset) % 24 * 3_600_000
    order = np.lexsort((begin, owner))
    return begin[order], daypart[order]


def _one_after_another(owner: IntArray, begin: Floats, length: IntArray) -> tuple[Floats, Floats]:
    """Beginnings at which nobody's sessions overlap and all end within the day, and what lengths are multiplied by.

    Args:
        owner: listener of each session, ascending.
        begin: when each would begin, ascending for each owner.
        length: milliseconds.
    """
    first = np.flatnonzero(_changes(owner))
    rank = np.cumsum(_changes(owner)) - 1
    needed = (length + SILENCE_MS).astype(np.float64)
    total = np.add.reduceat(needed, first)  # silence at the day's end too: the next one may begin at once
    shortened = np.minimum(1, (DAY_MS - 1) / total)[rank]
    needed *= shortened
    before = np.cumsum(needed) - needed
    before -= before[first][rank]
    # The longest run of sessions that push one another, up to each: offsets keep listeners apart.
    apart = rank * 2.0 * DAY_MS
    pushed = np.maximum.accumulate(begin - before + apart) - apart + before
    latest = DAY_MS - 1 - (total[rank] * shortened - before)
    return np.minimum(pushed, latest), shortened


def _changes(values: IntArray) -> Mask:
    """True where a value differs from the one before it, and for the first; values are 0 or more."""
    changes: Mask = np.diff(values, prepend=-1) != 0
    return changes
