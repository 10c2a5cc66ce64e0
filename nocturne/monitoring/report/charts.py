"""Charts as a page draws them: numbers laid out in small drawings that share a scale. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

WIDTH, HEIGHT = 120.0, 32.0
"""Of a drawing, in units of its own: a page stretches it."""

_EDGE = 2.0


@dataclass(frozen=True)
class Bar:
    """A category: its share last night and tonight, from 0 to 1; None where there was no night before."""

    label: str
    before: float | None
    now: float


@dataclass(frozen=True)
class Bars:
    """A panel of categories, one after another."""

    title: str
    note: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Column:
    """A column of a histogram, as it is drawn: left edge, width, top and height."""

    x: float
    width: float
    y: float
    height: float


@dataclass(frozen=True)
class Histogram:
    """A panel of columns; the first is of what did not move."""

    title: str
    note: str
    columns: tuple[Column, ...]
    about: str


@dataclass(frozen=True)
class Line:
    """A panel of values over nights.

    Attributes:
        points: x and y of each night, as SVG has them.
        end: x and y of the last night.
        first, last: its value on the first and on the last night of the panel.
        low, high: the smallest and the largest value.
        usual: median of the nights before the last; None without any.
    """

    title: str
    note: str
    points: str
    end: tuple[float, float]
    since: date
    until: date
    first: float
    last: float
    low: float
    high: float
    usual: float | None


def bars(title: str, note: str, before: Mapping[str, int], now: Mapping[str, int], order: Sequence[str]) -> Bars:
    """Counts of two nights as shares of their sums, in an order of categories; those of neither night are left out."""
    of_before, of_now = sum(before.values()), sum(now.values())
    return Bars(
        title,
        note,
        tuple(
            Bar(name, before.get(name, 0) / of_before if of_before else None, now.get(name, 0) / of_now)
            for name in order
            if of_now and (before.get(name) or now.get(name))
        ),
    )


def histogram(title: str, note: str, counts: Sequence[int], tallest: float, about: str) -> Histogram:
    """Counts as columns, by their share of the sum.

    Args:
        tallest: the share that fills the panel, the same for all panels that stand side by side.
        about: the drawing in words.
    """
    total, width = sum(counts) or 1, WIDTH / len(counts)
    columns = []
    for place, count in enumerate(counts):
        height = count / total / tallest * HEIGHT if tallest else 0.0
        columns.append(
            Column(round(place * width + 0.5, 2), round(width - 1, 2), round(HEIGHT - height, 2), round(height, 2))
        )
    return Histogram(title, note, tuple(columns), about)


def line(title: str, note: str, values: Mapping[date, float]) -> Line | None:
    """Values by night as a line over as many days; None without any."""
    if not values:
        return None
    days = sorted(values)
    low, high = min(values.values()), max(values.values())
    span = (days[-1] - days[0]).days or 1

    def place(day: date) -> tuple[float, float]:
        height = (values[day] - low) / (high - low) if high > low else 0.5
        x = _EDGE + (WIDTH - 2 * _EDGE) * ((day - days[0]).days / span if len(days) > 1 else 1.0)
        return round(x, 2), round(HEIGHT - _EDGE - (HEIGHT - 2 * _EDGE) * height, 2)

    before = sorted(values[day] for day in days[:-1])
    return Line(
        title,
        note,
        " ".join(f"{x:g},{y:g}" for x, y in map(place, days)),
        place(days[-1]),
        days[0],
        days[-1],
        values[days[0]],
        values[days[-1]],
        low,
        high,
        before[len(before) // 2] if len(before) % 2 else _middle(before),
    )


def _middle(ordered: Sequence[float]) -> float | None:
    half = len(ordered) // 2
    return (ordered[half - 1] + ordered[half]) / 2 if ordered else None
