"""Profile of `steers`: each listener has one plan, which is one, and holds on the night."""

import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.night import Night
from nocturne.steering.plan import ContradictionError, PlanError, read_plan
from nocturne.storage import tables
from nocturne.validation.profiles.arithmetic import Profile, ratio, repeated, total


def steers(night: Night) -> Profile:
    """Of the plans that hold on the night."""
    rows = tables.night_rows(night, "steers")
    ended = pc.fill_null(pc.less(rows["holds_until"], pa.scalar(night.run_date, pa.date32())), False)
    unreadable = sum(not _is_plan(plan, digest) for plan, digest in zip(*_texts(rows), strict=True))
    days = [day for day in tables.dates(night.warehouse, "steers") if day < night.run_date]
    before = tables.count(night.on(days[-1]), "steers") if days else None
    return {
        "duplicate_listeners": repeated(rows["user_id"]),
        "ended": total(ended),
        "unreadable_plans": unreadable,
        "plans_vs_last_night": ratio(rows.num_rows, before),
    }


def _texts(rows: pa.Table) -> tuple[list[str], list[str]]:
    return rows["plan"].to_pylist(), rows["digest"].to_pylist()


def _is_plan(text: str, digest: str) -> bool:
    """True if a text is a plan that an item may obey, and its digest is the one beside it."""
    try:
        return read_plan(text).digest() == digest
    except (PlanError, ContradictionError):
        return False
