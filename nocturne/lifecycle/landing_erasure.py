"""Listeners erased from the copies in a landing zone that Nocturne owns: what its service and its importers wrote."""

import gzip
import io
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nocturne.core.arrays import Mask
from nocturne.core.atomic_write import open_atomically, write_atomically
from nocturne.core.erasure import names
from nocturne.core.masks import mask
from nocturne.lifecycle.inventory import OWN_LANDING
from nocturne.lifecycle.requests import Leaving

PRODUCER = "_PRODUCER"
_MARK = "_SUCCESS"


@dataclass
class LandingErasure:
    """The outcome of an erasure in a landing zone.

    Attributes:
        lines: rows removed.
        files: written anew.
        open_files: that a service still writes, and that name one who leaves: a later night's.
    """

    lines: int = 0
    files: int = 0
    open_files: int = 0


def erase_from_landing(landing: str, leaving: Leaving, run_date: date) -> LandingErasure:
    """Remove rows of these listeners; of days after the night only from files whose writer is done."""
    done = LandingErasure()
    for path, day in own_files(landing):
        gone = _rows_of(path, leaving)
        if not gone:
            continue
        mark = path.parent / _MARK
        if day > run_date and not mark.exists():
            done.open_files += 1
            continue
        _write_without(path, leaving)
        _count_down(mark, gone)
        done.lines, done.files = done.lines + gone, done.files + 1
    return done


def own_files(landing: str) -> Iterator[tuple[Path, date]]:
    """Files that Nocturne owns, and their days; none of a landing zone that is not on this machine."""
    if not landing or "://" in landing:
        return
    folders = [Path(landing, name) for name in OWN_LANDING]
    if Path(landing, PRODUCER).exists():
        folders.append(Path(landing, "events"))
    for folder in folders:
        for path in sorted(folder.glob("date=*/**/*")):
            with suppress(ValueError):
                day = date.fromisoformat(path.relative_to(folder).parts[0].removeprefix("date="))
                if path.is_file() and path.name.endswith((".jsonl", ".jsonl.gz", ".csv", ".parquet")):
                    yield path, day


def names_listener(path: Path, leaving: Leaving) -> bool:
    """True if a file names one of the listeners."""
    return _rows_of(path, leaving) > 0


def _rows_of(path: Path, leaving: Leaving) -> int:
    if path.suffix == ".parquet":
        return int(_in_parquet(path, leaving).sum())
    return sum(_names_one(line, leaving) for line in _lines(path))


def _write_without(path: Path, leaving: Leaving) -> None:
    if path.suffix == ".parquet":
        staying = pq.read_table(path).filter(pa.array(~_in_parquet(path, leaving)))
        buffer = io.BytesIO()
        pq.write_table(staying, buffer)
        write_atomically(path, buffer.getvalue())
        return
    with open_atomically(path) as file:
        target = gzip.GzipFile(fileobj=file, mode="wb", mtime=0) if path.suffix == ".gz" else file
        for line in _lines(path):
            if not _names_one(line, leaving):
                target.write(line)
        if target is not file:
            target.close()


def _in_parquet(path: Path, leaving: Leaving) -> Mask:
    return mask(pc.is_in(pq.read_table(path, columns=["user_id"])["user_id"], pa.array(sorted(leaving.user_ids))))


def _lines(path: Path) -> Iterator[bytes]:
    """Lines of a file as far as it can be read, with their ends."""
    with path.open("rb") as stored, suppress(EOFError, gzip.BadGzipFile):
        yield from gzip.GzipFile(fileobj=stored) if path.suffix == ".gz" else stored


def _names_one(line: bytes, leaving: Leaving) -> bool:
    text = line.decode(errors="backslashreplace")
    if any(user_id in text and names(text, user_id) for user_id in leaving.user_ids):
        return True
    if "\\u" not in text:
        return False
    with suppress(ValueError, RecursionError):
        told = json.loads(text)
        return isinstance(told, dict) and told.get("user_id") in leaving.user_ids
    return False


def _count_down(mark: Path, gone: int) -> None:
    """Have a completion mark announce as many rows fewer; an empty one announces none."""
    content = mark.read_bytes().strip() if mark.exists() else b""
    if content.isdigit():
        write_atomically(mark, str(int(content) - gone).encode())
    elif content:
        with suppress(ValueError, KeyError, TypeError):
            write_atomically(mark, json.dumps({"rows": json.loads(content)["rows"] - gone}).encode())
