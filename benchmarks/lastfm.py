"""How good the lists are on held-out plays of Last.fm, beside popularity.

    python -m benchmarks.lastfm ../shared/data/lastfm-2k.tar.xz [--seed 1] [--json]

Split: of every listener with at least 20 artists, a tenth of them (seeded, whatever the number of plays) is withheld
from the landing zone; what is left makes one whole night through the pipeline's own stages. The lists of the night
are scored on what was withheld, and so are those of popularity: the artists with most listeners that the listener
has not heard. Intervals: bootstrap over listeners of the paired difference. The table goes to stderr; with --json,
a line per system to stdout.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter, defaultdict
from datetime import date
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import bootstrap

from nocturne import tables
from nocturne.importers import IMPORTERS
from nocturne.night import Night
from nocturne.runner import run_nights
from nocturne.settings import load_settings

DAY = date(2011, 1, 1)
K = 20
Plays = dict[str, set[str]]


def withhold(landing: Path, seed: int) -> tuple[Plays, Plays]:
    """Take a tenth of each listener's artists out of the landed day; returns what is left and what was taken."""
    day = landing / "events" / f"date={DAY}"
    rng = np.random.default_rng(seed)
    lines: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for file in sorted(day.glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            event = json.loads(line)
            lines[event["user_id"]].append((event["item_id"], line))
        file.unlink()
    kept: Plays = {}
    withheld: Plays = {}
    with (day / "events.jsonl").open("w", encoding="utf-8") as left:
        for user, events in lines.items():
            taken = set(rng.permutation(len(events))[: len(events) // 10 if len(events) >= 20 else 0].tolist())
            withheld[user] = {item for place, (item, _) in enumerate(events) if place in taken}
            kept[user] = {item for place, (item, _) in enumerate(events) if place not in taken}
            left.writelines(f"{line}\n" for place, (_, line) in enumerate(events) if place not in taken)
    (day / "_SUCCESS").write_text(str(sum(map(len, kept.values()))), encoding="utf-8")
    return kept, {user: items for user, items in withheld.items() if items}


def popular(kept: Plays) -> dict[str, list[str]]:
    """Every listener's K artists with most listeners among those they have not heard."""
    counts = Counter(item for items in kept.values() for item in items)
    order = sorted(counts, key=lambda item: (-counts[item], item))
    return {user: [item for item in order[: len(heard) + K] if item not in heard][:K] for user, heard in kept.items()}


def scores(lists: dict[str, list[str]], withheld: Plays) -> dict[str, np.ndarray]:
    """Recall (of the relevant) and NDCG at K of every listener who had something withheld."""
    recalls, gains = [], []
    discounts = 1 / np.log2(np.arange(2, K + 2))
    for user, relevant in withheld.items():
        hits = np.array([item in relevant for item in lists[user][:K]])
        recalls.append(hits.sum() / len(relevant))
        gains.append((hits * discounts[: len(hits)]).sum() / discounts[: len(relevant)].sum())
    return {f"recall@{K}": np.array(recalls), f"ndcg@{K}": np.array(gains)}


def measure(source: Path, folder: Path, seed: int, overrides: list[str]) -> list[dict[str, object]]:
    """Score a whole night's lists, and popularity's, on what was withheld."""
    landing = folder / "landing"
    IMPORTERS["lastfm-2k"](source, landing, DAY)
    kept, withheld = withhold(landing, seed)
    settings = load_settings(overrides=overrides)
    night = Night(DAY, str(landing), str(folder / "warehouse"), f"lmdb:{folder / 'cache'}", settings)
    run_nights([night])
    rows = tables.night_rows(night, "ranked_lists", ["user_id", "items"]).to_pylist()
    lists = {row["user_id"]: [item["item_id"] for item in row["items"]] for row in rows}
    ours, baseline = scores(lists, withheld), scores(popular(kept), withheld)
    full = sum(len(items) == settings.ranking.top_k for items in lists.values())
    return [
        {"system": "nocturne", "listeners": len(lists), "full_lists": full, **means(ours), **gains(ours, baseline)},
        {"system": "popularity", "listeners": len(kept), "full_lists": len(kept), **means(baseline)},
    ]


def means(each: dict[str, np.ndarray]) -> dict[str, object]:
    """Mean of every metric over listeners."""
    return {name: round(float(values.mean()), 4) for name, values in each.items()}


def gains(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> dict[str, object]:
    """95 % interval of the paired difference of every metric."""
    intervals = {}
    for name, values in ours.items():
        found = bootstrap((values - theirs[name],), np.mean, n_resamples=1000, rng=np.random.default_rng(1))
        interval = found.confidence_interval
        intervals[f"{name} minus popularity"] = [round(float(edge), 4) for edge in (interval.low, interval.high)]
    return intervals


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, nargs="?", default=Path("../shared/data/lastfm-2k.tar.xz"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="section.key=value")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        systems = measure(options.source, Path(folder), options.seed, options.overrides)
    table = Table(title=f"Last.fm, a tenth withheld, seed {options.seed}", title_justify="left")
    for name in systems[0]:
        table.add_column(name)
    for system in systems:
        table.add_row(*(str(system.get(name, "")) for name in systems[0]))
        if options.json:
            print(json.dumps(system))
    Console(stderr=True, width=None if sys.stderr.isatty() else 160).print(table)


if __name__ == "__main__":
    main()
