# ruff: noqa: E501 - the page is Markdown
"""Cost of a night at the size of the largest services, from the constants that benchmarks.scale measured.

    .venv/bin/python -m benchmarks.scale --interactions 9 --active 1 --json > events.jsonl
    .venv/bin/python -m benchmarks.scale --stored --listeners 200000 --json > stored.jsonl
    .venv/bin/python -m benchmarks.serve --json > serving.jsonl
    .venv/bin/python -m benchmarks.cost events.jsonl stored.jsonl serving.jsonl > docs/cost.md

Time is taken to grow with listeners x items x factors for scoring, with listeners for what is done once for each, with
events for ingestion and the matrix, with entries x factors for training, and with items x items x factors for what is
related. Wall time of a stage counts for both cores, busy or not. Nothing is added for a network.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GIB, HOUR = 2**30, 3600
Lines = list[dict[str, Any]]
FACTORS, ROW = 64, 50
INT32_ENTRIES = 2**31


@dataclass(frozen=True)
class Service:
    """Size of a service, and the machines it runs on."""

    listeners: float = 300e6
    items: float = 5e6
    changed: float = 0.3
    events_a_listener: float = 15
    machines: int = 100
    cores: int = 32
    memory_gib: int = 128


@dataclass(frozen=True)
class Constants:
    """Core seconds and bytes, as measured on 2 cores."""

    ingest: float
    build: float
    keep: float
    train: float
    score: float
    solve: float
    carry: float
    relate: float
    validate_event: float
    validate_listener: float
    refresh: float
    delta: float
    cache_listener: dict[str, float]
    cache_item: dict[str, float]

    @classmethod
    def of(cls, events: Lines, stored: Lines, serving: Lines) -> "Constants":
        """Read off the lines of two runs of benchmarks.scale, of events and of a stored matrix, and of benchmarks.serve."""
        first, second = _stages(events, "first"), _stages(events, "second")
        (listened,) = [line for line in events if "cache_bytes" in line]
        ingest, build = first["ingest_events"], first["build_interactions"]
        an_event = 2 * build["seconds"] / build["rows_read"]
        again = second["build_interactions"]
        of_listeners = sum(first[stage]["validation_seconds"] for stage in ("build_interactions", "rank_users"))
        ranked, train = _stages(stored, "first")["rank_users"], _stages(stored, "first")["train_als"]
        (size,) = [line for line in stored if "cache_bytes" in line]
        spent, listeners = size["processor_seconds"], size["listeners"]
        others = sum(spent[what] for what in ("plan", "read", "assemble", "write"))
        return cls(
            ingest=2 * ingest["seconds"] / ingest["rows_read"],
            build=an_event,
            keep=max(0.0, 2 * again["seconds"] - an_event * again["rows_read"]) / listened["listeners"],
            train=2 * train["seconds"] / (size["interactions"] * FACTORS),
            score=spent["score"] / (listeners * size["items"] * FACTORS),
            solve=spent["solve"] / listeners,
            carry=others / listeners,
            relate=2 * first["relate_items"]["seconds"] / (listened["items"] ** 2 * FACTORS),
            validate_event=2 * ingest["validation_seconds"] / ingest["rows_read"],
            validate_listener=2 * of_listeners / listened["listeners"],
            refresh=2 * first["refresh_cache"]["seconds"] / listened["listeners"],
            delta=ranked["bytes_written"] / listeners,
            cache_listener={line["store"]: line["bytes_a_listener"] for line in serving if "store" in line},
            cache_item={line["store"]: line["bytes_an_item"] for line in serving if "store" in line},
        )


def _stages(lines: Lines, night: str) -> dict[str, dict[str, Any]]:
    return {line["stage"]: line for line in lines if line.get("night") == night and "stage" in line}


def page(measured: Constants, service: Service) -> str:
    """The page, in Markdown."""
    events = service.listeners * service.changed * service.events_a_listener
    score = measured.score * service.listeners * service.items * FACTORS
    each = (measured.solve + measured.carry) * service.listeners
    sample = min(1.0, INT32_ENTRIES / (service.listeners * ROW))
    entries = sample * service.listeners * ROW
    full = {
        "ingest_events": measured.ingest * events,
        "build_interactions: tonight's events": measured.build * events,
        "build_interactions: rows that stay as they are": measured.keep * service.listeners,
        "train_als, on one machine": measured.train * entries * FACTORS,
        "rank_users: scoring": score,
        "rank_users: solving, reading, writing": each,
        "relate_items": measured.relate * service.items**2 * FACTORS,
        "validation: of events": measured.validate_event * events,
        "validation: of listeners' rows, pools and lists": measured.validate_listener * service.listeners,
        "refresh_cache: hashing, coverage, loading": measured.refresh * service.listeners,
    }
    incremental = full | {
        "train_als, on one machine": 0.0,
        "rank_users: scoring": service.changed * score,
        "rank_users: solving, reading, writing": each - (1 - service.changed) * measured.solve * service.listeners,
        "relate_items": 0.0,
    }
    listener, item = measured.cache_listener, measured.cache_item

    def generation(store: str, listeners: float, items: float = service.items) -> float:
        return listeners * listener[store] + items * item[store]

    sizes = "\n".join(
        f"| {listeners / 1e6:,.0f} million | {items / 1e6:,.1f} million | {generation('LMDB', listeners, items) / GIB:,.0f} GiB "
        f"| {generation('Redis', listeners, items) / GIB:,.0f} GiB | {3 * generation('Redis', listeners, items) / GIB:,.0f} GiB |"
        for listeners, items in ((1e6, 0.1e6), (10e6, 1e6), (100e6, 5e6), (service.listeners, service.items))
    )
    cores = service.machines * service.cores
    rows = "\n".join(
        f"| {name} | {seconds / HOUR:,.0f} | {incremental[name] / HOUR:,.0f} |" for name, seconds in full.items()
    )
    totals = [sum(each.values()) for each in (full, incremental)]
    model = service.items * (8 * FACTORS + 256) / GIB
    return f"""# What a night costs

For {service.listeners / 1e6:,.0f} million listeners and {service.items / 1e6:,.0f} million items, {FACTORS} factors, lists of 50, on
{service.machines} machines of {service.cores} cores and {service.memory_gib} GiB. {service.changed:.0%} of the listeners are active in a day, with
{service.events_a_listener:g} events each. Everything is worked out from three runs on a machine of 2 cores:

```sh not-run="measures for half an hour"
.venv/bin/python -m benchmarks.scale --interactions 9 --active 1 --json > data/events.jsonl
.venv/bin/python -m benchmarks.scale --stored --listeners 200000 --json > data/stored.jsonl
.venv/bin/python -m benchmarks.serve --json > data/serving.jsonl
.venv/bin/python -m benchmarks.cost data/events.jsonl data/stored.jsonl data/serving.jsonl > docs/cost.md
```

| measured | | run |
| --- | --- | --- |
| ingesting an event (wall time of both cores) | {measured.ingest * 1e6:,.1f} core microseconds | events |
| adding an event to the matrix (the same) | {measured.build * 1e6:,.1f} core microseconds | events |
| a row of the matrix whose listener heard nothing (the same) | {measured.keep * 1e6:,.1f} core microseconds | events |
| training: an interaction and a factor, ten iterations (the same) | {measured.train * 1e9:,.1f} core nanoseconds | stored |
| scoring a listener against an item, a factor; most items left out by their norm | {measured.score * 1e12:,.2f} core picoseconds | stored |
| solving a listener | {measured.solve * 1e6:,.0f} core microseconds | stored |
| reading, planning, assembling and writing a listener | {measured.carry * 1e6:,.0f} core microseconds | stored |
| relating two items, a factor; of many pairs the norms suffice (wall time of both cores) | {measured.relate * 1e12:,.2f} core picoseconds | events |
| validating an event; what is written for a listener (the same) | {measured.validate_event * 1e6:,.1f}, {measured.validate_listener * 1e6:,.0f} core microseconds | events |
| hashing, covering and loading a listener's list into LMDB (the same) | {measured.refresh * 1e6:,.0f} core microseconds | events |
| `pools` and `ranked_lists`, a listener | {measured.delta:,.0f} bytes | stored |
| serving cache, a listener: LMDB, Redis | {listener["LMDB"]:,.0f}, {listener["Redis"]:,.0f} bytes | serving |
| serving cache, an item: LMDB, Redis | {item["LMDB"]:,.0f}, {item["Redis"]:,.0f} bytes | serving |

| core hours | in full, as after a new model | carried over |
| --- | --- | --- |
{rows}
| **together** | **{totals[0] / HOUR:,.0f}** | **{totals[1] / HOUR:,.0f}** |
| hours on {cores:,} cores | {totals[0] / HOUR / cores:,.2f} | {totals[1] / HOUR / cores:,.2f} |

- **Training** is on one machine: {entries / 1e9:,.2f} billion interactions, {sample:.1%} of the listeners, {16 * entries / GIB:,.0f} GiB for
  the matrix and its transpose; {measured.train * entries * FACTORS / HOUR / service.cores:,.1f} hours on its {service.cores} cores.
- **Loading LMDB** is one process a cache, which takes {measured.refresh * service.listeners / 2 / HOUR:,.1f} hours for all listeners; a service of this
  size shards its cache by listener, or serves from Redis, which every executor loads.
- **Memory of a machine** while ranking: {model:,.1f} GiB of model, mapped once, and {service.cores} workers of about half a GiB.
- **Shuffled**: the night's events twice, by `ingest_events`, which brings them together by event and by listener, with the ids of
  the recent nights. By `build_interactions` and `rank_users` nothing: their inputs lie by bucket already.
- **Written**: {service.listeners * measured.delta / 1e9:,.0f} GB of pools and lists into Delta a night, carried over or not, and
  {generation("LMDB", service.listeners) / 1e9:,.0f} GB into the cache.

## The serving cache

A generation is all that a reader needs ([decision](decisions/a-generation-is-all-a-reader-needs.md)): of a listener the list of {ROW} items, {FACTORS}
factors, 100 heard items with their weights; of an item what people see, its factors, 50 neighbours and 75 related items. Measured
on generations of that shape; the days after which heard items come back (`ranking.let_back_after_days`) add 200 bytes a listener.

| listeners | items | LMDB, a generation | Redis, a generation | Redis, three of them |
| --- | --- | --- | --- | --- |
{sizes}

Redis has the generations that a rollback can serve beside the one that is served (`cache.generations`, two in all at the least), and the
one that is being loaded: three at the least, and `maxmemory` must have room for them. Every machine that answers copies the
items of a generation to its disk once.

## Limits

**The first limit met** is the training matrix: int32 indexes end at {INT32_ENTRIES / 1e9:,.1f} billion entries, so at most {sample:.0%} of these
listeners can be trained on (`als.sample_share`; the rest are solved exactly all the same). The second is writing: every night
copies every pool and list, which costs more than computing those that changed once fewer than
{measured.carry / (measured.solve + measured.score * service.items * FACTORS):.1%} of the listeners do.

What does not follow from these constants: stragglers, a network, object storage; and the share of items that norms leave out,
which is the model's: where they leave out nothing, a pair takes 2 operations a factor at the rate of sgemm, and 151 GFLOP/s
(`.venv/bin/python -m benchmarks.rank`) are 13 core picoseconds: its line above would be about three times as long. The first night's ingestion was measured while tests ran beside it.
"""


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("events", type=Path, help="what benchmarks.scale --json printed")
    parser.add_argument("stored", type=Path, help="what benchmarks.scale --stored --json printed")
    parser.add_argument("serving", type=Path, help="what benchmarks.serve --json printed")
    options = parser.parse_args()
    runs = (
        [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        for file in (options.events, options.stored, options.serving)
    )
    print(page(Constants.of(*runs), Service()), end="")


if __name__ == "__main__":
    main()
