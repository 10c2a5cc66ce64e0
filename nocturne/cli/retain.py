"""`nocturne retain`: what settings let go of a warehouse."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from nocturne.cli.jobs import DAY, Conf, Json, LeaseHolder, Set, Warehouse
from nocturne.core.console import print_rows, say
from nocturne.core.errors import SettingsError


def retain(
    warehouse: Warehouse,
    run_date: Annotated[
        datetime, typer.Option("--run-date", help="the day that nights are counted back from, UTC", **DAY)
    ],
    cache: Annotated[
        str | None, typer.Option(help="keep what this cache keeps too, whatever is on record", metavar="URL")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would go")] = False,
    conf: Conf = None,
    set_: Set = None,
    lease_holder: LeaseHolder = None,
    as_json: Json = False,
) -> None:
    """Remove the nights that tables need not keep any longer, then files and log entries that nobody needs.

    What is served, what a rollback may serve and what the next night is built on stays. Limits: [retention].

    Example: nocturne retain --warehouse data/warehouse --run-date 2026-03-01 --cache lmdb:data/cache --dry-run
    """
    from nocturne.core.night import Night
    from nocturne.core.settings import load_settings
    from nocturne.lifecycle import retention
    from nocturne.serving.cache import open_cache
    from nocturne.storage.leased import leased
    from nocturne.storage.warehouse import settled

    day, settings = run_date.date(), load_settings(conf or None, set_ or ())
    if day > datetime.now(UTC).date():
        raise SettingsError(
            "retention on a day to come would remove nights too early", found=str(day), expected="today or earlier"
        )
    night = settled(Night(day, landing="", warehouse=warehouse, cache=cache or "", settings=settings))
    pointers = []
    if cache:
        with open_cache(cache, settings.cache, read_only=True) as store:
            pointer = store.pointer()
            pointers = [pointer] if pointer else []
    if dry_run:
        removed = retention.retain(night, pointers, dry_run=True)
    else:
        with leased([night], lease_holder) as (night,):
            removed = retention.retain(night, pointers)
    print_rows([asdict(each) for each in removed], warehouse, as_json=as_json)
    say(f"{'would free' if dry_run else 'freed'} {sum(each.bytes for each in removed) / 2**20:,.1f} MiB")
