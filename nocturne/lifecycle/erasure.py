"""Erasure: listeners who asked for it go from everything that nights wrote, while others read it, and are proved gone.

In this order, which can be cut short anywhere and begun again: tables, by journal; accounts, validations and
manifests; copies of the landing zone; caches; then what no version needs any more, which makes it final; pages and
messages beside the tables; and a search through all of it, whose outcome is the certificate.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from nocturne.core.atomic_write import write_atomically
from nocturne.core.erasure import names, without_names
from nocturne.core.night import Warehouse
from nocturne.lifecycle import certificate, night_erasure, requests
from nocturne.lifecycle.certificate import Certificate, Erased, OfTable
from nocturne.lifecycle.expiry import readable_records
from nocturne.lifecycle.inventory import LISTENER_TABLES, SCRATCH, STRUCK_OUT
from nocturne.lifecycle.landing_erasure import erase_from_landing
from nocturne.lifecycle.requests import Leaving, Request
from nocturne.lifecycle.search import search
from nocturne.lifecycle.table_erasure import TableErasure, erase_from_table, journal
from nocturne.serving import publications
from nocturne.serving.cache import Cache, open_cache
from nocturne.serving.night_record import NightRecord
from nocturne.storage import rewriting, tombstones
from nocturne.storage.delta_log import Log
from nocturne.training.registry import CHECKPOINTS

ERASED = "[erased]"
_BATCH = "batch"


def is_due(warehouse: Warehouse, landing: str) -> bool:
    """True if somebody asked for an erasure that was not carried out."""
    landed = Path(landing, requests.LANDED) if landing and "://" not in landing else None
    return bool(requests.pending(warehouse)) or bool(landed and any(landed.glob("*.jsonl")))


def carry_out(
    warehouse: Warehouse,
    landing: str,
    urls: Sequence[str],
    run_date: date,
    announce: Callable[[str], None] = lambda _text: None,
) -> Certificate | None:
    """Erase everybody who asked for it; returns the certificate, None if nobody did.

    Args:
        warehouse: under the lease.
        urls: of caches; those in files that `nights` has on record are opened as well.
        run_date: the night to come, which finds nobody of them.
        announce: told of each step.

    Raises:
        UsageError: the key is missing or another one.
        ServiceError: somebody else wrote a table meanwhile, or a disk or a cache failed: begin again.
    """
    ignored = requests.take_landed(warehouse, landing, run_date)
    if ignored:
        announce(f"{ignored} landed lines are no request for erasure, or ask for a later night: they stay")
    batch = _batch(warehouse)
    if not batch:
        return None
    key = tombstones.key_of(warehouse)
    requests.put_up(warehouse, key, batch)
    leaving = Leaving(frozenset(request.user_id for request in batch))
    announce(f"erases {len(leaving.user_ids)} listeners")
    with _caches(warehouse, urls) as (caches, out_of_reach):
        works, records = _erase_from_tables(warehouse, leaving, caches, run_date, announce)
        landed = erase_from_landing(landing, leaving, run_date)
        generations = {cache.place: _erase_from_cache(cache, leaving) for cache in caches}
        for table, work in works.items():
            if table in LISTENER_TABLES:
                _expire(warehouse, table, work, records)
        _strike_out(warehouse, leaving)
        announce("searches everything for them")
        searched = search(warehouse, landing, caches, leaving)
    done = Certificate(
        night=str(run_date),
        erased=[Erased(key.tombstone(each.user_id), each.asked_at.isoformat(), each.why) for each in batch],
        tables={name: _of_table(work) for name, work in works.items()},
        nights=sum(any(str(each["erased_on"]) == str(run_date) for each in r.manifest.erasures) for r in records),
        proofs=_proofs(records, run_date),
        caches=generations,
        out_of_reach=out_of_reach,
        landing=asdict(landed),
        looked_at=dict(searched.looked_at),
        found=searched.found,
        unknown=searched.unknown,
        owed=certificate.owed_by_models(warehouse, run_date, _first_night(works)),
    )
    path = certificate.write(warehouse, done)
    if done.complete:
        requests.forget(warehouse, _unchanged(warehouse, batch))
    shutil.rmtree(journal(warehouse, _BATCH).parent)
    announce(f"{'certificate' if done.complete else 'NOT COMPLETE, a later night goes on: certificate'} {path}")
    return done


def _batch(warehouse: Warehouse) -> list[Request]:
    """The requests of this erasure: those that a process before began with, or all there are."""
    path, pending = journal(warehouse, _BATCH), requests.pending(warehouse)
    if not pending:
        return []
    key = tombstones.key_of(warehouse)
    if path.exists():
        begun = set(json.loads(path.read_bytes()))
        return [each for each in pending if key.tombstone(each.user_id) in begun]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps([key.tombstone(each.user_id) for each in pending]).encode())
    return pending


def _unchanged(warehouse: Warehouse, batch: Sequence[Request]) -> list[Request]:
    """Those of the requests that were not asked again meanwhile."""
    present = set(requests.pending(warehouse))
    return [each for each in batch if each in present]


@contextmanager
def _caches(warehouse: Warehouse, urls: Sequence[str]) -> Iterator[tuple[list[Cache], list[str]]]:
    """The caches of a service, open for writing, and places on record that were not named and cannot be opened here."""
    recorded = publications.recorded_pointers(publications.all_records(warehouse))
    with ExitStack() as opened:
        caches = [opened.enter_context(open_cache(url, warehouse.settings.cache)) for url in urls if url]
        places = {cache.place for cache in caches}
        out_of_reach = []
        for place in sorted(set(recorded) - places):
            scheme, _, folder = place.partition(":")
            if scheme == "lmdb" and Path(folder).is_dir():
                caches.append(opened.enter_context(open_cache(place, warehouse.settings.cache)))
            elif scheme != "lmdb":  # of a folder that is gone nothing is left
                out_of_reach.append(place)
        yield caches, out_of_reach


def withhold(warehouse: Warehouse, urls: Sequence[str], user_ids: Sequence[str]) -> list[str]:
    """Have caches answer as if these listeners had no list; returns the places."""
    with _caches(warehouse, urls) as (caches, _):
        for cache in caches:
            cache.withhold(user_ids)
        return [cache.place for cache in caches]


def _erase_from_tables(
    warehouse: Warehouse,
    leaving: Leaving,
    caches: Sequence[Cache],
    run_date: date,
    announce: Callable[[str], None],
) -> tuple[dict[str, TableErasure], list[NightRecord]]:
    """Tables, then what accounts, validations and manifests say of them; the records as they are afterwards."""
    for cache in caches:
        cache.withhold(sorted(leaving.user_ids))  # who landed their request is withheld from now on
    kept = {name for cache in caches for name in cache.generations()}
    readable = readable_records(publications.all_records(warehouse), kept)
    works: dict[str, TableErasure] = {}
    for table in LISTENER_TABLES:
        works[table] = erase_from_table(warehouse, table, leaving, readable)
        rows = sum(account.rows for account in works[table].accounts)
        if rows:
            announce(f"{table}: {rows:,} rows of {len(works[table].accounts)} nights left")
    accounts = night_erasure.settle_accounts(warehouse, works)
    if accounts:
        works[accounts.table] = accounts
    night_erasure.record_validations(warehouse, works)
    return works, night_erasure.record_manifests(warehouse, works, run_date)


def _erase_from_cache(cache: Cache, leaving: Leaving) -> list[str]:
    names_of = cache.generations()
    for generation in names_of:
        cache.erase(generation, leaving.user_ids)
    cache.rewrite_persisted()
    cache.let_back(sorted(leaving.user_ids))
    return names_of


def _expire(warehouse: Warehouse, table: str, work: TableErasure, records: Sequence[NightRecord]) -> None:
    """Delete the files that no version without who left needs, then the log below the first of these versions."""
    folder = Path(warehouse.table_path(table))
    delta = DeltaTable(str(folder))
    last = int(delta.version())
    named = {record.manifest.versions.get(table, -1) for record in records}
    promised = sorted({last, *(version for version in named if version >= work.floor)})
    needed: set[str] = set()
    for version in promised:
        at = DeltaTable(str(folder), version=version)
        needed |= {file.path for file in rewriting.stored_files(at, table)}
        if version == promised[0]:
            at.create_checkpoint()
    delta.create_checkpoint()
    log = folder / "_delta_log"
    for path in folder.rglob("*"):
        if path.is_file() and log not in path.parents and str(path.relative_to(folder)) not in needed:
            path.unlink()
    for path in Log.read(folder).unneeded(promised, last, hours=0):
        path.unlink(missing_ok=True)


def _strike_out(warehouse: Warehouse, leaving: Leaving) -> None:
    """Take ids out of pages and messages beside the tables, and remove what dead drivers left."""
    folder = Path(warehouse.folder)
    for name in STRUCK_OUT:
        for path in (folder / name).rglob("*"):
            if path.is_file() and path.suffix in {".json", ".html", ".txt", ".md"}:
                text = path.read_text(encoding="utf-8", errors="surrogateescape")
                if any(names(text, user_id) for user_id in leaving.user_ids):
                    struck = without_names(text, leaving.user_ids, ERASED)
                    write_atomically(path, struck.encode("utf-8", "surrogateescape"))
    for scratch in (*folder.glob(SCRATCH), *folder.glob(CHECKPOINTS)):
        shutil.rmtree(scratch)


def _of_table(work: TableErasure) -> OfTable:
    nights = {account.run_date for account in work.accounts}
    return OfTable(sum(each.rows for each in work.accounts), len(nights), work.bytes_written, work.floor)


def _proofs(records: Sequence[NightRecord], run_date: date) -> list[dict[str, Any]]:
    return [
        {"generation": record.generation, "run_date": str(record.run_date)}
        | {name: value for name, value in each.items() if name != "erased_on"}
        for record in records
        for each in record.manifest.erasures
        if str(each["erased_on"]) == str(run_date)
    ]


def _first_night(works: Mapping[str, TableErasure]) -> date | None:
    days = [date.fromisoformat(each.run_date) for work in works.values() for each in work.accounts if each.rows]
    return min(days, default=None)


def verify(warehouse: Warehouse, landing: str, urls: Sequence[str], user_id: str) -> dict[str, Any]:
    """Search again for a listener; what was looked at and found, and the certificates that are about them."""
    key = tombstones.key_of(warehouse)
    with _caches(warehouse, urls) as (caches, out_of_reach):
        searched = search(warehouse, landing, caches, Leaving(frozenset({user_id})))
    instant = tombstones.read(warehouse).instant(user_id)
    told = certificate.of_listener(warehouse, key.tombstone(user_id))
    return {
        "listener": key.tombstone(user_id),
        "erased_at": instant.isoformat() if instant else None,
        "looked_at": dict(sorted(searched.looked_at.items())),
        "found": searched.found,
        "unknown": searched.unknown,
        "out_of_reach": out_of_reach,
        "certificates": [f"{each['night']} {each['seal'][:16]}" for each in told],
        "owed": told[-1]["owed"] if told else [],
    }
