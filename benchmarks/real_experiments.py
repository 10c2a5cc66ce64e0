"""Published experiments through the analysis: 99 of ASOS with daily looks, and the gate of Cookie Cats.

    .venv/bin/python -m benchmarks.real_experiments [--asos data/sets/ab-asos] [--cookie-cats data/sets/ab-cookie-cats]
                                                    [--json]

ASOS: every comparison is an experiment whose only success metric is one of its four, each metric by itself; looks are
those of the file, which hold running counts, means and variances. A look without a variance is none. "Naive" says that
a p-value of one look was below .05 at some look, "at the end" at the last. Nobody knows the truth, so the rates of two
methods are set beside each other. Sequential bounds hold where standardised increments of the statistic have the
variance 1: where it is far above, what comes later is not more of the same, and neither method has its rate. Cookie
Cats: two metrics that may deteriorate, one look. Tables go to stderr; with --json, a line per row to stdout.
"""

import argparse
import csv
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm
from tea_tasting.aggr import Aggregates

from nocturne.core.console import print_rows
from nocturne.core.experiment import Experiment, parse_experiment
from nocturne.experiments.analysis import Analysis, Arm, Look, analyse
from nocturne.experiments.courses import progress_of
from nocturne.experiments.quality import fixed_p_value
from nocturne.experiments.sequential import efficacy_bounds, telling

Row = dict[str, Any]
START = date(2025, 1, 1)
ALPHA = 0.05
"""Of two sides."""


def asos_courses(path: Path) -> dict[tuple[str, str, str], list[dict[str, float]]]:
    """Rows of the running totals by experiment, variant and metric, in the order of time; empty values are nan."""
    courses: dict[tuple[str, str, str], list[dict[str, float]]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            key = row["experiment_id"], row["variant_id"], row["metric_id"]
            courses[key].append(
                {name: float(value or "nan") for name, value in row.items() if not name.endswith("_id")}
            )
    return {key: sorted(rows, key=lambda row: row["time_since_start"]) for key, rows in courses.items()}


def judge_asos(rows: Sequence[dict[str, float]]) -> Row:
    """Verdicts on one metric of one comparison: naive, at the end, and group-sequential on both sides."""
    rows = [row for row in rows if min(row["count_t"], row["count_c"]) > 1 and row["mean_c"] > 0]
    column = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    variance = column["variance_t"] / column["count_t"] + column["variance_c"] / column["count_c"]
    z = (column["mean_t"] - column["mean_c"]) / np.sqrt(variance)
    known = np.isfinite(z) & (variance > 0)
    if not known.any():
        return {"known": False, "looks": len(rows), "missing": int((~known).sum())}
    # relative, as the analysis has it: what is summed over days grows in scale
    relative = variance / column["mean_c"] ** 2
    information = np.where(known, 1 / np.where(known, relative, 1.0), 0.0)
    time = column["time_since_start"] / column["time_since_start"][-1]
    found: Row = {"known": True, "looks": len(rows), "missing": int((~known).sum())}
    found["naive"] = bool((np.abs(z[known]) >= norm.isf(ALPHA / 2)).any())
    found["at the end"] = bool(abs(z[known][-1]) >= norm.isf(ALPHA / 2))
    progress = progress_of(information.tolist(), [np.nan] * len(rows), time.tolist())
    for spending in ("obrien_fleming", "pocock"):
        bounds = efficacy_bounds(progress, ALPHA / 2, spending, time.tolist())
        crossed = np.flatnonzero(np.where(known, np.abs(z), 0.0) >= bounds)
        found[spending] = bool(len(crossed))
        found[f"{spending}: day"] = float(column["time_since_start"][crossed[0]]) if len(crossed) else np.nan
    found["days"] = float(column["time_since_start"][-1])
    kept = np.flatnonzero(telling(progress))
    amounts = np.array(progress)[kept]
    steps = np.diff(z[kept] * np.sqrt(amounts)) / np.sqrt(np.diff(amounts))
    found["increments"] = float(np.mean(steps**2)) if len(steps) else np.nan
    return found


def measure_asos(path: Path) -> list[Row]:
    """A row a metric: comparisons that each method decides, and the share of the days that a decision takes."""
    by_metric: dict[str, list[Row]] = defaultdict(list)
    for (_, _, metric), rows in asos_courses(path).items():
        by_metric[metric].append(judge_asos(rows))
    table = []
    for metric, rows in sorted(by_metric.items()):
        known = [row for row in rows if row["known"]]
        decided = [row for row in known if row["obrien_fleming"]]
        table.append(
            {
                "metric": int(metric),
                "comparisons": len(rows),
                "without any variance": len(rows) - len(known),
                "looks without variance": sum(row["missing"] for row in rows),
                "naive peeking": sum(row["naive"] for row in known),
                "one look at the end": sum(row["at the end"] for row in known),
                "O'Brien-Fleming": len(decided),
                "Pocock": sum(row["pocock"] for row in known),
                "variance of increments, median": round(float(np.nanmedian([row["increments"] for row in known])), 2),
                "naive, but not at the end": sum(row["naive"] and not row["at the end"] for row in known),
                "share of days until decided": round(
                    float(np.mean([row["obrien_fleming: day"] / row["days"] for row in decided])), 2
                )
                if decided
                else None,
            }
        )
    return table


def asos_decisions(path: Path) -> list[Row]:
    """Verdicts of the rule on metric 1, a conversion, with a minimum effect of 1 % and looks rounded up to days."""
    verdicts: dict[str, int] = defaultdict(int)
    for (name, variant, metric), rows in asos_courses(path).items():
        if metric == "1":
            by_day = {int(np.ceil(row["time_since_start"])): row for row in rows}
            days = [day for day in sorted(by_day) if day >= 1]
            tried = _experiment(
                f"{name}-{variant}", days, {"active": {"role": "success", "measure": "active", "minimum_effect": 0.01}}
            )
            looks = [
                Look(day, {"control": _arm(by_day[day], "c"), "treatment": _arm(by_day[day], "t")}) for day in days
            ]
            first = next(each for each in analyse(tried, looks).decisions if each.is_final)
            verdicts[first.text] += 1
    return [{"decision": text, "comparisons": count} for text, count in sorted(verdicts.items())]


def _experiment(name: str, days: Sequence[int], metrics: dict[str, Any]) -> Experiment:
    return parse_experiment(
        name.lower(),
        {
            "hypothesis": "published",
            "start": START,
            "end": START + timedelta(days=days[-1] - 1),
            "salt": "published",
            "first_slot": 0,
            "slots": 1000,
            "looks": list(days),
            "arms": {"control": {"weight": 1}, "treatment": {"weight": 1}},
            "metrics": metrics,
        },
    )


def _arm(row: dict[str, float], side: str) -> Arm:
    count = int(row[f"count_{side}"])
    # counts are of visitors so far, which no assignment is known of: arms are taken as they come
    return Arm(1, 1, 0, Aggregates(count, {"active": row[f"mean_{side}"]}, {"active": row[f"variance_{side}"]}, {}))


def measure_cookie_cats(path: Path) -> tuple[list[Row], Analysis]:
    """Retention at a gate at level 40 beside that at level 30, and the ratio of the players."""
    players: dict[str, list[tuple[float, float]]] = {"gate_30": [], "gate_40": []}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            kept = float(row["retention_1"] == "True"), float(row["retention_7"] == "True")
            players[row["test_version"]].append(kept)
    arms = {}
    for arm, version in (("control", "gate_30"), ("treatment", "gate_40")):
        values = np.array(players[version])
        spread = np.cov(values.T)
        aggregates = Aggregates(
            len(values),
            dict(zip(MEASURES, values.mean(axis=0).tolist(), strict=True)),
            dict(zip(MEASURES, np.diag(spread).tolist(), strict=True)),
            {MEASURES: float(spread[0, 1])},
        )
        arms[arm] = Arm(len(values), len(values), 0, aggregates)
    metrics = {
        "retention-1": {"role": "guardrail", "measure": MEASURES[0], "margin": 0.02},
        "retention-7": {"role": "success", "measure": MEASURES[1], "minimum_effect": 0.02},
    }
    analysis = analyse(_experiment("cookie-cats", [7], metrics), [Look(7, arms)])
    rows: list[Row] = [
        {
            "metric": row.metric,
            "gate 30": round(row.control, 4),
            "gate 40": round(row.control + row.effect, 4),
            "relative": round(row.relative, 4),
            "p, two-sided": round(float(2 * norm.sf(abs(row.effect / row.standard_error))), 4),
        }
        for row in analysis.results
    ]
    counts = [arm.assigned for arm in arms.values()]
    rows.append(
        {"metric": "players", "gate 30": counts[0], "gate 40": counts[1],
         "p, two-sided": round(fixed_p_value(counts[0], counts[1], 1.0), 4)}
    )  # fmt: skip
    return rows, analysis


MEASURES = "active", "active_days"
"""Columns that stand for the retention of day 1 and of day 7."""


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--asos", type=Path, default=Path("data/sets/ab-asos"))
    parser.add_argument("--cookie-cats", type=Path, default=Path("data/sets/ab-cookie-cats"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    asos = options.asos / "asos_digital_experiments_dataset.csv"
    cats, analysis = measure_cookie_cats(options.cookie_cats / "cookie_cats.csv")
    decision = analysis.current["treatment"]
    cats.append({"metric": "decision", "gate 40": decision.text, "because": " ".join(decision.reasons)})
    check = next(each.check for each in analysis.checks if each.check.step == "assignment")
    cats.append(
        {
            "metric": "ratio of players",
            "gate 40": "failed" if check.failed else "suspicious, but within its rate",
            "because": f"a check at {check.alpha}",
        }
    )
    tables = {
        "Cookie Cats, gate at 40 beside 30": cats,
        "ASOS, comparisons that differ at .05, by metric": measure_asos(asos),
        "ASOS, metric 1 by the rule": asos_decisions(asos),
    }
    for title, rows in tables.items():
        for row in rows if options.json else ():
            print(json.dumps({"table": title} | row), flush=True)
        print_rows(rows, title, stream=sys.stderr)


if __name__ == "__main__":
    main()
