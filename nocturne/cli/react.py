"""`nocturne react`: one more day of a simulated service, whose listeners react to what they are shown."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from nocturne.cli.options import Json, Landing, OneNight, WarehouseFolder, open_warehouse
from nocturne.cli.progress import progress_bar
from nocturne.core.console import print_json, say
from nocturne.core.errors import UsageError


def react(
    landing: Landing,
    warehouse: WarehouseFolder,
    run_date: OneNight,
    lose: Annotated[
        list[str] | None,
        typer.Option(
            help="have a share of an arm's listeners lose all their exposures; repeatable", metavar="ARM=SHARE"
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Invent the day after a published night: what is heard anyway, and what the night's lists cause.

    The landing zone is one of `nocturne simulate`. Exposures and events of the next day are landed, and the truth
    beside them. Days come in order: run the night of that day, and react to it in turn.

    Example: nocturne react --landing data/landing --warehouse data/warehouse --run-date 2025-01-03
    """
    from nocturne.ingestion.simulator.reacted_day import published_lists
    from nocturne.ingestion.simulator.reacted_day import react as land_reactions

    loss = _shares(lose or ())
    night = published_lists(open_warehouse(warehouse), run_date.date())
    with ExitStack() as resources:
        tell = progress_bar(resources, "reacting")
        summary = land_reactions(Path(landing), night, loss, lambda done, total: tell(done, total, "reacting"))
    if as_json:
        print_json(asdict(summary))
    say(
        f"{landing}: on {summary.day} {summary.opened:,} of {summary.lists:,} lists of {summary.generation} were "
        f"opened, {summary.lost:,} of them without an exposure; {summary.plays:,} plays of them and "
        f"{summary.organic:,} other events; the truth is in {summary.truth}"
    )


def _shares(lose: Sequence[str]) -> dict[str, float]:
    """The share of each arm's listeners.

    Raises:
        UsageError: a text is no ARM=SHARE.
    """
    shares = {}
    for text in lose:
        arm, _, share = text.rpartition("=")
        try:
            shares[arm] = float(share)
        except ValueError:
            shares[arm] = -1.0
        if not arm or not 0 <= shares[arm] <= 1:
            raise UsageError(
                "the loss of exposures is not valid",
                where="--lose",
                found=text,
                expected="ARM=SHARE with a share from 0 to 1, such as control=0.01",
            )
    return shares
