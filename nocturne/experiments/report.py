"""An experiment as one page for people: the rule's sentence, effects over the looks, quality, and segments."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nocturne.core.experiment import Experiment
from nocturne.core.pages import render_page
from nocturne.core.plotting import BASELINE, FAINT, REFERENCE, STYLE, WIDTH_INCHES, svg
from nocturne.storage.running_experiments import CONCLUSION

Row = Mapping[str, Any]

_PANEL_INCHES = 1.9
_MEANINGS = {
    "assignment": "listeners are in the ratio of the weights",
    "list": "everyone assigned had the list of their arm",
    "trigger": "lists differ for as many of either arm",
    "exposure": "as many of either arm were shown something",
    "before": "the arms were alike before the start",
}


def experiment_page(experiment: Experiment, rows: Sequence[Row]) -> str:
    """One page of HTML that fetches nothing; the same bytes from the same rows.

    Args:
        rows: of `experiment_results`, of all looks so far.
    """
    treatments = [_treatment(experiment, name, rows) for name in experiment.treatments]
    conclusion = next((row for row in rows if row["kind"] == CONCLUSION), None)
    return render_page(
        "nocturne.experiments",
        "report.html.jinja",
        title=f"Experiment {experiment.name}",
        experiment=experiment,
        conclusion=conclusion,
        treatments=[each for each in treatments if each["decision"]],
        meanings=_MEANINGS,
    )


def _treatment(experiment: Experiment, name: str, rows: Sequence[Row]) -> dict[str, Any]:
    ours = [row for row in rows if row["treatment"] == name and row["kind"] != CONCLUSION]
    day = max((row["day"] for row in ours), default=0)
    last = [row for row in ours if row["day"] == day]
    metrics = [row for row in ours if row["kind"] == "metric" and not row["segment"]]
    return {
        "name": name,
        "decision": next((row for row in last if row["kind"] == "decision"), None),
        "metrics": [row for row in last if row["kind"] == "metric" and not row["segment"]],
        "checks": [row for row in last if row["kind"] == "check"],
        "segments": _by_segment([row for row in last if row["kind"] == "metric" and row["segment"]]),
        "plot": _plot(experiment, metrics) if metrics else "",
    }


def _by_segment(rows: Sequence[Row]) -> dict[str, list[Row]]:
    names = sorted({row["segment"] for row in rows})
    return {name: [row for row in rows if row["segment"] == name] for name in names}


def _plot(experiment: Experiment, rows: Sequence[Row]) -> str:
    """A panel per metric: the relative effect at every look, with its repeated confidence interval."""
    names = [name for name in experiment.metrics if any(row["name"] == name for row in rows)]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, _PANEL_INCHES * len(names)), layout="constrained")
        for place, name in enumerate(names):
            axis = figure.add_subplot(len(names), 1, place + 1)
            _draw(
                axis, experiment, name, sorted((row for row in rows if row["name"] == name), key=lambda row: row["day"])
            )
        return svg(figure)


def _draw(axis: Axes, experiment: Experiment, name: str, rows: Sequence[Row]) -> None:
    metric = experiment.metrics[name]
    days, effects = [row["day"] for row in rows], [100 * row["relative"] for row in rows]
    reach = 100 * max(metric.minimum_effect, metric.margin, *(abs(row["relative"]) for row in rows), 0.01)
    for row in (row for row in rows if isfinite(row["low"]) and isfinite(row["high"])):
        ends = [min(max(100 * row[end], -8 * reach), 8 * reach) for end in ("low", "high")]
        axis.plot([row["day"]] * 2, ends, color=REFERENCE, linewidth=2.5, solid_capstyle="round")
    axis.plot(days, effects, "o", color=REFERENCE, markersize=6)
    axis.axhline(0, color=BASELINE, linewidth=1)
    worth = metric.minimum_effect or -metric.margin
    if worth:
        axis.axhline(100 * worth * (1 if metric.direction == "increase" else -1), color=FAINT, linestyle="--")
    axis.set_xlim(0, experiment.nights + 0.5)
    axis.set_ylabel(f"{name}, %")
    axis.set_xlabel("day of the experiment")
