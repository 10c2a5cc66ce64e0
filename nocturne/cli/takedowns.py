"""`nocturne takedown | takedowns`: items that may not be listed any more, at once and in every night to come."""

from pathlib import Path
from typing import Annotated, Any

import typer

from nocturne.cli.options import Cache, Conf, Json, Landing, Set
from nocturne.core.console import print_json, print_rows, say
from nocturne.core.takedowns import Takedown


def takedown(
    items: Annotated[list[str], typer.Argument(help="the items' ids", metavar="ITEM...")],
    cache: Cache,
    landing: Landing,
    why: Annotated[str, typer.Option(help="the reason, for whoever asks later", metavar="TEXT")],
    market: Annotated[
        str | None, typer.Option(help="only in this market; by default everywhere", metavar="MARKET")
    ] = None,
    lift: Annotated[bool, typer.Option("--lift", help="let them be listed again")] = False,
    unseen: Annotated[bool, typer.Option("--unseen", help="also items that what is served does not know yet")] = False,
    conf: Conf = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Take items down: at once they are in no answer any more, and no night to come lists them; or lift that.

    Run it for every cache of the service: what is down already stays as it is.

    Example: nocturne takedown t0000542 --cache lmdb:data/cache --landing data/landing --why "court order 17/25"
    """
    from nocturne.core.settings import load_settings
    from nocturne.serving.opened_cache import opened
    from nocturne.serving.takedowns import TakedownRequest, take_down

    with opened(cache, load_settings(conf, set_ or ()).cache, write=True) as store:
        obeyed = take_down(store, Path(landing), TakedownRequest(items, why, market, lift, unseen))
    if as_json:
        print_json({"version": obeyed.overlay.version, "takedowns": [_row(word) for word in obeyed.words]})
        return
    for word in obeyed.words:
        where = f" in {word.market}" if word.market else ""
        done = "may be listed again" if word.lifts else "is taken down"
        say(f"{word.item_id} {done}{where}; nights from {word.from_night} on obey it")
    if not obeyed.words:
        say("all of them were taken down before")


def takedowns(cache: Cache, conf: Conf = None, set_: Set = None, as_json: Json = False) -> None:
    """Print the items that are taken down: where, since when and why.

    Example: nocturne takedowns --cache lmdb:data/cache
    """
    from nocturne.core.settings import load_settings
    from nocturne.serving.opened_cache import opened

    with opened(cache, load_settings(conf, set_ or ()).cache) as store:
        overlay, place = store.overlay(), store.place
    rows = [_row(word) for word in overlay.takedowns.in_force]
    if as_json:
        print_json({"version": overlay.version, "takedowns": rows})
    elif rows:
        print_rows([_shown(row) for row in rows], f"{place}, version {overlay.version}")
    else:
        say(f"{place}: nothing is taken down")


def _row(word: Takedown) -> dict[str, Any]:
    return word._asdict()


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    names = ("item_id", "market", "asked_at", "from_night", "why")
    return {name: row[name] for name in names} | {"market": row["market"] or "everywhere"}
