"""Publications: which nights may be read, why the others may not, and which of them are served.

A date has one row for what its tables hold now, and one for every generation that was published of it before and
came out differently. A publication, a closed gate and a rollback change rows here and nowhere else.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
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
from nocturne.storage import fencing, tables, writing
from nocturne.storage.contracts import contract


class Nights:
    """`nights` for one operation: opened once, looked at whenever it counts, and read again if it changed since.

    What is changed is changed on top of the last look: whatever others changed of the same night since conflicts.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self._seen = warehouse.at_one_time()
        self._records: list[NightRecord] = []
        self._read_at = -1

    def records(self) -> list[NightRecord]:
        """Every row as it is now, in the order of `all_records`."""
        table = tables.open_table(self._seen, "nights")
        table.update_incremental()
        if table.version() != self._read_at:
            self._records, self._read_at = all_records(self._seen), table.version()
        return self._records

    def replace_night(self, records: Sequence[NightRecord]) -> None:
        """Replace all rows of one night in one commit.

        Raises:
            ServiceError: somebody else has changed that night since it was looked at.
        """
        (run_date,) = {record.run_date for record in records}
        table = tables.open_table(self._seen, "nights")
        if table.version() != self._read_at:  # after a change of ours that came after one of somebody else's
            raise fencing.conflict_error(table, f"version {table.version()}", f"version {self._read_at}")
        rows = [record.to_row() for record in sorted(records, key=_order)]
        content = pa.Table.from_pylist(rows, schema=contract("nights").arrow_schema)
        writing.replace_rows(content, "nights", self._seen, where=f"run_date = '{run_date}'")
        others = [each for each in self._records if each.run_date != run_date]
        self._records, self._read_at = sorted([*others, *records], key=_order), self._read_at + 1

    def replace(self, changed: NightRecord) -> None:
        """Replace one row of a night among its others."""
        others = [each for each in self._records if each.run_date == changed.run_date]
        self.replace_night([changed, *(each for each in others if each.generation != changed.generation)])


def all_records(warehouse: Warehouse, where: pc.Expression | None = None) -> list[NightRecord]:
    """Every row of `nights`, or some, in order of night; of a date the row that counts comes last."""
    rows = tables.rows(warehouse, "nights", where).to_pylist()
    return sorted((NightRecord.from_row(row) for row in rows), key=_order)


def find_generation(warehouse: Warehouse, generation: str) -> NightRecord | None:
    """The night of a generation of the cache, of which alone rows are read; None if there is none."""
    return among(all_records(warehouse, pc.field("generation") == generation), generation)


def among(records: Iterable[NightRecord], generation: str) -> NightRecord | None:
    """The row of a generation; None if there is none."""
    return next((each for each in records if each.generation == generation), None)


def publish(nights: Nights, night: Night, record: NightRecord, reason: str | None) -> None:
    """Record the night as published, with its manifest; whatever was published before of other content is over.

    An earlier generation of the night is superseded; later nights that were published are stale. What a rollback
    took back stays so for as long as a cache is held.

    Args:
        record: its manifest, and nothing served yet.
        reason: why the pointer will not move to it; None if it will.
    """
    present = nights.records()
    of_night = [each for each in present if each.run_date == night.run_date]
    same = next((each for each in of_night if each.generation == record.generation), None)
    new = replace(record, reason=reason, pointers=same.pointers if same else {})
    if same and same.state == ROLLED_BACK and is_held(present):
        new = replace(new, state=same.state, reason=same.reason)
    before = of_night[-1] if of_night else None
    if before is None or before.state == GATE_CLOSED or before.manifest.row_hashes != record.manifest.row_hashes:
        for later in present:  # first: who is killed in between finds nothing changed when the night runs again
            if later.run_date > night.run_date and later.state == PUBLISHED:
                changed = f"night {night.run_date} changed after this one was made"
                nights.replace(replace(later, state=STALE, reason=changed))
    others = [each for each in of_night if each.generation not in {None, record.generation}]
    nights.replace_night([new, *_superseded(others, "the night was run again and came out differently")])
    manifest.write_file(night, record)  # after the commit, which a writer that comes late does not get past


def record_closed_gate(night: Night, reasons: Sequence[str]) -> None:
    """Record that the gate is closed, and why; what was published of the night before is superseded."""
    record = manifest.build_record(night, tables.count(night, "ranked_lists"), None, ())
    closed = replace(record, state=GATE_CLOSED, reason="; ".join(reasons))
    nights = Nights(night.warehouse)
    earlier = [each for each in nights.records() if each.run_date == night.run_date and each.generation]
    why = "the night was run again and its gate closed: read its tables at `versions`"
    nights.replace_night([closed, *_superseded(earlier, why)])
    manifest.write_file(night, closed)


def recorded_pointers(records: Iterable[NightRecord]) -> dict[str, Pointer]:
    """The pointer of every cache as the last move on record left it, by place."""
    latest: dict[str, Pointer] = {}
    for record in records:
        for place, text in record.pointers.items():
            pointer = from_json(text.encode())
            if place not in latest or pointer.version > latest[place].version:
                latest[place] = pointer
    return latest


def record_pointer(nights: Nights, place: str, pointer: Pointer) -> None:
    """Record where a cache's pointer came to, with the night that it serves."""
    text = to_json(pointer).decode()
    _amend(
        nights,
        {pointer.served.name},
        lambda record: replace(record, pointers={**record.pointers, place: text}),
    )


def is_held(records: Iterable[NightRecord]) -> bool:
    """True if the last move on record of any cache left it held: what was withdrawn stays so."""
    return any(pointer.frozen_reason is not None for pointer in recorded_pointers(records).values())


def served_since(records: Iterable[NightRecord], place: str, generation: str) -> list[str]:
    """Generations that a cache came to serve after this one, by the moves on record."""
    moves = {
        record.generation: from_json(text.encode()).version
        for record in records
        if record.generation and (text := record.pointers.get(place))
    }
    return [name for name, move in moves.items() if move > moves.get(generation, 0) and name != generation]


def mark_rolled_back(nights: Nights, generations: Collection[str], reason: str) -> None:
    """Record that generations were served, or could have been, and were taken back by hand."""
    _amend(nights, generations, lambda record: replace(record, state=ROLLED_BACK, reason=reason))


def amend(nights: Nights, generations: Collection[str | None], change: Callable[[NightRecord], NightRecord]) -> None:
    """Change rows of `nights` by their generations, None of those whose gate closed, whoever else writes the table."""
    _amend(nights, generations, change)


@retry(retry=retry_if_exception_type((CommitFailedError, ServiceError)), stop=stop_after_attempt(5), reraise=True,
       wait=wait_random(0, 0.1))  # fmt: skip
def _amend(nights: Nights, generations: Collection[str | None], change: Callable[[NightRecord], NightRecord]) -> None:
    """Change rows whoever else writes the table: a rollback waits for no night."""
    for record in nights.records():
        if record.generation in generations and (changed := change(record)) != record:
            nights.replace(changed)


def _superseded(records: Sequence[NightRecord], reason: str) -> list[NightRecord]:
    """The same generations of a night, superseded; what was withdrawn stays withdrawn."""
    return [each if each.state == ROLLED_BACK else replace(each, state=SUPERSEDED, reason=reason) for each in records]


def _order(record: NightRecord) -> tuple[Any, ...]:
    """By night; what its tables hold now last: that is neither superseded nor, if there is another, withdrawn."""
    age = (SUPERSEDED, ROLLED_BACK).index(record.state) if record.state in {SUPERSEDED, ROLLED_BACK} else 2
    return record.run_date, age, sum(record.manifest.versions.values()), record.generation or ""
