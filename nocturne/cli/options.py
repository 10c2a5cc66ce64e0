"""Options that jobs and commands share, and the nights that they name."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from nocturne.core.night import Night, Warehouse

DAY: dict[str, Any] = {"formats": ["%Y-%m-%d"], "metavar": "D"}
RunDate = Annotated[datetime | None, typer.Option("--run-date", help="one night, UTC", **DAY)]
OneNight = Annotated[datetime, typer.Option("--run-date", help="the night, UTC", **DAY)]
From = Annotated[datetime | None, typer.Option("--from", help="first of several nights", **DAY)]
To = Annotated[datetime | None, typer.Option("--to", help="last of several nights", **DAY)]
Landing = Annotated[str, typer.Option(help="the landing zone", metavar="DIR")]
WarehouseFolder = Annotated[str, typer.Option(help="the Delta tables", metavar="DIR")]
Cache = Annotated[str, typer.Option(help="the serving cache: lmdb:PATH or redis://HOST:PORT/DB", metavar="URL")]
Conf = Annotated[str | None, typer.Option(help="settings over conf/default.toml", metavar="FILE")]
Set = Annotated[list[str] | None, typer.Option("--set", help="one setting; repeatable", metavar="SECTION.KEY=VALUE")]
LeaseHolder = Annotated[str | None, typer.Option(help="work under the lease that this run has taken", metavar="NAME")]
Table = Annotated[list[str] | None, typer.Option("--table", help="repeatable; all by default", metavar="TABLE")]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]
Validate = Annotated[
    bool, typer.Option("--validate", help="also validate every table written; the outcome is recorded")
]


def nights_to_run(
    run_date: datetime | None,
    first: datetime | None,
    last: datetime | None,
    landing: str,
    warehouse: str,
    cache: str,
    conf: str | None,
    overrides: Sequence[str] | None,
) -> list[Night]:
    """Nights that a command line names, in order.

    Raises:
        UsageError: no night or an impossible range is named, a night is in the future, or settings are wrong.
    """
    from nocturne.core.errors import UsageError
    from nocturne.core.settings import load_settings
    from nocturne.monitoring.watches import watches
    from nocturne.serving.cache import check_url
    from nocturne.validation.suites import check_all_thresholds

    if (run_date is None) == (first is None and last is None) or (first is None) != (last is None):
        raise UsageError("name the night", expected="--run-date D, or --from D1 --to D2")
    start, end = (run_date, run_date) if run_date else (first, last)
    assert start
    assert end
    if start > end:
        raise UsageError("the range of nights is empty", found=f"--from {start.date()} --to {end.date()}")
    if end.date() > datetime.now(UTC).date():
        raise UsageError("a night in the future has no listens", found=str(end.date()), expected="today or earlier")
    settings = load_settings(conf or None, overrides or ())
    check_url(cache)
    check_all_thresholds(settings.expectations)
    watches(settings.monitoring.limits)
    days = (start.date() + timedelta(days=offset) for offset in range((end - start).days + 1))
    return [Night(Warehouse(warehouse, settings), day, landing, cache) for day in days]


def require_cache(url: str) -> None:
    """Raise UsageError unless there is a cache to read: a mistyped path is no empty cache, and none is made of it."""
    from nocturne.serving import opened_cache

    opened_cache.require_cache(url)


def require_writable(*files: Path | None) -> None:
    """Make the folders of files that are to be written, where one is given: no work is done for what cannot be kept.

    Raises:
        UsageError: a file cannot be written.
    """
    from nocturne.core.errors import UsageError

    for file in files:
        if file is None:
            continue
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            there = file.exists()
            file.open("ab").close()
            if not there:
                file.unlink()
        except OSError as error:
            raise UsageError(
                "a file cannot be written", where=str(file), found=str(error), fix="choose another path"
            ) from error


def open_warehouse(folder: str, conf: str | None = None, overrides: Sequence[str] | None = None) -> Warehouse:
    """The warehouse in a folder, with the settings that are fixed for its life.

    Raises:
        UsageError: there is none, or settings are wrong.
    """
    from nocturne.storage import warehouse

    return warehouse.open_warehouse(folder, conf, overrides)
