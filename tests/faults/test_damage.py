"""Disks that are full or read-only, a byte that changed, a log that lost its end: nothing of it is served, every
message is clear, and a rerun is all it takes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.tools import cache_reader
from tests.faults.tools.faulty_disk import PrivateDisk, flip_a_byte, lose_the_last_commit
from tests.faults.tools.killable_process import ChildProcess, ForkServer
from tests.faults.tools.sample_service import STAGES, Service, read_pointer
from tests.tools.compare_warehouses import compare_warehouses

OnDisk = Callable[[Service], Service]
WHOLE_NIGHT = (*STAGES, "refresh_cache")


def stage_command(service: Service, stage: str) -> tuple[str, ...]:
    return ("job", stage, *service.options(1, *(["--validate"] if stage in STAGES else [])))


def run_stage(fork_server: ForkServer, service: Service, stage: str) -> ChildProcess:
    """Start a job, and wait for its end."""
    job = fork_server.start(*stage_command(service, stage))
    job.wait()
    return job


def assert_old_night_is_served(service: Service) -> None:
    pointer = read_pointer(service.cache)
    assert pointer
    assert str(pointer.served.run_date) == "2025-03-01"
    assert cache_reader.check_cache(service.cache, cache_reader.validated_lists(service.night(0))) == []


def assert_rerun_is_as_undisturbed(fork_server: ForkServer, service: Service, undisturbed: Service, first: str) -> None:
    for stage in WHOLE_NIGHT[WHOLE_NIGHT.index(first) :]:
        rerun = run_stage(fork_server, service, stage)
        assert rerun.wait() == 0, rerun.output
    assert compare_warehouses(undisturbed.warehouse, service.warehouse) == []
    assert read_pointer(service.cache) == read_pointer(undisturbed.cache)


@pytest.mark.parametrize(
    ("table", "column", "first"),
    [
        ("ranked_lists", "items.list.element.score", "rank_users"),
        ("pools", "scores.list.element", "rank_users"),
        ("interactions", "play_sums.list.element", "build_interactions"),
    ],
)
def test_a_byte_that_changed_after_validation_closes_the_gate_with_3(
    fork_server: ForkServer, ranked: Service, undisturbed: Service, tmp_path: Path, table: str, column: str, first: str
) -> None:
    service = ranked.copy_to(tmp_path / "service")
    flip_a_byte(f"{service.warehouse}/{table}", "run_date=2025-03-02", column)
    refused = run_stage(fork_server, service, "refresh_cache")
    assert refused.wait() == 3, refused.output
    assert f"{table} changed after it was validated" in refused.output
    assert_old_night_is_served(service)
    assert_rerun_is_as_undisturbed(fork_server, service, undisturbed, first)


@pytest.mark.parametrize(
    ("table", "column"), [("ranked_lists", "items.list.element.score"), ("pools", "scores.list.element")]
)
def test_a_byte_that_changes_between_a_write_and_its_validation_is_found_by_that(
    fork_server: ForkServer, ranked: Service, undisturbed: Service, tmp_path: Path, table: str, column: str
) -> None:
    service = ranked.copy_to(tmp_path / "service")
    plan = {"folder": str(service.folder), "at_point": "delta-rs write costs #1", "stops": True}
    job = fork_server.start("job", "rank_users", *service.options(1, "--validate"), plan=plan)
    job.wait_until_stopped()
    flip_a_byte(f"{service.warehouse}/{table}", "run_date=2025-03-02", column)
    job.resume()
    assert job.wait() == 4, job.output
    assert "a data file cannot be read: it is damaged" in job.output
    refused = run_stage(fork_server, service, "refresh_cache")
    assert refused.wait() == 3, refused.output
    assert_old_night_is_served(service)
    assert_rerun_is_as_undisturbed(fork_server, service, undisturbed, "rank_users")


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
    fork_server: ForkServer, ranked: Service, undisturbed: Service, tmp_path: Path, table: str, first: str
) -> None:
    service = ranked.copy_to(tmp_path / "service")
    lose_the_last_commit(f"{service.warehouse}/{table}")
    refused = run_stage(fork_server, service, "refresh_cache")
    assert refused.wait() == 3, refused.output
    assert_old_night_is_served(service)
    assert_rerun_is_as_undisturbed(fork_server, service, undisturbed, first)


def test_a_stage_on_a_table_whose_log_lost_its_last_commit_publishes_nothing(
    fork_server: ForkServer, ranked: Service, undisturbed: Service, tmp_path: Path
) -> None:
    """Ranking finds no rows of the night; the gate tells that they are not those that were validated."""
    service = ranked.copy_to(tmp_path / "service")
    lose_the_last_commit(f"{service.warehouse}/interactions")
    assert run_stage(fork_server, service, "rank_users").wait() in (0, 3, 4)
    assert run_stage(fork_server, service, "refresh_cache").wait() == 3
    assert_old_night_is_served(service)
    assert_rerun_is_as_undisturbed(fork_server, service, undisturbed, "build_interactions")


def test_the_state_of_nights_that_lost_its_last_commit_is_made_again_by_the_rerun(
    fork_server: ForkServer, undisturbed: Service, tmp_path: Path
) -> None:
    service = undisturbed.copy_to(tmp_path / "service")
    for _ in range(2):  # the pointer on record, and then the publication itself
        lose_the_last_commit(f"{service.warehouse}/nights")
        assert_rerun_is_as_undisturbed(fork_server, service, undisturbed, "refresh_cache")
        lose_the_last_commit(f"{service.warehouse}/nights")


# On a disk of its own


@pytest.fixture
def on_disk(disk: PrivateDisk, tmp_path: Path) -> Callable[[Service], Service]:
    """Copies a service onto the small disk."""

    def copy(service: Service) -> Service:
        disk.copy_in(service.folder, tmp_path.name)
        folder = disk.folder / tmp_path.name
        return Service(folder, service.landing, f"lmdb:{folder}/cache")

    return copy


def assert_as_undisturbed(disk: PrivateDisk, service: Service, undisturbed: Service, out: Path) -> None:
    disk.move_out(service.folder.name, out)
    assert compare_warehouses(undisturbed.warehouse, f"{out}/warehouse") == []
    assert read_pointer(f"lmdb:{out}/cache") == read_pointer(undisturbed.cache)


def test_a_read_only_warehouse_is_2_and_stays_as_it_was(
    disk: PrivateDisk, disk_fork_server: ForkServer, on_disk: OnDisk, undisturbed: Service, tmp_path: Path
) -> None:
    service = on_disk(undisturbed)
    disk.protect(service.warehouse)
    refused = [run_stage(disk_fork_server, service, stage) for stage in WHOLE_NIGHT]
    assert [each.wait() for each in refused] == [2] * len(WHOLE_NIGHT)
    assert {"the warehouse cannot be written" in each.output for each in refused} == {True}
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
    disk: PrivateDisk,
    disk_fork_server: ForkServer,
    on_disk: OnDisk,
    ranked: Service,
    undisturbed: Service,
    tmp_path: Path,
    stage: str,
    point: str,
) -> None:
    service = on_disk(ranked)
    plan = {"folder": str(service.folder), "at_point": point, "stops": True}
    failed = disk_fork_server.start(*stage_command(service, stage), plan=plan)
    assert failed.wait_until_stopped() == point
    disk.protect(service.warehouse)
    failed.resume()
    status = failed.wait()
    disk.unprotect(service.warehouse)
    reruns = [run_stage(disk_fork_server, service, each) for each in WHOLE_NIGHT[WHOLE_NIGHT.index(stage) :]]
    assert {each.wait() for each in reruns} == {0}
    assert_as_undisturbed(disk, service, undisturbed, tmp_path / "service")
    assert (status in (2, 5), "Traceback" in failed.output) == (True, False), failed.output


def test_a_full_disk_is_5_in_every_stage_and_the_rerun_with_room_ends_as_undisturbed(
    disk: PrivateDisk,
    disk_fork_server: ForkServer,
    on_disk: OnDisk,
    first_night: Service,
    undisturbed: Service,
    tmp_path: Path,
) -> None:
    service = on_disk(first_night)
    failures = {}
    for stage in WHOLE_NIGHT:
        disk.fill(free_kilobytes=8)
        failed = run_stage(disk_fork_server, service, stage)
        failures[stage] = failed.wait(), "Traceback" in failed.output
        disk.clear()
        rerun = run_stage(disk_fork_server, service, stage)
        assert rerun.wait() == 0, rerun.output
    assert_as_undisturbed(disk, service, undisturbed, tmp_path / "service")
    assert failures == dict.fromkeys(WHOLE_NIGHT, (5, False))
