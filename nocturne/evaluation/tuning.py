"""A search over settings: Optuna proposes recipes, an objective scores them, and a file remembers every trial."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from nocturne.core.errors import UsageError
from nocturne.core.settings import Settings, with_values

Report = Callable[[float], None]
"""Called with a trial's value so far; raises optuna.TrialPruned where that is hopeless."""

Objective = Callable[[Settings, Report], float]
Space = Mapping[str, BaseDistribution]

_WARM_UP_TRIALS = 8
_DONE = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Search:
    """A search by name: its space, and the file that remembers its trials.

    Attributes:
        name: of the study in its storage.
        storage: file that every trial is appended to; a search that was killed goes on from there.
        space: the settings that may vary, by `section.key`.
        seed: of the proposals.
    """

    name: str
    storage: Path
    space: Space
    seed: int


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


def run_search(
    search: Search, base: Settings, objective: Objective, trials: int, progress: Callable[[optuna.Study], None]
) -> optuna.Study:
    """Try settings until so many trials have ended, those of earlier runs of the same search among them.

    The settings as they are come first, and what was being tried when an earlier run was killed. Settings that an
    objective refuses (`UsageError`) are a failed trial, and the search goes on.

    Args:
        base: every setting that the space leaves alone.
        objective: the higher the better.
        progress: called with the study before the first and after every trial.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = _open(search)
    for killed in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(killed.number, state=TrialState.FAIL)
        study.enqueue_trial(killed.params)
    if not study.trials:
        study.enqueue_trial(_values_in(search.space, base))
    progress(study)
    while len(ended_trials(study)) < trials:
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


def trial_rows(study: optuna.Study) -> list[dict[str, Any]]:
    """Every trial that ended, in order: its number, state, value and settings."""
    return [
        {"trial": trial.number, "state": trial.state.name.lower(), "value": trial.value, **trial.params}
        for trial in ended_trials(study)
    ]


def settings_toml(params: Mapping[str, Any], remark: str) -> str:
    """Settings as a file that `--conf` takes."""
    sections: dict[str, list[str]] = {}
    for name, value in params.items():
        section, _, key = name.partition(".")
        text = f'"{value}"' if isinstance(value, str) else f"{value}"
        sections.setdefault(section, []).append(f"{key} = {text}")
    parts = ["\n".join([f"[{section}]", *lines]) for section, lines in sections.items()]
    return "\n\n".join([f"# {remark}", *parts]) + "\n"


def _open(search: Search) -> optuna.Study:
    try:
        search.storage.parent.mkdir(parents=True, exist_ok=True)
        storage = JournalStorage(JournalFileBackend(str(search.storage)))
        study = optuna.create_study(
            storage=storage,
            study_name=search.name,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_WARM_UP_TRIALS),
        )
    except OSError as error:
        raise UsageError(
            "the search cannot be stored", where=str(search.storage), found=str(error), fix="choose another --storage"
        ) from error
    # Seeded by how far it is, so that a search that goes on does not propose its first trials again.
    study.sampler = optuna.samplers.TPESampler(
        seed=search.seed + len(study.trials), n_startup_trials=_WARM_UP_TRIALS, multivariate=True
    )
    return study


def _values_in(space: Space, settings: Settings) -> dict[str, Any]:
    """The values of the settings that the space names, where they lie in it."""
    values = {}
    for name, distribution in space.items():
        section, _, key = name.partition(".")
        value = settings.model_dump().get(section, {}).get(key)
        if value is not None and _lies_in(distribution, value):
            values[name] = value
    return values


def _lies_in(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return bool(distribution.low <= value <= distribution.high)


def _reporter(trial: optuna.Trial) -> Report:
    step = 0

    def report(value: float) -> None:
        nonlocal step
        trial.report(value, step)
        step += 1
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
