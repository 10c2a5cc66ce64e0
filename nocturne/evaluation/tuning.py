"""A search over settings: Optuna proposes recipes, an objective scores them, and a file remembers every trial."""

import tomllib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import WilcoxonPruner
from optuna.samplers import PartialFixedSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from nocturne.core.arrays import Floats
from nocturne.core.errors import UsageError
from nocturne.core.settings import Settings, with_values
from nocturne.evaluation.significance import differences
from nocturne.evaluation.studies import Terms, keep_terms, open_study, terms_of

Report = Callable[[Floats, bool], None]
"""Called with a trial's values so far, one of each group of listeners, the same groups in every trial, and with
whether they are a part of what the trial comes to, or only a sign of it; raises optuna.TrialPruned where the best trial
is better for certain."""

Objective = Callable[[Settings, Report], float]
Space = Mapping[str, BaseDistribution]

GROUPS = 20
"""Groups of listeners that a trial is compared by."""

BELONG_TOGETHER = (
    frozenset({"als.factors", "als.iterations", "als.regularization", "als.regularization_exponent", "als.alpha"}),
    frozenset(
        {
            "als.neighbours",
            "als.neighbour_weights",
            "als.neighbour_exponent",
            "als.neighbour_weight",
            "ranking.candidates",
        }
    ),
    frozenset(
        {
            *("als.transform", "als.play_weight", "als.minute_weight"),
            *("als.popularity_exponent", "als.activity_exponent", "als.score_exponent"),
        }
    ),
)
"""Settings that make up for each other, and are changed together: evidence against ridge, the second stage, weights."""

_WARM_UP_TRIALS = 8
_PRUNED_BELOW_P = 0.05
_GROUPS_TO_JUDGE_BY = 10
_FIRST_FINAL_STEP = 1_000_000
_DONE = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Search:
    """A search by name: its space, and the file that remembers its trials.

    Attributes:
        name: of the study in its storage.
        storage: file that every trial is appended to; a search that was killed goes on from there.
        space: the settings that may vary, by `section.key`.
        seed: of the proposals.
        starts: recipes by name that are tried after the settings as they are: values by `section.key`.
        terms: what else decides a trial's value, such as the metric and the data.
    """

    name: str
    storage: Path
    space: Space
    seed: int
    starts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    terms: Terms = field(default_factory=dict)


def read_space(path: Path) -> dict[str, BaseDistribution]:
    """The search space of a TOML file: by `section.key` a list of choices, or a table of low, high and log.

    Raises:
        UsageError: the file cannot be read, or holds something else.
    """
    try:
        sections = tomllib.loads(path.read_text(encoding="utf-8"))
        return {
            f"{section}.{key}": _parse_distribution(values)
            for section, keys in sections.items()
            for key, values in keys.items()
        }
    except (OSError, TypeError, AttributeError, LookupError, ValueError) as error:
        raise UsageError(
            "the search space cannot be read",
            where=str(path),
            found=str(error),
            expected='such as alpha = { low = 1.0, high = 99.0, log = true } or transform = ["sqrt", "log1p"]',
        ) from error


def read_starts(path: Path) -> dict[str, dict[str, Any]]:
    """Recipes of a TOML file by name: values by `section.key`."""
    recipes = tomllib.loads(path.read_text(encoding="utf-8"))
    return {
        name: {f"{section}.{key}": value for section, keys in sections.items() for key, value in keys.items()}
        for name, sections in recipes.items()
    }


def run_search(
    search: Search, base: Settings, objective: Objective, trials: int, progress: Callable[[optuna.Study], None]
) -> optuna.Study:
    """Try settings until so many trials have ended, those of earlier runs of the same search among them.

    The settings as they are come first, then the recipes to start from; before all, what was being tried when an
    earlier run was killed. Then every trial changes one group of settings of a trial that the best one is not better
    than for certain. Settings that an objective refuses (`UsageError`) are a failed trial, and the search goes on.

    Args:
        base: every setting that the space leaves alone.
        objective: the higher the better.
        progress: called with the study before the first and after every trial.

    Raises:
        UsageError: the storage is none, or the study was begun under other terms.
    """
    study = open_study(search.storage, search.name)
    keep_terms(study, {**terms_of(base, search.space), **search.terms})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # nocturne's own tests hold what it needs of them
        study.pruner = WilcoxonPruner(p_threshold=_PRUNED_BELOW_P, n_startup_steps=_GROUPS_TO_JUDGE_BY)
    for killed in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(killed.number, state=TrialState.FAIL)
        study.enqueue_trial(killed.params, killed.user_attrs)
    if not study.trials:
        study.enqueue_trial(_values_in(search.space, base), {"from": "the settings"})
        for name, values in search.starts.items():
            recipe = _values_in(search.space, with_values(base, values), values)
            study.enqueue_trial(recipe, {"from": name}, skip_if_exists=True)
    progress(study)
    while len(ended_trials(study)) < trials:
        study.sampler = _sampler(study, search)
        trial = study.ask(dict(search.space))
        try:
            value = objective(with_values(base, trial.params), _reporter(trial))
            study.tell(trial, value)
        except optuna.TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)
        except UsageError as error:
            trial.set_user_attr("refused", str(error))
            study.tell(trial, state=TrialState.FAIL)
            _give_up_if_nothing_works(study, error)
        progress(study)
    return study


def ended_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that came to a value, or were pruned."""
    return study.get_trials(deepcopy=False, states=_DONE)


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """The trial with the highest value; None before the first has one."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return max(complete, key=lambda trial: (trial.value, -trial.number), default=None)


def intervals(study: optuna.Study) -> dict[int, tuple[float, float]]:
    """By number of each trial with a value, the 95 % interval of its difference to the best, over groups of listeners.

    Trials whose objective reported no groups are left out.
    """
    top = best_trial(study)
    if top is None or not (final := _final_values(top)):
        return {}
    scores = {
        trial.number: values
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if (values := _final_values(trial)).keys() == final.keys()
    }
    named = {f"{number}": {"value": np.array(list(values.values()))} for number, values in scores.items()}
    rows = differences(named, f"{top.number}", {})
    return {top.number: (0.0, 0.0)} | {int(row.system): (row.low, row.high) for row in rows}


def contenders(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that the best one is not better than for certain, the best first."""
    reached = {number for number, (_, high) in intervals(study).items() if high >= 0}
    top = best_trial(study)
    rest = [trial for trial in ended_trials(study) if trial.number in reached and trial != top]
    return [*([top] if top else []), *sorted(rest, key=lambda trial: (-(trial.value or 0.0), trial.number))]


def trial_rows(study: optuna.Study) -> list[dict[str, Any]]:
    """Every trial that ended, in order: its number, state, value and settings."""
    return [
        {"trial": trial.number, "state": trial.state.name.lower(), "value": trial.value, **trial.params}
        for trial in ended_trials(study)
    ]


def _final_values(trial: FrozenTrial) -> dict[int, float]:
    return {step: value for step, value in trial.intermediate_values.items() if step >= _FIRST_FINAL_STEP}


def _sampler(study: optuna.Study, search: Search) -> optuna.samplers.BaseSampler:
    """Proposals for the next trial: all settings anew, or one group, the others as in one of the contenders.

    Seeded by how far the search is, so that one that goes on does not propose its first trials again.
    """
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    number = len(study.trials) - len(waiting)
    whole = TPESampler(seed=search.seed + number, n_startup_trials=_WARM_UP_TRIALS, multivariate=True)
    groups = _groups(search.space)
    centres = contenders(study)
    if not centres or len(groups) < 2 or waiting:
        return whole
    turn, place = divmod(number, len(groups))
    centre = centres[turn % len(centres)]
    fixed = {name: value for name, value in centre.params.items() if name not in groups[place]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return PartialFixedSampler(fixed, whole)


def _groups(space: Space) -> list[frozenset[str]]:
    """The settings of a space as they are changed together; those of no group are one.

    A group of mere choices would soon be tried out, and goes with the first one that has a range.
    """
    names = frozenset(space)
    groups = [*(group & names for group in BELONG_TOGETHER), names.difference(*BELONG_TOGETHER)]
    ranges = {name for name, varied in space.items() if not isinstance(varied, CategoricalDistribution)}
    ranged = [group for group in groups if group & ranges]
    choices = frozenset[str]().union(*(group for group in groups if not group & ranges))
    return [ranged[0] | choices, *ranged[1:]] if ranged else [choices]


def _values_in(space: Space, settings: Settings, moved: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The values of the settings that the space names, where they lie in it.

    Args:
        moved: names of values that are moved to the nearest one in the space.
    """
    dumped, values = settings.model_dump(), {}
    for name, distribution in space.items():
        section, _, key = name.partition(".")
        value = dumped.get(section, {}).get(key)
        if value is not None and moved is not None and name in moved:
            value = _nearest(distribution, value)
        if value is not None and _lies_in(distribution, value):
            values[name] = value
    return values


def _nearest(distribution: BaseDistribution, value: Any) -> Any:
    if isinstance(distribution, FloatDistribution | IntDistribution):
        return min(max(value, distribution.low), distribution.high)
    assert isinstance(distribution, CategoricalDistribution)
    numbers = [choice for choice in distribution.choices if isinstance(choice, int | float)]
    if isinstance(value, bool | str) or len(numbers) < len(distribution.choices):
        return value
    return min(numbers, key=lambda choice: abs(choice - value))


def _lies_in(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return bool(distribution.low <= value <= distribution.high)


def _reporter(trial: optuna.Trial) -> Report:
    next_steps = {False: 0, True: _FIRST_FINAL_STEP}

    def report(values: Sequence[float] | Floats, final: bool) -> None:
        for value in values:
            trial.report(float(value), next_steps[final])
            next_steps[final] += 1
        if trial.should_prune():
            raise optuna.TrialPruned

    return report


def _give_up_if_nothing_works(study: optuna.Study, error: UsageError) -> None:
    if len(study.trials) >= _WARM_UP_TRIALS and not ended_trials(study):
        raise UsageError("no trial of the search could run", found=str(error)) from error


def _parse_distribution(values: Any) -> BaseDistribution:
    if isinstance(values, list):
        return CategoricalDistribution(values)
    low, high, log = values["low"], values["high"], values.get("log", False)
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(float(low), float(high), log=log)
