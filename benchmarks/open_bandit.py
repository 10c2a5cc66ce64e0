"""Off-policy estimates on a real log, the Open Bandit Dataset: each policy's clicks by the log of the other one.

    .venv/bin/python -m benchmarks.open_bandit data/sets/open-bandit [--json]

A folder with random-<campaign>.csv and bts-<campaign>.csv: items shown at three places of a shop's page, drawn at
random or by Thompson sampling (bts). Each policy is estimated from the log of the other, place by place, beside its
mean in its own log (interval: Wilson, 95 %). Random draws every item alike. Thompson sampling changed its mind from day
to day, and its log has only the probability of what it drew: from the log of random it is estimated as its frequencies
by place in its own log, an average policy, whose own doubt is in no interval. The log names no listener: its rows are
taken for independent. The model of the robust estimate is the mean of item and place, each half of the log by the
other one. `off` is SNIPS less the policy's own mean, in standard errors of both. A table a campaign goes to stderr;
with --json, a line a row to stdout.
"""

import argparse
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv
from statsmodels.stats.proportion import proportion_confint

from nocturne.core.arrays import Counts, Floats
from nocturne.core.console import print_rows
from nocturne.experiments.off_policy import OffPolicy, Shown, Value, estimates, frequencies, predict_rewards, sums_of

RANDOM, BTS = "random", "bts"
PLACES = 3


@dataclass(frozen=True)
class Log:
    """What a policy showed; a value a row."""

    places: Counts
    items: Counts
    clicks: Floats
    propensities: Floats

    @property
    def known_clicks(self) -> list[tuple[int, int]]:
        """Clicks and rows: of all, then of each place."""
        masks = [np.ones(len(self.places), np.bool_), *(self.places == place for place in range(PLACES))]
        return [(int(self.clicks[mask].sum()), int(mask.sum())) for mask in masks]


def read_log(file: Path) -> Log:
    """A file of the data set."""
    names = ["position", "item_id", "click", "propensity_score"]
    kinds = {"position": pa.int64(), "item_id": pa.int64(), "click": pa.float64(), "propensity_score": pa.float64()}
    rows = csv.read_csv(file, convert_options=csv.ConvertOptions(include_columns=names, column_types=kinds))
    position, items, clicks, propensities = (rows[name].to_numpy() for name in names)
    return Log(position - 1, items, clicks, propensities)


def estimate(log: Log, policy: Floats) -> list[OffPolicy]:
    """Estimates of a policy, given by its probability of each item at each place, from a log."""
    shown = Shown(log.places, log.clicks, log.propensities, policy[log.places, log.items])
    predicted, expected = predict_rewards(log.places, log.items, log.clicks, policy)
    return estimates(sums_of(replace(shown, predicted=predicted, expected=expected), PLACES))


def rows_of(campaign: str, target: str, of_target: Log, found: list[OffPolicy]) -> list[dict[str, object]]:
    """A row of all places, and one of each."""
    rows: list[dict[str, object]] = []
    for each, (clicks, shown) in zip(found, of_target.known_clicks, strict=True):
        low, high = proportion_confint(clicks, shown, method="wilson")
        own = clicks / shown
        doubt = np.hypot(each.snips.standard_error, np.sqrt(own * (1 - own) / shown))
        rows.append(
            {
                "campaign": campaign,
                "target": target,
                "place": each.place or "all",
                "clicks": clicks,
                "own log": _text(Value(own, 0.0, low, high)),
                "log": _text(each.logged),
                "IPS": _text(each.ips),
                "SNIPS": _text(each.snips),
                "robust": _text(each.robust),
                "off": round(float((each.snips.estimate - own) / doubt), 2),
                "rows": each.rows,
                "effective": round(each.effective),
                "mean weight": round(each.mean_weight.estimate, 3),
                "it says": each.verdict,
            }
        )
    return rows


def _text(value: Value) -> str:
    return f"{value.estimate:.2%} ({value.low:.2%} to {value.high:.2%})"


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, nargs="?", default=Path("data/sets/open-bandit"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for file in sorted(options.source.glob(f"{RANDOM}-*.csv")):
        campaign = file.stem.removeprefix(f"{RANDOM}-")
        random, bts = read_log(file), read_log(file.with_name(f"{BTS}-{campaign}.csv"))
        shape = (PLACES, 1 + int(max(random.items.max(), bts.items.max())))
        rows = [
            *rows_of(campaign, BTS, bts, estimate(random, frequencies(bts.places, bts.items, shape))),
            *rows_of(campaign, RANDOM, random, estimate(bts, np.full(shape, 1 / shape[1]))),
        ]
        for row in rows if options.json else ():
            print(json.dumps(row), flush=True)
        print_rows(rows, f"{campaign}: share of shown items that were clicked, 95 %", stream=sys.stderr)


if __name__ == "__main__":
    main()
