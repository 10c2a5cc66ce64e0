"""A day on which a simulated service's listeners react to the lists of the night before: landed whole."""

import gzip
import json
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nocturne.core.atomic_write import open_atomically
from nocturne.core.errors import UsageError
from nocturne.core.night import Warehouse
from nocturne.ingestion.importers.landing_writer import publish_day
from nocturne.ingestion.simulator.delivery import delayed_until, write_events, write_night
from nocturne.ingestion.simulator.memory import Memory, read_memories, shown_file, truth_folder
from nocturne.ingestion.simulator.reactions import Audience, Reaction, World
from nocturne.ingestion.simulator.shown_lists import exposure_lines, play_events, shown_items
from nocturne.ingestion.simulator.world import BLOCK, Scenario
from nocturne.storage import tables

WRITER = "simulated"
"""The one writer of a simulated day's exposures."""

LISTS = ("user_id", "market", "arm", "source", "model_version", "items", "propensities")
"""Columns of `ranked_lists` that an exposure tells of."""

Lists = Callable[[str, str], pa.Table]
"""Lists of a night, in the columns of LISTS, of the listeners between two ids, both included."""


@dataclass(frozen=True)
class ServedNight:
    """A published night, whose lists are served on the day after it.

    Attributes:
        lists: of its listeners.
    """

    run_date: date
    generation: str
    lists: Lists

    @property
    def day(self) -> date:
        """The day on which its lists are heard."""
        return self.run_date + timedelta(days=1)


@dataclass(frozen=True)
class ReactionSummary:
    """The counts of a day with reactions.

    Attributes:
        day: the landing day.
        generation: whose lists were shown.
        lists: lists of the night that are of the simulation's listeners.
        opened: lists that were opened.
        lost: opened lists whose exposure did not land.
        plays: events that the lists caused.
        organic: other rows landed, corrupted ones included.
        truth: folder of the truth.
    """

    day: date
    generation: str
    lists: int
    opened: int
    lost: int
    plays: int
    organic: int
    truth: Path

    @property
    def exposures(self) -> int:
        """Exposures that landed."""
        return self.opened - self.lost


def published_lists(warehouse: Warehouse, run_date: date) -> ServedNight:
    """The lists of a published night, read from its warehouse block by block of listeners.

    Raises:
        UsageError: there is no warehouse, or the night is not published.
    """
    records = tables.rows(warehouse, "nights", pc.field("run_date") == run_date, ["state", "generation"]).to_pylist()
    generations = [record["generation"] for record in records if record["state"] == "published"]
    if not generations:
        raise UsageError(
            "the night is not published",
            where=warehouse.path,
            found=f"night {run_date}: {', '.join(record['state'] for record in records) or 'was not run'}",
            expected="a published night, whose lists somebody can hear",
            fix="`nocturne nights` shows which ones are; run the night first",
        )

    def lists(first: str, last: str) -> pa.Table:
        user = pc.field("user_id")
        where = (pc.field("run_date") == run_date) & (user >= first) & (user <= last)
        return tables.rows(warehouse, "ranked_lists", where, LISTS)

    return ServedNight(run_date, generations[0], lists)


def read_scenario(landing: Path) -> Scenario:
    """The scenario that a landing zone was simulated from, by its own mark.

    Raises:
        UsageError: nobody simulated it.
    """
    mark = landing / "_PRODUCER"
    producer = mark.read_text(encoding="utf-8") if mark.is_file() else ""
    try:
        return Scenario.parse(producer.removeprefix("simulate "))
    except ValueError as error:
        raise UsageError(
            "the landing zone is not a simulated one",
            where=str(mark),
            found=producer or "no such file",
            expected="a landing zone of `nocturne simulate`, whose listeners' tastes are known",
            fix="check --landing",
        ) from error


def react(
    landing: Path,
    night: ServedNight,
    loss: Mapping[str, float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ReactionSummary:
    """Land the day after a night: organic events, exposures of the night's lists, and the plays that they cause.

    The same arguments write the same bytes. Days land in order, since listeners remember those before. A day that is
    there already is replaced; `simulate` replaces it in turn by one without reactions.

    Args:
        landing: landing zone of `simulate`.
        night: whose lists are shown.
        loss: by arm, the share of its listeners whose exposures are all lost, 0 to 1, as those of a broken client: the
            same listeners every day. They react all the same.
        progress: called with the steps done and their total, after each.

    Raises:
        UsageError: nobody simulated the landing zone, the night lies before its first day, or no list of an arm that
            loses exposures was opened; nothing is landed.
    """
    landing = landing.absolute()
    scenario = read_scenario(landing)
    number = (night.day - scenario.start).days
    if number < 1:
        raise UsageError(
            "nobody listened yet",
            where=str(landing),
            found=f"night {night.run_date}",
            expected=f"a night from {scenario.start} on, the first simulated day",
            fix="choose another night",
        )
    world = World.of(scenario)
    loss = loss or {}
    counts: Counter[str] = Counter()
    arms: set[str] = set()

    def tick() -> None:
        counts["steps"] += 1
        if progress:
            progress(counts["steps"], 2 * len(scenario.blocks()))

    def write(folder: Path) -> int:
        delayed = delayed_until(scenario, world.items, number)
        counts["organic"] = write_night(scenario, world.items, number, delayed, folder, tick).total()
        with _exposures(landing, night.day) as writer:
            for first in scenario.blocks():
                reaction = _react_block(landing, world, first, night, loss)
                _write_block(reaction, first, night, folder, writer, shown_file(landing, night.day, first))
                counts.update(reaction.counts)
                arms.update(reaction.lists["arm"].unique().to_pylist())
                tick()
            _require_arms(arms, loss, night)
            (writer / "_SUCCESS").write_text(json.dumps({"rows": counts["opened"] - counts["lost"]}), encoding="ascii")
        return counts["organic"] + counts["plays"]

    publish_day(landing, night.day, write)
    of_lists = {name: counts[name] for name in ("lists", "opened", "lost", "plays", "organic")}
    return ReactionSummary(night.day, night.generation, **of_lists, truth=truth_folder(landing))


def _require_arms(arms: Collection[str], loss: Mapping[str, float], night: ServedNight) -> None:
    if absent := sorted(set(loss) - set(arms)):
        raise UsageError(
            "no list of the arm was opened, so that no exposure can be lost",
            where=f"night {night.run_date}",
            found=", ".join(absent),
            expected=", ".join(sorted(arms)) or "an opened list",
            fix="name an arm of the night's lists",
        )


def _react_block(landing: Path, world: World, first: int, night: ServedNight, loss: Mapping[str, float]) -> Reaction:
    audience = Audience.of(world, first, night.day)
    ids = audience.listeners.ids
    memories = read_memories(landing, world.scenario, night.day, first)
    memory = Memory.of(memories, audience.listeners, world.items, audience.night)
    return audience.react(night.lists(ids[0].as_py(), ids[-1].as_py()), memory, loss)


def _write_block(
    reaction: Reaction, first: int, night: ServedNight, events: Path, exposures: Path, shown: Path
) -> None:
    """Write what a block does: events and exposures to the folders of the day, and the truth to a file."""
    block = f"{first // BLOCK:05d}"
    write_events([play_events(reaction)], events / f"reactions-{block}.parquet")
    with (
        (exposures / f"part-{block}.jsonl.gz").open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=file, mtime=0) as lines,  # equal bytes
    ):
        lines.writelines(exposure_lines(reaction, night.generation, night.run_date))
    shown.parent.mkdir(parents=True, exist_ok=True)
    part = shown.with_name(f".{shown.name}.partial")
    with open_atomically(shown, part) as truth:
        pq.write_table(shown_items(reaction), truth, compression="zstd")


@contextmanager
def _exposures(landing: Path, day: date) -> Iterator[Path]:
    """The folder of the day's writer, which is shown when it is whole, in the place of an older one."""
    final = landing / "exposures" / f"date={day}" / WRITER
    partial = final.with_name(f".{WRITER}.partial")  # dot: no reader takes it for a writer
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    if final.exists():
        shutil.rmtree(final)
    partial.rename(final)
