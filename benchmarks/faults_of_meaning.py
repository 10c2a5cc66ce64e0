"""Faults of meaning, tried on single nights of a simulated year, and what the gate and the watches say of them.

    .venv/bin/python -m benchmarks.faults_of_meaning --nights 365 --seed 1 [--check] [--kinds clock_shift …] [--json]
                                                     [--listeners 2000] [--items 1000] [--keep DIR] [--kept DIR]
                                                     [--page FILE]

The year has weekdays, holidays, growth, new items and listeners, and experiments; its nights are made in memory by the
project's own functions. A fork of a night is that night with one fault, made again from there on, measured as the night
is, and judged against the clean nights before it. It hurts by the simulator's truth: `benchmarks.arena.truth`. With
--check, status 1 if less than 95 % of what hurts is blocked or alerted, or more than one clean night is blocked. --keep
writes what was measured to a folder, and --kept judges that of a folder again. --page writes docs/faults-of-meaning.md.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.arena import (
    faults_of_catalogue,
    faults_of_exposures,
    faults_of_listens,
    faults_of_lists,
    faults_of_model,
    faults_of_rows,
)
from benchmarks.arena.course import Measured, plan, take_course
from benchmarks.arena.judging import Verdict, judge_all
from benchmarks.arena.kinds import KINDS
from benchmarks.arena.page import page
from benchmarks.arena.scores import clean_summary, row_of, summaries
from benchmarks.arena.stored import keep, kept
from benchmarks.arena.year import Year
from nocturne.core.console import print_json, print_record, print_rows

FAULTS = (
    faults_of_listens, faults_of_catalogue, faults_of_rows, faults_of_model, faults_of_lists, faults_of_exposures
)  # fmt: skip
"""Modules whose import makes their kinds known."""

LEAST_RECALL, MOST_FALSE_BLOCKS = 0.95, 1


def measure_year(options: argparse.Namespace, bar: Progress) -> list[Measured]:
    """The nights of a year and their forks."""
    year = Year.of(options.listeners, options.items, options.nights, options.seed)
    forks = plan(year, options.kinds or list(KINDS), options.seed)
    task = bar.add_task("nights", total=year.last)
    return list(take_course(year, forks, lambda done, total, _: bar.update(task, completed=done, total=total)))


def judge_year(nights: Sequence[Measured], bar: Progress) -> list[Verdict]:
    """The verdicts on them."""
    task = bar.add_task("judged", total=len(nights))
    return judge_all(nights, lambda done, total, _: bar.update(task, completed=done, total=total))


def report(verdicts: Sequence[Verdict], *, as_json: bool) -> None:
    """Print a row for each fork, and the scores."""
    forks = [row_of(verdict) for verdict in verdicts if verdict.night.fork is not None]
    clean, scores = clean_summary(verdicts), summaries(verdicts)
    if as_json:
        print_json({"forks": forks, "scores": scores, "clean": clean})
        return
    hidden = {"held_out", "hurts_anyone", "gaining", "night", "nights", "alerted"}
    print_rows([{name: value for name, value in row.items() if name not in hidden} for row in forks], "faults")
    print_rows(scores, "scores")
    print_record(clean, "nights without a fault")


def passes(verdicts: Sequence[Verdict]) -> bool:
    """True if enough of what hurts is told, and hardly a sound night is blocked."""
    scores, clean = summaries(verdicts), clean_summary(verdicts)
    return scores[0]["alerted"] >= LEAST_RECALL and clean["false_blocks"] <= MOST_FALSE_BLOCKS


def main() -> int:
    """Measure, judge, and print; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nights", type=int, default=365)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--listeners", type=int, default=2_000, help="by the last night")
    parser.add_argument("--items", type=int, default=1_000, help="by the last night")
    parser.add_argument("--kinds", nargs="+", choices=sorted(KINDS), metavar="KIND", help="all, if left out")
    parser.add_argument("--keep", type=Path, help="write what was measured to this folder")
    parser.add_argument("--kept", type=Path, help="judge what was measured into this folder")
    parser.add_argument("--check", action="store_true", help="status 1 if the goals are missed")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--page", type=Path, help="write the page to this file")
    options = parser.parse_args()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        nights = kept(options.kept) if options.kept else measure_year(options, bar)
        if options.keep:
            keep(nights, options.keep)
        verdicts = judge_year(nights, bar)
    if options.page:
        forks = [row_of(verdict) for verdict in verdicts if verdict.night.fork is not None]
        command = f".venv/bin/python -m benchmarks.faults_of_meaning --nights {options.nights} --seed {options.seed}"
        command += f" --listeners {options.listeners} --items {options.items} --check"
        above = options.page.read_text(encoding="utf-8")
        told = page(above, forks, summaries(verdicts), clean_summary(verdicts), command)
        options.page.write_text(told, encoding="utf-8")
    report(verdicts, as_json=options.json)
    return int(options.check and not passes(verdicts))


if __name__ == "__main__":
    sys.exit(main())
