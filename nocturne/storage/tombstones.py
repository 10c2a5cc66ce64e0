"""Table `tombstones`: who was erased, by keyed hashes, read by all that takes listeners in and written at any time."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from nocturne.core.erasure import ErasureKey, Tombstones
from nocturne.core.errors import UsageError
from nocturne.core.night import Warehouse
from nocturne.storage import fencing, tables
from nocturne.storage.contracts import contract

TABLE = "tombstones"


def read(warehouse: Warehouse) -> Tombstones:
    """Everybody who was erased.

    Raises:
        UsageError: somebody was, and the key is missing or another one: they would come back unnoticed.
    """
    rows = tables.rows(warehouse, TABLE).to_pylist()
    if not rows:
        return Tombstones()
    key = ErasureKey.of(warehouse.settings.erasure)
    _require_key(warehouse, key, {row["key_id"] for row in rows})
    instants: dict[str, datetime] = {}
    for row in rows:
        instants[row["listener"]] = max(row["asked_at"], instants.get(row["listener"], row["asked_at"]))
    return Tombstones(key, instants)


def key_of(warehouse: Warehouse) -> ErasureKey:
    """The key of the warehouse's tombstones.

    Raises:
        UsageError: it is missing, or not the one that earlier tombstones were made with.
    """
    key = ErasureKey.of(warehouse.settings.erasure)
    _require_key(warehouse, key, set(tables.rows(warehouse, TABLE, columns=["key_id"])["key_id"].to_pylist()))
    return key


def append(warehouse: Warehouse, key: ErasureKey, asked: Sequence[tuple[str, datetime, str]]) -> None:
    """Record erasures in one commit, beside whoever else writes the warehouse.

    Args:
        asked: user_id, the instant in UTC, and why.
    """
    rows = [
        {
            "run_date": instant.astimezone(UTC).date(),
            "listener": key.tombstone(user_id),
            "key_id": key.key_id,
            "asked_at": instant,
            "why": why,
        }
        for user_id, instant, why in asked
    ]
    delta = DeltaTable(warehouse.table_path(TABLE))
    content = pa.Table.from_pylist(rows, schema=contract(TABLE).arrow_schema)
    with fencing.conflicts_as_errors(delta):
        write_deltalake(
            delta, content, mode="append", commit_properties=fencing.commit_properties(delta, warehouse.token)
        )


def _require_key(warehouse: Warehouse, key: ErasureKey, key_ids: set[str]) -> None:
    if others := sorted(key_ids - {key.key_id}):
        raise UsageError(
            "the key of erasures is not the one that this warehouse's tombstones were made with",
            where=warehouse.path,
            found=f"key {key.key_id}",
            expected=f"key {' and '.join(others)}",
            fix="name the key of before: with another one, who was erased would be taken in again",
        )
