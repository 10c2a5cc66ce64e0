"""Rows on which an expectation fails, where single rows can be told to: the first ones of a night's table.

A profile judges a table by sums, and says no row. Here the rule of one row is looked for in the rows, a batch at a
time, until enough are found. Metrics about a whole table, such as its size, have no such rows.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import islice
from math import isfinite
from typing import Any

import pyarrow as pa

from nocturne.core.night import Night
from nocturne.core.stage import Progress
from nocturne.storage import tables

Row = dict[str, Any]
Breaks = Callable[[Row], bool]
"""True of a row that breaks the rule; rows come in the order of the table."""

SHOWN: Mapping[str, tuple[str, ...]] = {
    "listens": ("event_id", "user_id", "item_id", "listened_at", "ms_played", "plays"),
    "quarantine": ("reason", "file", "raw"),
    "items": ("item_id", "title", "creator"),
    "ranked_lists": ("user_id", "market", "arm", "source", "model_version", "candidates", "items"),
    "interactions": ("user_id", "changed_on"),
    "pools": ("user_id", "computed_on", "model_version"),
    "item_factors": ("item_id", "model_version", "factors"),
}
"""Columns that a row is told by, of tables whose rows can be found."""

FROM_QUARANTINE = {
    "share_unusable": None,
    "share_unparsable": "unparsable",
    "share_bots": "bot",
}
"""Metrics of `ingests` that rows of `quarantine` are the reason for, and the reason they have; None: any."""


def failing_rows(night: Night, table: str, metric: str, most: int, progress: Progress) -> list[Row]:
    """The first rows of a night's table on which an expectation fails, by the columns in SHOWN.

    Raises:
        Whatever `progress` does: it is told after every batch.
    """
    if table == "ingests" and metric in FROM_QUARANTINE:
        reason = FROM_QUARANTINE[metric]
        return list(islice(_found(night, "quarantine", lambda row: reason in (None, row["reason"]), progress), most))
    rule = RULES.get((table, metric))
    if rule is None or most <= 0:
        return []
    return list(islice(_found(night, table, rule(night), progress), most))


def can_be_found(table: str, metric: str) -> bool:
    """True of an expectation that single rows fail."""
    return (table, metric) in RULES or (table == "ingests" and metric in FROM_QUARANTINE)


def _found(night: Night, table: str, breaks: Breaks, progress: Progress) -> Iterator[Row]:
    rows, read = tables.count(night, table), 0
    for batch in tables.batches(night, table):
        for row in batch.to_pylist():
            if breaks(row):
                yield {name: row[name] for name in SHOWN[table]}
        read += batch.num_rows
        progress(read, rows, f"{table}: rows looked through")


def _each(breaks: Callable[[Night, Row], bool]) -> Callable[[Night], Breaks]:
    return lambda night: lambda row: breaks(night, row)


def _again(*key: str) -> Callable[[Night], Breaks]:
    """Rows whose key has come before."""

    def rule(_night: Night) -> Breaks:
        seen: set[tuple[Any, ...]] = set()

        def breaks(row: Row) -> bool:
            values = tuple(row[name] for name in key)
            again = values in seen
            seen.add(values)
            return again

        return breaks

    return rule


def _scores(row: Row) -> list[float]:
    return [item["score"] for item in row["items"]]


def _ids(row: Row) -> list[str]:
    return [item["item_id"] for item in row["items"]]


def _ineligible(night: Night) -> Breaks:
    """Lists with an item that the catalogue bars: by market, by explicitness or by date."""
    from nocturne.validation.profiles.catalogue_rules import Catalogue  # with all profiles, which takes seconds

    items = tables.night_rows(night, "items", Catalogue.COLUMNS)
    words = tables.night_rows(night, "takedowns", Catalogue.WORDS)
    catalogue = Catalogue(items, night.run_date, night.settings.ranking.explicit_blocked_markets, words)

    @cache
    def barred(market: str | None) -> frozenset[str]:
        return frozenset(catalogue.item_ids.filter(pa.array(catalogue.barred(market))).to_pylist())

    return lambda row: not barred(row["market"]).isdisjoint(_ids(row))


def _short(night: Night, row: Row) -> bool:
    return len(row["items"]) < min(night.settings.ranking.top_k, int(row["candidates"]))


def _impossible(night: Night, row: Row) -> bool:
    limits = night.settings.listens
    played = row["ms_played"]
    beyond: bool = not 1 <= row["plays"] <= limits.max_plays
    return beyond or bool(played is not None and not 0 <= played <= limits.max_ms_played)


def _outside_day(night: Night, row: Row) -> bool:
    days: int = (night.run_date - row["listened_at"].date()).days
    return not 0 <= days <= night.settings.listens.late_days


RULES: Mapping[tuple[str, str], Callable[[Night], Breaks]] = {
    ("listens", "empty_keys"): _each(lambda _, row: not (row["event_id"] and row["user_id"] and row["item_id"])),
    ("listens", "duplicate_events"): _again("event_id"),
    ("listens", "outside_day"): _each(_outside_day),
    ("listens", "impossible_values"): _each(_impossible),
    ("items", "duplicate_items"): _again("item_id"),
    ("interactions", "duplicate_listeners"): _again("user_id"),
    ("pools", "repeated"): _again("user_id"),
    ("item_factors", "duplicate_items"): _again("item_id"),
    ("item_factors", "not_finite"): _each(lambda _, row: not all(map(isfinite, row["factors"]))),
    ("ranked_lists", "duplicate_keys"): _again("user_id", "arm"),
    ("ranked_lists", "share_short"): _each(_short),
    ("ranked_lists", "share_empty"): _each(lambda _, row: not row["items"]),
    ("ranked_lists", "too_long"): _each(lambda night, row: len(row["items"]) > night.settings.ranking.top_k),
    ("ranked_lists", "lists_with_duplicates"): _each(lambda _, row: len(set(_ids(row))) < len(row["items"])),
    ("ranked_lists", "not_finite"): _each(lambda _, row: not all(map(isfinite, _scores(row)))),
    ("ranked_lists", "ineligible_items"): _ineligible,
}
"""The rule of one row, by table and metric."""
