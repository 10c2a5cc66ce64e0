"""Exposures: what was shown to whom, kept in bounded memory and put on the disk once a second by a thread."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple
from uuid import uuid4

import orjson

from nocturne.core.errors import text_of
from nocturne.serving.http.exposure_folder import ExposureFolder

if TYPE_CHECKING:
    from nocturne.serving.now_playing import Answer
    from nocturne.serving.reader import Served
    from nocturne.steering.plan import Plan

Surface = Literal["list", "now_playing", "steer"]

_log = logging.getLogger(__name__)

WARNING_SECONDS = 60.0
LAST_TRIES = 3
"""Of the last flush, before what cannot be written is given up."""


class Shown(NamedTuple):
    """One exposure that waits: the day on which it was shown, UTC, and its line."""

    day: str
    line: bytes


class Counts(NamedTuple):
    """Exposures since the service started, and those that wait."""

    waiting: int
    written: int
    dropped: int


def exposure(
    served: "Served",
    answer: "Answer",
    surface: Surface,
    user_id: str,
    playing: str | None,
    market: str | None,
    now: datetime | None = None,
    exposure_id: str = "",
) -> Shown:
    """An answer as the landing zone keeps it; docs/serving.md has the format.

    Args:
        exposure_id: identity of the exposure; a new one by default.
    """
    shown_at = (now or datetime.now(UTC)).isoformat(timespec="milliseconds")[:23]
    line = {
        "exposure_id": exposure_id or new_id(),
        "user_id": user_id,
        "shown_at": f"{shown_at}Z",
        "surface": surface,
        "generation": served.generation.name,
        "run_date": served.generation.run_date,
        "arm": answer.arm,
        "source": answer.source,
        "model_version": answer.model_version,
        "playing": playing,
        "market": market,
        "items": [
            {"item_id": served.items.describe(each.number).item_id, "propensity": each.propensity}
            for each in answer.suggestions
        ],
    }
    if answer.differences is not None:
        line["differences"] = answer.differences
    return Shown(shown_at[:10], orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


def steer_line(user_id: str, plan: "Plan", steer_id: str, now: datetime | None = None) -> Shown:
    """A plan that holds longer than its session as the landing zone keeps it; docs/landing.md has the format.

    Args:
        steer_id: identity of the request, which the exposure of its answer has too.
    """
    asked_at = (now or datetime.now(UTC)).isoformat(timespec="milliseconds")[:23]
    asked = plan.model_dump(mode="json", exclude_defaults=True)
    line = {"steer_id": steer_id, "user_id": user_id, "asked_at": f"{asked_at}Z", "plan": asked}
    return Shown(asked_at[:10], orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


def new_id() -> str:
    """An identity that nothing else has."""
    return uuid4().hex


def land_one(landing: Path, shown: Shown, kind: str) -> None:
    """Put one line on the disk, in a folder of its own that is complete.

    Raises:
        OSError: it cannot be written.
    """
    folder = ExposureFolder(landing, shown.day, kind)
    folder.append(shown.line, 1)
    folder.complete()


class Exposures:
    """Exposures of one process: `record` never waits for a disk, and drops what memory has no room for."""

    def __init__(
        self,
        landing: Path,
        flush_seconds: float,
        memory_bytes: int,
        tell: Callable[[Counts], None] = lambda _counts: None,
        today: Callable[[], str] = lambda: datetime.now(UTC).date().isoformat(),
        kind: str = "exposures",
    ) -> None:
        """Start the thread that writes.

        Args:
            landing: the landing zone.
            flush_seconds: between two writes: what a kill may lose.
            memory_bytes: of all lines that wait.
            tell: told how many there are after each flush, and when some are dropped.
            today: the day, UTC.
            kind: of the lines, for people, and the folder in the landing zone: `steers` are kept alike.
        """
        self._kind = kind
        self._landing = landing
        self._flush_seconds = flush_seconds
        self._room = memory_bytes
        self._tell = tell
        self._today = today
        self._waiting: deque[Shown] = deque()
        self._counting = threading.Lock()
        self._written = self._dropped = 0
        self._folder: ExposureFolder | None = None
        self._warned_at = -WARNING_SECONDS
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._flush_every_second, name=kind, daemon=True)
        self._thread.start()

    @property
    def counts(self) -> Counts:
        """Exposures that wait, were written and were dropped."""
        with self._counting:
            return Counts(len(self._waiting), self._written, self._dropped)

    def record(self, shown: Shown) -> None:
        """Keep an exposure for the next flush; dropped and counted if there is no room."""
        with self._counting:
            if len(shown.line) <= self._room:
                self._room -= len(shown.line)
                self._waiting.append(shown)
                return
            self._dropped += 1
        self._tell(self.counts)

    def close(self) -> None:
        """Write what waits, and the completion mark."""
        self._ending.set()
        self._thread.join()
        for _ in range(LAST_TRIES):
            self.flush()
            if not self._waiting:
                break
        with self._counting:
            lost = len(self._waiting)
            self._dropped += lost
            self._waiting.clear()
        if lost:
            _log.error("%d %s could not be written before the end, and are lost", lost, self._kind)
        self._complete()
        self._tell(self.counts)

    def flush(self) -> None:
        """Put on the disk what waits, in order; what fails waits on."""
        today = self._today()  # before the lines are counted: none of an earlier day comes after them
        with self._counting:
            waiting = list(self._waiting)
        try:
            for day, lines in groupby(waiting, key=lambda shown: shown.day):
                self._append(day, [shown.line for shown in lines])
        except OSError as error:
            self._warn(error)
        else:
            if self._folder and self._folder.day < today:
                self._complete()
        self._tell(self.counts)

    def _flush_every_second(self) -> None:
        while not self._ending.wait(self._flush_seconds):
            self.flush()

    def _append(self, day: str, lines: Sequence[bytes]) -> None:
        if self._folder and self._folder.day != day:
            self._complete()
        content = b"".join(lines)
        if self._folder is None:
            self._folder = ExposureFolder(self._landing, day, self._kind)
        try:
            self._folder.append(content, len(lines))
        except OSError:
            if not self._folder.sound:
                self._folder.close()
                self._folder = None  # the next try begins a folder of its own
            raise
        with self._counting:
            self._written += len(lines)
            self._room += len(content)
            for _ in lines:
                self._waiting.popleft()

    def _complete(self) -> None:
        if self._folder is None:
            return
        folder, self._folder = self._folder, None
        try:
            folder.complete()
        except OSError as error:
            self._warn(error)

    def _warn(self, error: OSError) -> None:
        """Say so once a minute: the disk may be full for long."""
        if time.monotonic() - self._warned_at < WARNING_SECONDS:
            return
        self._warned_at = time.monotonic()
        counts = self.counts
        _log.warning(
            "%s cannot be written to %s: %s; %d wait, %d were dropped for want of memory; serving goes on",
            self._kind,
            self._landing,
            text_of(error),
            counts.waiting,
            counts.dropped,
        )
