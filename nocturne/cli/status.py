"""`nocturne status`: how the last nights went, what is served, what to do."""

from typing import Annotated

import typer

from nocturne.cli.options import Conf, Json, RunDate, Set, WarehouseFolder
from nocturne.core.console import print_json, print_rows


def status(
    warehouse: WarehouseFolder,
    cache: Annotated[
        str, typer.Option(help="ask this cache; by default what is on record of every cache", metavar="URL")
    ] = "",
    run_date: RunDate = None,
    conf: Conf = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Print how the last nights went, what listeners are served, and what to do; with --run-date of one night only.

    Example: nocturne status --warehouse data/warehouse
    """
    from nocturne.core.night import Warehouse
    from nocturne.core.settings import load_settings
    from nocturne.pipeline.status import read_status

    settings = load_settings(conf or None, set_ or ())
    now = read_status(Warehouse(warehouse, settings), cache, settings.cache)
    if as_json:
        print_json(now.to_json())
    elif run_date:
        print(now.of_night(run_date.date()))
    else:
        shown = [{"night": night.run_date, "state": night.state, "": night.explanation} for night in now.nights]
        print_rows(shown, warehouse)
        for line in [*map(str, now.serving), *(f"to do: {text}" for text in now.to_do())]:
            print(line)
