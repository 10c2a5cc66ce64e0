"""Worth of what a race decides: the recipe that fits itself, with each of its decisions taken back, on valid.

    .venv/bin/python -m benchmarks.fitted data/sets/gowalla data/sets/lastfm-2k ... [--seed 1] [--json]

Data sets are read, and split, as benchmarks.splits does. The race gets the train part alone; every recipe is trained on
it and scored on valid; test is never looked at. A line is the fitted recipe without what one round of the race chose;
the last one is without all of it, the settings as they are. Intervals: bootstrap over listeners of the paired
difference to the fitted recipe (95 %). A table per data set goes to stderr; with --json, a line per recipe to stdout.
"""

import argparse
import json
import sys
from pathlib import Path

from benchmarks.splits import METRICS, TOP_K, read, values
from nocturne.core.console import print_rows
from nocturne.core.settings import load_settings
from nocturne.evaluation.significance import differences, summary_rows
from nocturne.evaluation.splits import Split, fit, fit_settings, rank_listeners

FITTED = "fitted"


def measure(split: Split) -> list[dict[str, object]]:
    """A row a recipe: its metrics on valid, and the intervals of their differences to the fitted one."""
    settings = load_settings(None, [f"ranking.top_k={TOP_K}"])
    fitted, race = fit_settings(split.train, settings)
    before, recipes = settings.als.model_dump(), {FITTED: fitted.als}
    for entrant in race.entrants:
        if entrant.chosen and entrant.changes:
            back = {name: before[name] for name in entrant.changes}
            changes = ", ".join(f"{name} {value}" for name, value in entrant.changes.items())
            recipes[f"without {changes}"] = fitted.als.with_recipe(back)
    recipes["settings as they are"] = settings.als
    scores = {}
    for name, als in recipes.items():
        recipe = settings.model_copy(update={"als": als})
        lists = rank_listeners(fit(split.train, recipe), split.train, recipe)
        scores[name] = values(lists, split.valid)
    means = {name: {metric: float(scores[name][metric].mean()) for metric in METRICS} for name in scores}
    return summary_rows(means, differences(scores, FITTED, {}))


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", type=Path, nargs="+")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for source in options.sources:
        rows = measure(read(source, options.seed))
        for row in rows if options.json else ():
            print(json.dumps({"data": source.name} | row), flush=True)
        print_rows(rows, f"{source.name}, valid; differences to the fitted recipe, 95 %", stream=sys.stderr)


if __name__ == "__main__":
    main()
