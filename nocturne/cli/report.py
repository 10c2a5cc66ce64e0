"""`nocturne report`: the page of a night for whoever is on call, and two nights beside each other."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from nocturne.cli.options import DAY, Conf, Json, RunDate, Set, WarehouseFolder, open_warehouse, require_writable
from nocturne.core.console import print_json, say
from nocturne.core.errors import UsageError


def report(
    warehouse: WarehouseFolder,
    run_date: RunDate = None,
    compare: Annotated[
        tuple[datetime, datetime] | None,
        typer.Option(help="two nights instead of one", formats=DAY["formats"], metavar="D1 D2"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="the page; by default beside the Data Docs", metavar="FILE")] = None,
    conf: Conf = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Write the page of a night: published or not and why, what is served, what changed, what to do.

    Its last line says how the night stands. With --compare: how the second night differs from the first.

    Example: nocturne report --warehouse data/warehouse --run-date 2025-01-03
    """
    from nocturne.core.night import Night
    from nocturne.experiments.overview import overview
    from nocturne.monitoring.report import comparison, page
    from nocturne.pipeline.status import read_status, show_in_data_docs
    from nocturne.validation.data_docs import report_name

    if (run_date is None) == (compare is None):
        raise UsageError("name the night", expected="--run-date D, or --compare D1 D2")
    stored = open_warehouse(warehouse, conf, set_)
    if compare:
        first, second = (Night(stored, day.date()) for day in compare)
        path = out or _beside_data_docs(warehouse, comparison.file_name(first.run_date, second.run_date))
        require_writable(path)
        path.write_text(comparison.comparison_page(first, second), encoding="utf-8")
        say(f"{path} is written")
        if as_json:
            print_json({"page": str(path), "nights": [first.run_date, second.run_date]})
        return
    assert run_date
    night = Night(stored, run_date.date())
    path = out or _beside_data_docs(warehouse, report_name(night.run_date))
    require_writable(path)
    status = read_status(stored, last=_EVERY_NIGHT)
    html = page.night_page(night, status.to_json(), overview(stored, night.run_date))
    path.write_text(html, encoding="utf-8")
    show_in_data_docs(stored)
    say(f"{path} is written")
    if as_json:
        told = [each for each in status.to_json()["nights"] if each["run_date"] == night.run_date]
        print_json({"page": str(path), "night": told[0] if told else None, "to_do": status.to_do()})
        return
    print(status.of_night(night.run_date))


_EVERY_NIGHT = 1_000_000


def _beside_data_docs(warehouse: str, name: str) -> Path:
    from nocturne.validation.data_docs import FOLDER

    if "://" in warehouse:
        raise UsageError("the page needs a folder", found=warehouse, expected="--out FILE on this machine")
    return Path(warehouse) / FOLDER / name
