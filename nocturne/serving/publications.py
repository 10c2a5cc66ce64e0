"""The state of nights: which may be read, why the others may not, and what of them is served.

A date has one row for what its tables hold now, and one for every generation that was published of it before and
came out differently. A publication, a closed gate and a rollback change rows here and nowhere else.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake.exceptions import CommitFailedError
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random

from nocturne.core.code_version import code_version
from nocturne.core.errors import ServiceError
from nocturne.core.night import Night
from nocturne.flow import GATED_TABLES
from nocturne.serving import manifest
from nocturne.serving.cache.pointer import Pointer, from_json, to_json
from nocturne.serving.manifest import Row
from nocturne.storage import fingerprints, tables
from nocturne.storage.contracts import contract

PUBLISHED, GATE_CLOSED, STALE = "published", "gate_closed", "stale"
SUPERSEDED, ROLLED_BACK = "superseded", "rolled_back"
MAPS = ("content", "versions", "files", "pointers")


def known(night: Night) -> list[Row]:
    """Every row of `nights`, maps as dicts, in order of night."""
    return sorted((_plain(row) for row in tables.rows(night, "nights").to_pylist()), key=_order)


def of_generation(night: Night, generation: str) -> Row | None:
    """The row of a generation of the cache; None if there is none."""
    return next((row for row in known(night) if row["generation"] == generation), None)


def facts(night: Night, listeners: int, lists_digest: str | None, coverage: Sequence[Row]) -> Row:
    """What there is to say of the night now, and not yet sealed: from its tables, their logs and `validations`."""
    of_night = pc.field("run_date") == night.run_date
    judged = tables.rows(night, "validations", of_night).sort_by([("table", "ascending"), ("expectation", "ascending")])
    models = tables.night_rows(night, "models", ["model_version"])["model_version"].to_pylist()
    costs = tables.rows(night, "costs", of_night).sort_by("stage").drop(["run_date"])
    shown = ("table", "expectation", "observed", "limit", "outcome")
    rows = judged.to_pylist()
    return {
        "run_date": night.run_date,
        "generation": f"{night.run_date}-{lists_digest[:8]}" if lists_digest else None,
        "listeners": listeners,
        "model_version": next(iter(models), None),
        "lists_digest": lists_digest,
        "code_version": code_version(),
        "settings_hash": manifest.settings_hash(night),
        "content": {row["table"]: row["content"] for row in rows},
        "expectations": [{name: row[name] for name in shown} for row in rows if row["severity"] == "critical"],
        "coverage": list(coverage),
        "versions": {table: tables.version(night, table) for table in GATED_TABLES},
        "files": {table: fingerprints.recorded(night, table)[0] for table in GATED_TABLES},
        "costs": costs.to_pylist(),
        "pointers": {},
    }


def publish(night: Night, row: Row, reason: str | None, *, held: bool) -> None:
    """Record the night as published, with its manifest; whatever was published before of other content is over.

    An earlier generation of the night is superseded; later nights that were published are stale.

    Args:
        row: its manifest.
        reason: why the pointer will not move to it; None if it will.
        held: whether a rollback holds: what it took back stays so.
    """
    manifest.write_file(night, row)
    before = known(night)
    same = next((each for each in before if each["generation"] == row["generation"]), None)
    new = row | {"state": PUBLISHED, "reason": reason}
    if same:
        new |= {"pointers": same["pointers"]}
        new |= {name: same[name] for name in ("state", "reason")} if held and same["state"] == ROLLED_BACK else {}
    others = [
        each | {"state": SUPERSEDED, "reason": "the night was run again and came out differently"}
        for each in before
        if each["run_date"] == night.run_date and each["generation"] not in {None, row["generation"]}
    ]
    _write(night, [new, *others])
    if same is None or same["content"] != row["content"]:
        for each in before:
            if each["run_date"] > night.run_date and each["state"] == PUBLISHED:
                reason = f"night {night.run_date} changed after this one was made"
                _change(night, each, {"state": STALE, "reason": reason})


def close(night: Night, reasons: Sequence[str]) -> None:
    """Record that the gate is closed, and why; what was published of the night before is superseded."""
    row = manifest.sealed(facts(night, tables.count(night, "ranked_lists"), None, ()))
    row |= {"state": GATE_CLOSED, "reason": "; ".join(reasons)}
    manifest.write_file(night, row)
    reason = "the night was run again and its gate closed: read its tables at `versions`"
    earlier = [
        each | ({"state": SUPERSEDED, "reason": reason} if each["state"] != ROLLED_BACK else {})
        for each in known(night)
        if each["run_date"] == night.run_date and each["generation"]
    ]
    _write(night, [row, *earlier])


def recorded_pointer(night: Night, place: str) -> Pointer | None:
    """The pointer of a cache as the last move on record left it; None if none is."""
    told = [from_json(row["pointers"][place].encode()) for row in known(night) if place in row["pointers"]]
    return max(told, key=lambda pointer: pointer.move, default=None)


def record_pointer(night: Night, place: str, pointer: Pointer) -> None:
    """Record where a cache's pointer came to, with the night that it serves."""
    text = to_json(pointer).decode()
    _amend(night, pointer.served.name, lambda row: {"pointers": row["pointers"] | {place: text}})


def withdraw(night: Night, generations: Sequence[str], why: str) -> None:
    """Record that generations were served, or could have been, and were taken back by hand."""
    for generation in generations:
        _amend(night, generation, lambda _row: {"state": ROLLED_BACK, "reason": why})


@retry(retry=retry_if_exception_type((CommitFailedError, ServiceError)), stop=stop_after_attempt(5), reraise=True,
       wait=wait_random(0, 0.1))  # fmt: skip
def _amend(night: Night, generation: str, change: Callable[[Row], Row]) -> None:
    """Change a row whoever else writes the table: a rollback waits for no night."""
    row = of_generation(night, generation)
    if row and (changed := row | change(row)) != row:
        _change(night, row, changed)


def _change(night: Night, row: Row, changes: Row) -> None:
    others = [each for each in known(night) if each["run_date"] == row["run_date"] and not _same(each, row)]
    _write(night, [row | changes, *others])


def _same(one: Row, other: Row) -> bool:
    return bool(one["generation"] == other["generation"])


def _write(night: Night, rows: Sequence[Row]) -> None:
    """Replace all rows of one night in one commit."""
    promised = contract("nights")
    (run_date,) = {row["run_date"] for row in rows}
    values = [row | {name: sorted(row[name].items()) for name in MAPS} for row in sorted(rows, key=_order)]
    table = pa.Table.from_pylist(values, schema=promised.arrow_schema)
    tables.replace(table, "nights", night, where=f"run_date = '{run_date}'")


def _plain(row: dict[str, Any]) -> Row:
    return row | {name: dict(row[name]) for name in MAPS}


def _order(row: Row) -> tuple[Any, bool, str]:
    """By night; what was superseded first, so that the row of a date that counts is the last one."""
    return row["run_date"], row["state"] != SUPERSEDED, row["generation"] or ""
