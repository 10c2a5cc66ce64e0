"""`nocturne evaluate ...`: lists held against what was then heard."""

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nocturne.cli.jobs import DAY, Command, Conf, Json, Set, Warehouse
from nocturne.cli.lightgcn import lightgcn
from nocturne.core.console import print_json, print_rows, say
from nocturne.core.errors import SettingsError

if TYPE_CHECKING:
    from nocturne.core.night import Night
    from nocturne.evaluation.backtest import Backtest
    from nocturne.evaluation.held_out import Past
    from nocturne.evaluation.systems import System

evaluate_app = typer.Typer(no_args_is_help=True, help="Offline evaluation: lists held against what was then heard.")
command = partial(evaluate_app.command, cls=Command)
command()(lightgcn)

NO_BASELINE = "none"


@command()
def backtest(
    warehouse: Warehouse,
    first: Annotated[datetime, typer.Option("--from", help="first night", **DAY)],
    last: Annotated[datetime, typer.Option("--to", help="last night", **DAY)],
    days: Annotated[int, typer.Option(help="days after each night whose listens are the truth", min=1)] = 7,
    every: Annotated[int, typer.Option(help="take the first of so many nights", min=1)] = 1,
    top_k: Annotated[int, typer.Option(help="length of the lists", min=1)] = 20,
    model: Annotated[
        list[str] | None, typer.Option(help="a stored model, by its version or its end; repeatable", metavar="VERSION")
    ] = None,
    recipe: Annotated[
        list[Path] | None, typer.Option(help="settings to train with on every night; repeatable", metavar="FILE")
    ] = None,
    baseline: Annotated[
        list[str] | None, typer.Option(help="repeatable; all by default, `none` for none", metavar="NAME")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="write a page for people here", metavar="FILE.html")] = None,
    conf: Conf = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Score the lists of past nights on what was listened to afterwards: published ones, models, recipes, baselines.

    Everything is compared with the first --model, else with the published lists, else with the first --recipe.
    Baselines: popular, popular-recent, item-knn, ease, mllib-als, implicit-als.

    Example: nocturne evaluate backtest --warehouse data/warehouse --from 2025-01-01 --to 2025-01-02 --days 1
    --report backtest.html
    """
    from nocturne.core.night import Night
    from nocturne.core.settings import load_settings
    from nocturne.evaluation import backtest as run
    from nocturne.evaluation.held_out import Past, nights_between
    from nocturne.storage.warehouse import settled

    settings = load_settings(conf, set_ or ())
    _check_baselines(baseline or ())
    start, end = first.date(), last.date()
    night = settled(Night(end, landing="", warehouse=warehouse, cache="", settings=settings))
    nights, left_out = nights_between(night, start, end, days, every)
    past = Past.of(nights[-1])
    with ExitStack() as held:
        systems = _systems(held, nights, past, model or (), recipe or (), baseline or (), set_ or ())
        found = run.backtest(nights, systems, systems[0].name, past, days, top_k, _progress(held))
    if left_out:
        found.remarks.append(f"{len(left_out)} nights from {left_out[0]} on have no {days} days of listens after them")
    if report:
        from nocturne.evaluation.report import page

        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(page(found), encoding="utf-8")
        say(f"the report is in {report}")
    _print(found, as_json=as_json)


def _print(found: "Backtest", *, as_json: bool) -> None:
    from nocturne.evaluation.backtest import summary

    for remark in found.remarks:
        say(remark)
    if as_json:
        facts = {"nights": found.dates, "days": found.days, "top_k": found.top_k, "against": found.against}
        head = facts | {"best_baseline": found.best_baseline, "remarks": found.remarks}
        print_json(head | {"differences": [asdict(row) for row in found.differences], "beyond_accuracy": found.beyond})
        return
    nights = f"{len(found.nights)} nights from {found.dates[0]} to {found.dates[-1]}, {found.days} days after each"
    print_rows(summary(found), f"{nights}; intervals (95 %) are of the difference to {found.against}")
    print_rows([{"system": name, **values} for name, values in found.beyond.items()], "beyond accuracy")
    say(f"the best baseline by NDCG: {found.best_baseline or 'none was asked for'}")


def _check_baselines(names: Sequence[str]) -> None:
    from nocturne.evaluation.systems import BASELINES

    if unknown := sorted(set(names) - {*BASELINES, NO_BASELINE}):
        raise SettingsError("no such baseline", found=", ".join(unknown), expected=", ".join((*BASELINES, NO_BASELINE)))


def _systems(
    held: ExitStack,
    nights: Sequence["Night"],
    past: "Past",
    models: Sequence[str],
    recipes: Sequence[Path],
    baselines: Sequence[str],
    overrides: Sequence[str],
) -> list["System"]:
    """What is compared, the reference first; starts Spark if MLlib is among it."""
    from nocturne.core.settings import load_settings
    from nocturne.core.spark.session import spark_session
    from nocturne.evaluation.systems import BASELINES, SPARK_BASELINE, of_baseline, of_model, of_recipe, published
    from nocturne.storage import tables
    from nocturne.training import registry

    night = nights[-1]
    stored = registry.models(night) if models else []
    found = [
        of_model(registry.load_model(night, registry.find(stored, version)["model_version"])) for version in models
    ]
    if any(tables.count(each, "ranked_lists") for each in nights):
        found.append(published())
    found += [of_recipe(file.stem, load_settings(str(file), overrides)) for file in recipes]
    names = [name for name in BASELINES if name in (baselines or BASELINES)]
    spark = held.enter_context(spark_session(night.settings.spark, "backtest")) if SPARK_BASELINE in names else None
    found += [of_baseline(name, past, spark) for name in names]
    twice = sorted({each.name for each in found if [other.name for other in found].count(each.name) > 1})
    if twice:
        raise SettingsError(
            "two systems have the same name",
            found=", ".join(twice),
            fix="name every --model once, and give the files of --recipe names of their own",
        )
    if not found:
        raise SettingsError(
            "there is nothing to score",
            where=night.warehouse,
            found="no published lists, no --model, no --recipe, no --baseline",
            fix="name a --model or a --recipe",
        )
    return found


def _progress(held: ExitStack) -> Callable[[int, int, str], None]:
    """A bar on the terminal; nothing in a log."""
    from rich.console import Console
    from rich.progress import Progress

    bar = held.enter_context(Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()))
    task: Any = bar.add_task("scoring", total=None)
    return lambda done, total, what: bar.update(task, completed=done, total=total, description=what)
