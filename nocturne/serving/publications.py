"""Publications: which nights may be read, why the others may not, and which of them are served.

A date has one row for what its tables hold now, and one for every generation that was published of it before and
came out differently. A publication, a closed gate and a rollback change rows here and nowhere else.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
from deltalake.exceptions import CommitFailedError
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random

from nocturne.core.errors import ServiceError
from nocturne.core.night import Night, Warehouse
from nocturne.serving import manifest
from nocturne.serving.cache.pointer import Pointer, from_json, to_json
from nocturne.serving.night_record import (
    GATE_CLOSED,
    PUBLISHED,
    ROLLED_BACK,
    STALE,
    SUPERSEDED,
    NightRecord,
)
from nocturne.storage import tables, writing
from nocturne.storage.contracts import contract


def all_records(warehouse: Warehouse) -> list[NightRecord]:
    """Every row of `nights`, in order of night; of a date the row that counts comes last."""
    rows = tables.rows(warehouse, "nights").to_pylist()
    return sorted((NightRecord.from_row(row) for row in rows), key=_order)


def find_generation(warehouse: Warehouse, generation: str) -> NightRecord | None:
    """The night of a generation of the cache; None if there is none."""
    return next((record for record in all_records(warehouse) if record.generation == generation), None)


def publish(night: Night, record: NightRecord, reason: str | None, *, frozen: bool) -> None:
    """Record the night as published, with its manifest; whatever was published before of other content is over.

    An earlier generation of the night is superseded; later nights that were published are stale.

    Args:
        record: its manifest, and nothing served yet.
        reason: why the pointer will not move to it; None if it will.
        frozen: whether a rollback holds a cache: what it took back stays so.
    """
    present = all_records(night.warehouse)
    same = next((each for each in present if each.generation == record.generation), None)
    new = replace(record, reason=reason, pointers=same.pointers if same else {})
    if same and frozen and same.state == ROLLED_BACK:
        new = replace(new, state=same.state, reason=same.reason)
    others = [
        replace(each, state=SUPERSEDED, reason="the night was run again and came out differently")
        for each in present
        if each.run_date == night.run_date and each.generation not in {None, record.generation}
    ]
    _write(night.warehouse, [new, *others])
    manifest.write_file(night, record)  # after the commit, which a writer that comes late does not get past
    if same is None or same.manifest.row_hashes != record.manifest.row_hashes:
        for later in present:
            if later.run_date > night.run_date and later.state == PUBLISHED:
                reason = f"night {night.run_date} changed after this one was made"
                _replace(night.warehouse, later, replace(later, state=STALE, reason=reason))


def record_closed_gate(night: Night, reasons: Sequence[str]) -> None:
    """Record that the gate is closed, and why; what was published of the night before is superseded."""
    record = manifest.build_record(night, tables.count(night, "ranked_lists"), None, ())
    closed = replace(record, state=GATE_CLOSED, reason="; ".join(reasons))
    reason = "the night was run again and its gate closed: read its tables at `versions`"
    earlier = [
        record if record.state == ROLLED_BACK else replace(record, state=SUPERSEDED, reason=reason)
        for record in all_records(night.warehouse)
        if record.run_date == night.run_date and record.generation
    ]
    _write(night.warehouse, [closed, *earlier])
    manifest.write_file(night, closed)


def recorded_pointers(warehouse: Warehouse) -> dict[str, Pointer]:
    """The pointer of every cache as the last move on record left it, by place."""
    latest: dict[str, Pointer] = {}
    for record in all_records(warehouse):
        for place, text in record.pointers.items():
            pointer = from_json(text.encode())
            if place not in latest or pointer.version > latest[place].version:
                latest[place] = pointer
    return latest


def recorded_pointer(warehouse: Warehouse, place: str) -> Pointer | None:
    """The pointer of a cache as the last move on record left it; None if none is."""
    return recorded_pointers(warehouse).get(place)


def record_pointer(warehouse: Warehouse, place: str, pointer: Pointer) -> None:
    """Record where a cache's pointer came to, with the night that it serves."""
    text = to_json(pointer).decode()
    _amend(
        warehouse,
        pointer.served.name,
        lambda record: replace(record, pointers={**record.pointers, place: text}),
    )


def is_held(warehouse: Warehouse) -> bool:
    """True if the last move on record of any cache left it held: what was withdrawn stays so."""
    return any(pointer.frozen_reason is not None for pointer in recorded_pointers(warehouse).values())


def served_since(warehouse: Warehouse, place: str, generation: str) -> list[str]:
    """Generations that a cache came to serve after this one, by the moves on record."""
    moves = {
        record.generation: from_json(record.pointers[place].encode()).version
        for record in all_records(warehouse)
        if record.generation and place in record.pointers
    }
    return [name for name, move in moves.items() if move > moves.get(generation, 0) and name != generation]


def mark_rolled_back(warehouse: Warehouse, generations: Sequence[str], reason: str) -> None:
    """Record that generations were served, or could have been, and were taken back by hand."""
    for generation in generations:
        _amend(warehouse, generation, lambda record: replace(record, state=ROLLED_BACK, reason=reason))


@retry(retry=retry_if_exception_type((CommitFailedError, ServiceError)), stop=stop_after_attempt(5), reraise=True,
       wait=wait_random(0, 0.1))  # fmt: skip
def _amend(warehouse: Warehouse, generation: str, change: Callable[[NightRecord], NightRecord]) -> None:
    """Change a row whoever else writes the table: a rollback waits for no night."""
    record = find_generation(warehouse, generation)
    if record and (changed := change(record)) != record:
        _replace(warehouse, record, changed)


def _replace(warehouse: Warehouse, record: NightRecord, changed: NightRecord) -> None:
    others = [
        other
        for other in all_records(warehouse)
        if other.run_date == record.run_date and other.generation != record.generation
    ]
    _write(warehouse, [changed, *others])


def _write(warehouse: Warehouse, records: Sequence[NightRecord]) -> None:
    """Replace all rows of one night in one commit."""
    (run_date,) = {record.run_date for record in records}
    rows = [record.to_row() for record in sorted(records, key=_order)]
    table = pa.Table.from_pylist(rows, schema=contract("nights").arrow_schema)
    writing.replace_rows(table, "nights", warehouse, where=f"run_date = '{run_date}'")


def _order(record: NightRecord) -> tuple[Any, bool, str]:
    """By night; what was superseded first, so that the row of a date that counts is the last one."""
    return record.run_date, record.state != SUPERSEDED, record.generation or ""
