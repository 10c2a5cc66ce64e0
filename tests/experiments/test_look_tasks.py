"""Looks: a bucket by hand, its groups and counts; the same sums from Spark's tasks as from this process; the stage."""

import tomllib
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from nocturne.core.experiment import Experiment, parse_experiment
from nocturne.core.night import Night
from nocturne.core.xxhash import buckets_of
from nocturne.experiments import look_tasks
from nocturne.experiments.analyse_experiment import analyse_experiment, look_task
from nocturne.experiments.conclusion import record_conclusion
from nocturne.experiments.look_tasks import Group, LookTask, Sums, measure_look
from nocturne.storage import tables
from tests.fixtures import two_listeners

Row = dict[str, Any]

START = date(2025, 3, 1)
SETTINGS = ("tables.buckets=2",)
ITEMS = ["song", "tune", "show"]
ARMS = {"ana": "control", "ben": "control", "cleo": "bold", "dan": "bold", "eve": "next", "fay": "next"}
MARKETS = {"ana": "SE", "ben": None, "cleo": "SE", "dan": "NO", "eve": "SE", "fay": "SE"}
FILE = """
hypothesis = "Bold lists are played more."
start = 2025-03-01
end = 2025-03-04
salt = "bold"
first_slot = 0
slots = 1000
looks = [1, 2, 4]
[arms.control]
weight = 1
[arms.bold]
weight = 1
settings = { "reranking.diversity" = 0.5 }
[arms.next]
weight = 1
settings = { "now_playing.session_weight" = 0.5 }
[metrics.plays]
role = "success"
measure = "plays"
minimum_effect = 0.02
"""


def experiment(**changes: Any) -> Experiment:
    return parse_experiment("bold", tomllib.loads(FILE) | changes)


def day(offset: int) -> date:
    return START + timedelta(days=offset)


def at(offset: int) -> datetime:
    return datetime(2025, 3, 1, 12, tzinfo=UTC) + timedelta(days=offset)


def bucket(user: str) -> int:
    return int(buckets_of(pa.array([user]), 2)[0])


def keyed(offset: int, user: str, **values: Any) -> Row:
    return {"run_date": day(offset), "bucket": bucket(user), "user_id": user, **values}


def listen(offset: int, user: str, item: str, plays: int) -> Row:
    values = {"item_id": item, "listened_at": at(offset), "plays": plays, "late": False}
    return keyed(offset, user, event_id=f"{offset}/{user}/{item}", **values)


def exposure(offset: int, user: str, items: str, differences: list[tuple[str, int | None]] | None = None) -> Row:
    (row, _) = two_listeners.exposures(day(offset))
    shown = [{"item_id": item, "propensity": 1.0} for item in items.split()]
    night = {"list_run_date": day(offset - 1), "items": shown, "differences": differences}
    night["arm"] = f"bold/{ARMS.get(user, 'control')}"
    return row | {"exposure_id": f"{offset}/{user}/{items}", "user_id": user, "shown_at": at(offset), **night}


def interactions(offset: int, **heard: list[int]) -> list[Row]:
    (row, _) = two_listeners.interactions(day(offset))
    entries = ("play_sums", "second_sums", "last_heard")
    return [
        row
        | keyed(offset, user, market=MARKETS[user], item_indexes=heard.get(user, []))
        | {name: row[name][:1] * len(heard.get(user, [])) for name in entries}
        for user in ARMS
    ]


def ranked(offset: int, **arms: str) -> list[Row]:
    (row, _) = two_listeners.ranked_lists(day(offset))
    return [row | keyed(offset, user, arm=arm) for user, arm in arms.items()]


def trigger(user: str, treatment: str, on: date | None) -> Row:
    place = {"first_difference": 1 if on == day(1) else None, "shared": 0}
    return keyed(1, user, experiment="bold", arm=ARMS[user], treatment=treatment, triggered_on=on, **place)


LISTENS = {
    -27: [listen(-27, "dan", "song", 7)],  # the 28th day before the first lists are heard
    -28: [listen(-28, "dan", "song", 100)],  # a day too early
    0: [listen(0, "ana", "song", 2), listen(0, "cleo", "tune", 1)],
    1: [listen(1, "ana", "song", 3), listen(1, "cleo", "tune", 5), listen(1, "zoe", "tune", 50)],
    2: [listen(2, "ana", "show", 1), listen(2, "eve", "song", 4)],
    3: [listen(3, "ana", "show", 1000)],  # after the look
}
EXPOSURES = {
    0: [exposure(0, "ben", "song")],  # before the start: ben was shown nothing of it
    1: [exposure(1, "ana", "song tune"), exposure(1, "cleo", "song"), exposure(1, "zoe", "song")],
    2: [
        exposure(2, "dan", "tune"),
        exposure(2, "eve", "song", [("next", 3)]),
        exposure(2, "fay", "song", [("next", None)]),
        exposure(2, "ana", "tune", [("next", 1)]),
    ],
}


@pytest.fixture
def look_night(night: Callable[..., Night], tmp_path: Path) -> Night:
    """The night of the second look: two days after the start; assigned is who was so on the night before."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "bold.toml").write_text(FILE, encoding="utf-8")

    def on(offset: int) -> Night:
        return night(day(offset), *SETTINGS, f'experiments.folder="{tmp_path / "experiments"}"')

    for offset, rows in LISTENS.items():
        two_listeners.write(on(offset), "listens", rows)
    for offset, rows in EXPOSURES.items():
        two_listeners.write(on(offset), "exposures", rows)
    index = [{"first_night": day(0), "item_index": place, "item_id": item} for place, item in enumerate(ITEMS)]
    two_listeners.write(on(0), "item_index", index)
    types = ["track", "track", "podcast_episode"]
    catalogue = [
        {"run_date": day(2), "item_id": item, "content_type": kind, "absent": False}
        for item, kind in zip(ITEMS, types, strict=True)
    ]
    two_listeners.write(on(2), "items", catalogue)
    two_listeners.write(on(0), "interactions", interactions(0, ana=[0], cleo=[1], dan=[0, 1, 2]))
    two_listeners.write(on(1), "interactions", interactions(1))
    assigned = [keyed(1, user, experiment="bold", arm=arm) for user, arm in ARMS.items()]
    others = [keyed(1, "zoe", experiment="other", arm="control")]
    two_listeners.write(on(1), "assignments", [*assigned, *others])
    two_listeners.write(on(0), "assignments", [keyed(0, "zoe", experiment="bold", arm="control")])
    triggers = [
        trigger("ana", "bold", day(0)),
        trigger("ben", "bold", None),
        trigger("cleo", "bold", day(1)),
        trigger("dan", "bold", None),
        trigger("eve", "bold", day(1)),
        trigger("fay", "bold", None),
        keyed(1, "zoe", experiment="other", arm="control", treatment="bold", triggered_on=day(0), shared=0),
    ]
    two_listeners.write(on(1), "triggers", triggers)
    own = {user: f"bold/{arm}" for user, arm in ARMS.items()}
    own |= {"fay": "control", "zoe": "other/control"}  # fay has another list than her arm's, dan none
    two_listeners.write(on(1), "ranked_lists", ranked(1, **{user: arm for user, arm in own.items() if user != "dan"}))
    return on(2)


def task_of(night: Night, of: Experiment) -> LookTask:
    return look_task(night, night.on(day(1)), of, look_before=1)


def in_this_process(task: LookTask) -> Sums:
    return measure_look(None, task, 0)


def means(sums: Sums) -> dict[Group, list[float]]:
    """Counts and means of the groups that have anybody."""
    return {group: [each.count, *each.means.tolist()] for group, each in sums.moments.items() if each.count}


def test_two_buckets_are_measured_by_arm_and_group(look_night: Night) -> None:
    task = task_of(look_night, experiment())
    assert task.columns == ("before:plays", "last:plays", "plays")
    sums = in_this_process(task)
    # plays before: ana 2, cleo 1, dan 7; on day 1, up to the look before: ana 3, cleo 5; on both: ana 4, cleo 5, eve 4
    assert means(sums) == {
        Group("control", "everyone"): [2, 1, 1.5, 2],
        Group("control", "market:SE"): [1, 2, 3, 4],
        Group("control", "market:none"): [1, 0, 0, 0],
        Group("control", "history:up to 20 items"): [1, 2, 3, 4],
        Group("control", "history:none"): [1, 0, 0, 0],
        Group("control", "triggered:bold"): [1, 2, 3, 4],
        Group("control", "triggered:next"): [1, 2, 3, 4],
        Group("bold", "everyone"): [2, 4, 2.5, 2.5],
        Group("bold", "market:SE"): [1, 1, 5, 5],
        Group("bold", "market:NO"): [1, 7, 0, 0],
        Group("bold", "history:up to 20 items"): [2, 4, 2.5, 2.5],
        Group("bold", "triggered:bold"): [1, 1, 5, 5],
        Group("next", "everyone"): [2, 0, 0, 2],
        Group("next", "market:SE"): [2, 0, 0, 2],
        Group("next", "history:none"): [2, 0, 0, 2],
        Group("next", "triggered:next"): [1, 0, 0, 4],
    }
    expected = [[18.0, -15.0, -15.0], [-15.0, 12.5, 12.5], [-15.0, 12.5, 12.5]]
    assert sums.moments[Group("bold", "everyone")].products == pytest.approx(np.array(expected))


def test_whoever_has_the_list_of_their_arm_is_listed_and_who_was_shown_one_exposed(look_night: Night) -> None:
    # dan was shown something, but has no list; fay has one that is not her arm's; ben was shown nothing since the start
    sums = in_this_process(task_of(look_night, experiment()))
    assert sums.listed == {"control": 2, "bold": 1, "next": 1}
    assert sums.exposed == {"control": 1, "bold": 1, "next": 1}


def test_discoveries_are_of_what_nobody_had_heard_when_the_experiment_began(look_night: Night) -> None:
    metrics = {"new": {"role": "success", "measure": "discoveries", "minimum_effect": 0.02}}
    sums = in_this_process(task_of(look_night, experiment(metrics=metrics)))
    # ana knew song and finds show; cleo knew tune; eve finds song; neither on day 1, up to the look before.
    # Before the start whatever was heard counts once
    found = {arm: means(sums)[Group(arm, "everyone")] for arm in ("control", "bold", "next")}
    assert found == {"control": [2, 0.5, 0.5, 0], "bold": [2, 1, 0, 0], "next": [2, 0, 0.5, 0]}


def test_the_listens_of_a_night_whose_gate_closed_are_left_out(look_night: Night) -> None:
    failed = {"table": "listens", "expectation": "listens_vs_recent", "severity": "critical", "outcome": "failed"}
    unused = {"observed": 0.0, "limit": ">= 1", "seconds": 0.0, "content": "0", "files": "0"}
    two_listeners.write(look_night.on(day(-27)), "validations", [{"run_date": day(-27)} | failed | unused])
    sums = in_this_process(task_of(look_night, experiment()))
    assert means(sums)[Group("bold", "everyone")] == [2, 0.5, 2.5, 2.5]


DRAFTED = {"arms": {"control": {"weight": 1}, "bold": {"weight": 1, "recipe": {"factors": 2}}}, "kind": "interleaving"}


def test_a_look_at_drafted_lists_credits_the_teams(look_night: Night) -> None:
    metrics = {"plays": {"role": "success", "measure": "list_plays", "minimum_effect": 0.02}}
    drafted = experiment(metrics=metrics, **DRAFTED)
    two_listeners.write(
        look_night.on(day(1)),
        "assignments",
        [keyed(1, user, experiment="bold", arm="interleaved") for user in ("ana", "ben")],
    )
    (row, _) = two_listeners.ranked_lists(day(0))
    draft = {
        "experiment": "bold",
        "arm": "interleaved",
        "items": [{"item_id": item, "score": 1.0} for item in ("song", "tune")],
        "teams": ["bold", "control"],
        "draft_seed": 1,
    }
    own = {name: value for name, value in row.items() if name != "arm"}
    two_listeners.write(look_night.on(day(0)), "arm_lists", [own | keyed(0, "ana") | draft])
    task = task_of(look_night, drafted)
    assert task.columns == ("team:control", "team:bold")
    # ana was shown song and tune on day 1, and played song three times; what she played on day 2 was not shown
    assert means(in_this_process(task)) == {
        Group("interleaved", "everyone"): [2, 0, 1.5],
        Group("interleaved", "market:SE"): [1, 0, 3],
        Group("interleaved", "market:none"): [1, 0, 0],
        Group("interleaved", "history:up to 20 items"): [1, 0, 3],
        Group("interleaved", "history:none"): [1, 0, 0],
        Group("interleaved", "triggered:bold"): [1, 0, 3],
    }


def test_what_is_known_only_later_of_the_days_before_is_no_covariate(look_night: Night) -> None:
    before = in_this_process(task_of(look_night, experiment()))
    late = [listen(0, "ana", "tune", 50) | {"run_date": day(1), "event_id": "late", "late": True}]
    two_listeners.write(look_night.on(day(1)), "listens", [*LISTENS[1], *late])
    after = in_this_process(task_of(look_night, experiment()))
    assert means(after) == means(before)


@pytest.mark.parametrize("shown", [True, False], ids=["much shown", "nothing shown"])
def test_sparks_tasks_measure_what_this_process_does(
    spark: SparkSession, look_night: Night, monkeypatch: pytest.MonkeyPatch, shown: bool
) -> None:
    if not shown:
        for offset in EXPOSURES:
            two_listeners.write(look_night.on(day(offset)), "exposures", [])
    task = task_of(look_night, experiment())
    here = measure_look(spark, task, 0)
    monkeypatch.setattr(look_tasks, "_FEW_ROWS", -1)
    there = measure_look(spark, task, 0)
    assert means(there) == means(here)
    assert (there.listed, there.exposed) == (here.listed, here.exposed)
    assert sum(here.exposed.values()) == (3 if shown else 0)
    for group, moments in here.moments.items():
        assert there.moments[group].products.tolist() == moments.products.tolist()


WRITTEN = ("experiment_looks", "experiment_results")


def look(night: Night) -> dict[str, list[Row]]:
    """The rows that the stage leaves on a night, without Spark."""
    analyse_experiment(None, night, lambda *_: None)
    rows = {table: tables.night_rows(night, table).to_pylist() for table in WRITTEN}
    return {table: sorted(some, key=repr) for table, some in rows.items()}


def test_a_look_is_made_on_its_night_and_is_the_same_again(look_night: Night) -> None:
    found = look(look_night)
    arms = {row["arm"]: row for row in found["experiment_looks"] if row["population"] == "everyone"}
    assert {arm: (row["listeners"], row["listed"], row["exposed"]) for arm, row in arms.items()} == {
        "control": (2, 2, 1),
        "bold": (2, 1, 1),
        "next": (2, 1, 1),
    }
    assert {row["day"] for row in found["experiment_looks"]} == {2}
    assert dict(arms["bold"]["means"]) == {"before:plays": 4, "last:plays": 0, "plays": 2.5}  # nobody looked on day 1
    assert dict(arms["bold"]["variances"])["plays"] == 12.5
    assert dict(arms["bold"]["covariances"])["before:plays|plays"] == -15
    decided = [row["treatment"] for row in found["experiment_results"] if row["kind"] == "decision"]
    assert decided == ["bold", "next"]
    assert repr(look(look_night)) == repr(found)  # unknown numbers are unlike themselves


@pytest.mark.parametrize("offset", [0, 3, 5], ids=["the start", "between two looks", "after the last one"])
def test_other_nights_look_at_nothing(look_night: Night, offset: int) -> None:
    before = [tables.version(look_night.warehouse, table) for table in WRITTEN]
    assert look(look_night.on(day(offset))) == {table: [] for table in WRITTEN}
    assert [tables.version(look_night.warehouse, table) for table in WRITTEN] == before


def test_an_experiment_that_was_concluded_is_looked_at_no_more_and_its_conclusion_stays(look_night: Night) -> None:
    found = look(look_night)
    record_conclusion(look_night.on(day(3)), experiment(), "control", "so")
    assert repr(look(look_night)) == repr(found)  # unknown numbers are unlike themselves
    record_conclusion(look_night, experiment(), "control", "so")
    (conclusion,) = look(look_night)["experiment_results"]
    assert (conclusion["kind"], conclusion["name"], conclusion["reasons"]) == ("conclusion", "control", ["so"])
    assert tables.rows(look_night.warehouse, "experiment_looks").num_rows == 0
