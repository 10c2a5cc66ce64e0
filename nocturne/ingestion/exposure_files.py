"""Files of exposures: a landing day with a folder for each writer, read as far as it can be.

Lists do not wait for exposures, so that nothing that lies here is an error: a writer is complete, unfinished or torn,
and says why.
"""

import gzip
import io
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, BinaryIO, NamedTuple, cast

import pyarrow as pa
from pyarrow.fs import FileType

from nocturne.core.errors import InputError
from nocturne.ingestion import landing_files
from nocturne.ingestion.landed_rows import Part, whole
from nocturne.ingestion.landing_files import BYTE_ORDER_MARK, KINDS, Format, LandedFile

COMPLETE, UNFINISHED, TORN = "complete", "unfinished", "torn"
DAY = "."
"""The name under which the day's own folder stands, where it cannot be listed."""
LONGEST_LINE = 2**20
"""Bytes of a line that are read; what follows of it is not."""

_MARK = "_SUCCESS"
_MARK_BYTES = 1000
_MOST_ROWS = 10**18
_BUFFER_BYTES = 2**20
_BATCH_LINES = 16_384
_BATCH_BYTES = 8 * 2**20


@dataclass(frozen=True)
class Writer:
    """One writer's folder of a day, looked at.

    Attributes:
        name: of the folder.
        files: that hold lines, in order of name; their `rows` are counted by `count_lines`.
        announced: rows that its completion mark says; None without one that can be read.
        problems: sentences on what cannot be read or is no file of lines, each with its name.
    """

    name: str
    files: tuple[LandedFile, ...] = ()
    announced: int | None = None
    problems: tuple[str, ...] = ()

    @property
    def lines(self) -> int:
        """Lines counted in its files."""
        return sum(file.rows for file in self.files)

    @property
    def state(self) -> str:
        """Complete as its mark announces; unfinished without a mark; torn if something lacks or cannot be read."""
        if self.problems or self.announced not in (None, self.lines):
            return TORN
        return UNFINISHED if self.announced is None else COMPLETE

    @property
    def remarks(self) -> list[str]:
        """Sentences on what keeps it from being complete."""
        if self.state == UNFINISHED:
            return [f"there is no {_MARK}"]
        if self.announced not in (None, self.lines):
            return [*self.problems, f"{_MARK} announces {self.announced} rows, and there are {self.lines}"]
        return list(self.problems)


class CountedFile(NamedTuple):
    """A file with its lines counted.

    Attributes:
        size: bytes of its lines, decompressed.
        problem: a sentence on why it cannot be read to its end; empty if it can.
    """

    file: LandedFile
    size: int
    problem: str


def list_writers(landing: str, run_date: date, kind: str = "exposures") -> list[Writer]:
    """The writers of a day in order of name, their lines not counted yet; none if there is no such day.

    Args:
        kind: of the lines, and the folder of all days: `steers` are written alike.
    """
    day = f"{landing}/{kind}/date={run_date}"
    try:
        found = sorted(landing_files.entries(day))
    except (OSError, pa.ArrowException):
        return [Writer(DAY, problems=("the folder of the day cannot be read",))]
    return [_look_at(day, name, kind) for name, kind in found if not name.startswith(("_", "."))]


def list_files(landing: str, kind: str) -> Writer:
    """The files of lines of a folder that all producers write, as if one writer had, their lines not counted yet.

    Args:
        kind: of the lines, and the folder; without one there are no files.
    """
    return _look_at(landing, kind, FileType.Directory)


def count_lines(file: LandedFile) -> CountedFile:
    """Count the lines of a file, blank ones aside, as far as it can be read."""
    lines, size, seen = 0, 0, False
    with _salvage(file) as (stream, failures):
        chunk = stream.read(_BUFFER_BYTES).removeprefix(BYTE_ORDER_MARK)
        while chunk:
            size += len(chunk)
            begun, *others = chunk.split(b"\n")
            seen = seen or bool(begun.strip())
            for piece in others:
                lines += seen
                seen = bool(piece.strip())
            chunk = stream.read(_BUFFER_BYTES)
    problem = f"{file.name} {failures[0]}" if failures else ""
    return CountedFile(replace(file, rows=lines + seen), size, problem)


def read_lines(part: Part) -> Iterator[list[bytes]]:
    """Lines that begin in a part of a file, without blank ones, in batches; of a longer one LONGEST_LINE + 1 bytes."""
    with _salvage(part.file, max(0, part.start - 1)) as (stream, _):
        position = part.start + (_skip(stream)[0] - 1 if part.start else 0)
        batch: list[bytes] = []
        size = 0
        while position < part.end and (line := stream.readline(LONGEST_LINE + 1)):
            text = line.removeprefix(BYTE_ORDER_MARK) if position == 0 else line
            position += len(line)
            is_given = bool(text.strip())
            if len(line) > LONGEST_LINE and not line.endswith(b"\n"):
                skipped, more = _skip(stream)
                position, is_given = position + skipped, is_given or more
            if not is_given:
                continue
            batch.append(text.removesuffix(b"\n").removesuffix(b"\r"))
            size += len(text)
            if len(batch) == _BATCH_LINES or size > _BATCH_BYTES:
                yield batch
                batch, size = [], 0
        yield batch


def lines_of(files: Iterable[LandedFile]) -> Iterator[bytes]:
    """All lines of files, one after the other, as `read_lines` reads those of a part."""
    return (line for file in files for batch in read_lines(whole(file)) for line in batch)


def _look_at(day: str, name: str, kind: FileType) -> Writer:
    """A writer of the day, or what lies there in its place."""
    shown, folder = _shown(name), f"{day}/{name}"
    if shown != name:
        return Writer(shown, problems=("its name is no UTF-8",))
    if kind != FileType.Directory:
        return Writer(shown, problems=(f"it is {_KINDS.get(kind, 'no file')}, and no folder of a writer",))
    files, problems = [], []
    try:
        for file, of_kind in sorted(landing_files.entries(folder)):
            if file.startswith(("_", ".")):
                continue
            if problem := _problem(file, of_kind):
                problems.append(f"{_shown(file)} {problem}")
            else:
                size = landing_files.file_info(folder, file).size or 0  # it may have gone meanwhile
                files.append(LandedFile(folder, file, _format(file), (), 0, size))
    except (OSError, pa.ArrowException):
        problems.append("its folder cannot be read")
    announced, problem = _read_mark(folder)
    return Writer(shown, tuple(files), announced, (*problems, *([problem] if problem else [])))


def _read_mark(folder: str) -> tuple[int | None, str]:
    """The rows that a writer's mark announces, and what is wrong with it: None and nothing where there is none."""
    try:
        kind = landing_files.file_info(folder, _MARK).type
        if kind == FileType.NotFound:
            return None, ""
        content = landing_files.read_start(folder, _MARK, _MARK_BYTES) if kind == FileType.File else None
        rows = json.loads(content or b"")["rows"]
    except (OSError, pa.ArrowException, InputError, ValueError, RecursionError, LookupError, TypeError):
        rows = None
    if type(rows) is not int or not 0 <= rows < _MOST_ROWS:
        return None, f'{_MARK} does not say {{"rows": N}}'
    return rows, ""


def _problem(name: str, kind: FileType) -> str:
    """Why an entry of a writer's folder is no file of lines; empty if it is."""
    if _shown(name) != name:
        return "has a name that is no UTF-8"
    if kind != FileType.File:
        return f"is {_KINDS.get(kind, 'no file')}"
    return "" if name.endswith((".jsonl", ".jsonl.gz")) else "is of an unknown kind"


_KINDS = {**KINDS, FileType.File: "a file"}


def _format(name: str) -> Format:
    return "jsonl.gz" if name.endswith(".gz") else "jsonl"


def _shown(name: str) -> str:
    """A name for people and tables: bytes that are no UTF-8 are written out."""
    return os.fsencode(name).decode(errors="backslashreplace")


@contextmanager
def _salvage(file: LandedFile, start: int = 0) -> Iterator[tuple[BinaryIO, list[str]]]:
    """A file from a place on, decompressed, as far as it can be read; and, once it was read, why it goes no further.

    It ends where it did when it was looked at: whoever still writes it is not waited for.
    """
    failures: list[str] = []
    with ExitStack() as opened:
        try:
            source = opened.enter_context(landing_files.open_file(file.folder, file.name))
            source.seek(start)
        except (OSError, pa.ArrowException) as error:
            failures.append(_cannot_be_read(error))
            yield io.BytesIO(), failures
            return
        stream = _buffered(_Salvaged(source, file.size - start, failures))
        if file.format == "jsonl.gz" and not file.size:
            failures.append(_CUT_SHORT)
        elif file.format == "jsonl.gz":
            unpacked = opened.enter_context(gzip.GzipFile(fileobj=stream, mode="rb"))
            stream = _buffered(_Salvaged(unpacked, 2**63, failures))
        yield stream, failures


_CUT_SHORT = "is cut short or damaged"


class _Salvaged(io.RawIOBase):
    """A stream that ends where the one below it cannot be read on, in the same place each time."""

    def __init__(self, source: Any, at_most: int, failures: list[str]) -> None:
        super().__init__()
        self._source, self._left, self._failures = source, at_most, failures
        self._chunk = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._chunk:
            self._chunk = memoryview(self._pull())
        room = memoryview(buffer)
        taken = min(len(room), len(self._chunk))
        room[:taken] = self._chunk[:taken]
        self._chunk = self._chunk[taken:]
        return taken

    def _pull(self) -> bytes:
        """The next bytes, always asked for in the same number: a damaged file tells as much to whoever reads it."""
        try:
            chunk: bytes = self._source.read1(min(self._left, _BUFFER_BYTES)) if self._left else b""
        except (EOFError, zlib.error, gzip.BadGzipFile):
            self._failures.append(_CUT_SHORT)
            chunk = b""
        except (OSError, pa.ArrowException) as error:
            self._failures.append(_cannot_be_read(error))
            chunk = b""
        self._left = self._left - len(chunk) if chunk else 0
        return chunk


def _buffered(raw: io.RawIOBase) -> BinaryIO:
    return cast("BinaryIO", io.BufferedReader(raw, _BUFFER_BYTES))


def _cannot_be_read(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return f"cannot be read: {os.strerror(number)}" if number else "cannot be read"


def _skip(stream: BinaryIO) -> tuple[int, bool]:
    """Go to the end of a line; returns the bytes of the rest, and whether any of them can be seen."""
    length, is_given = 0, False
    while rest := stream.readline(LONGEST_LINE):
        length, is_given = length + len(rest), is_given or bool(rest.strip())
        if rest.endswith(b"\n"):
            break
    return length, is_given
