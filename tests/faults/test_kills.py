"""kill -9 at every commit point: of the driver, of Python workers, of the loader of either cache."""

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import pytest

from nocturne.flow import TABLES, TOMBSTONES, stage
from nocturne.storage import tables
from tests.faults.tools import cache_reader
from tests.faults.tools.faulty_redis import RedisServer
from tests.faults.tools.killable_process import KILLED, ChildProcess, ForkServer
from tests.faults.tools.sample_service import STAGES, Service, cache_contents, read_pointer
from tests.fixtures.landed_exposures import land, line
from tests.tools.compare_warehouses import compare_warehouses

BY_EVERY_STAGE = ("validations", "night_metrics", "costs")
ALIKE = ("delta-rs fence", "replace", *(f"delta-rs write {table}" for table in BY_EVERY_STAGE))
"""Fencing by a process that takes over, the lease, Data Docs, validation: alike in every stage, so one is enough."""
FENCED = set(random.Random(1).sample(sorted(TABLES), 6))
"""Tables before whose fence a process is killed: `make soak` kills anywhere."""
FENCES = {f"delta-rs fence {table} #1" for table in TABLES}
OTHER_FENCES = {f"delta-rs fence {table} #1" for table in set(TABLES) - FENCED}
EXPOSURES = set(stage("ingest_exposures").writes)
OF_EXPERIMENTS = {"arm_pools", "arm_lists", "assignments", "triggers", *stage("analyse_experiment").writes}
"""Tables that nobody writes where no experiment runs; nor `encoders`, where no sequence model is trained."""


@dataclass
class Kills:
    """Points at which processes were killed, and errors afterwards."""

    points: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def kill_at_every_point(
    fork_server: ForkServer, service: Service, command: list[str], spared: set[str] = frozenset()
) -> Kills:
    """Run a command until nothing kills it any more: each time it dies at the first point where none died before."""
    kills, lists = Kills(), cache_reader.validated_lists(service.night(0))
    while True:
        passed_points = spared | set(kills.points)
        job = fork_server.start(*command, plan={"folder": str(service.folder), "spared": passed_points})
        status = job.wait()
        if job.died_at is None:
            assert status == 0, job.output
            return kills
        assert status == KILLED, job.output
        kills.points.append(job.died_at)
        if job.died_at.startswith(("delta-rs write nights", "lmdb", "redis", "rename")):
            lists = cache_reader.validated_lists(service.night(0))
        kills.errors += [f"after {job.died_at}: {error}" for error in cache_reader.check_cache(service.cache, lists)]


@pytest.fixture(scope="module")
def killed(
    fork_server: ForkServer, first_night: Service, listeners: set[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Service, dict[str, Kills]]:
    """Night 1 up to its refresh, in which every stage was killed at every point, and these kills by stage."""
    service = first_night.copy_to(tmp_path_factory.mktemp("killed") / "service")
    kills: dict[str, Kills] = {}
    with cache_reader.Reader(service.cache, listeners) as reader:
        for stage in STAGES:
            alike = OTHER_FENCES | {
                point for each in kills.values() for point in each.points if point.startswith(ALIKE)
            }
            kills[stage] = kill_at_every_point(
                fork_server, service, ["job", stage, *service.options(1, "--validate")], alike
            )
    kills["reader"] = Kills(errors=reader.check(cache_reader.validated_lists(service.night(0)).values()))
    assert reader.reads > 0
    return service, kills


def test_every_table_is_killed_at_each_of_its_commits(killed: tuple[Service, dict[str, Kills]]) -> None:
    points = {point for kills in killed[1].values() for point in kills.points}
    written = {point.split()[-2] for point in points if " write " in point or " commit " in point}
    assert written == set(TABLES) - {"nights", "encoders", TOMBSTONES, *EXPOSURES, *OF_EXPERIMENTS}
    fenced = {point.split()[-2] for point in points if point.startswith(ALIKE[0])}
    assert fenced == FENCED
    assert {"replace warehouse/_lease/state.json.new #1", "rmtree warehouse/.ranking- #1"} <= points


def test_no_commit_of_a_night_happens_behind_a_point(
    first_night: Service, undisturbed: Service, undisturbed_points: list[str]
) -> None:
    """Versions that a night adds to the tables are as many as the points of Delta that it passes."""

    def version(service: Service, table: str) -> int:
        return tables.version(service.night(1).warehouse, table)

    added = {table: version(undisturbed, table) - version(first_night, table) for table in TABLES}
    points = [point for point in undisturbed_points if "worker" not in point]
    assert {table: sum(f" {table} #" in point for point in points) for table in TABLES} == added


def test_a_driver_killed_at_any_commit_leaves_the_night_before_served_whole(
    killed: tuple[Service, dict[str, Kills]],
) -> None:
    assert [error for kills in killed[1].values() for error in kills.errors] == []


@pytest.mark.parametrize("store", ["lmdb", "redis"])
def test_a_refresh_killed_at_any_commit_serves_one_whole_night_or_the_other_and_ends_as_undisturbed(
    fork_server: ForkServer,
    killed: tuple[Service, dict[str, Kills]],
    undisturbed: Service,
    undisturbed_points: list[str],
    listeners: set[str],
    redis_server: RedisServer,
    tmp_path: Path,
    store: str,
) -> None:
    of_both_stores = FENCES | {point for point in undisturbed_points if point.startswith(ALIKE)}
    spared = {"lmdb": OTHER_FENCES, "redis": of_both_stores}[store]
    url = redis_server.url if store == "redis" else ""
    service = killed[0].copy_to(tmp_path / "service", cache=url)
    if store == "redis":
        assert fork_server.start("job", "refresh_cache", *service.options(0)).wait() == 0
    with cache_reader.Reader(service.cache, listeners) as reader:
        kills = kill_at_every_point(fork_server, service, ["job", "refresh_cache", *service.options(1)], spared)
    assert kills.errors == []
    assert reader.check(cache_reader.validated_lists(service.night(0)).values()) == []
    expected = {
        "lmdb": {"lmdb append #3", "rename cache/generations", "lmdb pointer #1"},
        "redis": {"redis EVAL BEGIN #1", "redis pipeline #1", "redis EVAL COMPARE_AND_SET #1"},
    }
    points = " ".join(kills.points)
    assert [point for point in expected[store] if point not in points] == []
    assert "delta-rs write nights #2" in kills.points
    assert compare_warehouses(undisturbed.warehouse, service.warehouse) == []
    assert read_pointer(service.cache) == read_pointer(undisturbed.cache)
    generations = [generation.name for generation in read_pointer(undisturbed.cache).retained]
    if store == "lmdb":
        assert cache_contents(service.cache) == cache_contents(undisturbed.cache)
    else:
        keys = [f"nocturne:{name}:{part}" for name in generations for part in ("*:0", "*:items", "about")]
        assert cache_contents(service.cache) == sorted([*keys, "nocturne:generations", "nocturne:pointer"])


def test_exposures_killed_at_any_commit_leave_the_lists_served_and_end_as_undisturbed(
    fork_server: ForkServer, undisturbed: Service, undisturbed_points: list[str], tmp_path: Path
) -> None:
    landing = shutil.copytree(undisturbed.landing, tmp_path / "landing")
    shutil.copy(undisturbed.conf, landing.with_suffix(".toml"))
    reference, service = (
        replace(undisturbed.copy_to(tmp_path / name), landing=landing) for name in ("reference", "service")
    )
    shown_at = f"{service.night(1).run_date}T12:00:00Z"
    land(landing, "web", line("1", shown_at=shown_at), "{", day=service.night(1).run_date)
    command = ["job", "ingest_exposures", *service.options(1, "--validate")]
    alike = {point for point in undisturbed_points if point.startswith(ALIKE)}
    kills = kill_at_every_point(fork_server, service, command, alike)
    assert kills.errors == []
    written = {point.split()[-2] for point in kills.points if " write " in point}
    assert written == EXPOSURES
    assert fork_server.start("job", "ingest_exposures", *reference.options(1, "--validate")).wait() == 0
    assert compare_warehouses(reference.warehouse, service.warehouse) == []
    assert read_pointer(service.cache) == read_pointer(undisturbed.cache)


def kill_workers_at_every_point(
    fork_server: ForkServer, service: Service, command: list[str], spared: set[str] = frozenset()
) -> list[ChildProcess]:
    """As `kill_at_every_point`, but the Python workers are killed; the jobs that failed by it."""
    jobs: list[ChildProcess] = []
    lists = cache_reader.validated_lists(service.night(0))
    while True:
        kill_points = {job.died_at for job in jobs}
        job = fork_server.start(
            *command, plan={"folder": str(service.folder), "spared": spared | kill_points, "in_workers": True}
        )
        status = job.wait()
        if job.died_at is None:
            assert status == 0, job.output
            return jobs
        assert cache_reader.check_cache(service.cache, lists) == []
        assert status > 0, job.output
        jobs.append(job)


LATER = ("embed_items", "train_als", "rank_users", "relate_items", "watch_night")


@pytest.mark.parametrize(
    ("stage", "tables", "later"),
    [
        ("ingest_events", ("listens",), ("ingest_takedowns", "ingest_steers", "build_interactions", *LATER)),
        ("build_interactions", ("interactions",), LATER),
        ("rank_users", ("pools", "ranked_lists", "shelf_lists"), ()),
    ],
)
def test_a_python_worker_killed_wherever_it_writes_fails_its_stage_and_the_rerun_ends_as_undisturbed(
    fork_server: ForkServer,
    undisturbed: Service,
    ranked: Service,
    tmp_path: Path,
    stage: str,
    tables: tuple[str, ...],
    later: tuple[str, ...],
) -> None:
    service = ranked.copy_to(tmp_path / "service")
    writes = [(write, table) for write in ("post_init", "write", "close") for table in tables]
    elsewhere = [(write, "quarantine", None) for write in ("post_init", "write", "close")]
    spared = {f"worker {write} {table} 1 #1" for write, table in writes}
    spared |= {f"worker {write} {table} {bucket} #{number}" for write, table, bucket in elsewhere for number in (1, 2)}
    spared |= {f"worker write {table} {bucket} #{n}" for table in tables for bucket in (0, 1) for n in range(2, 10)}
    command = ["job", stage, *service.options(1, "--validate")]
    jobs = kill_workers_at_every_point(fork_server, service, command, spared)
    assert {job.died_at for job in jobs} == {f"worker {write} {table} 0 #1" for write, table in writes}
    for following in later:
        assert fork_server.start("job", following, *service.options(1, "--validate")).wait() == 0
    assert fork_server.start("job", "refresh_cache", *service.options(1)).wait() == 0
    assert compare_warehouses(undisturbed.warehouse, service.warehouse) == []


def test_a_loader_of_redis_killed_in_a_worker_leaves_the_night_before_served_and_nothing_behind(
    fork_server: ForkServer, redis_server: RedisServer, on_redis: Callable[[str], Service]
) -> None:
    service = on_redis(redis_server.url)
    contents = cache_contents(service.cache)
    jobs = kill_workers_at_every_point(fork_server, service, ["job", "refresh_cache", *service.options(1)])
    assert [job.died_at for job in jobs] != []
    # what the new generation shares, its items, and its one hash
    assert len(cache_contents(service.cache)) == len(contents) + 3


# With a Java of its own, as outside of tests


def stopped_in_ranking(fork_server: ForkServer, service: Service) -> tuple[ChildProcess, psutil.Process]:
    """A job that has ranked and not committed, and its Java."""
    plan = {"folder": str(service.folder), "at_point": "rmtree warehouse/.ranking- #1", "stops": True}
    job = fork_server.start("job", "rank_users", *service.options(1, "--validate"), plan=plan, own_java=True)
    job.wait_until_stopped()
    (java,) = [child for child in psutil.Process(job.pid).children(recursive=True) if child.name() == "java"]
    return job, java


def test_the_java_of_a_killed_driver_ends_by_itself_and_the_rerun_succeeds(
    fork_server: ForkServer, ranked: Service, tmp_path: Path
) -> None:
    service = ranked.copy_to(tmp_path / "service")
    job, java = stopped_in_ranking(fork_server, service)
    job.kill()
    assert job.wait() == KILLED
    java.wait(timeout=60)
    rerun = fork_server.start("job", "rank_users", *service.options(1, "--validate"))
    assert rerun.wait() == 0, rerun.output


def test_a_driver_whose_java_is_killed_fails_and_the_rerun_succeeds(
    fork_server: ForkServer, ranked: Service, undisturbed: Service, tmp_path: Path
) -> None:
    service = ranked.copy_to(tmp_path / "service")
    job, java = stopped_in_ranking(fork_server, service)
    java.kill()
    job.resume()
    assert job.wait() == 5, job.output
    for name in ("rank_users", "refresh_cache"):
        validate = ["--validate"] if name in STAGES else []
        rerun = fork_server.start("job", name, *service.options(1, *validate))
        assert rerun.wait() == 0, rerun.output
    assert compare_warehouses(undisturbed.warehouse, service.warehouse) == []
