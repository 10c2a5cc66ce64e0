"""Disks that are full or read-only, a byte that changed, a log that lost its end: nothing of it is served, every
message is clear, and a rerun is all it takes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.tools import cache_reader
from tests.faults.tools.faulty_disk import Disk, flip_a_byte, lose_the_last_commit
from tests.faults.tools.killable_process import Job, Nursery
from tests.faults.tools.sample_service import STAGES, Service, pointer_of
from tests.tools.compare_warehouses import compare_warehouses

OnDisk = Callable[[Service], Service]
WHOLE_NIGHT = (*STAGES, "refresh_cache")


def command_of(service: Service, stage: str) -> tuple[str, ...]:
    return ("job", stage, *service.options(1, *(["--validate"] if stage in STAGES else [])))


def job(farm: Nursery, service: Service, stage: str) -> Job:
    """Started, and waited for."""
    started = farm.start(*command_of(service, stage))
    started.wait()
    return started


def assert_old_night_is_served(service: Service) -> None:
    pointer = pointer_of(service.cache)
    assert pointer
    assert str(pointer.served.run_date) == "2025-03-01"
    assert cache_reader.wrong_in(service.cache, cache_reader.promised(service.night(0))) == []


def assert_rerun_is_as_undisturbed(farm: Nursery, service: Service, undisturbed: Service, first: str) -> None:
    for stage in WHOLE_NIGHT[WHOLE_NIGHT.index(first) :]:
        again = job(farm, service, stage)
        assert again.wait() == 0, again.said
    assert compare_warehouses(undisturbed.warehouse, service.warehouse) == []
    assert pointer_of(service.cache) == pointer_of(undisturbed.cache)


@pytest.mark.parametrize(
    ("table", "column", "first"),
    [
        ("ranked_lists", "items.list.element.score", "rank_users"),
        ("pools", "scores.list.element", "rank_users"),
        ("interactions", "play_sums.list.element", "build_interactions"),
    ],
)
def test_a_byte_that_changed_after_validation_closes_the_gate_with_3(
    farm: Nursery, ranked: Service, undisturbed: Service, tmp_path: Path, table: str, column: str, first: str
) -> None:
    service = ranked.copied(tmp_path / "service")
    flip_a_byte(f"{service.warehouse}/{table}", "run_date=2025-03-02", column)
    refused = job(farm, service, "refresh_cache")
    assert refused.wait() == 3, refused.said
    assert f"{table} changed after it was validated" in refused.said
    assert_old_night_is_served(service)
    assert_rerun_is_as_undisturbed(farm, service, undisturbed, first)


@pytest.mark.parametrize(
    ("table", "column"), [("ranked_lists", "items.list.element.score"), ("pools", "scores.list.element")]
)
def test_a_byte_that_changes_between_a_write_and_its_validation_is_found_by_that(
    farm: Nursery, ranked: Service, undisturbed: Service, tmp_path: Path, table: str, column: str
) -> None:
    service = ranked.copied(tmp_path / "service")
    plan = {"folder": str(service.folder), "named": "delta-rs write costs #1", "stops": True}
    found = farm.start("job", "rank_users", *service.options(1, "--validate"), plan=plan)
    found.stopped()
    flip_a_byte(f"{service.warehouse}/{table}", "run_date=2025-03-02", column)
    found.go_on()
    assert found.wait() == 4, found.said
    assert "a data file cannot be read: it is damaged" in found.said
    refused = job(farm, service, "refresh_cache")
    assert refused.wait() == 3, refused.said
    assert_old_night_is_served(service)
    assert_rerun_is_as_undisturbed(farm, service, undisturbed, "rank_users")


@pytest.mark.parametrize(
    ("table", "first"),
    [
        ("interactions", "build_interactions"),
        ("item_factors", "train_als"),
        ("ranked_lists", "rank_users"),
        ("validations", "rank_users"),
    ],
)
def test_a_log_that_lost_its_last_commit_is_not_served_and_a_rerun_ends_as_undisturbed(
    farm: Nursery, ranked: Service, undisturbed: Service, tmp_path: Path, table: str, first: str
) -> None:
    service = ranked.copied(tmp_path / "service")
    lose_the_last_commit(f"{service.warehouse}/{table}")
    refused = job(farm, service, "refresh_cache")
    assert refused.wait() == 3, refused.said
    assert_old_night_is_served(service)
    assert_rerun_is_as_undisturbed(farm, service, undisturbed, first)


def test_a_stage_on_a_table_whose_log_lost_its_last_commit_publishes_nothing(
    farm: Nursery, ranked: Service, undisturbed: Service, tmp_path: Path
) -> None:
    """Ranking finds no rows of the night; the gate tells that they are not those that were validated."""
    service = ranked.copied(tmp_path / "service")
    lose_the_last_commit(f"{service.warehouse}/interactions")
    assert job(farm, service, "rank_users").wait() in (0, 3, 4)
    assert job(farm, service, "refresh_cache").wait() == 3
    assert_old_night_is_served(service)
    assert_rerun_is_as_undisturbed(farm, service, undisturbed, "build_interactions")


def test_the_state_of_nights_that_lost_its_last_commit_is_made_again_by_the_rerun(
    farm: Nursery, undisturbed: Service, tmp_path: Path
) -> None:
    service = undisturbed.copied(tmp_path / "service")
    for _ in range(2):  # the pointer on record, and then the publication itself
        lose_the_last_commit(f"{service.warehouse}/nights")
        assert_rerun_is_as_undisturbed(farm, service, undisturbed, "refresh_cache")
        lose_the_last_commit(f"{service.warehouse}/nights")


# On a disk of its own


@pytest.fixture
def on_disk(disk: Disk, tmp_path: Path) -> Callable[[Service], Service]:
    """Copies a service onto the small disk."""

    def copy(service: Service) -> Service:
        disk.copy_in(service.folder, tmp_path.name)
        folder = disk.folder / tmp_path.name
        return Service(folder, service.landing, f"lmdb:{folder}/cache")

    return copy


def assert_as_undisturbed(disk: Disk, service: Service, undisturbed: Service, out: Path) -> None:
    disk.move_out(service.folder.name, out)
    assert compare_warehouses(undisturbed.warehouse, f"{out}/warehouse") == []
    assert pointer_of(f"lmdb:{out}/cache") == pointer_of(undisturbed.cache)


def test_a_read_only_warehouse_is_2_and_stays_as_it_was(
    disk: Disk, there: Nursery, on_disk: OnDisk, undisturbed: Service, tmp_path: Path
) -> None:
    service = on_disk(undisturbed)
    disk.protect(service.warehouse)
    refused = [job(there, service, stage) for stage in WHOLE_NIGHT]
    assert [each.wait() for each in refused] == [2] * len(WHOLE_NIGHT)
    assert {"the warehouse cannot be written" in each.said for each in refused} == {True}
    disk.unprotect(service.warehouse)
    assert_as_undisturbed(disk, service, undisturbed, tmp_path / "service")


@pytest.mark.parametrize(
    ("stage", "point"),
    [
        ("train_als", "delta-rs write models #1"),
        ("rank_users", "delta-rs commit ranked_lists #1"),
        ("refresh_cache", "delta-rs write nights #1"),
    ],
)
def test_a_warehouse_that_becomes_read_only_in_the_middle_is_a_clear_error(
    disk: Disk,
    there: Nursery,
    on_disk: OnDisk,
    ranked: Service,
    undisturbed: Service,
    tmp_path: Path,
    stage: str,
    point: str,
) -> None:
    service = on_disk(ranked)
    plan = {"folder": str(service.folder), "named": point, "stops": True}
    failed = there.start(*command_of(service, stage), plan=plan)
    assert failed.stopped() == point
    disk.protect(service.warehouse)
    failed.go_on()
    status = failed.wait()
    disk.unprotect(service.warehouse)
    again = [job(there, service, each) for each in WHOLE_NIGHT[WHOLE_NIGHT.index(stage) :]]
    assert {each.wait() for each in again} == {0}
    assert_as_undisturbed(disk, service, undisturbed, tmp_path / "service")
    assert (status in (2, 5), "Traceback" in failed.said) == (True, False), failed.said


def test_a_full_disk_is_5_in_every_stage_and_the_rerun_with_room_ends_as_undisturbed(
    disk: Disk, there: Nursery, on_disk: OnDisk, first_night: Service, undisturbed: Service, tmp_path: Path
) -> None:
    service = on_disk(first_night)
    failures = {}
    for stage in WHOLE_NIGHT:
        disk.fill(but_kilobytes=8)
        failed = job(there, service, stage)
        failures[stage] = failed.wait(), "Traceback" in failed.said
        disk.clear()
        again = job(there, service, stage)
        assert again.wait() == 0, again.said
    assert_as_undisturbed(disk, service, undisturbed, tmp_path / "service")
    assert failures == dict.fromkeys(WHOLE_NIGHT, (5, False))
