"""`nocturne evaluate now-playing`: next items in the sessions after a night, asked of its generation."""

from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from nocturne.cli.options import Conf, Json, OneNight, Set, WarehouseFolder, open_warehouse
from nocturne.cli.progress import progress_bar
from nocturne.core.console import print_json, print_rows, say


def now_playing(
    warehouse: WarehouseFolder,
    run_date: OneNight,
    days: Annotated[int, typer.Option(help="days after the night whose sessions are asked", min=1)] = 1,
    top_k: Annotated[int, typer.Option(help="length of the lists", min=1)] = 20,
    listeners: Annotated[int | None, typer.Option(help="most listeners asked; all by default", min=1)] = None,
    truth: Annotated[Path | None, typer.Option(help="what a simulation drew its sessions from", metavar="DIR")] = None,
    conf: Conf = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Look for what came next in the sessions after a night, given what played and what was played before it.

    The night's generation answers as `nocturne serve` does, with the weights of [now_playing] in --conf and --set, and
    listeners of an experiment on these with what their arm changes.
    Half an hour of silence ends a session. The metrics are hit rate (HR@k) and NDCG@k, all items ranked; nobody offers
    what was played in the session. Of next items that are new to their listener, lists hold nothing heard before.

    Beside ours: the listener's exact ranking, items played in the same sessions as the last four, what followed the
    last five, what else the creator has, and what is popular. Of a simulation also the truth, and how much of its
    probability lists hold.

    Example: nocturne evaluate now-playing --warehouse data/warehouse --run-date 2025-01-07 --days 2
    --truth data/landing-truth
    """
    from nocturne.core.night import Night
    from nocturne.evaluation.now_playing import evaluate_now_playing
    from nocturne.evaluation.now_playing_systems import OURS
    from nocturne.evaluation.significance import summary_rows

    night = Night(open_warehouse(warehouse, conf, set_), run_date.date())
    with ExitStack() as resources:
        blocks = evaluate_now_playing(night, days, top_k, truth, listeners, progress_bar(resources, "asking"))
    if as_json:
        print_json({"night": night.run_date, "days": days, "top_k": top_k, "blocks": [asdict(each) for each in blocks]})
        return
    for block in blocks:
        title = f"{block.name}; intervals (95 %) are of the difference to {OURS}"
        print_rows(summary_rows(block.means, block.differences), title)
        say(
            f"{block.questions:,} questions of {block.listeners:,} listeners; "
            f"the answers to {block.unreachable:,} may be in no list"
        )
