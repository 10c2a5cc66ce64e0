"""`nocturne list | served | rollback | release`: what listeners are served, and taking it back."""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nocturne.cli.jobs import Cache, Conf, Json, Set
from nocturne.core.console import print_json, print_rows
from nocturne.core.errors import SettingsError

if TYPE_CHECKING:
    from nocturne.core.night import Night
    from nocturne.serving.cache import Pointer

Titles = Annotated[str | None, typer.Option("--warehouse", help="take titles from this warehouse", metavar="DIR")]
ItsWarehouse = Annotated[
    str, typer.Option("--warehouse", help="the Delta tables; by default those that the cache names", metavar="DIR")
]


def list_user(
    user: Annotated[str, typer.Argument(help="the listener's id")],
    cache: Cache,
    warehouse: Titles = None,
    conf: Conf = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Print the list that is being served to a listener.

    Example: nocturne list listener-7 --cache lmdb:data/cache --warehouse data/warehouse
    """
    from nocturne.core.settings import load_settings
    from nocturne.serving.cache import open_cache

    with open_cache(cache, load_settings(conf, set_ or ()).cache, read_only=True) as store:
        served = store.get(user)
    if served is None:
        raise SettingsError("no list is served to this listener", found=user, fix="check the id, and --cache")
    names = _names(warehouse, served.run_date, served.item_ids) if warehouse else {}
    rows = [
        {"rank": rank, "item_id": item, **names.get(item, {}), "score": score}
        for rank, (item, score) in enumerate(served.items, start=1)
    ]
    if as_json:
        head = {"user_id": user, "run_date": served.run_date, "arm": served.arm, "source": served.source}
        print_json(head | {"model_version": served.model_version, "items": rows})
    else:
        print_rows(rows, f"{user}: night {served.run_date}, {served.source} {served.model_version}")


def served(
    cache: Cache, warehouse: ItsWarehouse = "", conf: Conf = None, set_: Set = None, as_json: Json = False
) -> None:
    """Print which night the cache serves, which ones a rollback could serve, and whether it is held.

    With --warehouse, also prove that this is what its last move on record left, as after a failover; status 5 if not.

    Example: nocturne served --cache lmdb:data/cache
    """
    from nocturne.serving import rollout
    from nocturne.serving.cache import open_cache

    night = _night(warehouse, cache, conf, set_)
    with open_cache(cache, night.settings.cache, read_only=True) as store:
        _print_pointer(store.pointer(), as_json=as_json)
        if warehouse:
            rollout.require_recorded(night, store)


def rollback(
    cache: Cache,
    why: Annotated[str, typer.Option(help="the reason, for whoever asks later", metavar="TEXT")],
    to: Annotated[
        str | None, typer.Option(help="the generation, as in `nocturne served`; by default the one before")
    ] = None,
    warehouse: ItsWarehouse = "",
    conf: Conf = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Serve an earlier night's lists, and keep serving them until `nocturne release`.

    Example: nocturne rollback --cache lmdb:data/cache --why "lists of 7 March are all podcasts"
    """
    from nocturne.serving import rollout
    from nocturne.serving.cache import open_cache

    night = _night(warehouse, cache, conf, set_)
    with open_cache(cache, night.settings.cache) as store:
        _print_pointer(rollout.rollback(rollout.of_warehouse(night, store), store, why, to), as_json=as_json)


def release(
    cache: Cache, warehouse: ItsWarehouse = "", conf: Conf = None, set_: Set = None, as_json: Json = False
) -> None:
    """Lift a rollback: the next night that is published will be served.

    Example: nocturne release --cache lmdb:data/cache
    """
    from nocturne.serving import rollout
    from nocturne.serving.cache import open_cache

    night = _night(warehouse, cache, conf, set_)
    with open_cache(cache, night.settings.cache) as store:
        _print_pointer(rollout.release(rollout.of_warehouse(night, store), store), as_json=as_json)


def _night(warehouse: str, cache: str, conf: str | None, set_: Sequence[str] | None) -> "Night":
    from nocturne.core.night import Night
    from nocturne.core.settings import load_settings

    return Night(date.max, landing="", warehouse=warehouse, cache=cache, settings=load_settings(conf, set_ or ()))


def _print_pointer(pointer: "Pointer | None", *, as_json: bool) -> None:
    """The night that is served first, then the ones that a rollback could serve."""
    kept = pointer.kept if pointer else ()
    rows = [
        {"": "served" if place == 0 else "earlier", "run_date": each.run_date, "generation": each.name}
        for place, each in enumerate(kept)
    ]
    print_rows(rows, f"held: {pointer.held}" if pointer and pointer.held else "serving", as_json=as_json)


def _names(warehouse: str, run_date: date, items: Sequence[str]) -> dict[str, dict[str, str | None]]:
    """Title and creator of each item, from the catalogue of the night; None where it has none."""
    import pyarrow.compute as pc

    from nocturne.core.night import Night
    from nocturne.core.settings import load_settings
    from nocturne.storage import tables

    night = Night(run_date, landing="", warehouse=warehouse, cache="", settings=load_settings())
    listed = (pc.field("run_date") == run_date) & pc.field("item_id").isin(list(items))
    known: dict[str, dict[str, Any]] = {row["item_id"]: row for row in tables.rows(night, "items", listed).to_pylist()}
    return {item: {name: known.get(item, {}).get(name) for name in ("title", "creator")} for item in items}
