"""Writer of a landing zone: a killed producer never leaves a day that looks complete."""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

from nocturne.core.atomic_write import open_atomically, write_atomically
from nocturne.core.errors import UsageError

Record = Mapping[str, str | list[str]]


@dataclass(frozen=True)
class ImportSummary:
    """The counts of an import.

    Attributes:
        days: first and last landing day; every day from one to the other is complete.
        rows: events, count.
        items: rows of the catalogue, count.
        note: peculiarities of the result, for people.
    """

    days: tuple[date, date]
    rows: int
    items: int
    note: str


def event_id(*fields: str) -> str:
    """Identity of a source row that has none: a hash of its fields, 32 hexadecimal digits."""
    return blake2b("\x1f".join(fields).encode(), digest_size=16).hexdigest()


def claim_landing(landing: Path, producer: str) -> None:
    """Reserve a landing zone for one producer, whose second run may replace what the first one wrote.

    Raises:
        UsageError: the zone is another producer's (their days and catalogues would mix), or cannot be written.
    """
    mark = landing / "_PRODUCER"
    try:
        (landing / "items").mkdir(parents=True, exist_ok=True)
        (landing / "events").mkdir(exist_ok=True)
        owner = mark.read_text(encoding="utf-8") if mark.exists() else ""
        strangers = not owner and any(file.is_file() and file.name[0] != "." for file in landing.rglob("*"))
        if not owner and not strangers:
            write_atomically(mark, producer.encode(), _partial(mark))
    except OSError as error:
        raise UsageError(
            "the landing zone cannot be written", where=str(landing), found=str(error), fix="choose another --landing"
        ) from error
    if strangers or owner not in ("", producer):
        raise UsageError(
            "the landing zone holds another producer's data",
            where=str(landing),
            found=owner or "files of unknown origin",
            expected=producer,
            fix="choose an empty folder for --landing",
        )


def publish_day(landing: Path, day: date, write: Callable[[Path], int]) -> int:
    """Let `write` fill the folder of a day, then mark it complete and show it, replacing an older one.

    Args:
        write: is given an empty folder; returns the number of rows it wrote there.

    Returns:
        The number of rows, as `_SUCCESS` says it.
    """
    final = landing / "events" / f"date={day}"
    partial = final.with_name(f".date={day}.partial")  # dot: no reader takes it for a day
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    rows = write(partial)
    (partial / "_SUCCESS").write_text(str(rows), encoding="ascii")
    if final.exists():
        (final / "_SUCCESS").unlink(missing_ok=True)  # killed while removing it, the rest must not look complete
        shutil.rmtree(final)
    partial.rename(final)
    return rows


def publish_rows(landing: Path, day: date, rows: Iterable[Record]) -> int:
    """Write a complete day of JSON lines; without rows, an empty complete day. Returns the number of rows."""

    def write(folder: Path) -> int:
        path = folder / "events.jsonl"
        with path.open("wb") as file:
            count = _write_lines(file, rows)
        if not count:
            path.unlink()
        return count

    return publish_day(landing, day, write)


def publish_calendar(landing: Path, first: date, last: date, read_day: Callable[[date], Iterable[Record]]) -> int:
    """Write every day from first to last, the empty ones included. Returns the number of rows."""
    days = (first + timedelta(days=ahead) for ahead in range((last - first).days + 1))
    return sum(publish_rows(landing, day, read_day(day)) for day in days)


def publish_catalogue(landing: Path, rows: Iterable[Record]) -> int:
    """Replace the catalogue by these items, as JSON lines. Returns their number."""
    final = landing / "items" / "items.jsonl"
    with open_atomically(final, _partial(final)) as file:
        return _write_lines(file, rows)


def _write_lines(file: BinaryIO, rows: Iterable[Record]) -> int:
    """One JSON object a line, empty values left out. Returns the number of lines."""
    count = 0
    for row in rows:
        present = {name: value for name, value in row.items() if value}
        file.write(f"{json.dumps(present, ensure_ascii=False, separators=(',', ':'))}\n".encode())
        count += 1
    return count


def _partial(path: Path) -> Path:
    """The hidden name of a file until it is whole: the next run of the producer overwrites what a killed one left."""
    return path.with_name(f".{path.name}.partial")
