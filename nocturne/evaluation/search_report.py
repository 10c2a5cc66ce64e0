"""A search over settings as one page for people: how it went, what mattered, and the best trials."""

from typing import Any

import numpy as np
import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from nocturne.core.pages import render_page
from nocturne.evaluation import plots, tuning
from nocturne.evaluation.listener_sample import SampleSize

_BEST = 15
_ENOUGH_TO_WEIGH = 10


def search_page(study: optuna.Study, metric: str, sample_size: SampleSize | None = None) -> str:
    """One page of HTML that fetches nothing; the same bytes from the same trials.

    Args:
        sample_size: listeners by whom nights were scored; None on a split.
    """
    rows = tuning.trial_rows(study)
    complete = [row for row in rows if row["value"] is not None and row["state"] == "complete"]
    ranked = sorted(complete, key=lambda row: (-row["value"], row["trial"]))
    return render_page(
        "nocturne.evaluation",
        "search.html.jinja",
        title=f"Search {study.study_name}",
        metric=metric,
        sample_size=sample_size,
        best=ranked[0] if ranked else None,
        ranked=ranked[:_BEST],
        names=[name for name in ranked[0] if name not in {"trial", "state", "value"}] if ranked else [],
        counts={state: sum(row["state"] == state for row in rows) for state in ("complete", "pruned")},
        refused=[trial.user_attrs["refused"] for trial in study.trials if "refused" in trial.user_attrs],
        plots={"history": plots.history(complete, metric), "slices": plots.slices(complete, metric)}
        if complete
        else {},
        moved=what_moved(study),
        intervals=tuning.intervals(study),
    )


def what_moved(study: optuna.Study) -> list[dict[str, object]]:
    """Each setting's share in what sets the best trials apart, largest first, with where it was and where it came to.

    The share is empty where too few trials came to a value.
    """
    ended = [trial for trial in tuning.ended_trials(study) if trial.state is TrialState.COMPLETE]
    top = tuning.best_trial(study)
    if top is None:
        return []
    shares, first = _importances(study, len(ended)), ended[0]
    rows: list[dict[str, object]] = []
    for name in sorted(top.params, key=lambda name: -shares.get(name, 0.0)):
        share = f"{shares[name]:.2f}" if name in shares else ""
        rows.append({"setting": name, "share": share, f"trial {first.number}": first.params.get(name)})
        rows[-1] |= {f"best, trial {top.number}": top.params[name]}
    return rows


def _importances(study: optuna.Study, complete: int) -> dict[str, float]:
    """Each setting's share in what sets the best trials apart; none of few trials.

    Source: Watanabe et al. (2023), "PED-ANOVA".
    """
    values = {trial.value for trial in study.get_trials(states=(TrialState.COMPLETE,))}
    if complete < _ENOUGH_TO_WEIGH or len(values) == 1:
        return {}
    importances: dict[str, Any] = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    return {name: float(value) for name, value in importances.items() if np.isfinite(value)}
