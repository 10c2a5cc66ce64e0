"""Changes between two nights' lists as a page tells them: panels by market, listeners and creators who changed most."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from nocturne.core.arrays import Counts
from nocturne.monitoring.report.charts import Bars, Histogram, bars, histogram
from nocturne.monitoring.report.compared_lists import BINS, SHOWN, ComparedLists
from nocturne.monitoring.report.names import Listeners, Titles, percent, shorten

MARKETS = 8
"""Markets with a panel of their own, those with most listeners; the others are in one more."""

OTHERS = "other markets"
HEAD = 5
"""Items that a listener's list is told by."""

TITLES = 3
SOURCES = ("als", "previous", "market_popular", "global_popular")

Row = dict[str, Any]


@dataclass(frozen=True)
class Changes:
    """Two nights' lists beside each other, in figures and panels."""

    both: int
    new: int
    gone: int
    new_places: float
    unmoved: float
    distances: list[Histogram]
    sources: list[Bars]
    content_types: list[Bars]
    listeners: list[Row]
    creators: list[Row]


def changes(compared: ComparedLists, names: Listeners) -> Changes:
    """The changes of compared lists."""
    titles = Titles(compared.item_ids, compared.catalogue)
    groups = market_groups(compared)
    distances = _by_group(compared.distances, groups)
    total: Counts = sum(compared.distances.values(), np.zeros(BINS + 1, np.int64))
    return Changes(
        both=compared.listeners["both"],
        new=compared.listeners["new"],
        gone=compared.listeners["gone"],
        new_places=compared.new_places,
        unmoved=float(total[0] / max(total.sum(), 1)),
        distances=_histograms(distances),
        sources=_bars(compared.sources, groups, SOURCES, "lists"),
        content_types=_bars(compared.content_types, groups, None, "places"),
        listeners=[_listener(moved[0], moved[3], names, titles) for moved in compared.moved],
        creators=creators(compared, titles),
    )


def market_groups(compared: ComparedLists) -> dict[str, str]:
    """The panel of each market, the one with most lists tonight first."""
    sizes: Counter[str] = Counter()
    for (night, market, _), lists in compared.sources.items():
        sizes[market] += lists * (night == "now")
    ordered = sorted(sizes, key=lambda market: (-sizes[market], market))
    return {market: market if place < MARKETS else OTHERS for place, market in enumerate(ordered)}


def creators(compared: ComparedLists, titles: Titles) -> list[Row]:
    """The creators whose share of all places changed most, with the titles that made the change."""
    names = compared.catalogue["creator"].combine_chunks().dictionary_encode()
    codes = pc.fill_null(names.indices, -1).to_numpy()
    known, shift = codes >= 0, compared.places_now - compared.places_before
    if not known.any():
        return []
    before, now = (
        np.bincount(codes[known], places[known], len(names.dictionary)).astype(np.int64)
        for places in (compared.places_before, compared.places_now)
    )
    of_before, of_now = (max(int(places.sum()), 1) for places in (compared.places_before, compared.places_now))
    moved = now / of_now - before / of_before
    order = np.lexsort((np.arange(len(moved)), -np.round(np.abs(moved), 12)))[:SHOWN]
    rows = []
    for creator in (int(each) for each in order if moved[each]):
        items = np.flatnonzero(codes == creator)
        first = items[np.lexsort((items, -np.abs(shift[items])))][:TITLES]
        rows.append(
            {
                "creator": shorten(names.dictionary[creator].as_py()),
                "before": int(before[creator]),
                "now": int(now[creator]),
                "share_before": before[creator] / of_before,
                "share_now": now[creator] / of_now,
                "titles": [
                    titles.of(compared.item_ids[int(item)].as_py()) | {"shift": f"{shift[item]:+,}"}
                    for item in first
                    if shift[item]
                ],
            }
        )
    return rows


def _listener(distance: float, told: Mapping[str, Any], names: Listeners, titles: Titles) -> Row:
    before, now = told["items_before"], told["items"]
    source = (
        told["source"] if told["source"] == told["source_before"] else f"{told['source_before']} → {told['source']}"
    )
    return {
        "listener": names.name(told["user_id"]),
        "market": shorten(told["market"]),
        "arm": told["arm"],
        "source": source,
        "distance": distance,
        "new": len(set(now) - set(before)),
        "listed": len(now),
        "heads": [
            [titles.of(item) | {"other": item not in now} for item in before[:HEAD]],
            [titles.of(item) | {"other": item not in before} for item in now[:HEAD]],
        ],
    }


def _by_group(of_markets: Mapping[str, Counts], groups: Mapping[str, str]) -> dict[str, Counts]:
    summed = {group: np.zeros(BINS + 1, np.int64) for group in groups.values()}
    for market, counts in of_markets.items():
        summed[groups[market]] += counts
    return {group: counts for group, counts in summed.items() if counts.any()}


def _histograms(distances: Mapping[str, Counts]) -> list[Histogram]:
    tallest = max((float(counts.max() / counts.sum()) for counts in distances.values()), default=0.0)
    return [
        histogram(
            shorten(group),
            f"{int(counts.sum()):,} listeners",
            counts.tolist(),
            tallest,
            f"{percent(counts[0] / counts.sum())} as before, "
            f"{percent(counts[BINS // 2 + 1 :].sum() / counts.sum())} further than half",
        )
        for group, counts in distances.items()
    ]


def _bars(
    counted: Counter[tuple[str, str, str]], groups: Mapping[str, str], order: Sequence[str] | None, unit: str
) -> list[Bars]:
    sums: dict[str, dict[str, Counter[str]]] = {
        group: {"before": Counter(), "now": Counter()} for group in groups.values()
    }
    for (night, market, name), count in counted.items():
        if market in groups:
            sums[groups[market]][night][name] += count
    known = order or sorted({name for _, _, name in counted})
    return [
        bars(shorten(group), f"{of['now'].total():,} {unit}", of["before"], of["now"], known)
        for group, of in sums.items()
    ]
