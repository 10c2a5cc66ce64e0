"""kill -9 at every commit point: of the driver, of Python workers, of the loader of either cache."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from nocturne.flow import TABLES
from nocturne.storage import tables
from tests.faults.tools import cache_reader
from tests.faults.tools.faulty_redis import RedisServer
from tests.faults.tools.killable_process import KILLED, Job, Nursery
from tests.faults.tools.sample_service import STAGES, Service, kept_in, pointer_of
from tests.tools.compare_warehouses import compare_warehouses

ALIKE = ("delta-rs stamp", "replace")
"""The stamps of a process that takes over, the lease, the Data Docs: alike in every stage, so that one is enough."""


@dataclass
class Deaths:
    """Where processes died, and what was wrong afterwards."""

    points: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def kill_everywhere(farm: Nursery, service: Service, command: list[str], spared: set[str] = frozenset()) -> Deaths:
    """Run a command until nothing kills it any more: each time it dies at the first point where none died before."""
    deaths, lists = Deaths(), cache_reader.promised(service.night(0))
    while True:
        known = spared | set(deaths.points)
        job = farm.start(*command, plan={"folder": str(service.folder), "spared": known})
        status = job.wait()
        if job.died_at is None:
            assert status == 0, job.said
            return deaths
        assert status == KILLED, job.said
        deaths.points.append(job.died_at)
        if job.died_at.startswith(("delta-rs write nights", "lmdb", "redis", "rename")):
            lists = cache_reader.promised(service.night(0))
        deaths.wrong += [f"after {job.died_at}: {told}" for told in cache_reader.wrong_in(service.cache, lists)]


@pytest.fixture(scope="module")
def killed(
    farm: Nursery, first_night: Service, listeners: set[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Service, dict[str, Deaths]]:
    """Night 1 up to its refresh, in which every stage was killed at every point, and its deaths by stage."""
    service = first_night.copied(tmp_path_factory.mktemp("killed") / "service")
    deaths: dict[str, Deaths] = {}
    with cache_reader.Reader(service.cache, listeners) as reader:
        for stage in STAGES:
            known = {point for each in deaths.values() for point in each.points if point.startswith(ALIKE)}
            deaths[stage] = kill_everywhere(farm, service, ["job", stage, *service.options(1, "--validate")], known)
    deaths["reader"] = Deaths(wrong=reader.wrong(cache_reader.promised(service.night(0)).values()))
    assert reader.reads > 0
    return service, deaths


def test_every_table_is_killed_at_each_of_its_commits(killed: tuple[Service, dict[str, Deaths]]) -> None:
    points = {point for deaths in killed[1].values() for point in deaths.points}
    written = {point.split()[-2] for point in points if " write " in point or " commit " in point}
    assert written == set(TABLES) - {"nights"}
    stamped = {point.split()[-2] for point in points if point.startswith(ALIKE[0])}
    assert stamped == set(TABLES)
    assert {"replace warehouse/_lease/state.json.new #1", "rmtree warehouse/.ranking- #1"} <= points


def test_no_commit_of_a_night_happens_behind_a_point(
    first_night: Service, undisturbed: Service, passed: list[str]
) -> None:
    """Versions that a night adds to the tables are as many as the points of Delta that it passes."""

    def version(service: Service, table: str) -> int:
        return tables.version(service.night(1), table)

    added = {table: version(undisturbed, table) - version(first_night, table) for table in TABLES}
    told = {table: sum(f" {table} #" in point for point in passed if "worker" not in point) for table in TABLES}
    assert told == added


def test_a_driver_killed_at_any_commit_leaves_the_night_before_served_whole(
    killed: tuple[Service, dict[str, Deaths]],
) -> None:
    assert [told for deaths in killed[1].values() for told in deaths.wrong] == []


@pytest.mark.parametrize("store", ["lmdb", "redis"])
def test_a_refresh_killed_at_any_commit_serves_one_whole_night_or_the_other_and_ends_as_undisturbed(
    farm: Nursery,
    killed: tuple[Service, dict[str, Deaths]],
    undisturbed: Service,
    listeners: set[str],
    redis_server: RedisServer,
    tmp_path: Path,
    store: str,
) -> None:
    url = redis_server.url if store == "redis" else ""
    service = killed[0].copied(tmp_path / "service", cache=url)
    if store == "redis":
        assert farm.start("job", "refresh_cache", *service.options(0)).wait() == 0
    with cache_reader.Reader(service.cache, listeners) as reader:
        deaths = kill_everywhere(farm, service, ["job", "refresh_cache", *service.options(1)])
    assert deaths.wrong == []
    assert reader.wrong(cache_reader.promised(service.night(0)).values()) == []
    expected = {
        "lmdb": {"lmdb append #3", "rename cache/generations", "lmdb pointer #1"},
        "redis": {"redis EVAL BEGIN #1", "redis pipeline #1", "redis EVAL COMPARE_AND_SET #1"},
    }
    points = " ".join(deaths.points)
    assert [point for point in expected[store] if point not in points] == []
    assert "delta-rs write nights #2" in deaths.points
    assert compare_warehouses(undisturbed.warehouse, service.warehouse) == []
    assert pointer_of(service.cache) == pointer_of(undisturbed.cache)
    generations = [generation.name for generation in pointer_of(undisturbed.cache).kept]
    if store == "lmdb":
        assert kept_in(service.cache) == kept_in(undisturbed.cache)
    else:
        keys = [f"nocturne:{name}:{part}" for name in generations for part in ("*:0", "about")]
        assert kept_in(service.cache) == sorted([*keys, "nocturne:generations", "nocturne:pointer"])


def died_in_a_worker(farm: Nursery, service: Service, command: list[str], spared: set[str] = frozenset()) -> list[Job]:
    """As `kill_everywhere`, but it is the Python workers that die, and the job that says so."""
    jobs: list[Job] = []
    lists = cache_reader.promised(service.night(0))
    while True:
        died = {job.died_at for job in jobs}
        job = farm.start(*command, plan={"folder": str(service.folder), "spared": spared | died, "workers": True})
        status = job.wait()
        if job.died_at is None:
            assert status == 0, job.said
            return jobs
        assert cache_reader.wrong_in(service.cache, lists) == []
        assert status > 0, job.said
        jobs.append(job)


def test_a_python_worker_killed_wherever_it_writes_fails_its_stage_and_the_rerun_ends_as_undisturbed(
    farm: Nursery, undisturbed: Service, ranked: Service, tmp_path: Path
) -> None:
    service = ranked.copied(tmp_path / "service")
    writes = [(what, table) for what in ("post_init", "write", "close") for table in ("pools", "ranked_lists")]
    of_the_other_bucket = {f"worker {what} {table} 1 #1" for what, table in writes}
    command = ["job", "rank_users", *service.options(1, "--validate")]
    jobs = died_in_a_worker(farm, service, command, of_the_other_bucket)
    assert {job.died_at for job in jobs} == {f"worker {what} {table} 0 #1" for what, table in writes}
    assert farm.start("job", "refresh_cache", *service.options(1)).wait() == 0
    assert compare_warehouses(undisturbed.warehouse, service.warehouse) == []


def test_a_loader_of_redis_killed_in_a_worker_leaves_the_night_before_served_and_nothing_behind(
    farm: Nursery, redis_server: RedisServer, on_redis: Callable[[str], Service]
) -> None:
    service = on_redis(redis_server.url)
    before = kept_in(service.cache)
    jobs = died_in_a_worker(farm, service, ["job", "refresh_cache", *service.options(1)])
    assert [job.died_at for job in jobs] != []
    assert len(kept_in(service.cache)) == len(before) + 2  # what the new generation shares, and its one hash


# With a Java of its own, as outside of tests


def stopped_in_ranking(farm: Nursery, service: Service) -> tuple[Job, psutil.Process]:
    """A job that has ranked and not committed, and its Java."""
    plan = {"folder": str(service.folder), "named": "rmtree warehouse/.ranking- #1", "stops": True}
    job = farm.start("job", "rank_users", *service.options(1, "--validate"), plan=plan, own_java=True)
    job.stopped()
    (java,) = [child for child in psutil.Process(job.pid).children(recursive=True) if child.name() == "java"]
    return job, java


def test_the_java_of_a_killed_driver_ends_by_itself_and_the_rerun_succeeds(
    farm: Nursery, ranked: Service, tmp_path: Path
) -> None:
    service = ranked.copied(tmp_path / "service")
    job, java = stopped_in_ranking(farm, service)
    job.kill()
    assert job.wait() == KILLED
    java.wait(timeout=60)
    again = farm.start("job", "rank_users", *service.options(1, "--validate"))
    assert again.wait() == 0, again.said


def test_a_driver_whose_java_is_killed_fails_and_the_rerun_succeeds(
    farm: Nursery, ranked: Service, undisturbed: Service, tmp_path: Path
) -> None:
    service = ranked.copied(tmp_path / "service")
    job, java = stopped_in_ranking(farm, service)
    java.kill()
    job.go_on()
    assert job.wait() == 5, job.said
    for stage in ("rank_users", "refresh_cache"):
        validate = ["--validate"] if stage in STAGES else []
        again = farm.start("job", stage, *service.options(1, *validate))
        assert again.wait() == 0, again.said
    assert compare_warehouses(undisturbed.warehouse, service.warehouse) == []
