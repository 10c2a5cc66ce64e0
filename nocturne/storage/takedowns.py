"""Rows of `takedowns`: what was said of items, as nights obey it."""

import pyarrow as pa

from nocturne.core.night import Night
from nocturne.core.takedowns import Takedown, Takedowns
from nocturne.storage import tables
from nocturne.storage.contracts import contract


def stored_takedowns(night: Night) -> Takedowns:
    """The words that a night obeys."""
    return Takedowns.of(Takedown(**row) for row in tables.night_rows(night, "takedowns", Takedown._fields).to_pylist())


def as_rows(takedowns: Takedowns, night: Night) -> pa.Table:
    """The words as rows of a night."""
    rows = [{"run_date": night.run_date, **word._asdict()} for word in takedowns.words]
    return pa.Table.from_pylist(rows, schema=contract("takedowns").arrow_schema)
