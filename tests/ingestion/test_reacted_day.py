"""A landed day of reactions: sound to ingestion, the same whenever it is written, organic rows as they were."""

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from nocturne.core.errors import UsageError
from nocturne.core.night import Night
from nocturne.core.settings import load_settings
from nocturne.ingestion import cleaning, exposure_rows
from nocturne.ingestion.exposure_files import COMPLETE, count_lines, list_writers
from nocturne.ingestion.landed_rows import Part, read_parts
from nocturne.ingestion.landing_files import EVENT_FIELDS, REQUIRED_EVENT_FIELDS, look_at
from nocturne.ingestion.simulator import reacted_day, shown_lists
from nocturne.ingestion.simulator.memory import MEMORIES, read_memories, shown_file
from nocturne.ingestion.simulator.reacted_day import ServedNight, published_lists, react, read_scenario
from nocturne.ingestion.simulator.reactions import Audience, World
from nocturne.ingestion.simulator.simulate import simulate
from nocturne.storage import tables, writing
from nocturne.storage.contracts import contract
from tests.fixtures.published_nights import serve_two_nights

START = date(2026, 1, 1)
NIGHTS = 3
LISTS = contract("ranked_lists").arrow_schema
SETTINGS = load_settings().listens


def lists_of(landing: Path, length: int = 8) -> pa.Table:
    """A list for each listener, of what they like best or what comes right after it: in turns of the two arms."""
    audience = Audience.of(World.of(read_scenario(landing)), 0, START)
    scores = audience.listeners.tastes @ audience.world.items.factors().T
    best = np.asarray(audience.world.items.ids.to_pylist())[np.argsort(-scores, axis=1, kind="stable")]
    rows = []
    for number, user in enumerate(audience.listeners.ids.to_pylist()):
        treated = number % 2 == 1
        listed = best[number, length : 2 * length] if treated else best[number, :length]
        rows.append(
            {
                "user_id": user,
                "market": "SE" if number % 3 else None,
                "arm": "treatment" if treated else "control",
                "items": [{"item_id": item, "score": 1.0} for item in listed],
                "propensities": [1.0, 0.25, *[1.0] * (length - 2)] if treated else None,
                "source": "als",
                "model_version": 'als-"1"',
            }
        )
    return pa.Table.from_pylist(rows, LISTS)


def served(lists: pa.Table, night: int) -> ServedNight:
    """A published night with these lists, night after START."""
    run_date = START + timedelta(days=night)

    def between(first: str, last: str) -> pa.Table:
        users = lists["user_id"]
        return lists.filter(pc.and_(pc.greater_equal(users, first), pc.less_equal(users, last)))

    return ServedNight(run_date, f"{run_date}-abcdef01", between)


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    simulate(tmp_path / "landing", 1_200, 60, NIGHTS, seed=3, start=START, corruption=0.02)
    return tmp_path / "landing"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def folder(landing: Path, kind: str, day: date) -> Path:
    return landing / kind / f"date={day}"


def exposures(landing: Path, day: date) -> list[dict[str, Any]]:
    files = sorted((folder(landing, "exposures", day) / "simulated").glob("*.jsonl.gz"))
    return [json.loads(line) for file in files for line in gzip.decompress(file.read_bytes()).splitlines()]


def plays(landing: Path, day: date) -> pa.Table:
    return pq.read_table(folder(landing, "events", day) / "reactions-00000.parquet", partitioning=None)


def test_organic_events_are_those_of_a_day_without_reactions(landing: Path) -> None:
    before = contents(landing)
    night = served(lists_of(landing), 1)
    summary = react(landing, night)
    after = contents(landing)
    changed = {name for name, content in before.items() if after[name] != content}
    assert changed == {f"events/date={night.day}/_SUCCESS"}
    assert set(after) - set(before) == {
        f"events/date={night.day}/reactions-00000.parquet",
        f"exposures/date={night.day}/simulated/part-00000.jsonl.gz",
        f"exposures/date={night.day}/simulated/_SUCCESS",
    }
    mark = f"events/date={night.day}/_SUCCESS"
    assert int(before[mark]) == summary.organic
    assert int(after[mark]) == summary.organic + summary.plays
    assert summary.plays == plays(landing, night.day).num_rows > 200


def test_a_day_beyond_those_simulated_has_the_organic_events_of_more_nights(landing: Path, tmp_path: Path) -> None:
    react(landing, served(lists_of(landing), NIGHTS - 1))
    simulate(tmp_path / "longer", 1_200, 60, NIGHTS + 1, seed=3, start=START, corruption=0.02)
    day = START + timedelta(days=NIGHTS)
    organic = contents(folder(tmp_path / "longer", "events", day))
    found = contents(folder(landing, "events", day))
    assert {name: found[name] for name in organic if name != "_SUCCESS"} == {
        name: content for name, content in organic.items() if name != "_SUCCESS"
    }
    assert "redelivered.parquet" in organic


def test_the_same_lists_in_another_order_write_the_same_bytes_again(landing: Path) -> None:
    lists = lists_of(landing)
    react(landing, served(lists, 1))
    first = contents(landing.parent)
    shuffled = lists.take(pa.array(np.random.default_rng(0).permutation(lists.num_rows)))
    react(landing, served(shuffled, 1))
    assert contents(landing.parent) == first


def test_every_exposure_is_sound_and_tells_of_the_list(landing: Path) -> None:
    lists = lists_of(landing)
    night = served(lists, 1)
    summary = react(landing, night)
    (writer,) = list_writers(str(landing), night.day)
    assert (writer.name, writer.announced) == ("simulated", summary.opened)
    counted = [count_lines(file) for file in writer.files]
    assert [each.problem for each in counted] == [""]
    assert replace(writer, files=tuple(each.file for each in counted)).state == COMPLETE
    rules = exposure_rows.Rules.of(night.day, SETTINGS)
    rows = [exposure_rows.parse_line(json.dumps(line).encode(), rules) for line in exposures(landing, night.day)]
    assert [row for row in rows if row.get("reason") or row["late"]] == []
    assert len({row["exposure_id"] for row in rows}) == len(rows) == summary.exposures > 500
    of_user = {row["user_id"]: row for row in lists.to_pylist()}
    for row in rows:
        listed = of_user[row["user_id"]]
        assert (row["generation"], row["list_run_date"], row["surface"]) == (night.generation, night.run_date, "list")
        assert {name: row[name] for name in ("arm", "source", "model_version", "market")} == {
            name: listed[name] for name in ("arm", "source", "model_version", "market")
        }
        chances = listed["propensities"] or [1.0] * len(listed["items"])
        assert [item["item_id"] for item in row["items"]] == [item["item_id"] for item in listed["items"]]
        assert [item["propensity"] for item in row["items"]] == chances


def test_every_play_passes_the_cleaning_and_was_shown_before(landing: Path) -> None:
    night = served(lists_of(landing), 1)
    react(landing, night)
    shown_at = {line["user_id"]: line["shown_at"] for line in exposures(landing, night.day)}
    catalogue = pq.read_table(landing / "items" / "items.parquet")
    where = str(folder(landing, "events", night.day))
    file = look_at(where, "reactions-00000.parquet", EVENT_FIELDS, REQUIRED_EVENT_FIELDS)
    part = Part(file, 0, file.row_groups)
    rules = cleaning.Rules(night.day, SETTINGS, catalogue["item_id"].combine_chunks())
    checked = pa.Table.from_batches([cleaning.check_events(rows, rules) for rows in read_parts([part], EVENT_FIELDS)])
    judged = cleaning.mark_bots(cleaning.mark_duplicates(checked, pa.array([], pa.string())), SETTINGS)
    assert judged.num_rows == plays(landing, night.day).num_rows
    assert set(judged["outcome"].to_pylist()) == {cleaning.OUTCOMES.index(cleaning.LISTEN)}
    assert not any(cleaning.accepted(judged, night.day)["late"].to_pylist())
    lengths = dict(zip(catalogue["item_id"].to_pylist(), catalogue["duration_ms"].to_pylist(), strict=True))
    for play in plays(landing, night.day).to_pylist():
        assert play["listened_at"].isoformat(timespec="milliseconds") >= shown_at[play["user_id"]].rstrip("Z")
        assert 0 <= play["ms_played"] <= lengths[play["item_id"]]


def test_whoever_has_little_left_of_the_day_hears_all_of_it_within_the_day(
    landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody opens their list a minute before midnight."""
    monkeypatch.setattr(shown_lists, "opened_at", lambda audience: np.full(len(audience.listeners.ids), 86_340_000))
    night = served(lists_of(landing), 1)
    react(landing, night)
    times = plays(landing, night.day)["listened_at"]
    assert {time.date() for time in times.to_pylist()} == {night.day}
    assert len(times.unique()) > 10


def test_who_loses_exposures_plays_all_the_same_and_remembers(landing: Path) -> None:
    night = served(lists_of(landing), 1)
    whole = react(landing, night)
    sound, events = exposures(landing, night.day), plays(landing, night.day)
    summary = react(landing, night, {"treatment": 0.5})
    kept = exposures(landing, night.day)
    assert plays(landing, night.day) == events
    assert (whole.lost, whole.opened) == (0, summary.opened)
    assert [line for line in sound if line["arm"] == "control"] == [line for line in kept if line["arm"] == "control"]
    treated = [sum(line["arm"] == "treatment" for line in lines) for lines in (sound, kept)]
    assert treated[0] - treated[1] == summary.lost
    assert abs(summary.lost - treated[0] / 2) < 4 * np.sqrt(treated[0] / 4)
    truth = pq.read_table(shown_file(landing, night.day, 0), partitioning=None)
    assert len(set(truth["user_id"].to_pylist())) == summary.opened
    assert len(set(truth.filter(truth["lost"])["user_id"].to_pylist())) == summary.lost


def test_the_truth_holds_every_item_shown_with_its_probability(landing: Path) -> None:
    lists = lists_of(landing)
    night = served(lists, 1)
    summary = react(landing, night)
    truth = pq.read_table(shown_file(landing, night.day, 0), partitioning=None)
    assert truth.num_rows == summary.opened * 8
    assert pc.sum(truth["played"]).as_py() == summary.plays
    expected = np.asarray(truth["probability"])
    assert abs(expected.sum() - summary.plays) < 3.3 * np.sqrt((expected * (1 - expected)).sum())


def test_what_was_shown_and_heard_is_remembered_from_the_landed_days(landing: Path) -> None:
    lists = lists_of(landing)
    night = served(lists, 1)
    react(landing, night)
    scenario = read_scenario(landing)
    memories = read_memories(landing, scenario, night.day + timedelta(days=1), 0)
    assert memories.schema == MEMORIES
    of_day = memories.filter(pc.and_(pc.equal(memories["night"], 2), memories["heard"]))
    on_time = pq.read_table(folder(landing, "events", night.day) / "events-00000.parquet", partitioning=None)
    assert of_day.num_rows == on_time.num_rows + plays(landing, night.day).num_rows
    assert set(memories["night"].to_pylist()) == {0, 1, 2}
    shown = memories.filter(pc.invert(memories["heard"]))
    truth = pq.read_table(shown_file(landing, night.day, 0), partitioning=None)
    for name in ("user_id", "item_id"):
        assert shown[name].to_pylist() == truth[name].to_pylist()


def test_a_list_that_stays_is_played_less_from_day_to_day(landing: Path) -> None:
    lists = lists_of(landing)
    summaries = [react(landing, served(lists, night)) for night in range(5)]
    rates = [summary.plays / summary.opened for summary in summaries]
    assert rates[4] < 0.8 * rates[0]


def test_a_killed_day_is_none_and_is_written_again(landing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    night = served(lists_of(landing), NIGHTS - 1)

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(reacted_day, "shown_items", kill)
        with pytest.raises(KeyboardInterrupt):
            react(landing, night)
    assert not folder(landing, "events", night.day).exists()
    assert list_writers(str(landing), night.day) == []
    assert react(landing, night).plays > 0


def test_progress_is_told_for_both_passes_of_a_block(landing: Path) -> None:
    progress: list[tuple[int, int]] = []
    react(landing, served(lists_of(landing), 1), progress=lambda done, total: progress.append((done, total)))
    assert progress == [(1, 2), (2, 2)]


def test_a_landing_zone_that_nobody_simulated_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_scenario(tmp_path)
    (tmp_path / "_PRODUCER").write_text("import lastfm-2k")
    with pytest.raises(UsageError, match="lastfm-2k"):
        read_scenario(tmp_path)


def test_the_scenario_is_read_as_it_was_given(landing: Path) -> None:
    scenario = read_scenario(landing)
    assert (scenario.listeners, scenario.items, scenario.seed) == (1_200, 60, 3)
    assert (scenario.start, scenario.corruption) == (START, 0.02)


def test_a_night_before_the_first_day_and_an_arm_that_nobody_has_are_refused(landing: Path) -> None:
    lists = lists_of(landing)
    with pytest.raises(UsageError, match="nobody listened yet"):
        react(landing, served(lists, -1))
    before = contents(landing)
    with pytest.raises(UsageError, match="control, treatment"):
        react(landing, served(lists, 1), {"blue": 0.1})
    visible = {name: content for name, content in contents(landing).items() if "partial" not in name}
    assert visible == before


def test_lists_are_those_of_a_published_night(night: Callable[..., Night]) -> None:
    tonight = serve_two_nights(night(date(2026, 3, 3), "tables.buckets=1"), "song book")
    found = published_lists(tonight.warehouse, tonight.run_date)
    assert (found.run_date, found.day) == (tonight.run_date, date(2026, 3, 4))
    assert found.generation.startswith("2026-03-03-")
    (row,) = found.lists("u0", "u2").to_pylist()
    assert [row["user_id"], row["arm"], [item["item_id"] for item in row["items"]]] == [
        "u1",
        "control",
        ["song", "book"],
    ]
    assert found.lists("u2", "u9").num_rows == 0
    with pytest.raises(UsageError, match="was not run"):
        published_lists(tonight.warehouse, date(2026, 3, 5))


def test_a_night_that_was_not_published_has_no_lists_to_react_to(night: Callable[..., Night]) -> None:
    tonight = serve_two_nights(night(date(2026, 3, 3), "tables.buckets=1"), "song book")
    (row,) = [
        row for row in tables.rows(tonight.warehouse, "nights").to_pylist() if row["run_date"] == tonight.run_date
    ]
    closed = pa.Table.from_pylist([row | {"state": "gate_closed"}], contract("nights").arrow_schema)
    writing.replace_night(closed, "nights", tonight)
    with pytest.raises(UsageError, match="gate_closed"):
        published_lists(tonight.warehouse, tonight.run_date)
