"""Days of the arena's service: what is heard, by itself and of lists that are shown, and what lands of it."""

from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.arena.year import Year
from nocturne.ingestion.simulator.listening import EVENTS, listen
from nocturne.ingestion.simulator.memory import LATELY, MEMORIES, Memory
from nocturne.ingestion.simulator.reactions import Reaction
from nocturne.ingestion.simulator.shown_lists import opened_at, play_events

LATE = 0.02
"""Share of a day's events that land on the day after it."""

DUPLICATES = 0.004
REJECTED = {"bot": 0.003, "missing_user": 0.002, "future": 0.001, "unparsable": 0.001}
"""Rows that are rejected, of those read, by reason."""

_DAY = 86_400_000_000
"""In microseconds."""


@dataclass(frozen=True)
class Day:
    """A landing day.

    Attributes:
        listens: of `listens`, by listener.
        exposures: of `exposures`.
        account: of `ingests`: rows read, duplicates, and so on.
        rejected: rows by reason.
    """

    listens: pa.Table
    exposures: pa.Table
    account: dict[str, float]
    rejected: dict[str, float]


@dataclass(frozen=True)
class Past:
    """The memories of listeners, and events that are still to land.

    Attributes:
        memories: rows of MEMORIES of each of the last days, oldest first.
        pending: events of the day before.
    """

    memories: tuple[pa.Table, ...] = ()
    pending: pa.Table = field(default_factory=EVENTS.empty_table)

    def memory(self, year: Year, number: int) -> Memory:
        """The memory of all listeners on a day."""
        rows = pa.concat_tables([MEMORIES.empty_table(), *self.memories])
        return Memory.of(rows, year.audience.listeners, year.world.items, number)


def live(year: Year, number: int, lists: pa.Table | None, past: Past) -> tuple[Day, Past]:
    """A day with lists of the night before, and what is remembered of it.

    Args:
        lists: rows of `ranked_lists`; None before the first ones.
    """
    audience = year.audience_of(number)
    people = replace(audience.listeners, rate=year.rates(number))
    organic, _ = listen(year.world.scenario, year.world.items, people, 0, number)
    events, shown, exposures = [organic.cast(EVENTS)], [], EXPOSURES.empty_table()
    if lists is not None:
        reaction = audience.react(lists, past.memory(year, number))
        events.append(play_events(reaction))
        items = year.ids.take(pa.array(reaction.views.item))
        users = audience.listeners.ids.take(pa.array(reaction.views.listener))
        shown.append(_memories(users, items, number, heard=False))
        exposures = _exposures(reaction)
    together = pa.concat_tables(events).combine_chunks()
    rng = np.random.default_rng((year.world.scenario.seed, 3, number))
    delayed = rng.random(together.num_rows) < LATE
    landed = pa.concat_tables([together.filter(pa.array(~delayed)), past.pending])
    heard = _memories(together["user_id"], together["item_id"], number, heard=True)
    memories = (*past.memories, pa.concat_tables([heard, *shown]))[-LATELY:]
    listens = listens_of(landed, year.date(number))
    rejected = {reason: float(rng.poisson(share * landed.num_rows)) for reason, share in REJECTED.items()}
    duplicates = float(rng.poisson(DUPLICATES * landed.num_rows))
    return Day(listens, exposures, account_of(listens, rejected, duplicates), rejected), Past(
        memories, together.filter(pa.array(delayed))
    )


def listens_of(events: pa.Table, day: object) -> pa.Table:
    """Events as rows of `listens`, by listener."""
    days = events["listened_at"].cast(pa.int64()).to_numpy() // _DAY
    night = np.datetime64(day, "D").astype(np.int64)
    rows = events.append_column("plays", pa.array(np.ones(events.num_rows, np.int64)))
    return rows.append_column("late", pa.array(days < night)).sort_by("user_id").combine_chunks()


def account_of(listens: pa.Table, rejected: dict[str, float], duplicates: float) -> dict[str, float]:
    """The row of `ingests`."""
    return {
        "rows_read": listens.num_rows + sum(rejected.values()) + duplicates,
        "listens": float(listens.num_rows),
        "duplicates": duplicates,
        "quarantined": sum(rejected.values()),
        "late": float(pc.sum(listens["late"]).as_py() or 0),
        "listeners": float(pc.count_distinct(listens["user_id"]).as_py()),
    }


def _memories(users: pa.ChunkedArray, items: pa.ChunkedArray, number: int, *, heard: bool) -> pa.Table:
    count = len(users)
    columns = [users, items, pa.repeat(number, count), pa.repeat(pa.scalar(heard), count)]
    return pa.table(columns, names=MEMORIES.names).cast(MEMORIES)


EXPOSURES = pa.schema(
    {
        "user_id": pa.string(),
        "shown_at": pa.timestamp("us", "UTC"),
        "surface": pa.string(),
        "arm": pa.string(),
        "source": pa.string(),
        "market": pa.string(),
        "items": pa.list_(pa.struct({"item_id": pa.string(), "propensity": pa.float64()})),
        "late": pa.bool_(),
    }
)
"""Columns of `exposures` that count."""


def _exposures(reaction: Reaction) -> pa.Table:
    lists = reaction.lists.combine_chunks()
    items, drawn = lists["items"].combine_chunks(), lists["propensities"].combine_chunks()
    lengths = pc.list_value_length(items).to_numpy()
    chances = np.ones(lengths.sum())
    chances[np.repeat(np.asarray(pc.is_valid(drawn)), lengths)] = drawn.flatten().to_numpy()
    structs = pa.StructArray.from_arrays(
        [pc.struct_field(items.flatten(), "item_id"), pa.array(chances)], ["item_id", "propensity"]
    )
    ends = pa.array(np.append(0, np.cumsum(lengths)).astype(np.int32))
    day = np.datetime64(reaction.audience.world.scenario.start, "us") + np.timedelta64(reaction.audience.night, "D")
    times = day + opened_at(reaction.audience)[reaction.rows].astype("timedelta64[ms]")
    return pa.table(
        {
            "user_id": lists["user_id"],
            "shown_at": pa.array(times, pa.timestamp("us")).cast(pa.timestamp("us", "UTC")),
            "surface": pa.repeat("list", lists.num_rows),
            **{name: lists[name] for name in ("arm", "source", "market")},
            "items": pa.ListArray.from_arrays(ends, structs),
            "late": pa.array(np.zeros(lists.num_rows, bool)),
        }
    ).cast(EXPOSURES)
