"""Quality of the lists on held-out plays of Last.fm, beside everything that one would try first.

    .venv/bin/python -m benchmarks.lastfm data/sets/lastfm-2k [--seed 1] [--json]

Split: of every listener with at least 20 artists, a tenth of them (seeded, whatever the number of plays) is withheld
from the landing zone; what is left makes one whole night through the pipeline's own stages. The lists of the night
and those of every baseline are scored on what was withheld, by nocturne.evaluation: artists that nobody is left to
have heard cannot be listed and do not count. Intervals: bootstrap over listeners of the paired difference of the
night's lists to each baseline. The table goes to stderr; with --json, a line per system to stdout.
"""

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.console import print_rows
from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import load_settings
from nocturne.core.spark.session import spark_session
from nocturne.evaluation.backtest import Backtest, run_backtest
from nocturne.evaluation.held_out import ListeningHistory, held_out_from
from nocturne.evaluation.significance import EVERYONE
from nocturne.evaluation.systems import BASELINES, baseline_system, published_lists_system
from nocturne.ingestion.importers import IMPORTERS
from nocturne.pipeline.runner import run_nights
from nocturne.storage import tables

DAY = date(2011, 1, 1)
K = 20
METRICS = (f"recall@{K}", f"ndcg@{K}")


def withhold(landing: Path, seed: int) -> pa.Table:
    """Take a tenth of each listener's artists out of the landed day; returns what was taken: user_id, item_id."""
    day = landing / "events" / f"date={DAY}"
    rng = np.random.default_rng(seed)
    lines: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for file in sorted(day.glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            event = json.loads(line)
            lines[event["user_id"]].append((event["item_id"], line))
        file.unlink()
    taken: list[dict[str, str]] = []
    left = 0
    with (day / "events.jsonl").open("w", encoding="utf-8") as file:
        for user, events in lines.items():
            chosen = set(rng.permutation(len(events))[: len(events) // 10 if len(events) >= 20 else 0].tolist())
            taken += [{"user_id": user, "item_id": item} for place, (item, _) in enumerate(events) if place in chosen]
            file.writelines(f"{line}\n" for place, (_, line) in enumerate(events) if place not in chosen)
            left += len(events) - len(chosen)
    (day / "_SUCCESS").write_text(str(left), encoding="utf-8")
    return pa.Table.from_pylist(taken)


def measure(source: Path, folder: Path, seed: int, overrides: list[str]) -> list[dict[str, object]]:
    """Score a whole night's lists, and every baseline's, on what was withheld."""
    landing = folder / "landing"
    IMPORTERS["lastfm-2k"](source, landing, DAY)
    withheld = withhold(landing, seed)
    settings = load_settings(overrides=overrides)
    night = Night(Warehouse(str(folder / "warehouse"), settings), DAY, str(landing), f"lmdb:{folder / 'cache'}")
    run_nights([night])
    history = ListeningHistory.read(night)
    with spark_session(settings.spark, "lastfm") as spark:
        systems = [published_lists_system(), *(baseline_system(name, history, spark) for name in BASELINES)]
        found = run_backtest(
            [night], systems, "published", history, 1, K, hold_out=lambda *_: held_out_from(night, withheld)
        )
    lengths = pc.list_value_length(tables.night_rows(night, "ranked_lists", ["items"])["items"])
    full = pc.sum(pc.equal(lengths, settings.ranking.top_k)).as_py()
    for remark in found.remarks:
        print(remark, file=sys.stderr)
    return [ours(found) | {"lists": len(lengths), "full_lists": full}, *map(partial(theirs, found), found.baselines)]


def ours(found: Backtest) -> dict[str, object]:
    """Means of the night's lists."""
    means = {metric: round(found.means(metric)["published"], 4) for metric in METRICS}
    return {"system": "nocturne", "listeners": len(found.nights[0].held_out.user_ids), **means}


def theirs(found: Backtest, system: str) -> dict[str, object]:
    """Means of a baseline, and by how much ours are higher."""
    rows = {row.metric: row for row in found.differences if (row.system, row.segment) == (system, EVERYONE)}
    means = {metric: round(rows[metric].mean, 4) for metric in METRICS}
    gains = {f"{metric} gain": [round(-rows[metric].high, 4), round(-rows[metric].low, 4)] for metric in METRICS}
    return {"system": system, "listeners": rows[METRICS[0]].listeners, **means, **gains}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, nargs="?", default=Path("data/sets/lastfm-2k"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="section.key=value")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        systems = measure(options.source, Path(folder), options.seed, options.overrides)
    title = f"Last.fm, a tenth withheld, seed {options.seed}; ours minus each baseline, 95 %"
    for system in systems if options.json else ():
        print(json.dumps(system))
    print_rows(systems, title, stream=sys.stderr)


if __name__ == "__main__":
    main()
