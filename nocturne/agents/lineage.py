"""Lineage of a listener's list: from what is served back to the rows that landed, a step a table.

cache → ranked_lists → pools (computed on an earlier night, where they were carried over) → models → interactions →
listens → files of the landing zone; of a listener whose plan holds, pools → steers → their line of it. Each step says
how it is tied to the one before: by a digest, a version or an id.
"""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from nocturne.agents.answers import Answer, Id, Part, Text, Words, receipt
from nocturne.agents.plan_lineage import ASIDE_COLUMNS, COLUMNS, AsideStep, PlanStep, aside_step, plan_step
from nocturne.agents.service import Service
from nocturne.agents.strangers import unmarked
from nocturne.core.errors import NocturneError, UsageError
from nocturne.core.night import Night
from nocturne.core.stage import Progress
from nocturne.core.xxhash import buckets_of
from nocturne.ingestion import landing_files
from nocturne.ingestion.landed_rows import as_texts, read_parts, whole
from nocturne.ingestion.landing_files import EVENT_FIELDS, REQUIRED_EVENT_FIELDS
from nocturne.serving import publications
from nocturne.serving.night_record import NightRecord
from nocturne.storage import tables
from nocturne.storage.contracts import contract
from nocturne.storage.model_transitions import ModelRecord
from nocturne.storage.stored_rows import StoredRows

LISTED = 5
Row = dict[str, Any]


class NamedItem(Part):
    """An item with its title in the night's catalogue."""

    item_id: Id
    title: Text | None = None


class ListStep(Part):
    """The row of `ranked_lists`."""

    run_date: date
    arm: Words
    source: Words
    digest: Words = Field(description="Hash of items and source: the same list has the same digest")
    length: int
    head: list[NamedItem] = Field(description="First items")
    served: bool | None = Field(
        default=None, description="True if the cache serves just these items now; none if it serves another night"
    )


class PoolStep(Part):
    """The row of `pools`, or `arm_pools`, that the list was chosen from."""

    table: Words
    computed_on: date = Field(description="Night on which it was computed; until run_date it was carried over")
    row_digest: Words = Field(description="Digest of the row of interactions that it was computed from")
    rankable: Words = Field(description="Digest of what might be listed, by the market and the plan that holds")
    model_version: Words
    length: int


class ModelStep(Part):
    """The model that pool and list depend on."""

    model_version: Words
    trained_on: date
    origin: Words
    live_since: date | None = None
    inputs: dict[str, int] = Field(description="Delta versions of the tables that it was trained on")


class HistoryStep(Part):
    """The row of `interactions`."""

    changed_on: date = Field(description="Last night that brought listens of this listener")
    digest: Words
    items_heard: int
    is_what_the_pool_was_computed_from: bool | None = None


class ListensStep(Part):
    """Rows of `listens` of one night."""

    run_date: date
    listens: int


class LandedEvent(Part):
    """A listen, with the row that it landed as."""

    event_id: Id
    item_id: Id
    listened_at: datetime
    run_date: date = Field(description="Night that ingested it, and landing day")
    file: Text | None = Field(default=None, description="Landing file; none where it was not found")
    raw: Text | None = Field(default=None, description="The line as it landed; none of a row of Parquet")


class Lineage(Answer):
    """A listener's list, and where it comes from."""

    user_id: Id
    ranked_list: ListStep
    pool: PoolStep | None = Field(default=None, description="None of a fallback that needs no pool")
    plan: PlanStep | None = Field(default=None, description="The plan that holds and is obeyed; none without one")
    model: ModelStep | None = None
    interactions: HistoryStep | None = None
    set_aside: AsideStep | None = Field(default=None, description="Listens that nothing is learned from, if any")
    listens: list[ListensStep] = Field(description="Nights that were looked through, newest first")
    events: list[LandedEvent] = Field(description="Last listens, newest first")
    gaps: list[Words] = Field(default_factory=list, description="Steps that could not be taken, and why")


class _Trace:
    """Rows of one listener on one night, at the versions of its manifest."""

    def __init__(self, night: Night, user_id: str, record: NightRecord | None) -> None:
        self.night, self.user_id = night, user_id
        self.versions = dict(record.manifest.versions) if record else {}
        self.read: dict[str, int] = {}
        self._bucket = int(buckets_of(pa.array([user_id]), night.settings.tables.buckets)[0])

    def rows(self, table: str, columns: Sequence[str], day: date | None = None, **keys: str) -> list[Row]:
        """Rows of the listener; of another night as they are now.

        Args:
            keys: values of other partition columns.
        """
        night = self.night if day is None else self.night.on(day)
        version = self.versions.get(table) if night.run_date == self.night.run_date else None
        in_bucket = {"bucket": self._bucket} if "bucket" in contract(table).partitioned_by else {}
        stored = StoredRows.at(night, table, columns, version).where(**in_bucket, **keys)
        if version is not None:
            self.read[table] = stored.version
        rows: list[Row] = stored.of_listeners([self.user_id]).to_pylist() if stored.files else []
        return rows


def lineage(
    service: Service, user_id: str, run_date: date | None, last_nights: int, most_events: int, progress: Progress
) -> Lineage:
    """Follow a listener's list back.

    Args:
        run_date: night of the list; the one that is served by default.
        last_nights: nights of listens that are looked through, from that night back.
        most_events: listens that are traced to their landing files.

    Raises:
        UsageError: there is no such list.
    """
    user_id, warehouse, gaps = unmarked(user_id), service.tables(), list[str]()
    generation, items = _served(service, user_id, gaps) if service.has_cache else (None, None)
    day = run_date or (generation.run_date if generation else None)
    if day is None:
        raise UsageError("nothing is served, so that the night has to be named", fix="add run_date")
    night = Night(warehouse, day, service.landing)
    name = generation.name if generation and generation.run_date == day else None
    trace = _Trace(night, user_id, _record(night, name))
    listed = _list_step(trace, items if name else None)
    pool = _pool_step(trace, listed[0].arm)
    model = _model_step(night, pool.model_version if pool else listed[1])
    plan = plan_step(night, trace.rows("steers", COLUMNS), gaps)
    heard, aside = _history_step(trace, pool), aside_step(trace.rows("set_aside", ASIDE_COLUMNS))
    nights, events = _listens(trace, last_nights, most_events, progress)
    landed = _landed(night, events, gaps, progress)
    return Lineage(
        receipt=receipt(warehouse, day, name, **trace.read),
        next_step=f"nights with run_date {day} has the verdicts on these tables; docs/tables.md has every column",
        user_id=user_id,
        ranked_list=listed[0],
        pool=pool,
        plan=plan,
        model=model,
        interactions=heard,
        set_aside=aside,
        listens=nights,
        events=landed,
        gaps=gaps,
    )


def _served(service: Service, user_id: str, gaps: list[str]) -> tuple[Any, list[str] | None]:
    try:
        served = service.served()
        row = served.row(user_id)
    except NocturneError as error:
        gaps.append(f"the cache could not be read: {str(error).splitlines()[0]}")
        return None, None
    items = None if row is None else [served.items.describe(number).item_id for number in row.numbers.tolist()]
    return served.generation, items


def _record(night: Night, generation: str | None) -> NightRecord | None:
    """The record of the night: of the generation that is served, where it is of this night."""
    of_night = publications.all_records(night.warehouse, pc.field("run_date") == night.run_date)
    served = publications.among(of_night, generation) if generation else None
    return served or (of_night[-1] if of_night else None)


def _list_step(trace: _Trace, served: list[str] | None) -> tuple[ListStep, str]:
    """The step, and the model that the list depends on."""
    columns = ("user_id", "arm", "source", "model_version", "digest", "items")
    rows = trace.rows("ranked_lists", columns)
    if not rows:
        raise UsageError(
            "the listener has no list on this night",
            where=f"ranked_lists of {trace.night.run_date}",
            found=trace.user_id,
            fix="check the id; nights has the nights that were made",
        )
    row = rows[0]
    ids = [item["item_id"] for item in row["items"]]
    step = ListStep(
        run_date=trace.night.run_date,
        arm=row["arm"],
        source=row["source"],
        digest=row["digest"],
        length=len(ids),
        head=_named(trace.night, ids[:LISTED]),
        served=None if served is None else served == ids,
    )
    return step, row["model_version"]


def _named(night: Night, ids: Sequence[str]) -> list[NamedItem]:
    of_night = (pc.field("run_date") == night.run_date) & pc.field("item_id").isin(list(ids))
    rows = tables.rows(night.warehouse, "items", of_night, ["item_id", "title"]).to_pylist() if ids else []
    titles = {row["item_id"]: row["title"] for row in rows}
    return [NamedItem(item_id=item, title=titles.get(item)) for item in ids]


def _pool_step(trace: _Trace, label: str) -> PoolStep | None:
    """The pool of the listener's arm; control has none of its own."""
    columns = ("user_id", "computed_on", "row_digest", "rankable", "model_version", "items")
    experiment, _, arm = label.partition("/")
    of_arm = trace.rows("arm_pools", columns, experiment=experiment, arm=arm) if arm else []
    rows = of_arm or trace.rows("pools", columns)
    if not rows:
        return None
    row = rows[0]
    return PoolStep(
        table="arm_pools" if of_arm else "pools",
        computed_on=row["computed_on"],
        row_digest=row["row_digest"],
        rankable=row["rankable"],
        model_version=row["model_version"],
        length=len(row["items"]),
    )


def _model_step(night: Night, version: str) -> ModelStep | None:
    known = {model.version: model for model in tables.models(night.warehouse)}
    model = known.get(version)
    if model is None:
        return None
    return ModelStep(
        model_version=version,
        trained_on=model.run_date,
        origin=model.origin,
        live_since=_live_since(model, night.run_date),
        inputs=dict(model.inputs),
    )


def _live_since(model: ModelRecord, day: date) -> date | None:
    moves = [step.since for step in model.transitions if step.state == "live" and step.since <= day]
    return max(moves, default=None)


def _history_step(trace: _Trace, pool: PoolStep | None) -> HistoryStep | None:
    rows = trace.rows("interactions", ("user_id", "changed_on", "digest", "item_indexes"))
    if not rows:
        return None
    row = rows[0]
    return HistoryStep(
        changed_on=row["changed_on"],
        digest=row["digest"],
        items_heard=len(row["item_indexes"]),
        is_what_the_pool_was_computed_from=None if pool is None else pool.row_digest == row["digest"],
    )


def _listens(trace: _Trace, last: int, most: int, progress: Progress) -> tuple[list[ListensStep], list[Row]]:
    """Listens of the listener by night, newest first, and the last of them."""
    days = [day for day in tables.dates(trace.night.warehouse, "listens") if day <= trace.night.run_date]
    nights: list[ListensStep] = []
    events: list[Row] = []
    chosen = days[::-1][:last]
    for number, day in enumerate(chosen):
        progress(number, len(chosen), f"listens of {day}")
        rows = trace.rows("listens", ("event_id", "user_id", "item_id", "listened_at"), day)
        nights.append(ListensStep(run_date=day, listens=len(rows)))
        newest = sorted(rows, key=lambda row: (row["listened_at"], row["event_id"]), reverse=True)
        events += [row | {"run_date": day} for row in newest[: max(0, most - len(events))]]
    return nights, events


def _landed(night: Night, events: Sequence[Row], gaps: list[str], progress: Progress) -> list[LandedEvent]:
    """The events with the rows that they landed as, where the landing zone still has them."""
    found: dict[tuple[date, str], Row] = {}
    if events and not night.landing:
        gaps.append("landing files: this server was started without --landing")
    for day in sorted({row["run_date"] for row in events}) if night.landing else ():
        wanted = {row["event_id"] for row in events if row["run_date"] == day}
        try:
            found |= {(day, row["event_id"]): row for row in _in_files(night, day, wanted, progress)}
        except NocturneError as error:
            gaps.append(f"landing files of {day}: {str(error).splitlines()[0]}")
    if night.landing and len(found) < len(events):
        gaps.append(f"{len(events) - len(found)} events are not in the landing zone any more")
    return [_event(row, found.get((row["run_date"], row["event_id"]))) for row in events]


def _event(listen: Row, landed: Row | None) -> LandedEvent:
    return LandedEvent(
        event_id=listen["event_id"],
        item_id=listen["item_id"],
        listened_at=listen["listened_at"],
        run_date=listen["run_date"],
        file=landed["file"] if landed else None,
        raw=landed["raw"] if landed else None,
    )


def _in_files(night: Night, day: date, wanted: Collection[str], progress: Progress) -> list[Row]:
    """The first landed row of each event of a day."""
    folder = f"{night.landing}/events/date={day}"
    names, rows = landing_files.list_files(folder), dict[str, Row]()
    for number, name in enumerate(names):
        file = landing_files.look_at(folder, name, EVENT_FIELDS, REQUIRED_EVENT_FIELDS)
        for batch in map(as_texts, read_parts([whole(file)], EVENT_FIELDS)):
            progress(number, len(names), f"landing file {number + 1} of {day}")
            ours = batch.filter(pc.is_in(batch["event_id"], pa.array(sorted(wanted))))
            for row in ours.to_pylist():
                rows.setdefault(row["event_id"], row)
        if len(rows) == len(wanted):
            break
    return list(rows.values())
