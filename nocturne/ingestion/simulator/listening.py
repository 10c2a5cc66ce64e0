"""One night of a block of listeners: their plays, with time, context and device."""

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Floats
from nocturne.ingestion.simulator.sessions import CONTEXTS, DEVICES, drift, schedule, split_sessions
from nocturne.ingestion.simulator.world import LISTENING, MARKETS, IntArray, Items, Listeners, Scenario

EVENTS = pa.schema(
    {
        "event_id": pa.string(),
        "user_id": pa.string(),
        "item_id": pa.string(),
        "listened_at": pa.timestamp("us", tz="UTC"),
        "ms_played": pa.int64(),
        "context": pa.string(),
        "device": pa.string(),
        "market": pa.string(),
    }
)

DAY_SECONDS = 86_400
ACTIVE_SHARE = 0.8
REDRAWS = 4


def listen(scenario: Scenario, items: Items, listeners: Listeners, first: int, night: int) -> tuple[pa.Table, int]:
    """The plays of a block of listeners on a night, in time.

    Args:
        first: number of the block's first listener.
        night: nights from the start.

    Returns:
        Rows of EVENTS in dictionary form, those of bots last, and the number of those.
    """
    rng = scenario.rng(LISTENING, night, first)
    people = _people(items, listeners, night, rng)
    bots = _bots(items, listeners, night, rng)
    columns = {name: np.concatenate([people[name], bots[name]]) for name in people}
    count = len(columns["listener"])
    midnight = np.datetime64(datetime.combine(scenario.start + timedelta(days=night), datetime.min.time()), "us")
    numbers = (night + 1) * 10**13 + first * 10**5 + np.arange(count)
    ids = pc.binary_join_element_wise("e", pa.array(numbers).cast(pa.string()), "")
    table = pa.table(
        {
            "event_id": ids,
            "user_id": _dictionary_array(columns["listener"], listeners.ids),
            "item_id": _dictionary_array(columns["item"], items.ids),
            "listened_at": pa.array(midnight + columns["milliseconds"] * 1000).cast(EVENTS.field("listened_at").type),
            "ms_played": pa.array(columns["ms_played"]),
            "context": _dictionary_array(columns["context"], pa.array(list(CONTEXTS))),
            "device": _dictionary_array(columns["device"], pa.array(DEVICES)),
            "market": _dictionary_array(listeners.market[columns["listener"]], pa.array(list(MARKETS))),
        }
    )
    return table, len(bots["listener"])


def _people(items: Items, listeners: Listeners, night: int, rng: np.random.Generator) -> dict[str, IntArray]:
    count = len(listeners.rate)
    active = (rng.random(count) < ACTIVE_SHARE) & (listeners.first_night <= night) & ~listeners.bot
    plays = rng.poisson(listeners.rate) * active
    listener = np.repeat(np.arange(count), plays)
    session = split_sessions(listener, rng)  # before anything is left out, which ends no session
    topic = drift(session, _draw_topics(listeners.tastes, listener, rng), rng)
    market = listeners.market[listener]
    item = items.draw(topic, rng)
    for _ in range(REDRAWS):
        unplayable = np.flatnonzero(~items.playable(item, market, night))
        item[unplayable] = items.draw(topic[unplayable], rng)
    playable = items.playable(item, market, night)
    listener, item, session = listener[playable], item[playable], session[playable]

    ms_played = _listening_time(items.duration_ms[item], rng)
    milliseconds, context, device = schedule(listener, session, ms_played, listeners.market[listener], rng)
    return {
        "listener": listener,
        "item": item,
        "milliseconds": milliseconds,
        "ms_played": ms_played,
        "context": context,
        "device": device,
    }


def _draw_topics(tastes: Floats, listener: IntArray, rng: np.random.Generator) -> IntArray:
    """A topic for each event, by the tastes of its listener."""
    cumulated = np.cumsum(tastes, axis=1)
    cumulated /= cumulated[:, -1:]
    ascending = (cumulated + np.arange(len(tastes))[:, None]).ravel()
    position = np.searchsorted(ascending, listener + rng.random(len(listener)), side="right")
    topic: IntArray = np.clip(position - listener * tastes.shape[1], 0, tastes.shape[1] - 1)
    return topic


def _listening_time(duration_ms: IntArray, rng: np.random.Generator) -> IntArray:
    """Milliseconds: some skip within half a minute, the others hear most of it."""
    count = len(duration_ms)
    skipped = rng.random(count) < 0.15
    return np.where(
        skipped, np.minimum(rng.integers(1_000, 30_000, count), duration_ms), duration_ms * rng.beta(8, 1, count)
    ).astype(np.int64)


def _bots(items: Items, listeners: Listeners, night: int, rng: np.random.Generator) -> dict[str, IntArray]:
    """Bots play a few items over and over, half a minute each, at distinct seconds of the whole day."""
    awake = np.flatnonzero(listeners.bot & (rng.random(len(listeners.bot)) < 0.7))
    rows = rng.integers(1_700, 2_300, len(awake))
    appeared = np.flatnonzero(items.first_night <= night)
    farmed = [rng.choice(appeared, size=5)[rng.integers(5, size=n)] for n in rows]
    seconds = [np.sort(rng.choice(DAY_SECONDS, size=n, replace=False)) for n in rows]
    total = int(rows.sum())
    empty = np.empty(0, np.int64)
    return {
        "listener": np.repeat(awake, rows),
        "item": np.concatenate([*farmed, empty]),
        "milliseconds": np.concatenate([*seconds, empty]) * 1_000,
        "ms_played": rng.integers(30_000, 33_000, total),
        "context": np.full(total, list(CONTEXTS).index("playlist")),
        "device": np.full(total, DEVICES.index("desktop")),
    }


def _dictionary_array(codes: IntArray, values: pa.Array) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), values)
