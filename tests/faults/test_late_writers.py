"""Two at once: the same night twice, a writer that was thought dead and comes back, refreshes that race.

A process is stopped right before a commit, on what it believes to be another machine; there its silence is all that
tells whether it lives. A retry takes over when the lease has lapsed; then the stopped one is let go on.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from nocturne.flow import AFTER_PUBLICATION
from nocturne.serving import publications
from nocturne.storage import lease_state
from tests.faults.tools import cache_reader
from tests.faults.tools.faulty_redis import RedisServer
from tests.faults.tools.killable_process import ChildProcess, ForkServer
from tests.faults.tools.sample_service import STAGES, Service, cache_contents, read_pointer
from tests.tools.compare_warehouses import compare_warehouses


def stop_before(fork_server: ForkServer, service: Service, point: str, *command: str) -> ChildProcess:
    """A process that stopped right before a commit point and whose lease has lapsed."""
    plan = {"folder": str(service.folder), "at_point": point, "stops": True}
    late = fork_server.start(*command, plan=plan, host="another-machine")
    assert late.wait_until_stopped() == point
    state = Path(service.warehouse, "_lease", "state.json")
    content = json.loads(state.read_bytes())
    content["held"]["renewed"] -= lease_state.PROCESS_LASTS_SECONDS + 1
    state.write_text(json.dumps(content))
    return late


def run(fork_server: ForkServer, *command: str) -> str:
    job = fork_server.start(*command)
    assert job.wait() == 0, job.output
    return job.output


def test_of_two_runs_of_the_same_night_at_once_one_is_turned_away_and_the_other_is_as_undisturbed(
    fork_server: ForkServer, first_night: Service, undisturbed: Service, tmp_path: Path
) -> None:
    service = first_night.copy_to(tmp_path / "service")
    runs = [fork_server.start("night", *service.options(1)) for _ in range(2)]
    assert sorted(job.wait() for job in runs) == [0, 5]
    (turned_away,) = [job for job in runs if job.wait() == 5]
    assert "the warehouse is busy" in turned_away.output
    reference = undisturbed.copy_to(tmp_path / "reference")  # whose last job was the refresh
    for stage in AFTER_PUBLICATION:
        run(fork_server, "job", stage.name, *reference.options(1, "--validate"))
    assert compare_warehouses(reference.warehouse, service.warehouse) == []
    assert read_pointer(service.cache) == read_pointer(undisturbed.cache)


@pytest.mark.parametrize(
    ("stage", "point"),
    [
        ("build_interactions", "delta-rs write interactions #1"),
        ("rank_users", "delta-rs commit ranked_lists #1"),
        ("rank_users", "delta-rs write validations #1"),
    ],
)
def test_a_stage_that_comes_back_after_its_retry_cannot_commit(
    fork_server: ForkServer, ranked: Service, undisturbed: Service, tmp_path: Path, stage: str, point: str
) -> None:
    service = ranked.copy_to(tmp_path / "service")
    late = stop_before(fork_server, service, point, "job", stage, *service.options(1, "--validate"))
    for later_stage in (*STAGES[STAGES.index(stage) :], "refresh_cache"):
        run(fork_server, "job", later_stage, *service.options(1, *(["--validate"] if later_stage in STAGES else [])))
    late.resume()
    assert late.wait() == 5
    assert "another process has written this table meanwhile" in late.output
    assert compare_warehouses(undisturbed.warehouse, service.warehouse) == []
    assert read_pointer(service.cache) == read_pointer(undisturbed.cache)


LATE_REFRESHES = {
    "lmdb": ("lmdb append #1", "lmdb append #3", "rename cache/generations/{}.loading- #1", "lmdb pointer #1"),
    "redis": ("redis EVAL BEGIN #1", "redis pipeline #1", "redis EVAL COMPARE_AND_SET #1"),
}


@pytest.mark.parametrize(
    ("store", "point"), [(store, point) for store, points in LATE_REFRESHES.items() for point in points]
)
def test_a_refresh_that_comes_back_after_its_retry_leaves_the_cache_as_the_retry_left_it(
    fork_server: ForkServer,
    ranked: Service,
    undisturbed: Service,
    listeners: set[str],
    redis_server: RedisServer,
    tmp_path: Path,
    store: str,
    point: str,
) -> None:
    service = ranked.copy_to(tmp_path / "service", cache=redis_server.url if store == "redis" else "")
    if store == "redis":
        run(fork_server, "job", "refresh_cache", *service.options(0))
    generation = read_pointer(undisturbed.cache).served.name
    refresh = ("job", "refresh_cache", *service.options(1))
    late = stop_before(fork_server, service, point.format(generation), *refresh)
    run(fork_server, *refresh)
    contents = cache_contents(service.cache)
    with cache_reader.Reader(service.cache, listeners) as reader:
        late.resume()
        assert late.wait() == 5, late.output
    assert reader.check(cache_reader.validated_lists(service.night(0)).values()) == []
    assert cache_reader.check_cache(service.cache, cache_reader.validated_lists(service.night(0))) == []
    assert cache_contents(service.cache) == contents
    assert read_pointer(service.cache) == read_pointer(undisturbed.cache)
    assert compare_warehouses(undisturbed.warehouse, service.warehouse) == []


@pytest.fixture(scope="module")
def next_ranked(fork_server: ForkServer, ranked: Service, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """Night 2 is ranked and validated too, and night 0 is served."""
    service = ranked.copy_to(tmp_path_factory.mktemp("next") / "service")
    for stage in STAGES:
        run(fork_server, "job", stage, *service.options(2, "--validate"))
    return service


@pytest.mark.parametrize("store", ["lmdb", "redis"])
def test_of_two_racing_refreshes_the_later_night_is_served(
    fork_server: ForkServer, next_ranked: Service, redis_server: RedisServer, tmp_path: Path, store: str
) -> None:
    service = next_ranked.copy_to(tmp_path / "service", cache=redis_server.url if store == "redis" else "")
    if store == "redis":
        run(fork_server, "job", "refresh_cache", *service.options(0))
    point = "lmdb pointer #1" if store == "lmdb" else "redis EVAL COMPARE_AND_SET #1"
    late = stop_before(fork_server, service, point, "job", "refresh_cache", *service.options(1))
    run(fork_server, "job", "refresh_cache", *service.options(2))
    served = read_pointer(service.cache)
    assert served.served.run_date == service.night(2).run_date
    late.resume()
    assert late.wait() == 5, late.output
    assert "the generation is not in the cache" in late.output  # which the later night let go as it was not kept
    assert read_pointer(service.cache) == served
    assert cache_reader.check_cache(service.cache, cache_reader.validated_lists(service.night(0))) == []


def state(service: Service) -> tuple[object, ...]:
    """Records of the nights without what the refresh itself costs, the pointer and what the cache contains."""
    records = publications.all_records(service.night(1).warehouse)
    return [replace(record, costs=()) for record in records], read_pointer(service.cache), cache_contents(service.cache)


def test_the_same_refresh_twice_changes_nothing(fork_server: ForkServer, undisturbed: Service, tmp_path: Path) -> None:
    service = undisturbed.copy_to(tmp_path / "service")
    run(fork_server, "job", "refresh_cache", *service.options(1))
    first = state(service)
    run(fork_server, "job", "refresh_cache", *service.options(1))
    assert state(service) == first
