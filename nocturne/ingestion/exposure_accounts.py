"""Accounts of exposures: what was counted of every writer, what became of it, and who is not complete. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from itertools import islice
from typing import Any

from nocturne.ingestion.cleaning import DUPLICATE, ERASED
from nocturne.ingestion.exposure_files import TORN, UNFINISHED, CountedFile, Writer
from nocturne.ingestion.exposure_rows import REASONS

ACCEPTED = "accepted"
_NAMED = 5
"""Writers that are told on one line."""

Counts = Mapping[tuple[str, str], tuple[int, int]]
"""Rows, and how many of them are late, by writer and outcome: accepted, duplicate or a reason."""


def with_counts(writers: Iterable[Writer], counted: Iterable[CountedFile]) -> list[Writer]:
    """The writers with their files as they were counted, in the same order, and what each file lacks."""
    files, found = iter(counted), []
    for writer in writers:
        of_writer = list(islice(files, len(writer.files)))
        problems = (*writer.problems, *(each.problem for each in of_writer if each.problem))
        found.append(replace(writer, files=tuple(each.file for each in of_writer), problems=problems))
    return found


def without_changed_files(
    writers: Iterable[Writer], rows_read: Mapping[tuple[str, str], int]
) -> tuple[list[Writer], list[str]]:
    """Leave out files that changed while they were read; their writers are torn.

    Args:
        writers: with their lines counted.
        rows_read: by writer and file.

    Returns:
        The writers, and the files left out, as `writer/file`.
    """
    stable, left_out = [], []
    for writer in writers:
        changed = [file for file in writer.files if rows_read.get((writer.name, file.name), 0) != file.rows]
        files = tuple(file for file in writer.files if file not in changed)
        problems = (*writer.problems, *(f"{file.name} changed while it was read" for file in changed))
        stable.append(replace(writer, files=files, problems=problems))
        left_out += [f"{writer.name}/{file.name}" for file in changed]
    return stable, left_out


def account(writer: Writer, counts: Counts, run_date: date) -> dict[str, Any]:
    """The writer's row of `exposure_ingests`."""
    rows = {outcome: found for (name, outcome), found in counts.items() if name == writer.name}
    reasons = {reason: rows[reason][0] for reason in REASONS if reason in rows}
    accepted, late = rows.get(ACCEPTED, (0, 0))
    return {
        "run_date": run_date,
        "writer": writer.name,
        "state": writer.state,
        "remarks": writer.remarks,
        "announced": writer.announced,
        "lines": writer.lines,
        "accepted": accepted,
        "duplicates": rows.get(DUPLICATE, (0, 0))[0],
        "rejected": sum(reasons.values()),
        "erased": rows.get(ERASED, (0, 0))[0],
        "late": late,
        "reasons": list(reasons.items()),
    }


def tell(writers: Sequence[Writer]) -> str:
    """The writers that are not complete, for people, such as `torn: web-2 (part-000001.jsonl.gz is …)`."""
    told = []
    for state in (TORN, UNFINISHED):
        named = [_named(writer) for writer in writers if writer.state == state]
        more = [f"{len(named) - _NAMED} more in exposure_ingests"] if len(named) > _NAMED else []
        told += [f"{state}: {', '.join([*named[:_NAMED], *more])}"] if named else []
    return "; ".join(told)


def _named(writer: Writer) -> str:
    first, *others = writer.remarks
    more = f" and {len(others)} more" if others else ""
    return writer.name if writer.state == UNFINISHED else f"{writer.name} ({first}{more})"
