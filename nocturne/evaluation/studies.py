"""Studies of a search: the file that remembers them, and the terms under which their trials can be compared."""

import os
from collections.abc import Mapping
from pathlib import Path

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from nocturne.core.errors import UsageError
from nocturne.core.settings import Settings

Terms = Mapping[str, str]
"""Everything that decides a trial's value beside what the search varies: by name, as text."""

_TERMS = "terms"
_SPACE = "space of "
_FIRST_BYTES = b'{"op_code"'
_SHOWN = 4

_CHANGES_NO_LIST = frozenset(
    {"top_k", "reserve", "carry_over", "audit_share", "audit_at_least", "items_memory_mb", "batch_memory_mb"}
)
"""Settings of ranking that a search sets itself, or that decide only what ranking takes."""


def terms_of(settings: Settings, space: Mapping[str, BaseDistribution]) -> dict[str, str]:
    """The terms that follow from settings and a space."""
    sections = {
        "als": settings.als.recipe_settings,
        "interactions": settings.interactions.model_dump(),
        "ranking": settings.ranking.model_dump(exclude=set(_CHANGES_NO_LIST)),
        "reranking": settings.reranking.model_dump(),
    }
    values = {f"{section}.{key}": f"{value}" for section, keys in sections.items() for key, value in keys.items()}
    return values | {f"{_SPACE}{name}": distribution_to_json(varied) for name, varied in sorted(space.items())}


def open_study(file: Path, name: str) -> optuna.Study:
    """The study of a name in a file; both are made if they are not there.

    Raises:
        UsageError: the file cannot be written, or holds something else than studies.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        content = file.read_bytes() if file.exists() else b""
        if content and not content.startswith(_FIRST_BYTES):
            raise _no_storage(file, "something else than studies")
        if content and not content.endswith(b"\n"):
            os.truncate(file, content.rfind(b"\n") + 1)  # a torn line of a killed process spoils the next
        storage = JournalStorage(JournalFileBackend(str(file)))
        return optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        raise _no_storage(file, f"{type(error).__name__}: {error}") from error


def check_terms(study: optuna.Study, terms: Terms) -> None:
    """Hold a study to its terms, or those of them that are known so far.

    Raises:
        UsageError: its trials were made under others.
    """
    kept = study.user_attrs.get(_TERMS)
    if kept is None:
        if study.trials:
            raise _other_terms(study, "trials of a release that did not keep under which terms they were made")
        return
    terms = {name: "not searched" for name in kept if name.startswith(_SPACE)} | dict(terms)
    changed = [f"{name}: {kept.get(name)}, now {value}" for name, value in terms.items() if kept.get(name) != value]
    if changed:
        more = f", and {len(changed) - _SHOWN} more" if changed[_SHOWN:] else ""
        raise _other_terms(study, "; ".join(changed[:_SHOWN]) + more)


def keep_terms(study: optuna.Study, terms: Terms) -> None:
    """Begin a study under terms, or hold it to those that it was begun under.

    Raises:
        UsageError: its trials were made under others.
    """
    check_terms(study, terms)
    if _TERMS not in study.user_attrs:
        study.set_user_attr(_TERMS, dict(terms))


def _other_terms(study: optuna.Study, found: str) -> UsageError:
    return UsageError(
        "the study was begun under other terms: its trials cannot be compared with new ones",
        where=study.study_name,
        found=found,
        expected="the metric, data, space and settings that it was begun with",
        fix="name another --study, or repeat the command that began this one",
    )


def _no_storage(file: Path, found: str) -> UsageError:
    return UsageError("the search cannot be stored", where=str(file), found=found, fix="choose another --storage")
