"""Opened lists as they land: the exposures of a block, and the events of what was played of them. Pure."""

import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.ingestion.simulator.listening import EVENTS
from nocturne.ingestion.simulator.reactions import HEARING, SHOWING, Audience, Reaction
from nocturne.ingestion.simulator.sessions import DAY_MS
from nocturne.ingestion.simulator.world import MARKETS, IntArray

OPENED_BY_MS = 18 * 3_600_000
"""Time of the day, UTC, by which every list was opened; what is played of it has the rest of the day."""

CONTEXT, DEVICE = "list", "phone"

_LISTS_AT_ONCE = 4096
_FINISHING = 1 / 8


def opened_at(audience: Audience) -> IntArray:
    """When each listener opens their list if they do, milliseconds of the UTC day; shape (listeners,)."""
    opened: IntArray = (audience.chances(SHOWING) * OPENED_BY_MS).astype(np.int64)
    return opened


def exposure_lines(reaction: Reaction, generation: str, night: date) -> Iterator[bytes]:
    """Exposures of the lists that were opened but for those that are lost, as many lines at once as fit into memory.

    Args:
        reaction: with lists of all columns that an exposure tells of.
        generation, night: that the lists are of.
    """
    landed = ~reaction.lost
    lists = reaction.lists.filter(pa.array(landed))
    times = _midnight(reaction.audience) + opened_at(reaction.audience)[reaction.rows[landed]]
    for start in range(0, lists.num_rows, _LISTS_AT_ONCE):
        some = lists.slice(start, _LISTS_AT_ONCE)
        texts = _lines(reaction.audience.night, some, times[start : start + _LISTS_AT_ONCE], generation, night)
        yield "".join(texts.to_pylist()).encode()


def play_events(reaction: Reaction) -> pa.Table:
    """Events of the items that were played, one after another from when the list was opened.

    Whoever has too little of the day left for all of it hears everything shortened alike. As of every play that is not
    skipped, a share of Beta(8, 1) of the item is heard.

    Returns:
        EVENTS, list by list and from the top.
    """
    audience, views, played = reaction.audience, reaction.views, reaction.played
    listener, item = views.listener[played], views.item[played]
    shares = audience.chances(HEARING, views)[played] ** _FINISHING
    ms_played = (audience.world.items.duration_ms[item] * shares).astype(np.int64)
    opened = opened_at(audience)[listener]
    users, items = audience.listeners.ids.take(pa.array(listener)), audience.world.items.ids.take(pa.array(item))
    times = _midnight(audience) + opened + _elapsed(listener, ms_played, DAY_MS - 1 - opened)
    columns = {
        "event_id": pc.binary_join_element_wise(f"r{audience.night}", users, items, "-"),
        "user_id": users,
        "item_id": items,
        "listened_at": pa.array(times).cast(EVENTS.field("listened_at").type),
        "ms_played": pa.array(ms_played),
        "context": pa.repeat(CONTEXT, len(item)),
        "device": pa.repeat(DEVICE, len(item)),
        "market": pa.array(list(MARKETS)).take(pa.array(audience.listeners.market[listener])),
    }
    return pa.table(columns).cast(EVENTS)


def shown_items(reaction: Reaction) -> pa.Table:
    """The truth of what was shown, an item a row, list by list and from the top; exposures that are lost among it."""
    views, lists = reaction.views, reaction.lists
    lengths = pc.list_value_length(lists["items"]).to_numpy()
    of_item = pa.array(np.repeat(np.arange(lists.num_rows), lengths))
    return pa.table(
        {
            "user_id": lists["user_id"].take(of_item),
            "arm": lists["arm"].take(of_item),
            "item_id": pc.struct_field(lists["items"].combine_chunks().flatten(), "item_id"),
            "place": views.place,
            "probability": views.probability,
            "played": reaction.played,
            "lost": np.repeat(reaction.lost, lengths),
        }
    )


def _elapsed(listener: IntArray, ms_played: IntArray, left_ms: IntArray) -> IntArray:
    """Milliseconds from the opening to each play.

    Args:
        listener: of each play, ascending.
        left_ms: of the day, when the list was opened.
    """
    before = np.cumsum(ms_played) - ms_played
    first = np.searchsorted(listener, listener)
    total = np.bincount(listener, ms_played)[listener] if len(listener) else before
    shortened = np.minimum(1, left_ms / np.maximum(total, 1))
    return ((before - before[first]) * shortened).astype(np.int64)


def _midnight(audience: Audience) -> np.datetime64:
    day = audience.world.scenario.start + timedelta(days=audience.night)
    return np.datetime64(datetime.combine(day, datetime.min.time()), "ms")


def _lines(day: int, lists: pa.Table, times: np.ndarray, generation: str, night: date) -> pa.Array:
    """A line for each list, in JSON; docs/landing.md has the format."""
    lists = lists.combine_chunks()
    users = lists["user_id"].combine_chunks()
    shown_at = pc.strftime(pa.array(times, pa.timestamp("ms")), "%Y-%m-%dT%H:%M:%SZ")
    texts = {
        "exposure_id": _quoted(pc.binary_join_element_wise(f"x{day}", users, "-")),
        "user_id": _quoted(users),
        "shown_at": _quoted(shown_at),
        "surface": '"list"',
        "generation": json.dumps(generation),
        "run_date": f'"{night}"',
        **{name: _quoted(lists[name].combine_chunks()) for name in ("arm", "source", "model_version")},
        "playing": "null",
        "market": _quoted(lists["market"].combine_chunks()),
        "items": _items(lists["items"].combine_chunks(), lists["propensities"].combine_chunks()),
    }
    pieces = [piece for name, text in texts.items() for piece in (f', "{name}": ', text)]
    return pc.binary_join_element_wise("{", pieces[0][2:], *pieces[1:], "}\n", "")


def _items(items: pa.ListArray, propensities: pa.ListArray) -> pa.Array:
    """JSON lists of items with their propensities: 1 where nothing was drawn."""
    lengths = pc.list_value_length(items).to_numpy()
    shown = items.flatten()
    drawn = np.ones(len(shown))
    drawn[np.repeat(np.asarray(pc.is_valid(propensities)), lengths)] = propensities.flatten().to_numpy()
    numbers = pa.array(drawn).cast(pa.string())
    texts = pc.binary_join_element_wise(
        '{"item_id": ', _quoted(pc.struct_field(shown, "item_id")), ', "propensity": ', numbers, "}", ""
    )
    ends = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    joined = pc.binary_join(pa.ListArray.from_arrays(ends, texts), ", ")
    return pc.binary_join_element_wise("[", joined, "]", "")


def _quoted(texts: pa.Array) -> pa.Array:
    """Texts as JSON has them; null for null."""
    coded = texts.dictionary_encode()
    quoted = pa.array([json.dumps(text) for text in coded.dictionary.to_pylist()], pa.string())
    return pc.fill_null(quoted.take(coded.indices), "null")
