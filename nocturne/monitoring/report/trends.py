"""Trends over a month of nights, one line a metric, a market or a stage."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import date, timedelta
from statistics import median
from typing import Any

import pyarrow.compute as pc

from nocturne.core.night import Night
from nocturne.flow import NIGHTLY
from nocturne.monitoring.report.charts import Line, line
from nocturne.monitoring.report.compared_lists import NO_MARKET
from nocturne.monitoring.report.names import change, number, percent, shorten, size
from nocturne.serving.night_record import GATE_CLOSED, ROLLED_BACK, SUPERSEDED, NightRecord
from nocturne.storage import tables

NIGHTS = 30
WHOLE = "all"
"""Kind of segment of a metric over a whole table."""

METRICS = (
    ("ingests", "listens", "listens"),
    ("ingests", "listeners", "listeners who listened"),
    ("listens", "share_late", "listens that came late"),
    ("ingests", "share_duplicates", "events that came twice"),
    ("ingests", "share_unusable", "events that cannot be used"),
    ("ingests", "share_bots", "events of bots"),
    ("listens", "median_ms_played", "milliseconds of a play, median"),
    ("items", "items", "items in the catalogue"),
    ("items", "share_unavailable", "items that may not be listed"),
    ("interactions", "share_changed", "listeners who listened, of all"),
    ("item_factors", "cosine_to_last_model", "cosine to the last model"),
    ("models", "model_age_days", "age of the model, nights"),
    ("ranked_lists", "mean_churn", "new items in a list"),
    ("ranked_lists", "mean_displacement", "places that an item moves"),
    ("ranked_lists", "item_shift", "places that moved between items"),
    ("ranked_lists", "share_fallback", "lists without factors"),
    ("ranked_lists", "items_listed", "different items in lists"),
    ("ranked_lists", "gini_of_items", "inequality of items, Gini"),
    ("ranked_lists", "gini_of_creators", "inequality of creators, Gini"),
    ("ranked_lists", "share_of_top_percent", "places of the most listed items"),
    ("ranked_lists", "mean_popularity", "popularity of a place, listeners"),
    ("ranked_lists", "share_tail", "places outside of the popular fifth"),
    ("ranked_lists", "share_cold", "places of cold items"),
    ("ranked_lists", "share_explored", "places that were drawn"),
    ("ranked_lists", "share_steered", "lists by a standing plan"),
    ("ranked_lists", "mean_type_divergence", "distance to the listener's own mix, bits"),
    ("ranked_lists", "hit_rate", "lists of which something was heard"),
    ("exposures", "exposures", "exposures"),
    ("exposures", "share_as_computed", "shown places that are as computed"),
)
"""Table, metric and words of the lines, in the order of the flow; those that no night has are left out."""

Row = dict[str, Any]
Series = dict[date, float]


def metric_lines(night: Night) -> list[Line]:
    """A line per metric that some night of the month has."""
    values = metric_series(night)
    lines = [line(words, f"{table}.{metric}", values.get((table, metric), {})) for table, metric, words in METRICS]
    return [each for each in lines if each]


def metric_series(night: Night) -> dict[tuple[str, str], Series]:
    """Values over whole tables by table and metric, over the month that ends with the night."""
    of_tables = pc.field("table").isin(sorted({table for table, _, _ in METRICS}))
    whole = (pc.field("segment_kind") == WHOLE) & of_tables
    columns = ["run_date", "table", "metric", "value"]
    found: dict[tuple[str, str], Series] = defaultdict(dict)
    for row in tables.rows(night.warehouse, "night_metrics", _month(night) & whole, columns).to_pylist():
        found[row["table"], row["metric"]][row["run_date"]] = row["value"]
    return found


def market_lines(night: Night, records: list[NightRecord], groups: list[str]) -> dict[str, list[Line]]:
    """Listeners with a list, and different items in lists, by market: a line a market, over the month."""
    first = night.run_date - timedelta(days=NIGHTS - 1)
    series: dict[tuple[str, str], Series] = defaultdict(dict)
    for record in records:  # of a date the row that counts comes last
        if first <= record.run_date <= night.run_date and record.state not in {GATE_CLOSED, SUPERSEDED, ROLLED_BACK}:
            for row in record.manifest.coverage:
                market = row["market"] or NO_MARKET
                if row["content_type"] == "" and market in groups:
                    series["listeners", market][record.run_date] = float(row["listeners"])
                    series["items", market][record.run_date] = float(row["items"])
    return {
        name: [drawn for market in groups if (drawn := line(shorten(market), words, series[name, market]))]
        for name, words in (("listeners", "listeners"), ("items", "different items"))
    }


def cost_rows(night: Night) -> list[Row]:
    """A row a stage that ran, in the order of the flow: what it took beside the median of the month before."""
    columns = ["run_date", "stage", "seconds", "rows_written", "bytes_written"]
    by_stage: dict[str, dict[date, Row]] = defaultdict(dict)
    for row in tables.rows(night.warehouse, "costs", _month(night), columns).to_pylist():
        by_stage[row["stage"]][row["run_date"]] = row
    rows = []
    for name in (stage.name for stage in NIGHTLY):
        tonight = by_stage[name].get(night.run_date)
        if tonight is None:
            continue
        seconds = {day: row["seconds"] for day, row in by_stage[name].items()}
        usual = _usual(seconds, night.run_date)
        rows.append(
            {
                "stage": name,
                "seconds": tonight["seconds"],
                "usual": number(usual),
                "change": change(tonight["seconds"], usual),
                "rows": f"{tonight['rows_written']:,}",
                "bytes": size(tonight["bytes_written"]),
                "line": line(name, "seconds", seconds),
            }
        )
    return rows


def coverage_rows(record: NightRecord) -> list[Row]:
    """A row a market of the lists that a generation has: listeners, how many lists are personal and full, places."""
    by_market: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for row in record.manifest.coverage:
        by_market[row["market"]][row["content_type"]] = row
    ordered = sorted(by_market, key=lambda market: (market != "*", -_listeners(by_market[market]), market))
    rows = []
    for market in ordered:
        of_all = by_market[market].get("")
        if of_all is None:
            continue
        listeners, slots = of_all["listeners"], of_all["slots"] or 1
        types = {name: row["slots"] / slots for name, row in sorted(by_market[market].items()) if name}
        rows.append(
            {
                "market": {"*": "everywhere", "": "no market"}.get(market, shorten(market)),
                "listeners": f"{listeners:,}",
                "personal": percent(of_all["personal"] / listeners if listeners else None),
                "full": percent(of_all["full"] / listeners if listeners else None),
                "items": f"{of_all['items']:,}",
                "types": ", ".join(f"{name.replace('_', ' ')} {percent(share)}" for name, share in types.items()),
            }
        )
    return rows


def _listeners(by_type: Mapping[str, Mapping[str, Any]]) -> int:
    return int(by_type.get("", {}).get("listeners", 0))


def _usual(values: Series, night: date) -> float | None:
    before = [value for day, value in values.items() if day < night]
    return median(before) if before else None


def _month(night: Night) -> pc.Expression:
    first = night.run_date - timedelta(days=NIGHTS - 1)
    return (pc.field("run_date") >= first) & (pc.field("run_date") <= night.run_date)
