"""The state of nights: which may be read, why the others may not."""

from typing import Any

import pyarrow as pa

from nocturne import tables
from nocturne.contracts import contract
from nocturne.night import Night


def record(
    night: Night,
    state: str,
    listeners: int,
    *,
    generation: str | None = None,
    reason: str | None = None,
    model: str | None = None,
    lists_digest: str | None = None,
) -> None:
    """Write the night's row of `nights`."""
    _write(
        night,
        {
            "run_date": night.run_date,
            "state": state,
            "generation": generation,
            "reason": reason,
            "listeners": listeners,
            "model_version": model,
            "lists_digest": lists_digest,
        },
    )


def publish(
    night: Night, listeners: int, lists_digest: str, *, generation: str | None, reason: str | None, model: str | None
) -> None:
    """Record the night as published; published nights after it are stale if its lists are new or other ones.

    Run again with the same lists, it keeps the generation that was loaded the first time.
    """
    known = {row["run_date"]: row for row in tables.rows(night, "nights").to_pylist()}
    before = known.get(night.run_date)
    unchanged = before is not None and before["lists_digest"] == lists_digest
    if before and unchanged and generation is None:
        generation, reason = before["generation"], before["reason"] if before["state"] == "published" else reason
    record(night, "published", listeners, generation=generation, reason=reason, model=model, lists_digest=lists_digest)
    for run_date, row in known.items():
        if run_date > night.run_date and row["state"] == "published" and not unchanged:
            _write(night, row | {"state": "stale", "reason": f"night {night.run_date} changed after this one was made"})


def _write(night: Night, row: dict[str, Any]) -> None:
    promised = contract("nights").arrow_schema
    of_row = f"run_date = '{row['run_date']}'"
    tables.replace(pa.Table.from_pylist([row], schema=promised), "nights", night, where=of_row)
