"""`nocturne tune`: a search over settings."""

import sys
import time
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nocturne import ROOT
from nocturne.cli.options import Conf, From, Json, Set, To, require_writable
from nocturne.core.console import print_json, print_rows, say
from nocturne.core.errors import UsageError

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from nocturne.core.night import Night
    from nocturne.core.settings import Settings
    from nocturne.evaluation.listener_sample import SampleSize
    from nocturne.evaluation.splits import Split
    from nocturne.evaluation.tuning import Objective, Space

SPACE = Path(str(ROOT / "conf" / "search.toml"))
STARTS = Path(str(ROOT / "conf" / "starts.toml"))
_SHOWN = 5


def tune(
    study: Annotated[str, typer.Option(help="name of the search", metavar="NAME")],
    storage: Annotated[Path, typer.Option(help="file that remembers every trial", metavar="FILE")],
    trials: Annotated[int, typer.Option(min=1, help="trials in all, those of earlier runs among them")],
    split: Annotated[
        Path | None, typer.Option(help="search on train.txt and valid.txt of this archive or folder", metavar="PATH")
    ] = None,
    warehouse: Annotated[str | None, typer.Option(help="search on nights of this warehouse", metavar="DIR")] = None,
    first: From = None,
    last: To = None,
    days: Annotated[int, typer.Option(help="days after each night whose listens are the truth", min=1)] = 1,
    space: Annotated[Path, typer.Option(help="what varies", show_default="conf/search.toml")] = SPACE,
    metric: Annotated[str, typer.Option(help="what is maximised")] = "ndcg@20",
    seed: Annotated[int, typer.Option(help="of the proposals")] = 1,
    winner: Annotated[Path | None, typer.Option(help="write the best settings here, TOML", metavar="FILE")] = None,
    report: Annotated[Path | None, typer.Option(help="write a page for people here", metavar="FILE.html")] = None,
    conf: Conf = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Search the settings for the best lists: Optuna proposes, the pipeline's own training and ranking are scored.

    The recipe that a first training would choose comes first, or, with als.recipe = "settings", the settings as they
    are; then recipes spread over what suits other services. From then on settings that belong together are changed,
    in those trials that the best one is not better than for certain. A study keeps its metric, data, space and
    settings, and does not go on under others.

    On a warehouse the winner is trained on the first night after the days that it was chosen by, and put into the
    registry, a candidate. Stop it whenever you like: run again, it goes on where it was.

    Example: nocturne tune --warehouse data/warehouse --from 2025-01-01 --to 2025-01-02 --study ours
    --storage data/search.log --trials 50
    """
    from nocturne.core.settings import load_settings, with_values
    from nocturne.evaluation import objectives, studies, tuning
    from nocturne.evaluation.settings_file import settings_toml
    from nocturne.evaluation.splits import read_split

    if (split is None) == (warehouse is None):
        raise UsageError("name what to search on", expected="--split PATH, or --warehouse W --from D1 --to D2")
    objectives.list_length(metric)
    base = load_settings(conf, set_ or ())
    search = tuning.Search(study, storage, tuning.read_space(space), seed, tuning.read_starts(STARTS))
    require_writable(winner, report)
    nights = _nights(warehouse, first, last, days, base, search.space) if warehouse else []
    base = nights[-1].settings if nights else base
    trained_on = objectives.night_to_train_on(nights[-1], days) if nights else None
    # Other terms than the study was begun under are told before the data are read.
    terms = studies.terms_of(base, search.space) | {"als.recipe": base.als.recipe, "metric": metric}
    terms |= {"days": f"{days}"} if nights else {}
    studies.check_terms(studies.open_study(storage, study), terms)
    parts = read_split(split) if split else None
    objective, data, size = _objective(parts, nights, days, metric)
    base, race_share = _fitted(base, parts, nights)
    base = with_values(base, {"als.recipe": "settings"})
    search = replace(search, terms=terms | {"data": data})
    searched = tuning.run_search(search, base, objective, trials, _ProgressLine(trials, metric).show)
    rows, top = tuning.trial_rows(searched), tuning.best_trial(searched)
    if top is None:
        raise UsageError("no trial came to a value", where=str(storage), found=f"{len(rows)} trials were pruned")
    remark = f"{metric} {top.value:.5f}: trial {top.number} of the search {study}"
    if winner is not None:
        winner.write_text(settings_toml(with_values(base, top.params), remark), encoding="utf-8")
        say(f"the best settings are in {winner}")
    if report is not None:
        from nocturne.evaluation.search_report import search_page

        report.write_text(search_page(searched, metric, size), encoding="utf-8")
        say(f"the report is in {report}")
    if trained_on:
        say(f"candidate {_register(trained_on, with_values(base, top.params), remark, race_share)}")
    if size:
        say(f"scored by {size}")
    if as_json:
        print_json([row | asdict(size) for row in rows] if size else rows)
    else:
        _print(searched, metric)


def _fitted(base: "Settings", split: "Split | None", nights: list["Night"]) -> tuple["Settings", float]:
    """The recipe that a first training would choose, on train or on the first of the nights, and the share it asked."""
    if base.als.recipe == "settings":
        return base, 0.0
    say("a race chooses the recipe to start from")
    if split is not None:
        from nocturne.evaluation.splits import fit_settings

        settings, race = fit_settings(split.train, base)
        return settings, race.share
    from nocturne.training.registry import choose_recipe

    race = choose_recipe(nights[0], base.als)
    return base.model_copy(update={"als": race.settings}), race.share


def _objective(
    split: "Split | None", nights: list["Night"], days: int, metric: str
) -> tuple["Objective", str, "SampleSize | None"]:
    """The objective on the data that were named, the data's hash, and by how many listeners nights are scored."""
    from nocturne.evaluation import objectives
    from nocturne.evaluation.listener_sample import largest

    if split is not None:
        return objectives.split_objective(split, metric), objectives.digest_of_split(split), None
    held_out_nights = objectives.held_out_after(nights, days)
    size = largest(held_out.sample_size for held_out in held_out_nights)
    return objectives.nights_objective(held_out_nights, metric), objectives.digest_of_nights(held_out_nights), size


def _print(searched: "optuna.Study", metric: str) -> None:
    """The best trials, how certain their order is, and what moved the metric."""
    from nocturne.evaluation import tuning
    from nocturne.evaluation.search_report import what_moved

    top, intervals = tuning.best_trial(searched), tuning.intervals(searched)
    assert top is not None
    complete = [trial for trial in tuning.ended_trials(searched) if trial.state.name == "COMPLETE"]
    best = sorted(complete, key=lambda trial: (-(trial.value or 0.0), trial.number))[:_SHOWN]

    def shown(trial: "FrozenTrial", name: str) -> object:
        value = trial.value if name == metric else trial.params.get(name)
        return f"{value:.5g}" if isinstance(value, float) else value

    by_setting = [
        {"setting": name} | {f"trial {trial.number}": shown(trial, name) for trial in best}
        for name in (metric, *top.params)
    ]
    ended = len(tuning.ended_trials(searched))
    print_rows(by_setting, f"{searched.study_name}: the best of {ended} trials by {metric}")
    if moved := what_moved(searched):
        print_rows(moved, f"what moved {metric}")
    near = [number for number, (_, high) in intervals.items() if high >= 0 and number != top.number]
    if near:
        say(f"{len(near)} trials cannot be told from the best one: {', '.join(map(str, sorted(near)))}")


def _nights(
    warehouse: str, first: datetime | None, last: datetime | None, days: int, base: "Settings", space: "Space"
) -> list["Night"]:
    """The nights to search on."""
    from nocturne.core.night import Warehouse
    from nocturne.evaluation.held_out import nights_between
    from nocturne.storage.warehouse import with_stored_settings

    if first is None or last is None or first > last:
        raise UsageError("name the nights to search on", expected="--from D1 --to D2")
    if others := sorted(name for name in space if not name.startswith("als.")):
        raise UsageError(
            "a model keeps the settings of its training only",
            found=", ".join(others),
            expected="a space of [als] alone",
        )
    stored = with_stored_settings(Warehouse(warehouse, base))
    nights, left_out = nights_between(stored, first.date(), last.date(), days, every=1)
    if left_out:
        say(f"{len(left_out)} nights from {left_out[0]} on have no {days} days of listens after them, and are left out")
    return nights


def _register(night: "Night", settings: "Settings", why: str, race_share: float) -> str:
    """Train the winner on the night, and put it into the registry as a candidate; returns its version."""
    from nocturne.storage.warehouse import leased
    from nocturne.training import registry

    with leased(night.warehouse, night.run_date) as writable:
        trained = registry.train(replace(night, warehouse=writable), settings.als, race_share=race_share)
        return registry.add(writable, trained, origin="tune", actor="nocturne tune", reason=why)


class _ProgressLine:
    """Progress of a search: a bar in a terminal, a line a trial in a log."""

    def __init__(self, trials: int, metric: str) -> None:
        self._trials, self._metric, self._started, self._first = trials, metric, time.monotonic(), -1

    def show(self, study: "optuna.Study") -> None:
        from nocturne.evaluation import tuning

        done, top = len(tuning.ended_trials(study)), tuning.best_trial(study)
        if self._first < 0:
            self._first = done
        pace = (time.monotonic() - self._started) / max(1, done - self._first)
        left = f", about {(self._trials - done) * pace / 60:.0f} min left" if done > self._first else ""
        best = f"best {self._metric} {top.value:.5f} (trial {top.number})" if top else "none has a value yet"
        end = "\n" if done >= self._trials or not sys.stderr.isatty() else ""
        print(f"\r{done} of {self._trials} trials, {best}{left}   ", file=sys.stderr, end=end, flush=True)
