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

from nocturne.core.errors import SettingsError
from nocturne.core.settings import Settings, with_values

Report = Callable[[float], None]
"""Told what a trial has come to so far; raises optuna.TrialPruned where that is hopeless."""

Objective = Callable[[Settings, Report], float]
Space = Mapping[str, BaseDistribution]

_WARM_UP_TRIALS = 8
_DONE = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Search:
    """What is searched, and where it is remembered.

    Attributes:
        name: of the study in its storage.
        storage: file that every trial is appended to; a search that was killed goes on from there.
        space: what may vary, by `section.key`.
        seed: of the proposals.
    """

    name: str
    storage: Path
    space: Space
    seed: int


def read_space(path: Path) -> dict[str, BaseDistribution]:
    """The search space of a TOML file: by `section.key` a list of choices, or a table of low, high and log.

    Raises:
        SettingsError: the file cannot be read, or holds something else.
    """
    try:
        sections = tomllib.loads(path.read_text(encoding="utf-8"))
        return {
            f"{section}.{key}": _distribution(given)
            for section, keys in sections.items()
            for key, given in keys.items()
        }
    except (OSError, TypeError, AttributeError, LookupError, ValueError) as error:
        raise SettingsError(
            "the search space cannot be read",
            where=str(path),
            found=str(error),
            expected='such as alpha = { low = 1.0, high = 99.0, log = true } or transform = ["sqrt", "log1p"]',
        ) from error


def search(
    what: Search, base: Settings, objective: Objective, trials: int, progress: Callable[[optuna.Study], None]
) -> optuna.Study:
    """Try settings until so many trials have ended, those of earlier runs of the same search among them.

    The settings as they are come first, and what was being tried when an earlier run was killed. Settings that an
    objective refuses (`SettingsError`) are a failed trial, and the search goes on.

    Args:
        base: every setting that the space leaves alone.
        objective: the higher the better.
        progress: called with the study before the first and after every trial.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = _open(what)
    for killed in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(killed.number, state=TrialState.FAIL)
        study.enqueue_trial(killed.params)
    if not study.trials:
        study.enqueue_trial(_values(base, what.space))
    progress(study)
    while len(ended(study)) < trials:
        trial = study.ask(dict(what.space))
        try:
            value = objective(with_values(base, trial.params), _reporter(trial))
            study.tell(trial, value)
        except optuna.TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)
        except SettingsError as error:
            trial.set_user_attr("refused", str(error))
            study.tell(trial, state=TrialState.FAIL)
            _give_up_if_nothing_works(study, error)
        progress(study)
    return study


def ended(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that came to a value, or were pruned."""
    return study.get_trials(deepcopy=False, states=_DONE)


def best(study: optuna.Study) -> FrozenTrial | None:
    """The trial with the highest value; None before the first has one."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return max(complete, key=lambda trial: (trial.value, -trial.number), default=None)


def rows_of(study: optuna.Study) -> list[dict[str, Any]]:
    """Every trial that ended, in order: its number, state, value and settings."""
    return [
        {"trial": trial.number, "state": trial.state.name.lower(), "value": trial.value, **trial.params}
        for trial in ended(study)
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


def _open(what: Search) -> optuna.Study:
    try:
        what.storage.parent.mkdir(parents=True, exist_ok=True)
        storage = JournalStorage(JournalFileBackend(str(what.storage)))
        study = optuna.create_study(
            storage=storage,
            study_name=what.name,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_WARM_UP_TRIALS),
        )
    except OSError as error:
        raise SettingsError(
            "the search cannot be stored", where=str(what.storage), found=str(error), fix="choose another --storage"
        ) from error
    # Seeded by how far it is, so that a search that goes on does not propose its first trials again.
    study.sampler = optuna.samplers.TPESampler(
        seed=what.seed + len(study.trials), n_startup_trials=_WARM_UP_TRIALS, multivariate=True
    )
    return study


def _values(settings: Settings, space: Space) -> dict[str, Any]:
    """What settings say of the names in the space, where that lies in it."""
    found = {}
    for name, distribution in space.items():
        section, _, key = name.partition(".")
        value = settings.model_dump().get(section, {}).get(key)
        if value is not None and _lies_in(distribution, value):
            found[name] = value
    return found


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


def _give_up_if_nothing_works(study: optuna.Study, error: SettingsError) -> None:
    if len(study.trials) >= _WARM_UP_TRIALS and not ended(study):
        raise SettingsError("no trial of the search could run", found=str(error)) from error


def _distribution(given: Any) -> BaseDistribution:
    if isinstance(given, list):
        return CategoricalDistribution(given)
    low, high, log = given["low"], given["high"], given.get("log", False)
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(float(low), float(high), log=log)
