"""Metrics of the service in Prometheus' format, over all its workers."""

import os
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from nocturne.serving.cache import Generation
    from nocturne.serving.http.exposures import Counts

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder that workers share; read by prometheus_client when it is imported."""

NO_ROUTE = "none"
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
_OF_A_NIGHT = b"# HELP nocturne_night_"
_LARGEST_TEXTFILE = 2**20
_OF_A_PROCESS = re.compile(r"gauge_live\w+_(\d+)\.db")


class Metrics:
    """The metrics of one worker, and the answer to whoever scrapes them: all workers' together."""

    def __init__(self, night: str = "") -> None:
        """Nothing counted yet.

        Args:
            night: textfile of the newest night, which is shown as well; empty: none is.
        """
        self._night = Path(night) if night else None
        self._folder = os.environ.get(FOLDER_VARIABLE)
        self._registry = CollectorRegistry()
        self._seconds = Histogram(
            "nocturne_http_request_seconds",
            "Time from the head of a request to its answer, by route and status",
            ("route", "status"),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._answers = Counter(
            "nocturne_answers",
            "Lists and next items answered, by source; a fallback is every source but that of a model",
            ("surface", "source"),
            registry=self._registry,
        )
        self._waiting = Gauge(
            "nocturne_exposures_waiting",
            "Exposures in memory after the last flush: some, while they cannot be written",
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self._written = Counter("nocturne_exposures_written", "Exposures put on the disk", registry=self._registry)
        self._dropped = Counter(
            "nocturne_exposures_dropped", "Exposures that memory had no room for", registry=self._registry
        )
        self._observers: dict[tuple[str, int], Histogram] = {}
        self._counters: dict[tuple[str, str], Counter] = {}
        self._told = (0, 0)
        self._telling = threading.Lock()

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        observer = self._observers.get((route, status))
        if observer is None:
            observer = self._observers[route, status] = self._seconds.labels(route, str(status))
        observer.observe(seconds)

    def answered(self, surface: str, source: str) -> None:
        """Count an answer by its source."""
        counter = self._counters.get((surface, source))
        if counter is None:
            counter = self._counters[surface, source] = self._answers.labels(surface, source)
        counter.inc()

    def exposed(self, counts: "Counts") -> None:
        """Take the counts of exposures over."""
        with self._telling:
            written, dropped = self._told
            self._told = max(written, counts.written), max(dropped, counts.dropped)
            self._written.inc(self._told[0] - written)
            self._dropped.inc(self._told[1] - dropped)
            self._waiting.set(counts.waiting)

    def exposition(self, generation: "Generation | None") -> bytes:
        """The metrics as text.

        Args:
            generation: served now; None while the cache is away.
        """
        registry = CollectorRegistry()
        registry.register(_Served(generation))
        own = generate_latest(registry) + self._of_night()
        if not self._folder:
            return own + generate_latest(self._registry)
        _forget_dead_workers(Path(self._folder))
        everyone = CollectorRegistry()
        MultiProcessCollector(everyone, path=self._folder)  # type: ignore[no-untyped-call]
        return own + generate_latest(everyone)

    def _of_night(self) -> bytes:
        """The textfile as the night left it; nothing of one that is not there, or is no such file."""
        if self._night is None:
            return b""
        try:
            with self._night.open("rb") as file:
                content = file.read(_LARGEST_TEXTFILE + 1)
        except OSError:
            return b""
        return content if len(content) <= _LARGEST_TEXTFILE and content.startswith(_OF_A_NIGHT) else b""


class _Served(Collector):
    """The generation that is served, as this worker sees it."""

    def __init__(self, generation: "Generation | None") -> None:
        self._generation = generation

    def collect(self) -> Iterator[Metric]:
        """Readiness; and of what is served name, night and age."""
        ready = self._generation is not None
        yield GaugeMetricFamily("nocturne_ready", "1 while the cache serves, else 0", value=float(ready))
        if self._generation is None:
            return
        served = GaugeMetricFamily(
            "nocturne_generation_info", "The generation that is served", labels=("generation", "run_date")
        )
        served.add_metric((self._generation.name, self._generation.run_date.isoformat()), 1)
        yield served
        now = datetime.now(UTC)
        night = datetime.combine(self._generation.run_date, datetime.min.time(), UTC)
        yield GaugeMetricFamily(
            "nocturne_generation_age_days",
            "Days from the night that is served to today, UTC",
            value=(now.date() - self._generation.run_date).days,
        )
        yield GaugeMetricFamily(
            "nocturne_generation_age_seconds",
            "Seconds since the beginning, UTC, of the day whose night is served",
            value=(now - night).total_seconds(),
        )


def _forget_dead_workers(folder: Path) -> None:
    """Remove what dead workers had in memory: nothing of it waits any more."""
    for file in folder.glob("gauge_live*.db"):
        if found := _OF_A_PROCESS.fullmatch(file.name):
            try:
                os.kill(int(found[1]), 0)
            except ProcessLookupError:
                with suppress(OSError):
                    file.unlink()
