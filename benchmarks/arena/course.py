"""The course of a year: clean nights, one after another, and forks of single ones with a fault each."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from benchmarks.arena.days import Past, live
from benchmarks.arena.gate import closed_by, profiles
from benchmarks.arena.kinds import KINDS, Kind
from benchmarks.arena.measures import measure
from benchmarks.arena.night import Before, Night, Recipe, arrive, build, run
from benchmarks.arena.truth import Truth, expected_plays, truth_of
from benchmarks.arena.year import Year

if TYPE_CHECKING:
    from nocturne.core.arrays import Floats

RETRAINED_EVERY = 7
LISTED_BEFORE = 14
"""Nights with lists before those that are judged."""

RECENT = 7
"""Nights whose median is usual, to the standing gate."""

FORKED = 16
"""Nights that are forked."""

SETTLED = 28
"""Nights that are judged before any is forked, where there are so many."""

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Fork:
    """A fault that is tried on a night.

    Attributes:
        number: of the night.
        step: place of the magnitude among those of the kind.
    """

    kind: Kind
    step: int
    number: int

    @property
    def magnitude(self) -> float:
        """The size of the fault."""
        return self.kind.magnitudes[self.step]

    @property
    def name(self) -> str:
        """Kind and magnitude."""
        return f"{self.kind.name} {self.magnitude:g}"


@dataclass(frozen=True)
class Measured:
    """A night as it was measured.

    Attributes:
        fork: the fault; None of a clean night.
        metrics: rows of `night_metrics`.
        closed_by: critical expectations of the standing gate that fail.
        truth: what it does to listeners; None of a clean night.
    """

    number: int
    fork: Fork | None
    metrics: pa.Table
    closed_by: tuple[str, ...]
    truth: Truth | None = None


def plan(year: Year, kinds: Sequence[str], seed: int) -> list[Fork]:
    """Every magnitude of every kind, each on one of a few nights on which it can do anything."""
    nights = forked_nights(year)
    forks = []
    for name in kinds:
        kind = KINDS[name]
        fitting = [number for number in nights if _fits(year, kind, number)] or nights
        rng = np.random.default_rng((seed, *name.encode()))
        forks += [Fork(kind, step, int(rng.choice(fitting))) for step in range(len(kind.magnitudes))]
    return forks


def forked_nights(year: Year) -> list[int]:
    """Nights over the year, every other one of which is one of a new model."""
    first = year.warm_up + min(SETTLED, year.nights - 2)
    spread = np.linspace(first, year.last - 1, FORKED).astype(int)
    return sorted({_on_training(int(n)) if place % 2 else int(n) for place, n in enumerate(spread.tolist())})


def _on_training(number: int) -> int:
    """The last night of a new model up to a night."""
    return number - number % RETRAINED_EVERY


def _fits(year: Year, kind: Kind, number: int) -> bool:
    if kind.needs == "training":
        return trains(number)
    return kind.needs != "experiment" or year.experiment(number) is not None


def trains(number: int) -> bool:
    """True for a night on which a new model is learned."""
    return number % RETRAINED_EVERY == 0


def take_course(year: Year, forks: Sequence[Fork], progress: Progress = lambda *_: None) -> Iterator[Measured]:
    """Live the year: every judged night as it was measured, each followed by its forks."""
    before, past, counts = Before(), Past(), list[dict[str, float]]()
    with threadpool_limits(1):
        for number in range(year.last):
            progress(number, year.last, "nights")
            day, past = live(year, number, before.lists, past)
            night = arrive(year, number, before, day, Recipe.usual(), trains=trains(number) or before.model is None)
            first_list = max(1, year.warm_up - LISTED_BEFORE)
            night = build(night) if number < first_list else run(night)
            if number >= year.warm_up:
                usual = _usual(counts[-RECENT:])
                clean = _measured(night, usual)
                yield clean
                wanted = [fork for fork in forks if fork.number == number]
                yield from _forked(year, night, clean, usual, past, wanted)
            counts.append(day.account)
            before = night.after


def _usual(counts: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(each[name] for each in counts) for name in ("listens", "listeners") if counts}


def _measured(night: Night, usual: dict[str, float]) -> Measured:
    of = profiles(night, usual)
    return Measured(night.number, None, measure(night, of), tuple(closed_by(of)))


def _forked(
    year: Year, night: Night, clean: Measured, usual: dict[str, float], past: Past, forks: Sequence[Fork]
) -> Iterator[Measured]:
    if not forks:
        return
    tomorrow = night.number + 1
    memory = past.memory(year, tomorrow)
    assert night.lists is not None
    plays: Floats = expected_plays(year, tomorrow, night.lists, memory)
    for fork in forks:
        rng = np.random.default_rng((year.world.scenario.seed, fork.step, *fork.kind.name.encode()))
        try:
            faulty = run(fork.kind.change(night, rng, fork.magnitude), fork.kind.first)
        except Exception as error:  # noqa: BLE001 - whatever fails a stage leaves the lists of the night before
            failed = (f"stage.{type(error).__name__}",)
            yield Measured(night.number, fork, clean.metrics, failed, truth_of(night, night, plays, plays))
            continue
        of = profiles(faulty, usual)
        assert faulty.lists is not None
        lost = plays if faulty.lists is night.lists else expected_plays(year, tomorrow, faulty.lists, memory)
        yield Measured(
            night.number,
            fork,
            measure(faulty, of, night, clean.metrics),
            tuple(closed_by(of)),
            truth_of(faulty, night, plays, lost),
        )
