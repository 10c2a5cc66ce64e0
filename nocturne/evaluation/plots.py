"""Plots of a backtest or a search as SVG to stand in a page: the same bytes from the same numbers."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nocturne.core.plotting import BASELINE, FAINT, REFERENCE, STYLE, WIDTH_INCHES, svg
from nocturne.evaluation.significance import Difference

_ROW_INCHES = 0.34


def intervals(panels: Mapping[str, Sequence[Difference]], colours: Mapping[str, str]) -> str:
    """A panel per metric: every system's difference with its interval, zero marked."""
    rows = max(len(panel) for panel in panels.values())
    with mpl.rc_context(STYLE):
        figure, axes = _grid(len(panels), rows)
        for axis, (metric, panel) in zip(axes, panels.items(), strict=True):
            for place, row in enumerate(reversed(panel)):
                colour = colours[row.system]
                axis.plot([row.low, row.high], [place, place], color=colour, linewidth=2.5, solid_capstyle="round")
                axis.plot(row.difference, place, "o", color=colour, markersize=6)
            axis.axvline(0, color=REFERENCE, linewidth=1)
            _name_rows(axis, [row.system for row in reversed(panel)])
            axis.set_xlabel(f"{metric}, difference")
        return svg(figure)


def dots(rows: Mapping[str, Mapping[str, float]], colours: Mapping[str, str], label: str) -> str:
    """A row per name with a dot per system."""
    names = list(rows)[::-1]
    with mpl.rc_context(STYLE):
        figure, (axis,) = _grid(1, len(names) + 2)
        for system, colour in colours.items():
            places = [place for place, name in enumerate(names) if system in rows[name]]
            values = [rows[names[place]][system] for place in places]
            axis.plot(values, places, "o", color=colour, markersize=6, alpha=0.85, label=system)
        for place in range(len(names)):
            axis.axhline(place, color=FAINT, linewidth=0.6, zorder=0)
        _name_rows(axis, names)
        axis.set_xlabel(label)
        axis.set_xlim(left=0)
        axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
        return svg(figure)


def lines(dates: Sequence[str], values: Mapping[str, Sequence[float | None]], colours: Mapping[str, str]) -> str:
    """A line per system over the nights; gaps where it has no lists."""
    with mpl.rc_context(STYLE):
        figure, (axis,) = _grid(1, 8)
        places = list(range(len(dates)))
        for system, series in values.items():
            heights = [float("nan") if value is None else value for value in series]
            axis.plot(places, heights, "o-", color=colours[system], markersize=4, label=system)
        step = max(1, len(dates) // 8)
        axis.set_xticks(places[::step], dates[::step])
        axis.set_ylim(bottom=0)
        axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
        return svg(figure)


def history(rows: Sequence[Mapping[str, Any]], label: str) -> str:
    """The value of every trial, and the best so far."""
    trials, values = [row["trial"] for row in rows], [row["value"] for row in rows]
    with mpl.rc_context(STYLE):
        figure, (axis,) = _grid(1, 8)
        axis.plot(trials, values, "o", color=BASELINE, markersize=4, label="trial")
        best = list(accumulate(values, max))
        axis.step(trials, best, where="post", color=REFERENCE, linewidth=2, label="best so far")
        axis.set_xlabel("trial")
        axis.set_ylabel(label)
        axis.legend(loc="lower right", frameon=False)
        return svg(figure)


def slices(rows: Sequence[Mapping[str, Any]], label: str) -> str:
    """A panel per setting: the value of every trial against what it was set to."""
    names = [name for name in rows[0] if name not in {"trial", "state", "value"}]
    columns = min(4, len(names))
    rows_of_panels = -(-len(names) // columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, 2.2 * rows_of_panels), layout="constrained")
        for place, name in enumerate(names):
            axis = figure.add_subplot(rows_of_panels, columns, place + 1)
            settings = [row[name] for row in rows]
            if any(isinstance(value, str) for value in settings):
                settings = [str(value) for value in settings]
            axis.plot(settings, [row["value"] for row in rows], "o", color=REFERENCE, markersize=3, alpha=0.7)
            axis.set_xlabel(name)
            if place % columns == 0:
                axis.set_ylabel(label)
        return svg(figure)


def _grid(columns: int, rows: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(WIDTH_INCHES, 0.9 + _ROW_INCHES * rows), layout="constrained")
    return figure, [figure.add_subplot(1, columns, column + 1) for column in range(columns)]


def _name_rows(axis: Axes, names: Sequence[str]) -> None:
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(-0.6, len(names) - 0.4)
    axis.tick_params(length=0)
