"""`nocturne evaluate ...`: lists scored on what was then heard."""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nocturne.cli.help import Command, Group
from nocturne.cli.lightgcn import lightgcn
from nocturne.cli.next_item import next_item
from nocturne.cli.now_playing import now_playing
from nocturne.cli.options import DAY, Conf, Json, Set, WarehouseFolder, open_warehouse, require_writable
from nocturne.cli.progress import progress_bar
from nocturne.core.console import print_json, print_rows, say
from nocturne.core.errors import UsageError

if TYPE_CHECKING:
    from nocturne.core.night import Night
    from nocturne.evaluation.backtest import Backtest
    from nocturne.evaluation.held_out import ListeningHistory
    from nocturne.evaluation.systems import System

evaluate_app = typer.Typer(
    cls=Group, no_args_is_help=True, help="Offline evaluation: lists held against what was then heard."
)
command = partial(evaluate_app.command, cls=Command)
command()(lightgcn)
command()(next_item)
command()(now_playing)

NO_BASELINE = "none"


@command()
def backtest(
    warehouse: WarehouseFolder,
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
    from nocturne.evaluation.backtest import run_backtest
    from nocturne.evaluation.held_out import ListeningHistory, nights_between, read_held_out
    from nocturne.evaluation.listener_sample import sample_listeners

    _check_baselines(baseline or ())
    require_writable(report)
    start, end = first.date(), last.date()
    nights, left_out = nights_between(open_warehouse(warehouse, conf, set_), start, end, days, every)
    sample = sample_listeners(nights)
    history = ListeningHistory.read(nights[-1], sample)
    with ExitStack() as resources:
        systems = _systems(resources, nights, history, model or (), recipe or (), baseline or (), set_ or ())
        progress, hold_out = progress_bar(resources, "scoring"), partial(read_held_out, sample=sample)
        result = run_backtest(nights, systems, systems[0].name, history, days, top_k, progress, hold_out)
    if left_out:
        result.remarks.append(f"{len(left_out)} nights from {left_out[0]} on have no {days} days of listens after them")
    if report:
        from nocturne.evaluation.report import backtest_page

        report.write_text(backtest_page(result), encoding="utf-8")
        say(f"the report is in {report}")
    _print(result, as_json=as_json)


def _print(result: "Backtest", *, as_json: bool) -> None:
    from nocturne.evaluation.backtest import summary

    for remark in result.remarks:
        say(remark)
    if as_json:
        head = {"nights": result.dates, "days": result.days, "top_k": result.top_k, "against": result.against}
        head |= {"best_baseline": result.best_baseline, "remarks": result.remarks, **asdict(result.sample_size)}
        differences = [asdict(row) for row in result.differences]
        print_json(head | {"differences": differences, "beyond_accuracy": result.beyond_accuracy})
        return
    nights = f"{len(result.nights)} nights from {result.dates[0]} to {result.dates[-1]}, {result.days} days after each"
    nights = f"{nights}; {result.sample_size}"
    print_rows(summary(result), f"{nights}; intervals (95 %) are of the difference to {result.against}")
    print_rows([{"system": name, **values} for name, values in result.beyond_accuracy.items()], "beyond accuracy")
    say(f"the best baseline by NDCG: {result.best_baseline or 'none was asked for'}")


def _check_baselines(names: Sequence[str]) -> None:
    from nocturne.evaluation.systems import BASELINES

    if unknown := sorted(set(names) - {*BASELINES, NO_BASELINE}):
        raise UsageError("no such baseline", found=", ".join(unknown), expected=", ".join((*BASELINES, NO_BASELINE)))


def _systems(
    resources: ExitStack,
    nights: Sequence["Night"],
    history: "ListeningHistory",
    models: Sequence[str],
    recipes: Sequence[Path],
    baselines: Sequence[str],
    overrides: Sequence[str],
) -> list["System"]:
    """The systems to compare, the reference first; starts Spark if MLlib is among them."""
    from nocturne.core.settings import load_settings
    from nocturne.core.spark.session import spark_session
    from nocturne.evaluation.systems import (
        BASELINES,
        SPARK_BASELINE,
        baseline_system,
        model_system,
        published_lists_system,
        recipe_system,
    )
    from nocturne.storage import tables
    from nocturne.training import registry

    night = nights[-1]
    stored = registry.models(night.warehouse) if models else []
    records = [registry.find(stored, version) for version in models]
    systems = [
        model_system(registry.load_model(night.warehouse, each.version), asked_share=each.race_share)
        for each in records
    ]
    if any(tables.count(each, "ranked_lists") for each in nights):
        systems.append(published_lists_system())
    systems += [recipe_system(file.stem, load_settings(str(file), overrides)) for file in recipes]
    names = [name for name in BASELINES if name in (baselines or BASELINES)]
    spark = (
        resources.enter_context(spark_session(night.settings.spark, "backtest")) if SPARK_BASELINE in names else None
    )
    systems += [baseline_system(name, history, spark) for name in names]
    count_by_name = Counter(system.name for system in systems)
    if repeated := sorted(name for name, count in count_by_name.items() if count > 1):
        raise UsageError(
            "two systems have the same name",
            found=", ".join(repeated),
            fix="name every --model once, and give the files of --recipe names of their own",
        )
    if not systems:
        raise UsageError(
            "there is nothing to score",
            where=night.warehouse.path,
            found="no published lists, no --model, no --recipe, no --baseline",
            fix="name a --model or a --recipe",
        )
    return systems
