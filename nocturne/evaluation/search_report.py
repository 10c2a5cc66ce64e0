"""A search over settings as one page for people: how it went, what mattered, and the best trials."""

from typing import Any

import numpy as np
import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from nocturne.core.pages import page as whole_page
from nocturne.evaluation import plots, tuning
from nocturne.evaluation.templates import render

_BEST = 15
_ENOUGH_TO_WEIGH = 10

_STYLE = "svg { max-width: 100%; height: auto } .wide { overflow-x: auto }"


def page(study: optuna.Study, metric: str) -> str:
    """One page of HTML that fetches nothing; the same bytes from the same trials."""
    rows = tuning.rows_of(study)
    whole = [row for row in rows if row["value"] is not None and row["state"] == "complete"]
    ranked = sorted(whole, key=lambda row: (-row["value"], row["trial"]))
    body = render(
        "search.html.jinja",
        metric=metric,
        best=ranked[0] if ranked else None,
        ranked=ranked[:_BEST],
        names=[name for name in ranked[0] if name not in {"trial", "state", "value"}] if ranked else [],
        counts={state: sum(row["state"] == state for row in rows) for state in ("complete", "pruned")},
        refused=[trial.user_attrs["refused"] for trial in study.trials if "refused" in trial.user_attrs],
        plots={"history": plots.history(whole, metric), "slices": plots.slices(whole, metric)} if whole else {},
        importances=_importances(study, len(whole)),
    )
    return whole_page(f"Search {study.study_name}", body, _STYLE)


def _importances(study: optuna.Study, whole: int) -> list[tuple[str, float]]:
    """How much of what sets the best trials apart each setting accounts for, largest first; none of few trials.

    Source: Watanabe et al. (2023), "PED-ANOVA".
    """
    values = {trial.value for trial in study.get_trials(states=(TrialState.COMPLETE,))}
    if whole < _ENOUGH_TO_WEIGH or len(values) == 1:
        return []
    found: dict[str, Any] = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    return [(name, float(value)) for name, value in found.items() if np.isfinite(value)]
