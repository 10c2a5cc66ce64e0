"""`nocturne list | served | rollback | release`: what listeners are served, and taking it back."""

import shlex
import sys
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from nocturne.cli.help import folded, program
from nocturne.cli.options import Cache, Conf, Json, Set, open_warehouse
from nocturne.core.console import print_json, print_rows, say
from nocturne.core.errors import UsageError
from nocturne.core.pasted import job_command

if TYPE_CHECKING:
    from nocturne.core.night import Warehouse
    from nocturne.serving.cache import Pointer

Titles = Annotated[str | None, typer.Option("--warehouse", help="take titles from this warehouse", metavar="DIR")]
ItsWarehouse = Annotated[
    str, typer.Option("--warehouse", help="the Delta tables; by default those that the cache names", metavar="DIR")
]

_OF_SHELF = ("source", "model_version")

Shelf = Annotated[
    str | None, typer.Option("--type", help="the night's list of this content type, from --warehouse", metavar="TYPE")
]

Record = Annotated[
    str, typer.Option("--warehouse", help="prove what is served by the record in these tables", metavar="DIR")
]


def list_user(
    user: Annotated[str, typer.Argument(help="the listener's id")],
    cache: Cache,
    warehouse: Titles = None,
    content_type: Shelf = None,
    conf: Conf = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Print the list that is being served to a listener, or that of a content type of the same night.

    Example: nocturne list u00000007 --cache lmdb:data/cache --warehouse data/warehouse
    """
    from nocturne.core.settings import load_settings
    from nocturne.serving.opened_cache import opened, serves_nothing

    with opened(cache, load_settings(conf, set_ or ()).cache) as store:
        served = store.get(user)
        if served is None and store.pointer() is None:
            raise serves_nothing(store)
        takedowns = store.overlay().takedowns
    if served is None:
        raise UsageError("no list is served to this listener", found=user, fix="check the id, and --cache")
    head = {"user_id": user, "run_date": served.run_date, "arm": served.arm, "source": served.source}
    head["model_version"], items = served.model_version, served.items
    if content_type:
        shelf = _shelf(warehouse, served.run_date, user, content_type)
        head |= {"content_type": content_type, "arm": "control"} | {each: shelf[each] for each in _OF_SHELF}
        barred = takedowns.barred(None)  # the table does not say in which market the listener is
        items = tuple((each["item_id"], each["score"]) for each in shelf["items"] if each["item_id"] not in barred)
    names = _names(warehouse, served.run_date, [item for item, _ in items]) if warehouse else {}
    rows = [
        {"rank": rank, "item_id": item, **names.get(item, {}), "score": score}
        for rank, (item, score) in enumerate(items, start=1)
    ]
    if as_json:
        print_json(head | {"items": rows})
    else:
        print_rows(rows, f"{user}: night {served.run_date}, {head['source']} {head['model_version']}")


def served(cache: Cache, warehouse: Record = "", conf: Conf = None, set_: Set = None, as_json: Json = False) -> None:
    """Print which night the cache serves, which ones a rollback could serve, and whether it is held.

    With --warehouse, also prove that this is what its last move on record left, as after a failover; status 5 if not.

    Example: nocturne served --cache lmdb:data/cache
    """
    from nocturne.core.night import Warehouse
    from nocturne.core.settings import load_settings
    from nocturne.serving import rollout
    from nocturne.serving.opened_cache import opened

    settings = load_settings(conf, set_ or ())
    with opened(cache, settings.cache) as store:
        _print_pointer(store.pointer(), store.place, as_json=as_json)
        if warehouse:
            rollout.require_recorded(Warehouse(warehouse, settings), store)


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

    Example: nocturne rollback --cache lmdb:data/cache --why "lists of 3 January are all podcasts"
    """
    from nocturne.core.settings import load_settings

    _import_datasets()
    from nocturne.serving import rollout
    from nocturne.serving.opened_cache import opened

    with opened(cache, load_settings(conf, set_ or ()).cache, write=True) as store:
        served = open_warehouse(rollout.warehouse_of(store, warehouse), conf, set_)
        pointer = rollout.rollback(served, store, why, to)
        _show_in_data_docs(served)
        _print_pointer(pointer, store.place, as_json=as_json)
    command = f"{program()} release --cache {shlex.quote(store.place)}"
    say(f"listeners get the lists of night {pointer.served.run_date}, whatever is published, until\n{folded(command)}")


def release(
    cache: Cache, warehouse: ItsWarehouse = "", conf: Conf = None, set_: Set = None, as_json: Json = False
) -> None:
    """Lift a rollback: the next night that is published will be served.

    Example: nocturne release --cache lmdb:data/cache
    """
    from nocturne.core.settings import load_settings

    _import_datasets()
    from nocturne.serving import rollout
    from nocturne.serving.opened_cache import opened

    with opened(cache, load_settings(conf, set_ or ()).cache, write=True) as store:
        served = open_warehouse(rollout.warehouse_of(store, warehouse), conf, set_)
        pointer = rollout.release(served, store)
        _show_in_data_docs(served)
        _print_pointer(pointer, store.place, as_json=as_json)
    say(
        f"listeners get the lists of night {pointer.served.run_date} until the next night is published, which is served"
    )
    if newer := _newest_made(served, pointer):
        command = job_command("refresh_cache", newer, "data/landing", served.path, store.place)
        say(f"to serve night {newer}, the newest there is, now:\n{folded(command)}")


def _import_datasets() -> None:
    """Import Arrow's datasets without pandas, which they only look for frames of: a third of the time to a rollback."""
    if "pandas" in sys.modules:
        return
    sys.meta_path.insert(0, cast("Any", _NoPandas))
    try:
        import pyarrow.dataset  # noqa: F401 (what it finds out about pandas, it keeps)
    finally:
        sys.meta_path.remove(cast("Any", _NoPandas))


class _NoPandas:
    """A finder of modules that finds no pandas."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        """Raise ImportError for pandas; say nothing of any other module."""
        if name == "pandas":
            raise ModuleNotFoundError(name)


def _show_in_data_docs(warehouse: "Warehouse") -> None:
    from nocturne.pipeline.status import show_in_data_docs  # imported when readers have the lists already

    show_in_data_docs(warehouse)


def _newest_made(warehouse: "Warehouse", pointer: "Pointer") -> date | None:
    """The newest night that was published, or taken back, after the one that is served; None if there is none."""
    from nocturne.serving.night_record import PUBLISHED, ROLLED_BACK
    from nocturne.serving.publications import all_records

    made = [record.run_date for record in all_records(warehouse) if record.state in {PUBLISHED, ROLLED_BACK}]
    return max((day for day in made if day > pointer.served.run_date), default=None)


def _print_pointer(pointer: "Pointer | None", place: str, *, as_json: bool) -> None:
    """The night that is served first, then the ones that a rollback could serve."""
    if pointer is None:
        say(f"{place}: the cache is empty, it serves no night yet")
    retained = pointer.retained if pointer else ()
    rows = [
        {"": "served" if place == 0 else "earlier", "run_date": generation.run_date, "generation": generation.name}
        for place, generation in enumerate(retained)
    ]
    if rows or as_json:
        held = f"held: {pointer.frozen_reason}" if pointer and pointer.frozen_reason else "serving"
        print_rows(rows, held, as_json=as_json)


def _shelf(warehouse: str | None, run_date: date, user: str, content_type: str) -> dict[str, Any]:
    """The row of `shelf_lists` of a listener and content type.

    Raises:
        UsageError: there is none, or no warehouse to look in.
    """
    import pyarrow.compute as pc

    from nocturne.core.night import Warehouse
    from nocturne.core.settings import load_settings
    from nocturne.storage import tables

    if not warehouse:
        raise UsageError("lists of content types are in the tables, not in the cache", fix="add --warehouse DIR")
    wanted = (pc.field("run_date") == run_date) & (pc.field("user_id") == user)
    of_listener = tables.rows(Warehouse(warehouse, load_settings()), "shelf_lists", wanted).to_pylist()
    shelves: dict[str, dict[str, Any]] = {row["content_type"]: row for row in of_listener}
    if content_type not in shelves:
        raise UsageError(
            "the listener has no list of this content type",
            found=content_type,
            expected=", ".join(sorted(shelves)) or f"any row of `shelf_lists` of {run_date}",
            fix="name one of these, or a content type in ranking.shelf_types",
        )
    return shelves[content_type]


def _names(warehouse: str, run_date: date, items: Sequence[str]) -> dict[str, dict[str, str | None]]:
    """Title and creator of each item, from the catalogue of the night; None where it has none."""
    import pyarrow.compute as pc

    from nocturne.core.night import Warehouse
    from nocturne.core.settings import load_settings
    from nocturne.storage import tables

    listed = (pc.field("run_date") == run_date) & pc.field("item_id").isin(list(items))
    rows = tables.rows(Warehouse(warehouse, load_settings()), "items", listed).to_pylist()
    catalogue: dict[str, dict[str, Any]] = {row["item_id"]: row for row in rows}
    return {item: {name: catalogue.get(item, {}).get(name) for name in ("title", "creator")} for item in items}
