"""Proof that what a night is built on is what was validated: the files of an earlier night, to the byte."""

import pyarrow.compute as pc

from nocturne.core.errors import InputError
from nocturne.core.night import Night
from nocturne.storage import fingerprints, tables


def require_unchanged(night: Night, table: str) -> None:
    """Raise InputError if an earlier night's rows of a table are not those that were validated.

    A night whose table was never validated has nothing to compare with.
    """
    validated = (pc.field("run_date") == night.run_date) & (pc.field("table") == table)
    recorded = set(tables.rows(night.warehouse, "validations", validated, ["files"])["files"].to_pylist())
    if recorded and recorded != {present := fingerprints.file_hashes(night, table)}:
        raise InputError(
            "a table of an earlier night changed after it was validated",
            where=f"{night.warehouse.table_path(table)}, night {night.run_date}",
            found=f"files of hash {present}",
            expected=f"{' or '.join(sorted(recorded))}, as validated",
            fix=f"run night {night.run_date} again, then this one",
        )
