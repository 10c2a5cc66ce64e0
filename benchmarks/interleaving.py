"""Interleaving beside an A/B test of the same two rankings, on simulated listeners whose liking is known.

    .venv/bin/python -m benchmarks.interleaving [--experiments 1000] [--listeners 2000] [--nights 7] [--seed 1] [--json]

A listener likes each of their items by some probability, and both arms rank these by that liking with noise of their
own; the treatment's is weaker by so much. A shown item is played so many times: Poisson, by activity (log-normal: a
few listeners play most; and another one in every period), liking and a bias of its place. The A/B test compares plays
a listener, as they are and adjusted by those of a period before (CUPED); with interleaving all of the same listeners
hear drafts, another one each night. Every experiment has listeners and lists of its own.

Verdicts are two-sided at 5 %. Where the treatment is no better, they should be wrong in 5 %, within the interval shown
(binomial, 99.9 %). The ratio of listeners is the square of that of the mean z. A column an effect goes to stderr; with
--json, a line each to stdout.
"""

import argparse
import json
import sys
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.stats import binom, norm

from nocturne.core.arrays import Floats
from nocturne.core.console import print_rows
from nocturne.core.csr import CsrRows
from nocturne.experiments.interleaving import credit, credit_difference, net_preference, preferences
from nocturne.kernel.team_draft import coin_words, team_draft

ITEMS, TOP_K = 50, 20
CONTROL_NOISE = 1.5
"""Standard deviations of the liking's own spread, in log-odds."""

LESS_NOISE = (0.0, 0.1, 0.2, 0.3, 0.5)
ALPHA = 0.05
SPREAD_OF_ACTIVITY, SPREAD_OF_PERIODS = 1.0, 0.5
"""Standard deviations of its logarithm, between listeners and between two periods of one."""
PLAYS_A_NIGHT = 4.0
"""Of a listener of median activity, if they liked everything and every place were the first."""

SYSTEMS = ("A/B", "A/B, CUPED", "credit", "net preference")


class Arms(NamedTuple):
    """Listeners, and the lists of both arms.

    Attributes:
        activity, before: in the period of the experiment, and in the one before it; shape (listeners,).
        liking: shape (listeners, items).
        control, treatment: lists; shape (listeners, top_k).
    """

    activity: Floats
    before: Floats
    liking: Floats
    control: np.ndarray
    treatment: np.ndarray


def draw_arms(listeners: int, less_noise: float, rng: np.random.Generator) -> Arms:
    """Listeners and their lists."""
    odds = rng.normal(-2.0, 1.0, (listeners, ITEMS))
    lists = [
        np.argsort(-(odds + noise * rng.normal(size=odds.shape)), axis=1)[:, :TOP_K].astype(np.int32)
        for noise in (CONTROL_NOISE, CONTROL_NOISE - less_noise)
    ]
    usual = PLAYS_A_NIGHT * rng.lognormal(0.0, SPREAD_OF_ACTIVITY, listeners)
    activity, before = usual * rng.lognormal(0.0, SPREAD_OF_PERIODS, (2, listeners))
    return Arms(activity, before, 1 / (1 + np.exp(-odds)), *lists)


def expected_plays(arms: Arms, lists: np.ndarray) -> Floats:
    """Plays of every place of lists in a night; shape of the lists."""
    bias = 1 / np.log2(np.arange(TOP_K) + 2)
    expected: Floats = arms.activity[:, None] * bias * np.take_along_axis(arms.liking, lists, axis=1)
    return expected


def ab_z(arms: Arms, nights: int, rng: np.random.Generator) -> tuple[float, float]:
    """Z of plays a listener, treatment minus control, half of the listeners in each; as they are, and adjusted."""
    own = np.where(np.arange(len(arms.activity)) % 2, 1, 0)
    of_arms = np.stack([expected_plays(arms, lists).sum(axis=1) for lists in (arms.control, arms.treatment)])
    plays = rng.poisson(nights * of_arms[own, np.arange(len(own))])
    before = rng.poisson(nights * of_arms[0] * arms.before / arms.activity)
    deviations = [values - np.stack([values[own == arm].mean() for arm in (0, 1)])[own] for values in (plays, before)]
    slope = deviations[0] @ deviations[1] / (deviations[1] @ deviations[1])
    return _welch_z(plays, own), _welch_z(plays - slope * before, own)


def _welch_z(values: Floats, own: np.ndarray) -> float:
    control, treatment = values[own == 0], values[own == 1]
    variance = control.var(ddof=1) / len(control) + treatment.var(ddof=1) / len(treatment)
    return float((treatment.mean() - control.mean()) / np.sqrt(variance))


def interleaving_z(arms: Arms, nights: int, rng: np.random.Generator) -> tuple[float, float]:
    """Z of the credit and of the net preference of all listeners."""
    listeners = len(arms.activity)
    offsets = np.arange(listeners + 1) * TOP_K
    rows = [CsrRows(offsets, lists.ravel()) for lists in (arms.control, arms.treatment)]
    given = np.zeros((listeners, 2))
    listener = np.repeat(np.arange(listeners), TOP_K)
    for _ in range(nights):
        coins = rng.integers(0, 2**64, (listeners, coin_words(TOP_K)), dtype=np.uint64)
        draft = team_draft(*rows, coins, TOP_K)
        plays = rng.poisson(expected_plays(arms, draft.lists.positions.reshape(listeners, TOP_K))).ravel()
        given += credit(listener, draft.teams, plays, listeners)
    sums = preferences(given)
    return credit_difference(sums).z, net_preference(sums).z


def measure(less_noise: float, experiments: int, listeners: int, nights: int, seed: int) -> tuple[float, Floats]:
    """True effect on plays, and z of every system in so many experiments; shape (experiments, systems)."""
    zs, effects = [], []
    for experiment in range(experiments):
        rng = np.random.default_rng((seed, int(100 * less_noise), experiment))
        arms = draw_arms(listeners, less_noise, rng)
        control, treatment = (expected_plays(arms, lists).sum() for lists in (arms.control, arms.treatment))
        effects.append(treatment / control - 1)
        zs.append((*ab_z(arms, nights, rng), *interleaving_z(arms, nights, rng)))
    return float(np.mean(effects)), np.array(zs)


def summary(z: Floats, *, is_null: bool) -> dict[str, float]:
    """Verdicts of the systems, and those of interleaving where an A/B test comes to one."""
    found = np.abs(z) > norm.isf(ALPHA / 2)
    row = {f"found by {system}": float(found[:, place].mean()) for place, system in enumerate(SYSTEMS)}
    for place, peer in () if is_null else product((2, 3), (0, 1)):
        decided, name = found[:, peer], f"{SYSTEMS[place]} where {SYSTEMS[peer]} decides"
        same = (np.sign(z[:, place]) == np.sign(z[:, peer]))[decided]
        row[f"{name}: same sign"] = float(same.mean())
        row[f"{name}: same verdict"] = float((same & found[decided, place]).mean())
    return row


def ratios(z: Floats) -> dict[str, float]:
    """Times as many listeners as interleaving that an A/B test needs for the same z."""
    mean = z.mean(axis=0)
    return {
        f"listeners of {SYSTEMS[peer]} for one of {SYSTEMS[place]}": float((mean[place] / mean[peer]) ** 2)
        for place, peer in product((2, 3), (0, 1))
    }


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=1_000)
    parser.add_argument("--listeners", type=int, default=4_000)
    parser.add_argument("--nights", type=int, default=7)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    columns, with_effect = {}, []
    for less_noise in LESS_NOISE:
        effect, z = measure(less_noise, options.experiments, options.listeners, options.nights, options.seed)
        columns[f"{effect:+.1%}"] = row = summary(z, is_null=not less_noise) | (ratios(z) if less_noise else {})
        with_effect += [z] if less_noise else []
        if options.json:
            print(json.dumps({"true_effect": effect} | row), flush=True)
    columns["any effect"] = summary(np.concatenate(with_effect), is_null=False)
    low, high = binom.interval(0.999, options.experiments, ALPHA)
    names = list(dict.fromkeys(name for row in columns.values() for name in row))
    shown = [{"": name} | {column: row.get(name) for column, row in columns.items()} for name in names]
    title = (
        f"{options.experiments:,} experiments a column, {options.listeners:,} listeners each, {options.nights} nights; "
        f"without an effect found in {low / options.experiments:.3f} to {high / options.experiments:.3f}"
    )
    print_rows(shown, title, stream=sys.stderr)


if __name__ == "__main__":
    main()
