"""The status of a warehouse: how its last nights went, what listeners are served, and what to do about it."""

from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any

from nocturne.core.errors import NocturneError
from nocturne.core.night import Warehouse
from nocturne.core.service_sections import CacheSettings
from nocturne.serving import publications
from nocturne.serving.cache import Pointer, open_cache
from nocturne.serving.night_record import GATE_CLOSED, PUBLISHED, STALE, NightRecord
from nocturne.storage import attempts, lease, tables
from nocturne.storage.attempts import Attempt
from nocturne.storage.lease_state import Claim, State
from nocturne.validation.data_docs import write_index

LAST_NIGHTS = 7
WAITING, SERVED = "waiting", "served"


@dataclass(frozen=True)
class NightStatus:
    """A night as it stands.

    Attributes:
        run_date: night.
        state: of the last attempt at it (running, failed, interrupted, killed, waiting); else its state in `nights`,
            or served.
        explanation: where it is, or why it is not published.
        to_do: what to do about it; "" where nothing is.
    """

    run_date: date
    state: str
    explanation: str
    to_do: str = ""

    def __str__(self) -> str:
        return f"night {self.run_date} {self.state}" + (f": {self.explanation}" if self.explanation else "")


@dataclass(frozen=True)
class Serving:
    """One serving cache.

    Attributes:
        cache: its place.
        run_date: night that it serves; None if none.
        generation: its lists of that night.
        explanation: why it is held, or why nothing can be said.
        to_do: what to do about it; "" where nothing is.
    """

    cache: str
    run_date: date | None
    generation: str | None
    explanation: str = ""
    to_do: str = ""

    def __str__(self) -> str:
        served = f"night {self.run_date}" if self.run_date else "nothing"
        return f"{self.cache} serves {served}" + (f" ({self.explanation})" if self.explanation else "")


@dataclass(frozen=True)
class Status:
    """The last nights, newest first, and the caches."""

    warehouse: str
    nights: tuple[NightStatus, ...]
    serving: tuple[Serving, ...]

    def of_night(self, run_date: date) -> str:
        """One sentence on a night: its state, what is served meanwhile, what to do."""
        night = next((night for night in self.nights if night.run_date == run_date), None)
        to_do = [night.to_do] if night and night.to_do else []
        sentences = [str(night or f"night {run_date} has not begun"), *map(str, self.serving)]
        return "; ".join(sentences + [f"to do: {text}" for text in to_do])

    def to_do(self) -> list[str]:
        """Everything that somebody should do, the newest night first."""
        nights = [f"{night.run_date}: {night.to_do}" for night in self.nights if night.to_do]
        return nights + [cache.to_do for cache in self.serving if cache.to_do]

    def to_json(self) -> dict[str, Any]:
        """Warehouse, nights, serving, to_do."""
        return asdict(self) | {"to_do": self.to_do()}


def read_status(
    warehouse: Warehouse, cache: str = "", settings: CacheSettings | None = None, last: int = LAST_NIGHTS
) -> Status:
    """The status of a warehouse.

    Args:
        cache: the cache to ask; by default what `nights` has on record of every cache is told.
        last: nights, count.

    Raises:
        UsageError: there is no warehouse.
    """
    tables.require_warehouse(warehouse)
    present = publications.all_records(warehouse)
    records = {record.run_date: record for record in present}
    recorded = sorted(publications.recorded_pointers(present).items())
    serving = (_ask(cache, settings),) if cache else tuple(_serving(*each) for each in recorded)
    generations = {each.generation for each in serving}
    nights = {day: _published(record, record.generation in generations) for day, record in records.items()}
    for night in unfinished_nights(warehouse):
        before = records.get(night.run_date)
        again = "; it was published before" if before and before.state == PUBLISHED else ""
        nights[night.run_date] = replace(night, explanation=f"{night.explanation}{again}")
    newest_first = sorted(nights.values(), key=lambda night: night.run_date, reverse=True)
    return Status(warehouse.path, tuple(newest_first[:last]), serving)


def unfinished_nights(warehouse: Warehouse) -> list[NightStatus]:
    """Nights that run, wait, or stopped before they were published or their gate closed, in order of night."""
    state = lease.show(warehouse.path)
    nights = {attempt.run_date: _attempted(attempt, state) for attempt in attempts.all_attempts(warehouse)}
    for claim in state.waiting:
        day = date.fromisoformat(claim.run_date)
        nights[day] = NightStatus(day, WAITING, f"for the lease: {state.grant or 'an earlier night comes first'}")
    return [nights[day] for day in sorted(nights)]


def show_in_data_docs(warehouse: Warehouse) -> None:
    """Write the status to the top of the Data Docs, if that can be: nothing depends on it, and the night goes on.

    A table that cannot be read, or a disk that takes no more, is told by whoever needs it.
    """
    with suppress(Exception):
        write_index(warehouse, read_status(warehouse).to_json())


def _published(record: NightRecord, served: bool) -> NightStatus:
    where = record.reason or ""
    if record.state == GATE_CLOSED:
        return NightStatus(record.run_date, "gate closed", where, "mend the data or the limit and run the night again")
    if record.state == STALE:
        return NightStatus(record.run_date, STALE, where, "run the night again")
    state = SERVED if served else record.state.replace("_", " ")
    return NightStatus(record.run_date, state, "" if served else where)


def _attempted(attempt: Attempt, lease_state: State) -> NightStatus:
    grant = lease_state.grant
    if attempt.state == attempts.RUNNING:
        return NightStatus(attempt.run_date, attempt.state, f"{attempt.stage} since {attempt.at}, {_process(grant)}")
    if attempt.state == attempts.DONE:
        goes_on = grant is not None and grant.run_date == attempt.run_date.isoformat()
        explanation = f"{attempt.stage} was done at {attempt.at}"
        if goes_on:
            return NightStatus(attempt.run_date, attempts.RUNNING, f"{explanation}, {_process(grant)}")
        return NightStatus(attempt.run_date, "unfinished", explanation, "run the night again")
    explanation = f"at {attempt.stage}, {attempt.at}"
    if attempt.message:
        what, *details = attempt.message.splitlines()
        fixes = [line.partition(":")[2].strip() for line in details if line.strip().startswith("what to do:")]
        to_do = fixes[0] if fixes else "read its log, mend what it names, run the night again"
        return NightStatus(attempt.run_date, attempt.state, f"{explanation}: {what}", to_do)
    return NightStatus(attempt.run_date, attempt.state, explanation, "run the night again")


def _process(grant: Claim | None) -> str:
    if grant is None:
        return "by whom is unknown"
    return f"process {grant.pid} on {grant.host}" if grant.host else f"run {grant.holder}"


def _ask(url: str, settings: CacheSettings | None) -> Serving:
    try:
        with open_cache(url, settings, read_only=True) as cache:
            return _serving(cache.place, cache.pointer())
    except NocturneError as error:
        what, *_ = str(error).splitlines()
        return Serving("the cache", None, None, what, "mend the cache: `nocturne served` says more")


def _serving(place: str, pointer: Pointer | None) -> Serving:
    if pointer is None:
        return Serving(place, None, None)
    serving = Serving(place, pointer.served.run_date, pointer.served.name)
    if pointer.frozen_reason:
        to_do = "when it is mended: `nocturne release` lets the next published night be served"
        return replace(serving, explanation=f"held: {pointer.frozen_reason}", to_do=to_do)
    return serving
