"""Nights with experiments beside the same nights without: who is touched, and that nobody else is."""

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from nocturne.core.errors import UsageError
from nocturne.core.experiment import load_experiments
from nocturne.core.night import Night
from nocturne.experiments.analyse_experiment import look_task
from nocturne.experiments.conclusion import record_conclusion
from nocturne.experiments.look_tasks import measure_look
from nocturne.flow import TABLES, stage
from nocturne.ingestion.simulator.simulate import simulate
from nocturne.pipeline.runner import run_nights, run_stage
from nocturne.ranking.rank_users import RANKED
from nocturne.serving.cache import open_cache
from nocturne.serving.publications import all_records
from nocturne.storage import fingerprints, tables, writing
from nocturne.storage.contracts import contract
from nocturne.storage.stored_rows import StoredRows
from nocturne.validation.gate import gate
from nocturne.validation.suites import critical_expectations
from nocturne.validation.validate_table import validate
from tests.fixtures.simulated_service import FIRST, NIGHTS, Service

Row = dict[str, Any]

LAST = NIGHTS - 1
OF_ARMS = ("arm_pools", "arm_lists", "assignments", "triggers")
HEAD = """
hypothesis = "Whoever gets other lists plays more."
start = {start}
end = {end}
salt = "{name}"
looks = [1, {last}]
[arms.control]
weight = 1
"""
PLAYS = """
[metrics.plays]
role = "success"
measure = "{measure}"
minimum_effect = 0.02
"""
BOLD = """
[arms.clean]
weight = 1
settings = {"ranking.explicit_blocked_markets" = ["US", "GB"]}
[arms.short]
weight = 1
settings = {"ranking.top_k" = 10, "ranking.let_back_after_days" = 1}
[arms.wide]
weight = 1
recipe = {factors = 8}
"""
MIXED = """
[arms.factors]
weight = 1
recipe = {neighbour_weight = 0.0}
"""


@dataclass(frozen=True)
class Tried(Service):
    """A service with a folder of experiments."""

    @property
    def experiments(self) -> Path:
        return self.folder / "experiments"

    def night(self, offset: int, *overrides: str) -> Night:
        own = ("als.retrain_every_nights=9", "experiments.holdback_share=0.05", *overrides)
        return super().night(offset, f'experiments.folder="{self.experiments}"', *own)

    def write_experiments(self, first: int, last: int) -> None:
        """Two experiments from one night to another: bold on 450 slots, mixed, of drafted lists, on 250."""
        self.experiments.mkdir(exist_ok=True)
        start, end = (FIRST + timedelta(days=offset) for offset in (first, last))
        nights = last - first + 1
        for name, slots, arms, measure in (
            ("bold", "first_slot = 0\nslots = 450", BOLD, "plays"),
            ("mixed", 'kind = "interleaving"\nfirst_slot = 500\nslots = 250', MIXED, "list_plays"),
        ):
            head = HEAD.format(name=name, start=start, end=end, last=nights)
            text = slots + head + arms + PLAYS.format(measure=measure)
            (self.experiments / f"{name}.toml").write_text(text, encoding="utf-8")

    def copy_to(self, folder: Path) -> "Tried":
        for name in ("landing", "warehouse", "cache", "experiments"):
            if (self.folder / name).exists():
                shutil.copytree(self.folder / name, folder / name)
        return Tried(folder)


@pytest.fixture(scope="module")
def plain(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Tried:
    """Three nights without an experiment. Shared: read it, or copy it."""
    service = Tried(tmp_path_factory.mktemp("plain"))
    simulate(service.folder / "landing", 300, 250, NIGHTS, seed=7, start=FIRST)
    run_nights([service.night(offset) for offset in range(NIGHTS)])
    return service


@pytest.fixture(scope="module")
def tried(plain: Tried, tmp_path_factory: pytest.TempPathFactory) -> Tried:
    """The same nights again, with two experiments from the second one on. Shared: read it, or copy it."""
    service = plain.copy_to(tmp_path_factory.mktemp("tried"))
    service.write_experiments(1, 3)
    run_nights([service.night(offset) for offset in range(1, NIGHTS)])
    return service


@pytest.fixture
def copied(tried: Tried, tmp_path: Path) -> Tried:
    """The tried service, to be changed."""
    return tried.copy_to(tmp_path)


def rows_of(night: Night, table: str) -> list[Row]:
    rows: list[Row] = tables.night_rows(night, table).to_pylist()
    return rows


def made(night: Night, table: str, where: Callable[[Row], bool] = lambda _: True) -> list[str]:
    """The rows of a table as texts, which tell floats apart to the bit, without what was measured."""
    kept = [column.name for column in contract(table).columns if not column.measured]
    rows = tables.night_rows(night, table, kept).to_pylist()
    return sorted(str(row) for row in rows if where(row))


def arms_of(night: Night) -> dict[str, tuple[str, str]]:
    """Experiment and arm of everyone assigned."""
    return {row["user_id"]: (row["experiment"], row["arm"]) for row in rows_of(night, "assignments")}


def lists_of(night: Night, experiment: str, arm: str) -> dict[str, list[str]]:
    """Items of an arm's lists by listener."""
    rows = [row for row in rows_of(night, "arm_lists") if (row["experiment"], row["arm"]) == (experiment, arm)]
    return {row["user_id"]: [entry["item_id"] for entry in row["items"]] for row in rows}


def test_an_experiment_that_does_not_run_changes_no_row_of_a_night(plain: Tried, tmp_path: Path) -> None:
    service = plain.copy_to(tmp_path)
    night = service.night(LAST)
    before = {table: made(night, table) for table in TABLES if table not in {"costs", "nights"}}
    (record,) = rows_of(night, "nights")
    service.write_experiments(LAST + 1, LAST + 4)
    run_nights([night])
    after = {table: made(night, table) for table in before}
    assert [table for table in before if after[table] != before[table]] == []
    assert before["ranked_lists"]
    (again,) = rows_of(night, "nights")
    assert {name for name in record if again[name] != record[name]} & {"content", "generation", "coverage"} == set()


@pytest.mark.parametrize("offset", [1, LAST])
def test_whoever_is_in_no_experiment_and_every_pool_is_as_without_one(plain: Tried, tried: Tried, offset: int) -> None:
    without, with_experiments = plain.night(offset), tried.night(offset)
    for table in ("items", "listens", "item_index", "interactions", "item_factors", "pools", "related_items"):
        assert made(with_experiments, table) == made(without, table), table
        assert made(without, table), table
    members = {user for user, (name, _) in arms_of(with_experiments).items() if name != "holdback"}
    lists = made(without, "ranked_lists", lambda row: row["user_id"] not in members)
    assert made(with_experiments, "ranked_lists", lambda row: row["user_id"] not in members) == lists
    assert len(lists) > 50 < len(members)
    control = {"arm": "control"}
    own = {str(row | control) for row in rows_of(without, "ranked_lists") if row["user_id"] in members}
    kept = [row for row in rows_of(with_experiments, "ranked_lists") if row["arm"] == "bold/control"]
    assert kept
    assert {str(row | control) for row in kept} <= own


def test_everyone_in_an_experiment_is_served_the_list_of_their_own_arm(tried: Tried) -> None:
    for offset in (1, LAST):
        night = tried.night(offset)
        arms = arms_of(night)
        assert {arm for _, arm in arms.values()} == {"control", "clean", "short", "wide", "interleaved", "holdback"}
        of_arm = {(name, arm): lists_of(night, name, arm) for name, arm in set(arms.values())}
        for row in rows_of(night, "ranked_lists"):
            name, arm = arms.get(row["user_id"], ("", ""))
            assert row["arm"] == (f"{name}/{arm}" if name else "control")
            if name not in {"", "holdback"}:
                assert [entry["item_id"] for entry in row["items"]] == of_arm[name, arm][row["user_id"]]
    with open_cache(tried.cache, read_only=True) as cache:
        for user, cell in arms.items():
            served = cache.get(user)
            assert served
            assert served.arm == "/".join(cell)
            assert cell[0] == "holdback" or list(served.item_ids) == of_arm[cell][user]


def test_every_arm_has_the_list_of_every_listener_of_its_experiment(tried: Tried) -> None:
    night = tried.night(LAST)
    members = {
        name: {user for user, (experiment, _) in arms_of(night).items() if experiment == name}
        for name in ("bold", "mixed")
    }
    for name, arms in (
        ("bold", ("control", "clean", "short", "wide")),
        ("mixed", ("control", "factors", "interleaved")),
    ):
        for arm in arms:
            assert lists_of(night, name, arm).keys() == members[name], arm
    assert arms_of(tried.night(1)).items() <= arms_of(night).items()


def test_a_listener_is_triggered_on_the_first_night_on_which_two_lists_differ(tried: Tried) -> None:
    before: dict[tuple[str, str, str], Any] = {}
    for offset in (1, LAST):
        night = tried.night(offset)
        cells = [("bold", arm) for arm in ("control", "clean", "short", "wide")]
        cells += [("mixed", arm) for arm in ("control", "factors")]
        lists = {cell: lists_of(night, *cell) for cell in cells}
        found = {}
        for row in rows_of(night, "triggers"):
            key = (row["experiment"], row["treatment"], row["user_id"])
            one, other = (lists[row["experiment"], arm][row["user_id"]] for arm in ("control", key[1]))
            places = [place for place, pair in enumerate(zip(one, other, strict=False), 1) if pair[0] != pair[1]]
            first = (places or [None if len(one) == len(other) else min(len(one), len(other)) + 1])[0]
            assert row["first_difference"] == first
            assert row["shared"] == len(set(one) & set(other))
            assert row["triggered_on"] == (before.get(key) or (night.run_date if first else None))
            found[key] = row["triggered_on"]
        before = found
    of_clean = Counter(on is not None for (_, treatment, _), on in before.items() if treatment == "clean")
    assert min(of_clean[True], of_clean[False]) > 10  # of some markets alone


def test_a_trigger_stays_for_good_and_a_night_run_again_writes_the_same_rows(
    spark: SparkSession, copied: Tried
) -> None:
    before, night = copied.night(1), copied.night(LAST)
    rows = rows_of(before, "triggers")
    untouched = {row["user_id"] for row in rows_of(night, "triggers") if not row["triggered_on"]}
    once = next(row for row in rows if row["user_id"] in untouched and row["treatment"] == "clean")
    again = {table: made(night, table) for table in RANKED}
    run_stage(spark, night, stage("rank_users"))
    assert {table: made(night, table) for table in again} == again

    once["triggered_on"] = before.run_date
    write(before, "triggers", rows)
    validate(spark, before, ["triggers"])
    run_stage(spark, night, stage("rank_users"))
    (kept,) = [
        row for row in rows_of(night, "triggers") if (row["user_id"], row["treatment"]) == (once["user_id"], "clean")
    ]
    assert (kept["triggered_on"], kept["first_difference"]) == (before.run_date, None)


def test_an_experiment_that_was_changed_while_it_runs_is_refused(spark: SparkSession, copied: Tried) -> None:
    file = copied.experiments / "bold.toml"
    file.write_text(file.read_text(encoding="utf-8").replace('salt = "bold"', 'salt = "bolder"'), encoding="utf-8")
    with pytest.raises(UsageError, match="an experiment was changed while it runs"):
        run_stage(spark, copied.night(LAST), stage("rank_users"))


def test_who_was_triggered_stays_so_though_a_night_lies_between_without_the_experiment(
    spark: SparkSession, copied: Tried
) -> None:
    before, night = copied.night(1), copied.night(LAST)
    elsewhere = copied.experiments.rename(copied.folder / "elsewhere")
    run_stage(spark, night, stage("rank_users"))
    assert rows_of(night, "triggers") == []
    elsewhere.rename(copied.experiments)
    run_stage(spark, night, stage("rank_users"))
    key = ("user_id", "treatment", "triggered_on")
    triggered = {tuple(row[name] for name in key) for row in rows_of(before, "triggers") if row["triggered_on"]}
    assert triggered <= {tuple(row[name] for name in key) for row in rows_of(night, "triggers")}


def test_arms_are_carried_over_and_are_what_they_are_computed_afresh(spark: SparkSession, copied: Tried) -> None:
    night = copied.night(LAST)
    changed = {row["user_id"] for row in rows_of(night, "interactions") if row["changed_on"] == night.run_date}
    carried = {arm: Counter[bool]() for arm in ("clean", "short", "wide", "factors")}
    for row in rows_of(night, "arm_pools"):
        if row["source"] == "als" and row["user_id"] not in changed:
            carried[row["arm"]][row["computed_on"] < night.run_date] += 1
    for arm, counts in carried.items():
        assert counts[True] > (0 if arm == "short" else counts[False]), arm  # what is let back is news every night
    first = copied.night(1)
    assert {row["computed_on"] for row in rows_of(first, "arm_pools") if row["arm"] == "wide"} == {first.run_date}

    stored = {table: made(night, table) for table in ("arm_pools", "arm_lists", "triggers", "ranked_lists")}
    run_stage(spark, copied.night(LAST, "ranking.carry_over=false"), stage("rank_users"))
    assert {row["computed_on"] for row in rows_of(night, "arm_pools")} == {night.run_date}
    assert {table: made(night, table) for table in stored} == stored


def test_an_experiment_that_is_over_has_no_rows_and_costs_nothing(
    spark: SparkSession, plain: Tried, copied: Tried
) -> None:
    night = copied.night(LAST)
    bold = next(each for each in load_experiments(str(copied.experiments)) if each.name == "bold")
    record_conclusion(night, bold, "control", "nothing came of it")
    file = copied.experiments / "mixed.toml"
    ended = file.read_text().replace(f"end = {FIRST + timedelta(days=3)}", f"end = {FIRST + timedelta(days=1)}")
    file.write_text(ended.replace("looks = [1, 3]", "looks = [1]"))

    run_stage(spark, night, stage("rank_users"))

    assert [tables.count(night, table) for table in ("arm_pools", "arm_lists", "triggers")] == [0, 0, 0]
    assert {name for name, _ in arms_of(night).values()} == {"holdback"}
    for table in ("pools", "ranked_lists"):
        assert made(night, table) == made(plain.night(LAST), table)


def test_what_is_known_of_the_days_before_is_what_was_recorded_at_the_start(spark: SparkSession, copied: Tried) -> None:
    start, night = copied.night(1), copied.night(LAST)
    bold = next(each for each in load_experiments(str(copied.experiments)) if each.name == "bold")

    def before(**changes: StoredRows) -> dict[Any, list[float]]:
        task = replace(look_task(night, start, bold), **changes)
        place = task.columns.index("before:plays")
        sums = measure_look(spark, task, 0)
        return {group: [each.count, each.means[place]] for group, each in sums.moments.items()}

    told = before()
    assert told["control", "everyone"][1] > 1
    records = [each for each in all_records(night.warehouse) if each.run_date == start.run_date]
    (record,) = [each for each in records if each.state == "published"]
    columns = look_task(night, start, bold).listens.columns
    days = [FIRST, start.run_date]
    version = record.manifest.versions["listens"]
    assert version < tables.version(night.warehouse, "listens")
    then = StoredRows.at(night, "listens", columns, version=version, values=days)
    assert before(listens=then) == told

    listens = rows_of(night, "listens")
    late = [row | {"event_id": f"late-{row['event_id']}", "plays": 100, "late": True} for row in listens]
    late = [row | {"listened_at": row["listened_at"] - timedelta(days=1)} for row in late]
    write(night, "listens", [*listens, *late])
    assert before() == told


def write(night: Night, table: str, rows: list[Row]) -> None:
    ordered = sorted(rows, key=lambda row: row["user_id"])
    writing.replace_night(pa.Table.from_pylist(ordered, schema=contract(table).arrow_schema), table, night)


def first_of(table: str, where: Callable[[Row], bool], change: Callable[[Row], Row | None]) -> Callable[[Night], None]:
    """Change the first row that there is, or take it away."""

    def spoil(night: Night) -> None:
        rows = rows_of(night, table)
        one = next(row for row in rows if where(row))
        changed = change(one)
        write(night, table, [*(row for row in rows if row is not one), *([one | changed] if changed else [])])

    return spoil


def without_trigger(_: Row) -> Row:
    return {"triggered_on": None, "first_difference": None}


def of_wide(row: Row) -> bool:
    return str(row.get("arm")) == "wide" and row.get("source", "als") == "als"


def served_wide(row: Row) -> bool:
    return str(row["arm"]) == "bold/wide" and str(row["source"]) == "als"


def drafted(row: Row) -> bool:
    return str(row["arm"]) == "interleaved" and len(set(row["teams"])) > 1


def alter_what_is_served(night: Night) -> None:
    """The list of an arm, of a listener who is served it, with its first two items in each other's place."""
    user = next(row["user_id"] for row in rows_of(night, "ranked_lists") if served_wide(row))
    first_of(
        "arm_lists",
        lambda row: row["user_id"] == user and of_wide(row),
        lambda row: {"items": [row["items"][1], row["items"][0], *row["items"][2:]], "digest": "0" * 16},
    )(night)


def list_something_heard(night: Night) -> None:
    """Put the last item heard on top of the list of an arm that its listener is not served."""
    ids = {row["item_index"]: row["item_id"] for row in rows_of(night, "item_index")}
    rows = {row["user_id"]: row for row in rows_of(night, "interactions")}

    def heard(row: Row) -> Row:
        of_user = rows[row["user_id"]]
        latest = max(zip(of_user["last_heard"], of_user["item_indexes"], strict=True))[1]
        return {"items": [row["items"][0] | {"item_id": ids[latest]}, *row["items"][1:]]}

    served = {row["user_id"] for row in rows_of(night, "ranked_lists") if row["arm"] == "bold/wide"}
    first_of("arm_lists", lambda row: of_wide(row) and row["user_id"] not in served, heard)(night)


SPOILS: dict[str, tuple[str, str, Callable[[Night], None]]] = {
    "a list under another arm": (
        "ranked_lists",
        "other_arm",
        first_of("ranked_lists", served_wide, lambda _: {"arm": "bold/clean"}),
    ),
    "a list of an arm under none": (
        "ranked_lists",
        "other_arm",
        first_of("ranked_lists", served_wide, lambda _: {"arm": "control"}),
    ),
    "an assignment moved": ("assignments", "misassigned", first_of("assignments", of_wide, lambda _: {"arm": "clean"})),
    "an assignment lost": ("assignments", "misassigned", first_of("assignments", of_wide, lambda _: None)),
    "an assignment to another experiment": (
        "assignments",
        "misassigned",
        first_of("assignments", of_wide, lambda _: {"experiment": "mixed", "arm": "interleaved"}),
    ),
    "a trigger forgotten": (
        "triggers",
        "forgotten",
        first_of("triggers", lambda row: row["triggered_on"] == FIRST + timedelta(days=1), without_trigger),
    ),
    "a trigger a night later": (
        "triggers",
        "forgotten",
        first_of(
            "triggers",
            lambda row: row["triggered_on"] == FIRST + timedelta(days=1),
            lambda row: {"triggered_on": row["run_date"]},
        ),
    ),
    "a listener without a trigger": (
        "triggers",
        "unlike_assignments",
        first_of("triggers", lambda row: not row["triggered_on"], lambda _: None),
    ),
    "a trigger under another arm": (
        "triggers",
        "unlike_assignments",
        first_of("triggers", of_wide, lambda _: {"arm": "clean"}),
    ),
    "a difference in another place": (
        "triggers",
        "unlike_lists",
        first_of(
            "triggers",
            lambda row: row["first_difference"] is not None,
            lambda row: {"first_difference": row["first_difference"] + 1},
        ),
    ),
    "a list that is not the one served": ("arm_lists", "unlike_served", alter_what_is_served),
    "an arm's list in another order": (
        "arm_lists",
        "unlike_pool",
        first_of("arm_lists", of_wide, lambda row: {"items": row["items"][::-1]}),
    ),
    "an item that was heard in a list that nobody is served": ("arm_lists", "heard_items", list_something_heard),
    "a list longer than its arm has": (
        "arm_lists",
        "too_long",
        first_of(
            "arm_lists",
            lambda row: row["arm"] == "short" and len(row["items"]) == 10,
            lambda row: {"items": [*row["items"], {"item_id": "one more", "score": 0.0}]},
        ),
    ),
    "teams that picked nothing of it": (
        "arm_lists",
        "undrafted",
        first_of("arm_lists", drafted, lambda row: {"teams": ["control"] * len(row["teams"])}),
    ),
    "a pool of control's model": (
        "arm_pools",
        "other_model",
        first_of("arm_pools", of_wide, lambda _: {"model_version": "als-of-old"}),
    ),
    "a pool of another row": ("arm_pools", "other_row", first_of("arm_pools", of_wide, lambda _: {"row_digest": "0"})),
}


def reasons(spark: SparkSession, night: Night, table: str) -> list[str]:
    """Why the gate would be closed by this table."""
    (verdict,) = validate(spark, night, [table])
    expected = {table: critical_expectations()[table]}
    return gate(verdict.rows, expected, {table: fingerprints.file_hashes(night, table)})


def test_sound_tables_of_experiments_close_no_gate(spark: SparkSession, tried: Tried) -> None:
    for table in ("ranked_lists", *OF_ARMS):
        assert reasons(spark, tried.night(LAST), table) == []


@pytest.mark.parametrize("name", SPOILS)
def test_a_spoilt_table_of_an_experiment_closes_the_gate(spark: SparkSession, copied: Tried, name: str) -> None:
    table, metric, spoil = SPOILS[name]
    night = copied.night(LAST)
    spoil(night)
    told = reasons(spark, night, table)
    assert any(reason.startswith(f"{table}: {metric} is ") for reason in told), told
