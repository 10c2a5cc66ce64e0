"""Retention over literal tables: what goes, what stays although its time is over, and what readers see meanwhile."""

import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from typer.testing import CliRunner

from nocturne.cli.main import app
from nocturne.core.errors import InputError, ServiceError, UsageError
from nocturne.core.experiment import parse_experiment
from nocturne.core.night import Night
from nocturne.core.settings import load_settings
from nocturne.flow import GATED_TABLES, TABLES
from nocturne.lifecycle import expiry, retention
from nocturne.lifecycle.expiry import ENCODERS, Inventory, Limits, expired_partitions
from nocturne.serving import publications
from nocturne.serving.cache.pointer import Generation, Pointer, to_json
from nocturne.serving.night_record import NightRecord
from nocturne.storage import delta_log, fingerprints, tables, writing
from nocturne.storage.contracts import contract
from nocturne.storage.model_transitions import ModelRecord
from nocturne.storage.tables import ACCUMULATED
from tests.fixtures import two_listeners

pytestmark = pytest.mark.slow

FIRST = date(2025, 3, 1)
SMALL = ("tables.buckets=1", "ranking.top_k=2", "als.factors=2")
WRITTEN = {
    "items": two_listeners.items,
    "listens": two_listeners.listens,
    "quarantine": two_listeners.quarantine,
    "ingests": two_listeners.ingests,
    "interactions": two_listeners.interactions,
    "pools": two_listeners.pools,
    "ranked_lists": two_listeners.ranked_lists,
    "rankings": two_listeners.rankings,
}
MakeNight = Callable[..., Night]


def day(offset: int) -> date:
    return FIRST + timedelta(days=offset)


def limits_of(**limits: int) -> list[str]:
    """Settings with these limits and no others, and files that go at once."""
    kept = {table: limits.get(table, 1_000_000) for table in load_settings().retention.nights}
    return ["retention.removed_files_hours=0", *(f"retention.nights.{name}={kept[name]}" for name in kept)]


@pytest.fixture
def at(night) -> Callable[..., Night]:
    """The night of an offset, in the warehouse of the test."""

    def make(offset: int, *overrides: str, **limits: int) -> Night:
        return night(day(offset), *SMALL, *limits_of(**limits), *overrides)

    return make


def write_night(night: Night) -> None:
    """The tables of one night, and a critical expectation that holds."""
    for table, rows in WRITTEN.items():
        two_listeners.write(night, table, rows(night.run_date))
    judge(night, "success")


def judge(night: Night, outcome: str) -> None:
    judged = dict.fromkeys(("limit", "files", "content"), "") | {"observed": 0.0, "seconds": 0.0}
    judged |= {"run_date": night.run_date, "table": "pools", "expectation": "rows", "severity": "critical"}
    two_listeners.write(night, "validations", [judged | {"outcome": outcome}])


def write_model(night: Night, *moves: tuple[int, str, date], state: str = "live") -> str:
    """A model trained on the night, its factors and its moves; returns its version."""
    version = f"als-{night.run_date}-00000000"
    told = [{"number": number, "state": name, "since": since, "by": "x", "why": ""} for number, name, since in moves]
    (row,) = two_listeners.models(night.run_date)
    rows = [row | {"model_version": version, "moves": told, "state": state}]
    where = f"model_version = '{version}'"
    writing.replace_rows(pa.Table.from_pylist(rows, contract("models").arrow_schema), "models", night.warehouse, where)
    factors = [each | {"model_version": version} for each in two_listeners.item_factors(night.run_date)]
    writing.replace_rows(
        pa.Table.from_pylist(factors, contract("item_factors").arrow_schema), "item_factors", night.warehouse, where
    )
    return version


def record_of(
    night: Night, state: str = "published", model: str | None = None, of=GATED_TABLES, **changes
) -> NightRecord:
    """The record of a night as its tables, or some of them, are now; changes are columns of `nights`."""
    columns = {
        "run_date": night.run_date,
        "state": state,
        "generation": f"{night.run_date}-aaaaaaaa",
        "reason": None,
        "listeners": 2,
        "model_version": model,
        "lists_digest": "aaaaaaaa",
        "code_version": "",
        "settings_hash": "",
        "content": {},
        "expectations": [],
        "coverage": [],
        "versions": {table: tables.version(night.warehouse, table) for table in of},
        "files": {table: fingerprints.file_names_hash(night, table)[0] for table in of},
        "costs": [],
        "manifest": "",
        "pointers": {},
    }
    return NightRecord.from_row(columns | changes)


def gone(night: Night, table: str, at_version: int, model_version: str | None = None) -> list[str]:
    """Data files of the night at a version that are not on the disk."""
    return fingerprints.missing_files(
        night, table, fingerprints.file_names_hash(night, table, at_version, model_version)[1]
    )


def record(night: Night, *records: NightRecord) -> None:
    """Replace the night's rows of `nights`."""
    two_listeners.write(night, "nights", [each.to_row() for each in records])


def publish(night: Night, **changes) -> NightRecord:
    made = record_of(night, **changes)
    record(night, made)
    return made


def retain(night: Night, caches: Iterable[Pointer] = (), *, dry_run: bool = False) -> list[retention.Removed]:
    """Retention as of the day of a night."""
    return retention.retain(night.warehouse, night.run_date, caches, dry_run=dry_run)


def pointer(*offsets: int, version: int = 1) -> Pointer:
    """A pointer that serves the first of these nights and may be rolled back to the others."""
    served, *earlier = (Generation(f"{day(offset)}-aaaaaaaa", day(offset)) for offset in offsets)
    return Pointer(served, tuple(earlier), version=version)


def there(night: Night, table: str) -> list[date]:
    return tables.dates(night.warehouse, table)


def listing(night: Night, *, log: bool = True) -> dict[str, tuple[int, int]]:
    """Every file below the warehouse with its size and time."""
    files = [
        path
        for path in Path(night.warehouse.path).rglob("*")
        if path.is_file() and (log or "_delta_log" not in path.parts)
    ]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def with_token(night: Night, token: int) -> Night:
    return replace(night, warehouse=replace(night.warehouse, token=token))


def removed_of(removed: list, table: str) -> retention.Removed:
    (found,) = [each for each in removed if each.table == table]
    return found


def age(folder: str | Path, hours: float) -> None:
    """Make every file below a folder older."""
    for path in Path(folder).rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - hours * 3600,) * 2)


def test_a_table_keeps_the_nights_that_settings_say_counted_back_from_the_run_date(at):
    for offset in range(6):
        write_night(at(offset))
    removed = retain(at(6, items=2, ranked_lists=4))
    assert there(at(6), "items") == [day(4), day(5)]
    assert there(at(6), "ranked_lists") == [day(2), day(3), day(4), day(5)]
    assert there(at(6), "ingests") == [day(offset) for offset in range(6)]
    of_items = removed_of(removed, "items")
    assert (of_items.partitions, of_items.rows, of_items.files) == (4, 20, 4)
    assert of_items.bytes > 0
    assert len(list(Path(at(6).warehouse.path, "items").rglob("*.parquet"))) == 2
    assert not list(Path(at(6).warehouse.path, "items").glob(f"run_date={day(0)}"))


def test_nights_after_the_run_date_stay(at):
    for offset in range(6):
        write_night(at(offset))
    retain(at(3, items=1))
    assert there(at(6), "items") == [day(2), day(3), day(4), day(5)]


@pytest.mark.parametrize(("name", "close"), [("listen", "listens"), ("ranked_list", "ranked_lists")])
def test_a_limit_for_what_is_no_table_is_refused_with_the_close_names(at, name: str, close: str):
    with pytest.raises(UsageError, match=rf"found: {name}\n  expected: .*{close}"):
        retain(at(1, f"retention.nights.{name}=3"))


@pytest.mark.parametrize(
    ("name", "told"), [("item_index", "item_index keeps every night"), (ENCODERS, "as long as the item_factors")]
)
def test_tables_that_others_count_on_may_have_no_limit(at, name: str, told: str):
    with pytest.raises(UsageError, match=told):
        retain(at(1, f"retention.nights.{name}=3"))


def test_every_limit_of_the_default_settings_is_that_of_a_table():
    assert set(load_settings().retention.nights) == set(TABLES) - set(ACCUMULATED) - {ENCODERS}
    assert Limits.of(load_settings().retention, FIRST).first("item_index") == date.min


def test_a_served_night_and_those_to_roll_back_to_keep_all_their_tables(at):
    for offset in range(8):
        write_night(at(offset))
        publish(at(offset))
    place = {"pointers": {"lmdb:/cache": to_json(pointer(3, 1)).decode()}}
    publish(at(3), **place)
    one = dict.fromkeys((*WRITTEN, "validations", "nights"), 1)
    retain(at(9, **one), [pointer(2)])
    for table in (*WRITTEN, "validations", "nights"):
        assert {day(1), day(2), day(3), day(7)} <= set(there(at(9), table))
    assert there(at(9), "items") == [day(1), day(2), day(3), day(7)]


def test_of_two_records_of_a_caches_pointer_the_last_move_counts(at):
    pointers = [
        {"a": to_json(pointer(1, version=2)).decode(), "b": to_json(pointer(4)).decode()},
        {"a": to_json(pointer(2, version=7)).decode()},
        {"a": to_json(pointer(3, version=3)).decode()},
    ]
    records = [record_of(at(0), of=(), pointers=places) for places in pointers]
    assert sorted(each.served.run_date for each in expiry.recorded_pointers(records)) == [day(2), day(4)]


def test_nothing_goes_while_a_pointer_on_record_cannot_be_read(at):
    write_night(at(0))
    publish(at(0), pointers={"lmdb:/cache": "{}"})
    with pytest.raises(InputError, match="pointer"):
        retain(at(9, items=1))
    assert there(at(0), "items") == [day(0)]


def test_the_last_published_night_stays_however_old_it_is(at):
    for offset in range(3):
        write_night(at(offset))
    publish(at(0))
    publish(at(1))
    record(at(2), record_of(at(2), "gate_closed", generation=None))
    retain(at(15, items=1, ranked_lists=1, nights=1))
    # Night 2 is the day that nights are counted back from.
    assert there(at(2), "items") == there(at(2), "ranked_lists") == there(at(2), "nights") == [day(1), day(2)]


def test_a_service_that_stands_still_loses_nothing_more(at):
    for offset in range(4):
        write_night(at(offset))
        publish(at(offset))
    retain(at(4, items=2, nights=2))
    assert there(at(0), "items") == there(at(0), "nights") == [day(2), day(3)]
    for removed in retain(at(17, items=2, nights=2)):
        assert (removed.partitions, removed.rows) == (0, 0)
    assert there(at(0), "items") == there(at(0), "nights") == [day(2), day(3)]


def test_a_day_far_beyond_the_newest_night_is_refused_and_removes_nothing(at):
    for offset in range(3):
        write_night(at(offset))
        publish(at(offset))
    as_written = listing(at(0))
    with pytest.raises(UsageError, match=r"far beyond the newest night\n.*the newest night is 2025-03-03"):
        retain(at(17, items=1))
    assert listing(at(0)) == as_written
    assert removed_of(retain(at(16, items=1), dry_run=True), "items").names == ["2025-03-01", "2025-03-02"]


def test_records_of_rollbacks_stay(at):
    for offset in range(4):
        write_night(at(offset))
        publish(at(offset))
    record(at(1), record_of(at(1), "rolled_back", reason="too much jazz"))
    retain(at(4, items=1, nights=1))
    assert there(at(0), "items") == [day(3)]
    assert there(at(0), "nights") == [day(1), day(3)]


def dated(**tables_: list[int]) -> dict[str, frozenset[date]]:
    return {table: frozenset(day(offset) for offset in offsets) for table, offsets in tables_.items()}


def test_what_the_next_night_is_built_on_stays():
    """The last two nights of the matrix and of pools, and before a closed night the last sound ones."""
    nights_there = dated(interactions=[0, 1, 2, 3, 4], pools=[0, 1, 2, 3, 4], items=[0, 1, 2, 3, 4])
    limits = Limits(day(90), dict.fromkeys(nights_there, 1))
    gone = expired_partitions(Inventory(nights_there), limits, dedup_nights=1)
    assert gone["interactions"] == gone["pools"] == {day(0), day(1), day(2)}
    assert gone["items"] == nights_there["items"]
    closed = Inventory(nights_there, closed=frozenset({day(3), day(4)}))
    assert expired_partitions(closed, limits, dedup_nights=1)["interactions"] == {day(0)}


def test_listens_that_the_matrix_lacks_or_that_tell_duplicates_stay():
    listened = dated(listens=[*range(10)], interactions=[3, 4, 5])
    limits = Limits(day(90), {"listens": 1})
    gone = expired_partitions(Inventory(listened), limits, dedup_nights=2)
    assert gone["listens"] == {day(offset) for offset in range(5)}
    closed = Inventory(listened, closed=frozenset({day(4), day(5)}))
    assert expired_partitions(closed, limits, dedup_nights=2)["listens"] == set()
    whole = dated(listens=[*range(10)], interactions=[*range(10)])
    assert expired_partitions(Inventory(whole), limits, dedup_nights=4)["listens"] == {
        day(offset) for offset in range(5)
    }


def test_exposures_that_tell_duplicates_stay():
    shown = dated(exposures=[*range(10)])
    gone = expired_partitions(Inventory(shown), Limits(day(90), {"exposures": 1}), dedup_nights=2)
    assert gone["exposures"] == {day(offset) for offset in range(7)}


def test_what_closed_a_gate_is_known_for_as_long_as_anything_of_that_night_is_there():
    nights_there = dated(listens=[2, 3], validations=[0, 1, 2, 3])
    limits = Limits(day(90), {"validations": 1})
    gone = expired_partitions(Inventory(nights_there, closed=frozenset({day(1), day(2)})), limits, dedup_nights=1)
    assert gone["validations"] == {day(0), day(1), day(3)}


def model(offset: int, *transitions: tuple[int, str, int], state: str = "retired") -> ModelRecord:
    steps = [(sequence, name, day(since)) for sequence, name, since in transitions]
    return two_listeners.model(f"m{offset}", day(offset), *steps, state=state)


def test_models_that_are_live_were_live_on_lists_that_stay_or_come_back_by_a_rejection_stay():
    rows = [
        model(0, (1, "live", 0)),
        model(1, (2, "live", 2)),  # live on night 5, whose lists stay
        model(2, (3, "live", 6), (4, "rejected", 7), state="rejected"),
        model(3, (5, "live", 10)),  # the one before the live one
        model(4, (6, "live", 20), state="live"),
        model(5, (7, "refused", 25), state="candidate"),
    ]
    inventory = Inventory(dated(ranked_lists=[5]), rows, {each.version: each.run_date for each in rows})
    gone = expired_partitions(inventory, Limits(day(90), {"models": 5, "item_factors": 5}), dedup_nights=1)
    assert gone["models"] == gone["item_factors"] == {"m0", "m2", "m5"}
    only_factors = expired_partitions(inventory, Limits(day(90), {"item_factors": 5}), dedup_nights=1)
    assert (only_factors["models"], only_factors["item_factors"]) == (set(), {"m0", "m2", "m5"})


def test_a_candidate_keeps_its_factors_for_as_long_as_its_row():
    rows = [
        model(0, (1, "candidate", 0), state="candidate"),
        model(1, (2, "candidate", 1), (3, "undecided", 2), state="candidate"),
        model(2, (4, "candidate", 2), (5, "refused", 3), state="candidate"),
    ]
    inventory = Inventory({}, rows, {each.version: each.run_date for each in rows}, frozenset({"m1", "m2", "lost"}))
    gone = expired_partitions(inventory, Limits(day(90), {"models": 400, "item_factors": 5}), dedup_nights=1)
    assert (gone["models"], gone["item_factors"], gone[ENCODERS]) == (set(), {"m2"}, {"m2", "lost"})
    year_later = expired_partitions(inventory, Limits(day(490), {"models": 400, "item_factors": 5}), dedup_nights=1)
    assert year_later["models"] == year_later["item_factors"] == {"m0", "m1", "m2"}


def an_experiment(first, last, **arm):
    nights = (day(last) - day(first)).days + 1
    values = {
        "hypothesis": "h",
        "salt": "s",
        "first_slot": 0,
        "slots": 10,
        "looks": [nights],
        "start": day(first),
        "end": day(last),
        "arms": {"control": {"weight": 1}, "new": {"weight": 1} | arm},
        "metrics": {"plays": {"role": "success", "measure": "plays", "minimum_effect": 0.01}},
    }
    return parse_experiment("one", values)


@pytest.mark.parametrize(("last", "stays"), [(60, True), (50, True), (4, False)])
def test_the_model_of_an_arm_stays_while_it_ranks_or_its_lists_stay(last, stays):
    rows = [model(0, (1, "candidate", 0), state="candidate"), model(1, (2, "live", 1), state="live")]
    inventory = Inventory(
        dated(ranked_lists=[50]),
        rows,
        {each.version: each.run_date for each in rows},
        experiments=(an_experiment(3, last, model="m0"),),
    )
    gone = expired_partitions(inventory, Limits(day(60), {"models": 5, "item_factors": 5}), dedup_nights=1)
    assert ("m0" not in gone["models"], "m0" not in gone["item_factors"]) == (stays, stays)


def test_the_model_of_the_holdback_stays():
    rows = [model(0, (1, "candidate", 0), state="candidate"), model(1, (2, "live", 1), state="live")]
    inventory = Inventory({}, rows, {each.version: each.run_date for each in rows}, holdback_model="m0")
    gone = expired_partitions(inventory, Limits(day(60), {"models": 5, "item_factors": 5}), dedup_nights=1)
    assert gone["models"] == gone["item_factors"] == set()


@pytest.mark.parametrize(("on", "stays"), [(41, True), (42, False)])
def test_what_listeners_had_heard_at_the_start_stays_until_the_last_look(on, stays):
    nights = dated(interactions=range(1, 42))
    inventory = Inventory(nights, experiments=(an_experiment(10, 40),))
    gone = expired_partitions(inventory, Limits(day(on), {"interactions": 5}), dedup_nights=1)
    assert (day(10) not in gone["interactions"]) is stays
    assert day(11) in gone["interactions"]


def test_rows_and_factors_of_old_models_go_and_the_live_one_ranks_on(at):
    old = write_model(at(0), (1, "live", day(0)), state="retired")
    before, live = write_model(at(1), (2, "live", day(1)), state="retired"), write_model(at(2), (3, "live", day(2)))
    removed = retain(at(90, models=5, item_factors=5))
    for table in ("models", "item_factors"):
        assert set(tables.rows(at(2).warehouse, table)["model_version"].to_pylist()) == {before, live}
        assert removed_of(removed, table).partitions == 1
    assert not list(Path(at(2).warehouse.path, "item_factors").rglob(f"model_version={old}"))


def test_a_published_night_that_was_run_again_since_is_still_read_at_its_version(at, spark):
    write_night(at(0))
    row = publish(at(0))
    for offset in (0, 1, 2):
        write_night(at(offset))
    publish(at(2))
    at_version = row.manifest.versions["ranked_lists"]
    table = at(0).warehouse.table_path("ranked_lists")
    old = {file for files in DeltaTable(table, version=at_version).file_uris() for file in [Path(files)]}
    assert not old & set(map(Path, DeltaTable(table).file_uris()))
    retain(at(3, ranked_lists=5))
    assert DeltaTable(table, version=at_version).to_pyarrow_table().num_rows == 2
    assert spark.read.format("delta").option("versionAsOf", at_version).load(table).count() == 2
    assert not gone(at(0), "ranked_lists", at_version)
    retain(at(6, ranked_lists=2))
    assert not any(path.exists() for path in old)
    assert spark.read.format("delta").load(table).count() == len(DeltaTable(table).to_pyarrow_table()) == 4


def test_of_a_night_whose_gate_closed_when_it_was_run_again_the_published_tables_can_be_read(at):
    write_night(at(0))
    row = record_of(at(0), "superseded")
    write_night(at(0))
    record(at(0), record_of(at(0), "gate_closed", generation=None), row)
    retain(at(1))
    assert not gone(at(0), "listens", row.manifest.versions["listens"])


def test_a_superseded_generation_stays_whole_while_a_cache_keeps_it(at):
    write_night(at(0))
    first = record_of(at(0), "superseded")
    write_night(at(0))
    record(at(0), record_of(at(0), generation=f"{day(0)}-bbbbbbbb"), first)
    retain(at(1), [pointer(0)])
    assert not gone(at(0), "pools", first.manifest.versions["pools"])
    retain(at(1))
    assert gone(at(0), "pools", first.manifest.versions["pools"])


def test_the_row_of_a_model_stays_readable_as_a_published_night_saw_it(at):
    version = write_model(at(0), (1, "live", day(0)))
    write_night(at(0))
    row = publish(at(0), model=version)
    write_model(at(0), (1, "live", day(0)), (2, "rejected", day(5)), state="rejected")
    retain(at(1))
    assert not gone(at(0), "models", row.manifest.versions["models"], version)
    (seen,) = (
        DeltaTable(at(0).warehouse.table_path("models"), version=row.manifest.versions["models"])
        .to_pyarrow_table()
        .to_pylist()
    )
    assert seen["state"] == "live"


def test_files_stay_for_whoever_opened_a_table_before_its_nights_went(at):
    for offset in range(4):
        write_night(at(offset))
    path = at(0).warehouse.table_path("items")
    age(at(0).warehouse.path, hours=1_000)
    opened = DeltaTable(path)
    hours = "retention.removed_files_hours=48"
    removed = retain(at(4, hours, items=1))
    assert (removed_of(removed, "items").partitions, removed_of(removed, "items").files) == (3, 0)
    assert opened.to_pyarrow_table().num_rows == 20
    assert removed_of(retain(at(4, items=1)), "items").files == 3


def test_what_dead_tasks_and_drivers_left_goes(at):
    write_night(at(0))
    warehouse = Path(at(0).warehouse.path)
    bucket = next((warehouse / "pools").glob(f"run_date={day(0)}/bucket=*"))
    dead = bucket.parents[1] / f"run_date={day(1)}" / "bucket=0"
    dead.mkdir(parents=True)
    left = [bucket / "part-dead.parquet", dead / "part-dead.parquet", bucket / "part-dead.parquet#1"]
    left.append(warehouse / "pools" / "_delta_log" / "_commit_dead.json.tmp")
    (warehouse / ".ranking-dead" / "marks").mkdir(parents=True)
    left.append(warehouse / ".ranking-dead" / "ranker")
    for path in left:
        path.write_bytes(b"dead")
    young = retain(at(1, "retention.removed_files_hours=48"))
    assert [path.exists() for path in left] == [True] * 4 + [False]
    assert (removed_of(young, ".ranking-*").files, removed_of(young, ".ranking-*").bytes) == (1, 4)
    assert not (warehouse / ".ranking-dead").exists()
    removed = retain(at(1))
    assert not any(path.exists() for path in left)
    assert not dead.parent.exists()
    assert removed_of(removed, "pools").files == 3 + 1
    assert tables.rows(at(0).warehouse, "pools").num_rows == 2


def test_manifests_and_pages_of_nights_that_are_gone_go_and_others_stay(at):
    names = {
        "_manifests": [f"{day(0)}-aaaaaaaa.json", f"{day(0)}-closed.json", f"{day(5)}-aaaaaaaa.json", "notes.txt"],
        "_attempts": [f"{day(0)}.json", f"{day(5)}.json"],
        "_data_docs": [f"{day(0)}.html", f"{day(5)}.html", "index.html"],
    }
    for offset in (0, 5):
        write_night(at(offset))
        publish(at(offset))
    for folder, files in names.items():
        Path(at(0).warehouse.path, folder).mkdir()
        for name in files:
            Path(at(0).warehouse.path, folder, name).write_text("{}")
    limits = {"nights": 3, "validations": 3}
    retain(at(6, **limits), [pointer(0)])
    assert all(Path(at(0).warehouse.path, folder, name).exists() for folder, files in names.items() for name in files)
    retain(at(6, **limits))
    left = {folder: sorted(path.name for path in Path(at(0).warehouse.path, folder).iterdir()) for folder in names}
    assert left == {
        "_manifests": [f"{day(5)}-aaaaaaaa.json", "notes.txt"],
        "_attempts": [f"{day(5)}.json"],
        "_data_docs": [f"{day(5)}.html", "index.html"],
    }


def test_a_dry_run_says_the_same_and_changes_nothing(at):
    for offset in range(15):
        write_night(at(offset))
        publish(at(offset))
    write_model(at(0), (1, "live", day(0)))
    write_night(at(14))
    Path(at(0).warehouse.path, ".ranking-dead").mkdir()
    limits = {"items": 2, "pools": 3, "ranked_lists": 5, "nights": 6, "validations": 1}
    before = listing(at(0))
    told = retain(at(15, **limits), dry_run=True)
    assert listing(at(0)) == before
    assert told == retain(at(15, **limits))
    assert removed_of(told, "nights").log_files > 0
    assert listing(at(0)) != before


def test_removing_nothing_writes_nothing(at):
    for offset in range(12):
        write_night(at(offset))
        publish(at(offset))
    limits = {"items": 4, "ranked_lists": 6}
    retain(at(12, **limits))
    before = listing(at(0))
    removed = retain(at(12, **limits))
    assert listing(at(0)) == before
    assert {(each.partitions, each.rows, each.files, each.log_files, each.bytes) for each in removed} == {
        (0, 0, 0, 0, 0)
    }


@pytest.mark.parametrize(
    ("step", "after"),
    [
        ("_commit", 0),
        ("_commit", 1),
        ("_commit", 8),
        ("_unlink", 0),
        ("_unlink", 1),
        ("_unlink", 6),
        ("_remove_side_files", 0),
    ],
)
def test_a_retention_killed_anywhere_and_run_again_ends_the_same(at, monkeypatch, step: str, after: int):
    class Killed(BaseException):
        pass

    for offset in range(4):
        write_night(at(offset))
        publish(at(offset))
    limits = {"items": 2, "listens": 2, "ranked_lists": 1, "nights": 2}
    done = getattr(retention, step)
    calls = iter(range(100))

    def dies(*arguments, **options):
        if next(calls) >= after:
            raise Killed
        return done(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(retention, step, dies)
        with pytest.raises(Killed):
            retain(at(4, **limits))
    (last,) = [each for each in publications.all_records(at(0).warehouse) if each.run_date == day(3)]
    assert not any(gone(at(3), table, last.manifest.versions[table]) for table in WRITTEN)
    retain(at(4, **limits))
    assert there(at(0), "items") == there(at(0), "nights") == [day(2), day(3)]
    assert there(at(0), "ranked_lists") == [day(3)]
    for table in TABLES:
        delta = DeltaTable(at(0).warehouse.table_path(table))
        assert sorted(map(Path, delta.file_uris())) == sorted(
            Path(delta.table_uri.removeprefix("file://")).rglob("*.parquet")
        )


def test_a_late_retention_deletes_nothing_once_another_process_took_over(at):
    from nocturne.storage.warehouse import fence_out_previous_writers

    for offset in range(4):
        write_night(with_token(at(offset), 1))
    fence_out_previous_writers(with_token(at(0), 2).warehouse)
    before = listing(at(0), log=False)
    with pytest.raises(ServiceError, match="another process has written this table"):
        retain(with_token(at(9, items=1), 1))
    assert listing(at(0), log=False) == before


def test_the_log_keeps_every_version_that_a_kept_night_names_and_drops_the_older_ones(at, spark):
    rows = []
    for offset in range(40):
        night = at(offset)
        for table in ("items", "ranked_lists"):
            two_listeners.write(night, table, WRITTEN[table](day(offset)))
        rows.append(publish(night, of=("items", "ranked_lists")))
        if offset % 5 == 4:
            retain(at(offset + 1, items=10, ranked_lists=10))
    path = at(0).warehouse.table_path("items")
    for row in rows[-10:]:
        version = row.manifest.versions["items"]
        of_night = DeltaTable(path, version=version).to_pyarrow_table(filters=[("run_date", "=", row.run_date)])
        assert of_night.num_rows == 5
    oldest = rows[-10].manifest.versions["items"]
    read = spark.read.format("delta").option("versionAsOf", oldest).load(path)
    assert read.where(f"run_date = '{rows[-10].run_date}'").count() == 5
    assert spark.read.format("delta").load(path).count() == DeltaTable(path).to_pyarrow_table().num_rows == 50
    assert delta_log.Log.read(Path(path)).first > 20


def test_the_log_stays_for_the_hours_since_the_checkpoint_that_replaces_it(at):
    for offset in range(12):
        two_listeners.write(at(offset), "items", two_listeners.items(day(offset)))
    path = Path(at(0).warehouse.table_path("items"))
    age(path, hours=1_000)
    hours = "retention.removed_files_hours=48"
    assert removed_of(retain(at(12, hours)), "items").log_files == 0
    age(path, hours=47)
    assert removed_of(retain(at(12, hours)), "items").log_files == 0
    age(path, hours=49)
    assert removed_of(retain(at(12, hours)), "items").log_files >= 12


def test_a_checkpoint_that_no_hint_points_to_replaces_nothing(at):
    for offset in range(12):
        two_listeners.write(at(offset), "items", two_listeners.items(day(offset)))
    path = Path(at(0).warehouse.table_path("items"))
    DeltaTable(path).create_checkpoint()
    (path / "_delta_log" / "_last_checkpoint").unlink()
    assert delta_log.Log.read(path).unneeded([], 13, hours=0) == []


def test_delta_no_longer_cleans_up_a_log_that_retention_looks_after(at):
    night = at(0, items=35)
    retain(night)
    limits = night.settings.retention.nights
    assert delta_log.properties(limits["items"])["delta.deletedFileRetentionDuration"] == "interval 42 days"
    for table in TABLES:
        properties = DeltaTable(night.warehouse.table_path(table)).metadata().configuration
        assert properties.items() >= delta_log.properties(limits.get(table)).items()


def test_the_fence_outlasts_the_log_that_raised_it(at):
    for offset in range(15):
        two_listeners.write(with_token(at(offset), 7), "items", two_listeners.items(day(offset)))
    retain(with_token(at(15, items=2), 8))
    assert min(delta_log.Log.read(Path(at(0).warehouse.table_path("items"))).commits) > 5
    with pytest.raises(ServiceError, match="another process"):
        two_listeners.write(with_token(at(15), 7), "items", two_listeners.items(day(15)))


def test_disk_and_log_stay_flat_over_many_nights(at):
    found = []
    for offset in range(30):
        night, written = at(offset), ("items", "ranked_lists")
        for table in written:
            two_listeners.write(night, table, WRITTEN[table](day(offset)))
        publish(night, of=written)
        retain(at(offset + 1, **dict.fromkeys((*written, "nights"), 4)))
        there = listing(at(0))
        found.append((len(there), sum(size for size, _ in there.values())))
    files, sizes = zip(*found, strict=True)
    assert max(files[20:]) <= max(files[10:20])
    # Checkpoints tell of every removed file for days, and these nights take seconds.
    assert max(sizes[20:]) <= 1.1 * max(sizes[10:20])


def test_the_command_prints_a_row_a_table_and_frees_what_it_says(at, tmp_path):
    for offset in range(4):
        write_night(at(offset))
    options = [text for each in limits_of(items=1) for text in ("--set", each)]
    told = ["retain", "--warehouse", at(0).warehouse.path, "--run-date", str(day(4)), *options]
    dry = CliRunner().invoke(app, [*told, "--dry-run", "--json"])
    assert dry.exit_code == 0
    assert there(at(0), "items") == [day(0), day(1), day(2), day(3)]
    done = CliRunner().invoke(app, [*told, "--json"])
    assert json.loads(done.stdout) == json.loads(dry.stdout)
    assert "freed 0." in done.stderr
    assert "removes 3 of items, 15 rows: 2025-03-01, 2025-03-02, 2025-03-03\n" in done.stderr
    (of_items,) = [row for row in json.loads(done.stdout) if row["table"] == "items"]
    assert (of_items["partitions"], of_items["rows"], of_items["files"]) == (3, 15, 3)
    assert there(at(0), "items") == [day(3)]


def test_the_command_asks_the_cache_what_it_keeps(at):
    from nocturne.serving.cache import GenerationInfo, open_cache

    for offset in range(4):
        write_night(at(offset))
    kept = pointer(1, 0)
    with open_cache(at(0).cache) as cache:
        cache.load(kept.served.name, GenerationInfo(day(1), 0, (), pa.array([], pa.string())), [])
        cache.swap_pointer(None, kept)
    options = [text for each in limits_of(items=1) for text in ("--set", each)]
    told = ["retain", "--warehouse", at(0).warehouse.path, "--run-date", str(day(4)), "--cache", at(0).cache, *options]
    assert CliRunner().invoke(app, told).exit_code == 0
    assert there(at(0), "items") == [day(0), day(1), day(3)]


def test_a_day_to_come_is_refused(at):
    done = CliRunner().invoke(app, ["retain", "--warehouse", at(0).warehouse.path, "--run-date", "2999-01-01"])
    assert done.exit_code == 2
    assert "too early" in done.stderr
