"""Error rates, power, triggers and checks of the statistics of experiments, in simulated worlds whose truth is known.

    .venv/bin/python -m benchmarks.experiments [--aa 10000] [--ab 2000] [--seed 1] [--only aa drift ab triggers quality]
                                     [--json]

Listeners have a taste (plays a night), a habit (minutes a play) and two weeks before; an experiment has 14 nightly
looks, two success metrics, two guardrails, one of them a ratio, and a deterioration metric, all with CUPED. Estimates
come from arrays of many experiments at once; bounds are those of their mean information and correlations, and a sample
of the experiments goes through `analyse` as well, with bounds of their own. A table for each part goes to stderr; with
--json, a line per row to stdout.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import numpy as np
from scipy.stats import binom, norm
from tea_tasting.aggr import Aggregates

from nocturne.core.console import print_rows
from nocturne.core.experiment import Experiment, parse_experiment
from nocturne.experiments.analysis import Arm, Look, analyse
from nocturne.experiments.columns import BEFORE, LAST, Columns, columns_of, columns_of_metric
from nocturne.experiments.courses import Bounds, bounds_of, progress_of, tolerance_of, z_of
from nocturne.experiments.decision import Decision, Standing, decide, risks_of
from nocturne.experiments.estimates import Estimate, estimate
from nocturne.experiments.planning import Baseline, baseline_of, plan
from nocturne.experiments.quality import ALPHA, Counts, Side, check_quality, culprit_of
from nocturne.experiments.triggered import dilute

Row = dict[str, Any]
Arrays = Mapping[str, np.ndarray]

NIGHTS, LISTENERS, BATCH = 14, 500, 100
"""Looks; listeners of an arm; experiments that are simulated at once."""

SAMPLE = 100
"""Experiments that go through `analyse`."""

CONFIDENCE = 0.999
TREATMENT = "treatment"
WEEKEND, DRIFT = (5, 6), 0.2


def experiment() -> Experiment:
    """The experiment that every A/A and A/B comparison is one of."""
    return parse_experiment(
        "simulated",
        {
            "hypothesis": "the truth is found",
            "start": date(2025, 3, 1),
            "end": date(2025, 3, NIGHTS),
            "salt": "simulated",
            "first_slot": 0,
            "slots": 100,
            "looks": list(range(1, NIGHTS + 1)),
            "arms": {"control": {"weight": 1}, TREATMENT: {"weight": 1}},
            "metrics": {
                "minutes": {"role": "success", "measure": "minutes", "minimum_effect": 0.06},
                "discoveries": {"role": "success", "measure": "discoveries", "minimum_effect": 0.09},
                "plays": {"role": "guardrail", "measure": "plays", "margin": 0.05},
                "acceptance": {"role": "guardrail", "measure": "list_plays", "per": "exposures", "margin": 0.05},
                "days": {"role": "deterioration", "measure": "active_days"},
            },
        },
    )


def nights(
    rng: np.random.Generator, shape: tuple[int, ...], lift: Mapping[str, float], drift: float = 0.0
) -> Iterator[dict[str, np.ndarray]]:
    """Sums of every listener after each night, those of before among them; each of the given shape.

    They have a taste (plays a night), a habit (minutes a play) and a trust (plays an exposure). With drift, the log of
    a taste walks by so much a night, and weekends are half as busy again.
    """
    taste, habit, trust = rng.gamma(4, 0.5, shape), rng.uniform(2, 4, shape), rng.beta(6, 14, shape)
    before, shown = rng.poisson(14 * taste), rng.poisson(14 * 5, shape)
    sums: dict[str, np.ndarray] = {
        BEFORE + "plays": before,
        BEFORE + "minutes": habit * before + np.sqrt(before) * rng.normal(size=shape),
        BEFORE + "discoveries": rng.binomial(before, 0.3),
        BEFORE + "exposures": shown,
        BEFORE + "list_plays": rng.binomial(shown, trust),
        BEFORE + "active_days": rng.binomial(14, -np.expm1(-taste)),
    }
    for night in range(NIGHTS):
        if drift:
            taste = taste * np.exp(drift * rng.normal(size=shape))
        busy = 1.5 if drift and night % 7 in WEEKEND else 1.0
        plays, shown = rng.poisson(busy * taste), rng.poisson(5, shape)
        heard = {
            "plays": plays,
            "minutes": (habit * plays + np.sqrt(plays) * rng.normal(size=shape)) * (1 + lift.get("minutes", 0.0)),
            "discoveries": rng.binomial(plays, 0.3 * (1 + lift.get("discoveries", 0.0))),
            "active_days": plays > 0,
            "exposures": shown,
            "list_plays": rng.binomial(shown, trust),
        }
        sums |= {LAST + name: sums[name] if night else np.zeros(shape) for name in heard}
        sums |= {name: sums[LAST + name] + values for name, values in heard.items()}
        yield sums


def aggregates_of(columns: Arrays) -> Aggregates:
    """Aggregates over the last axis; every value is an array with an entry for each experiment."""
    names = list(columns)
    values = np.stack([np.asarray(columns[name], dtype=np.float64) for name in names], axis=-2)
    means = values.mean(axis=-1)
    apart = values - means[..., None]
    spread = apart @ np.swapaxes(apart, -1, -2) / (values.shape[-1] - 1)
    return Aggregates(
        values.shape[-1],
        {name: means[..., i] for i, name in enumerate(names)},
        {name: spread[..., i, i] for i, name in enumerate(names)},
        {(names[i], names[j]): spread[..., i, j] for i in range(len(names)) for j in range(i)},
    )


def single(aggregates: Aggregates, place: int) -> Aggregates:
    """Aggregates of one of many experiments."""
    return Aggregates(
        aggregates.count(),
        *(
            {name: float(values[place]) for name, values in of.items()}
            for of in (aggregates.mean_, aggregates.var_, aggregates.cov_)
        ),
    )


def simulate(
    tried: Experiment, count: int, lift: Mapping[str, float], seed: int, drift: float = 0.0
) -> tuple[dict[str, list[Estimate]], list[list[Look]]]:
    """Every metric's estimates after each night, arrays over experiments; and looks of the first experiments."""
    rng = np.random.default_rng(seed)
    columns = list(columns_of(tried))
    batches: list[dict[str, list[Estimate]]] = []
    sample: list[list[Look]] = []
    for start in range(0, count, BATCH):
        shape = (min(BATCH, count - start), LISTENERS)
        found: dict[str, list[Estimate]] = {name: [] for name in tried.metrics}
        looks: list[list[Look]] = [[] for _ in range(shape[0] if start < SAMPLE else 0)]
        arms = {"control": nights(rng, shape, {}, drift), TREATMENT: nights(rng, shape, lift, drift)}
        for day in range(1, NIGHTS + 1):
            of = {
                arm: aggregates_of({c: s[c] for s in [next(course)] for c in columns if c in s})
                for arm, course in arms.items()
            }
            for name, metric in tried.metrics.items():
                found[name].append(estimate(of["control"], of[TREATMENT], columns_of_metric(metric)))
            for place, course in enumerate(looks):
                course.append(
                    Look(day, {arm: Arm(LISTENERS, LISTENERS, 0, single(each, place)) for arm, each in of.items()})
                )
        batches.append(found)
        sample += looks
    joined = {
        name: [
            Estimate(
                *(
                    np.concatenate([np.broadcast_to(getattr(b[name][k], f), len(b[name][k].effect)) for b in batches])
                    for f in Estimate.__dataclass_fields__
                )
            )
            for k in range(NIGHTS)
        ]
        for name in tried.metrics
    }
    return joined, sample[:SAMPLE]


class Courses:
    """z statistics of many experiments, and the bounds of their mean information."""

    def __init__(self, tried: Experiment, found: Mapping[str, list[Estimate]]) -> None:
        self.tried, self.found = tried, found
        risks = risks_of(tried)
        time = [look / tried.nights for look in tried.looks]
        self.z: dict[str, np.ndarray] = {}
        self.harm_z: dict[str, np.ndarray] = {}
        self.bounds: dict[str, Bounds] = {}
        for name, metric in tried.metrics.items():
            pairs = [z_of(metric, each) for each in found[name]]
            self.z[name], self.harm_z[name] = (np.array([pair[side] for pair in pairs]).T for side in (0, 1))
            information = [float(np.mean(each.information)) for each in found[name]]
            progress = progress_of(information, [float(np.mean(each.correlation)) for each in found[name]], time)
            self.bounds[name] = bounds_of(metric, risks, tried.spending, information, progress, time)

    def proved(self, name: str) -> np.ndarray:
        """Experiments whose z reached its bound at some look, had all looks been taken; shape (experiments,)."""
        return (self.z[name] >= self.bounds[name].gain).any(axis=1)

    def harmed(self, name: str) -> np.ndarray:
        """Likewise of inferiority."""
        return (self.harm_z[name] >= self.bounds[name].harm).any(axis=1)

    def decisions(self) -> list[Decision]:
        """The first final decision of every experiment."""
        tests = {
            name: (
                np.logical_or.accumulate(self.z[name] >= of.gain, axis=1),
                np.logical_or.accumulate(self.harm_z[name] >= of.harm, axis=1),
                self.z[name] <= of.futility,
            )
            for name, of in self.bounds.items()
        }
        return [self._decision(tests, place) for place in range(len(next(iter(self.z.values()))))]

    def _decision(self, tests: Mapping[str, tuple[np.ndarray, ...]], place: int) -> Decision:
        for look, day in enumerate(self.tried.looks):
            standings = []
            for name, metric in self.tried.metrics.items():
                proved, harmed, futile = (bool(each[place, look]) for each in tests[name])
                standings.append(
                    Standing(
                        name, metric.role, 0.0, 0.0, 0.0, tolerance_of(metric), proved, harmed, futile and not proved
                    )
                )
            decision = decide(self.tried, TREATMENT, day, standings, [])
            if decision.is_final:
                return decision
        raise AssertionError("the last look decides")


def rate(what: str, hits: np.ndarray | int, count: int, promised: float, within: str = "interval") -> Row:
    """A rate beside what was promised, and the 99.9 % binomial interval of that."""
    share = float(np.sum(hits)) / count
    low, high = (float(limit) / count for limit in binom.interval(CONFIDENCE, count, promised))
    good = {"interval": low <= share <= high, "at most": share <= high, "3 points": abs(share - promised) <= 0.03}[
        within
    ]
    return {
        "what": what,
        "promised": round(promised, 4),
        "found": round(share, 4),
        "low": low,
        "high": high,
        "test": within,
        "holds": good,
    }


def agreement(tried: Experiment, sample: list[list[Look]], decisions: list[Decision]) -> Row:
    """Experiments that `analyse`, with bounds of their own, decides as above."""
    own = [next(each for each in analyse(tried, looks).decisions if each.is_final) for looks in sample]
    same = [one.verdict == other.verdict for one, other in zip(own, decisions, strict=False)]
    return {"what": "decided alike by analyse", "found": round(float(np.mean(same)), 4), "test": f"of {len(same)}"}


def measure_aa(count: int, seed: int, drift: float = 0.0) -> list[Row]:
    """Error rates where nothing differs."""
    tried = experiment()
    risks = risks_of(tried)
    found, sample = simulate(tried, count, {}, seed, drift)
    courses = Courses(tried, found)
    successes = [name for name, metric in tried.metrics.items() if metric.role == "success"]
    rows = [rate(f"{name} rises", courses.proved(name), count, risks.success) for name in successes]
    rows += [rate(f"{name} falls", courses.harmed(name), count, risks.harm) for name in tried.metrics]
    naive = [(courses.z[name] >= norm.isf(risks.success)).any(axis=1).mean() for name in successes]
    rows.append(
        {"what": "a success metric rises, were every night looked at naively", "found": round(float(np.mean(naive)), 4)}
    )
    decisions = courses.decisions()
    verdicts = np.array([decision.verdict for decision in decisions])
    rows.append(rate("ship", verdicts == "ship", count, tried.alpha, "at most"))
    rows.append(rate("stop: harm", verdicts == "harm", count, tried.alpha, "at most"))
    rows.append(agreement(tried, sample, decisions))
    rows += [
        {
            "what": f"variance of {name} that CUPED took off",
            "found": round(float(np.mean(found[name][-1].reduction)), 3),
        }
        for name in tried.metrics
    ]
    return rows


def baselines(tried: Experiment, seed: int) -> dict[str, Baseline]:
    """Baselines from the days before: one day, and two weeks, of 200,000 listeners."""
    course = nights(np.random.default_rng(seed + 1), (200_000,), {})
    windows = [{name: values.copy() for name, values in sums.items()} for sums in course]
    day, before = (aggregates_of({c: w[c] for c in w if ":" not in c}) for w in (windows[0], windows[-1]))
    return {
        name: baseline_of(day, before, NIGHTS, columns_of_metric(metric))
        for name, metric in tried.metrics.items()
        if metric.role != "deterioration"
    }


def measure_ab(count: int, seed: int) -> list[Row]:
    """Power, beside what planning promises, where every success metric has its minimum effect."""
    tried = experiment()
    promise = plan(tried, TREATMENT, baselines(tried, seed), {"control": LISTENERS, TREATMENT: LISTENERS})
    lift = {name: metric.minimum_effect for name, metric in tried.metrics.items() if metric.role == "success"}
    found, sample = simulate(tried, count, lift, seed)
    courses = Courses(tried, found)
    rows = [
        rate(f"{row.metric} proved", courses.proved(row.metric), count, row.power, "3 points")
        for row in promise.metrics
    ]
    decisions = courses.decisions()
    shipped = np.array([decision.verdict == "ship" for decision in decisions])
    rows.append(rate("ship", shipped, count, promise.power, "3 points"))
    rows.append(
        {
            "what": "ship, at least",
            "promised": round(promise.power_at_least, 4),
            "found": round(float(shipped.mean()), 4),
        }
    )
    days = float(np.mean([decision.day for decision in decisions]))
    rows.append({"what": "day of the decision", "promised": round(promise.expected_day, 2), "found": round(days, 2)})
    rows.append(agreement(tried, sample, decisions))
    return rows


SHARE, TOUCHED_LIFT, ALL_LISTENERS, STACKS, STACK = 0.2, 0.09, 6500, 200, 20
"""Of the world of triggers: share touched; their effect; an arm's listeners where all are analysed; worlds, stacked."""


def touched_arm(rng: np.random.Generator, listeners: int, lift: float) -> tuple[Aggregates, Aggregates]:
    """Aggregates of an arm's listeners after 14 nights, and of the fifth whose lists differ.

    These play half as much again. A stack of worlds has one draw of the share, so that they are computed at once.
    """
    shape = STACK, listeners
    taste, habit = rng.gamma(4, 0.5, shape), rng.uniform(1, 5, shape)
    count = int(rng.binomial(listeners, SHARE))
    touched = np.arange(listeners) < count
    plays = rng.poisson(NIGHTS * taste * np.where(touched, 1.5, 1.0)).astype(np.float64)
    columns = {"plays": plays, "minutes": habit * plays * (1 + lift * touched)}
    return aggregates_of(columns), aggregates_of({name: values[..., :count] for name, values in columns.items()})


def measure_triggers(seed: int) -> list[Row]:
    """Power of exact triggers with 1.25 times the listeners that their share asks for; bias and coverage."""
    rng = np.random.default_rng(seed)
    # who is touched plays half as much again: that is their weight in sums
    truth = 1.5 * SHARE / (1 - SHARE + 1.5 * SHARE) * TOUCHED_LIFT
    rows: list[Row] = []
    whole, part = touched_arm(rng, 100_000, 0.0)
    for name, metric in {"minutes": Columns("minutes"), "minutes per play": Columns("minutes", "plays")}.items():
        noise = [np.mean(estimate(of, of, metric).variance) * of.count() for of in (part, whole)]
        # the effect on a ratio weighs listeners by what they play, so their variance does too
        weight = 1.0 if metric.denominator is None else (1.5 / (1 - SHARE + 1.5 * SHARE)) ** 2
        ratio = float(weight * noise[0] / noise[1])
        fewer = int(1.25 * SHARE * ratio * ALL_LISTENERS)
        for what, listeners in (("all", ALL_LISTENERS), ("triggered", fewer)):
            found = []
            for _ in range(STACKS):
                (control, some), (treatment, others) = (
                    touched_arm(rng, listeners, lift) for lift in (0.0, TOUCHED_LIFT)
                )
                found.append(
                    estimate(control, treatment, metric)
                    if what == "all"
                    else dilute(control, treatment, some, others, metric)
                )
            rows.append(
                {"what": f"{name}, {what}", "variance ratio": round(ratio, 2)} | _of_triggers(listeners, found, truth)
            )
    return rows


def _of_triggers(listeners: int, found: list[Estimate], truth: float) -> Row:
    z, relative, error = (
        np.concatenate([np.asarray(value) for value in each])
        for each in zip(*((one.z(), one.relative, np.sqrt(one.relative_variance)) for one in found), strict=True)
    )
    return {
        "listeners of an arm": listeners,
        "power": round(float((z > norm.isf(0.05)).mean()), 4),
        "effect": round(float(relative.mean()), 5),
        "truth": round(truth, 5),
        "bias in standard errors": round(float((relative.mean() - truth) / relative.std() * np.sqrt(len(z))), 2),
        "coverage of 95 %": round(float((np.abs(relative - truth) <= norm.isf(0.025) * error).mean()), 4),
    }


ASSIGNED, CLEAN, BROKEN = 500_000, 1000, 100
"""Listeners of an arm; sound and broken worlds."""


def counts(rng: np.random.Generator, assigned: int, lost: str) -> list[Side]:
    """An arm's counts after each of 7 nights; 1 % lose all exposures, lists or assignments, if so named."""
    kept = int(rng.binomial(assigned, 0.99))
    assigned = kept if lost == "assignment" else assigned
    listed = kept if lost == "pipeline" else assigned
    reachable = kept if lost == "client" else listed
    reach = np.diff([0.0, *(1 - 0.75 ** np.arange(1, 8))])
    exposed = rng.multinomial(reachable, [*reach, 1 - reach.sum()])[:7].cumsum()
    triggered = rng.multinomial(assigned, [0.1, *[0.02] * 6, 0.78])[:7].cumsum()
    nobody = Aggregates(0, {}, {}, {})
    return [
        Side(Counts(assigned, listed, int(differ), int(seen)), nobody)
        for differ, seen in zip(triggered, exposed, strict=True)
    ]


def measure_quality(seed: int) -> list[Row]:
    """False alarms over all looks and checks, and what is found and named when 1 % of an arm is lost."""
    rng = np.random.default_rng(seed)
    time = [look / 7 for look in range(1, 8)]

    def culprits(lost: str) -> list[str | None]:
        control = int(rng.binomial(2 * ASSIGNED, 0.5))
        arms = counts(rng, control, ""), counts(rng, 2 * ASSIGNED - control, lost)
        return [culprit_of(look) for look in check_quality(*arms, 1.0, time, [])]

    clean = np.array([culprits("")[-1] is not None for _ in range(CLEAN)])
    rows = [rate("sound world called invalid", clean, CLEAN, ALPHA, "at most")]
    for lost in ("client", "pipeline", "assignment"):
        courses = [culprits(lost) for _ in range(BROKEN)]
        rows.append(
            {
                "what": f"1 % lost by {lost}: found and so named",
                "found": float(np.mean([course[-1] == lost for course in courses])),
                "test": f"of {BROKEN}",
                "first night, mean": float(np.mean([course.index(lost) + 1 for course in courses if lost in course])),
            }
        )
    return rows


PARTS = {
    "aa": "A/A",
    "drift": "A/A where tastes drift and weekends are busy",
    "ab": "A/B",
    "triggers": "exact triggers",
    "quality": "checks of quality",
}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--aa", type=int, default=10_000, help="A/A experiments")
    parser.add_argument("--ab", type=int, default=2_000, help="A/B experiments")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    measures = {
        "aa": lambda: measure_aa(options.aa, options.seed),
        "drift": lambda: measure_aa(options.aa, options.seed, DRIFT),
        "ab": lambda: measure_ab(options.ab, options.seed),
        "triggers": lambda: measure_triggers(options.seed),
        "quality": lambda: measure_quality(options.seed),
    }
    for part in options.only:
        rows = measures[part]()
        for row in rows if options.json else ():
            print(json.dumps({"part": part} | row), flush=True)
        print_rows(rows, PARTS[part], stream=sys.stderr)


if __name__ == "__main__":
    main()
