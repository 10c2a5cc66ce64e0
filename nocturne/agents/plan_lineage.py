"""Lineage of the plan that holds for a listener: pools and rows of interactions obey it; it landed as a line."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import pyarrow.compute as pc
from pydantic import Field

from nocturne.agents.answers import Id, Part, Passage, Text, Words
from nocturne.core.night import Night
from nocturne.ingestion.exposure_files import count_lines, list_writers, read_lines
from nocturne.ingestion.landed_rows import whole
from nocturne.steering.ingest_steers import FOLDER
from nocturne.steering.plan import Plan
from nocturne.steering.steer_rows import NoSteer, Rules, Steer, parse_line
from nocturne.storage import tables

COLUMNS = ("user_id", "steer_id", "asked_at", "plan", "digest", "holds_until")
ASIDE_COLUMNS = ("user_id", "asked_on", "listens", "older")


class PlanStep(Part):
    """The row of `steers`: what the listener asked for, which list and pool obey."""

    in_words: Passage = Field(description="The plan; it may name tags and creators")
    digest: Words
    steer_id: Id = Field(description="The request; the exposure of its answer has this id too")
    asked_at: datetime
    taken_in: date = Field(description="First night that is on record with it")
    holds_until: date | None = Field(default=None, description="Last night that it holds on; none without an end")
    file: Text | None = Field(default=None, description="Landing file below the day; none where it was not found")
    raw: Text | None = Field(default=None, description="The line as it landed")


class AsideStep(Part):
    """The row of `set_aside`: listens that are not the listener's taste, and are in no row of `interactions`."""

    asked_on: date
    listens: int = Field(description="Kept out since then")
    older: bool = Field(description="True if sums stayed in of listens that were no longer on record")


def plan_step(night: Night, rows: Sequence[Mapping[str, Any]], gaps: list[str]) -> PlanStep | None:
    """The plan that held for a listener on a night, with the line that it landed as.

    Args:
        rows: COLUMNS of `steers` on the night, of the listener: one, or none without a plan.
        gaps: what cannot be found is added here.
    """
    if not rows:
        return None
    row = rows[0]
    asked = Steer(row["user_id"], row["steer_id"], row["asked_at"], Plan.model_validate_json(row["plan"]))
    taken_in = _first_night(night, asked)
    file, raw = _landed(night, asked, taken_in) if night.landing else (None, None)
    if night.landing and raw is None:
        gaps.append("the plan is not in the landing zone any more")
    return PlanStep(
        in_words=asked.plan.in_words(),
        digest=row["digest"],
        steer_id=asked.steer_id,
        asked_at=asked.asked_at,
        taken_in=taken_in,
        holds_until=row["holds_until"],
        file=file,
        raw=raw,
    )


def aside_step(rows: Sequence[Mapping[str, Any]]) -> AsideStep | None:
    """The listens that were set aside of a listener.

    Args:
        rows: ASIDE_COLUMNS of `set_aside` on a night, of the listener: one, or none.
    """
    return AsideStep(**{name: rows[0][name] for name in ASIDE_COLUMNS[1:]}) if rows else None


def _first_night(night: Night, asked: Steer) -> date:
    """The first night of those that are kept on which the plan of a request stood."""
    theirs = (pc.field("user_id") == asked.user_id) & (pc.field("steer_id") == asked.steer_id)
    of_nights = theirs & (pc.field("run_date") <= night.run_date)
    first: date = pc.min(tables.rows(night.warehouse, "steers", of_nights, ["run_date"])["run_date"]).as_py()
    return first


def _landed(night: Night, asked: Steer, taken_in: date) -> tuple[str | None, str | None]:
    """File and line of a request; the landing day is that of the night, or of the request where nights are gone."""
    for day in dict.fromkeys((taken_in, asked.asked_at.date())):
        for file, line, steer in _steers(night, day):
            if steer[:3] == asked[:3]:
                return file, line.decode()
    return None, None


def _steers(night: Night, day: date) -> Iterator[tuple[str, bytes, Steer]]:
    """Every steer of a landing day, with its file and line."""
    rules = Rules(day, night.settings.listens.max_id_bytes)
    writers = list_writers(night.landing, day, FOLDER)
    for name, file in ((writer.name, file) for writer in writers for file in writer.files):
        for line in (line for batch in read_lines(whole(count_lines(file).file)) for line in batch):
            try:
                yield f"{name}/{file.name}", line, parse_line(line, rules)
            except NoSteer:
                continue
