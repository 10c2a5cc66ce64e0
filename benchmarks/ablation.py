"""Worth of each part of the recipe: Gowalla, trained on train.txt, scored on valid.txt.

    .venv/bin/python -m benchmarks.ablation [--gowalla data/sets/gowalla] [--conf conf/recipes/gowalla.toml]
                                  [--only NAME ...] [--json]

Every line is the recipe with one thing changed. Intervals: bootstrap over listeners of the paired difference to the
recipe (95 %). test.txt is never looked at. The table goes to stderr; with --json, a line per variant to stdout.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from nocturne.core.console import print_rows
from nocturne.core.settings import Settings, load_settings
from nocturne.evaluation.metrics import accuracy
from nocturne.evaluation.significance import differences
from nocturne.evaluation.splits import Split, fit, rank_listeners, read_split

GOWALLA = Path("data/sets/gowalla")
RECIPE = Path("conf/recipes/gowalla.toml")
METRICS = ("recall@20", "ndcg@20")
VARIANTS = {
    "the recipe": [],
    "no neighbours": ["als.neighbours=0"],
    "no weights against popular items": ["als.popularity_exponent=0.0"],
    "no weights against active listeners": ["als.activity_exponent=0.0"],
    "scores as they are": ["als.score_exponent=0.0"],
    "ridge the same for every row": ["als.regularization_exponent=0.0"],
    "similarities as they are": ["als.neighbour_exponent=0.0"],
    "64 factors": ["als.factors=64"],
    "128 factors": ["als.factors=128"],
    "256 factors": ["als.factors=256"],
    "100 candidates": ["ranking.candidates=100"],
    "settings of conf/default.toml": [],
}


def measure(split: Split, settings: Settings) -> dict[str, np.ndarray]:
    """Metrics of every listener from whom something was withheld."""
    lists = rank_listeners(fit(split.train, settings), split.train, settings)
    asked = np.flatnonzero(np.diff(split.valid.indptr))
    found = accuracy(lists[asked], split.valid[asked])
    return {name: found[name] for name in METRICS}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gowalla", type=Path, default=GOWALLA)
    parser.add_argument("--conf", type=Path, default=RECIPE)
    parser.add_argument("--only", nargs="*", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    split = read_split(options.gowalla)
    scores: dict[str, dict[str, np.ndarray]] = {}
    lines: list[dict[str, object]] = []
    for name in dict.fromkeys(["the recipe", *options.only]):
        conf = None if name.startswith("settings of") else str(options.conf)
        started = time.perf_counter()
        scores[name] = measure(split, load_settings(conf, ["ranking.top_k=20", *VARIANTS[name]]))
        seconds = time.perf_counter() - started
        line: dict[str, object] = {"variant": name}
        line |= {metric: round(float(values.mean()), 4) for metric, values in scores[name].items()}
        for row in differences({"the recipe": scores["the recipe"], name: scores[name]}, "the recipe", {}):
            line[f"{row.metric} difference"] = [round(row.low, 4), round(row.high, 4)]
        lines.append(line | {"seconds": round(seconds, 1)})
        print(json.dumps(lines[-1]), file=sys.stdout if options.json else sys.stderr, flush=True)
    print_rows(lines, "Gowalla, valid", stream=sys.stderr)


if __name__ == "__main__":
    main()
