"""`nocturne retain`: what settings let go of a warehouse."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from nocturne.cli.options import DAY, Conf, Json, LeaseHolder, Set, WarehouseFolder, open_warehouse, require_cache
from nocturne.core.console import print_rows, say
from nocturne.core.errors import UsageError

if TYPE_CHECKING:
    from nocturne.lifecycle.retention import Removed


def retain(
    warehouse: WarehouseFolder,
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

    Nights are counted back from that day, or from the day after the newest published night if that is earlier. What
    is served, what a rollback may serve and what the next night is built on stays. Limits: [retention].

    Example: nocturne retain --warehouse data/warehouse --run-date 2025-01-03 --cache lmdb:data/cache --dry-run
    """
    from nocturne.lifecycle import retention
    from nocturne.serving.cache import open_cache
    from nocturne.storage.warehouse import leased

    day = run_date.date()
    if day > datetime.now(UTC).date():
        raise UsageError(
            "retention on a day to come would remove nights too early", found=str(day), expected="today or earlier"
        )
    stored = open_warehouse(warehouse, conf, set_)
    pointers = []
    if cache:
        require_cache(cache)
        with open_cache(cache, stored.settings.cache, read_only=True) as store:
            pointer = store.pointer()
            pointers = [pointer] if pointer else []
    if dry_run:
        removed = retention.retain(stored, day, pointers, dry_run=True)
    else:
        with leased(stored, day, lease_holder) as writable:
            removed = retention.retain(writable, day, pointers, _announce)
    print_rows([asdict(each) for each in removed], warehouse, as_json=as_json)
    say(f"{'would free' if dry_run else 'freed'} {sum(each.bytes for each in removed) / 2**20:,.1f} MiB")


def _announce(table: "Removed") -> None:
    if table.partitions:
        say(f"removes {table.partitions} of {table.table}, {table.rows:,} rows: {', '.join(table.names)}")
