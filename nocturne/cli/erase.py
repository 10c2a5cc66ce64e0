"""`nocturne erase`: listeners who asked for it, withheld at once, and gone with the next night."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from nocturne.cli.options import Conf, Json, LeaseHolder, Set, WarehouseFolder, open_warehouse, require_cache
from nocturne.core.console import print_json, print_rows, say
from nocturne.core.errors import InputError, UsageError


def erase(
    users: Annotated[
        list[str] | None, typer.Argument(metavar="USER...", help="listeners' ids, as they were landed")
    ] = None,
    *,
    warehouse: WarehouseFolder,
    why: Annotated[str, typer.Option(help="a ticket or a sentence that names nobody: it is kept")] = "",
    cache: Annotated[
        list[str] | None, typer.Option(help="a serving cache; repeatable; LMDB on record is found", metavar="URL")
    ] = None,
    landing: Annotated[str, typer.Option(help="the landing zone, to search or to erase from now", metavar="DIR")] = "",
    verify: Annotated[bool, typer.Option("--verify", help="search for one listener again, and change nothing")] = False,
    now: Annotated[
        bool, typer.Option("--now", help="carry out what was asked for, under the lease, without waiting for a night")
    ] = False,
    conf: Conf = None,
    set_: Set = None,
    lease_holder: LeaseHolder = None,
    as_json: Json = False,
) -> None:
    """Erase listeners: no cache serves them from the return on, and the next night removes them from everything.

    The key of tombstones is in erasure.key_file, or in NOCTURNE_ERASURE_KEY. docs/erasure.md says what goes when.

    Example: nocturne erase u00000007 --why "ticket 4711" --warehouse data/warehouse --cache lmdb:data/cache
    """
    from nocturne.lifecycle import erasure, requests

    stored, urls = open_warehouse(warehouse, conf, set_), cache or []
    for url in urls:
        require_cache(url)
    if verify:
        _verify(stored, landing, urls, users or [], as_json=as_json)
        return
    if not users and not now:
        raise UsageError("name who is to be erased", where="USER", fix="--now carries out what was asked for before")
    told: dict[str, Any] = {}
    if users:
        requests.ask(stored, users, datetime.now(UTC), why)
        told = {"asked": len(users), "withheld_in": erasure.withhold(stored, urls, users)}
    if now:
        told |= _carry_out(stored, landing, urls, lease_holder)
    if as_json:
        print_json(told)
        return
    for place in told.get("withheld_in", ()):
        say(f"withheld in {place}")
    if told.get("certificate"):
        typer.echo(told["page"])
    elif users:
        say("the next night removes them from everything; --verify searches for one then")


def _carry_out(stored: Any, landing: str, urls: list[str], lease_holder: str | None) -> dict[str, Any]:
    import json

    from nocturne.lifecycle import certificate, erasure
    from nocturne.storage.warehouse import leased

    today = datetime.now(UTC).date()
    with leased(stored, today, lease_holder) as writable:
        done = erasure.carry_out(writable, landing, urls, today, say)
    if done is None:
        say("nobody asked for an erasure that was not carried out")
        return {}
    told = json.loads(done.to_json())
    return {"certificate": told, "page": certificate.page(told)}


def _verify(stored: Any, landing: str, urls: list[str], users: list[str], *, as_json: bool) -> None:
    from nocturne.lifecycle import erasure

    if len(users) != 1:
        raise UsageError("one listener is searched for at a time", where="--verify", found=f"{len(users)} ids")
    told = erasure.verify(stored, landing, urls, users[0])
    if as_json:
        print_json(told)
    else:
        rows = [{"looked at": kind, "count": count} for kind, count in told["looked_at"].items()]
        print_rows(rows, str(Path(stored.folder)), as_json=False)
        for unknown in told["unknown"]:
            say(unknown)
        say(f"erased at {told['erased_at']}; certificates: {', '.join(told['certificates']) or 'none'}")
    if told["found"]:
        raise InputError(
            "a listener is still in what the service keeps",
            where=stored.path,
            found="; ".join(told["found"][:5]),
            expected="nothing",
            fix="if it was asked for, the next night removes them, or `nocturne erase --now`; else ask for it",
        )
