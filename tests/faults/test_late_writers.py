"""Two at once: the same night twice, a writer that was thought dead and comes back, refreshes that race.

A process is stopped right before a commit, on what it believes to be another machine; there its silence is all that
tells whether it lives. A retry takes over when the lease has lapsed; then the stopped one is let go on.
"""

import json
from pathlib import Path

import pytest

from nocturne.serving import publications
from nocturne.storage import lease
from tests.faults.tools import cache_reader
from tests.faults.tools.faulty_redis import RedisServer
from tests.faults.tools.killable_process import Job, Nursery
from tests.faults.tools.sample_service import STAGES, Service, kept_in, pointer_of
from tests.tools.compare_warehouses import compare_warehouses


def stop_before(farm: Nursery, service: Service, point: str, *command: str) -> Job:
    """A process that stopped right before a commit point and whose lease has lapsed."""
    plan = {"folder": str(service.folder), "named": point, "stops": True}
    late = farm.start(*command, plan=plan, host="another-machine")
    assert late.stopped() == point
    state = Path(service.warehouse, "_lease", "state.json")
    said = json.loads(state.read_bytes())
    said["held"]["renewed"] -= lease.PROCESS_LASTS_SECONDS + 1
    state.write_text(json.dumps(said))
    return late


def run(farm: Nursery, *command: str) -> str:
    job = farm.start(*command)
    assert job.wait() == 0, job.said
    return job.said


def test_of_two_runs_of_the_same_night_at_once_one_is_turned_away_and_the_other_is_as_undisturbed(
    farm: Nursery, first_night: Service, undisturbed: Service, tmp_path: Path
) -> None:
    service = first_night.copied(tmp_path / "service")
    both = [farm.start("night", *service.options(1)) for _ in range(2)]
    assert sorted(job.wait() for job in both) == [0, 5]
    (turned_away,) = [job for job in both if job.wait() == 5]
    assert "the warehouse is busy" in turned_away.said
    assert compare_warehouses(undisturbed.warehouse, service.warehouse) == []
    assert pointer_of(service.cache) == pointer_of(undisturbed.cache)


@pytest.mark.parametrize(
    ("stage", "point"),
    [
        ("build_interactions", "delta-rs write interactions #1"),
        ("rank_users", "delta-rs commit ranked_lists #1"),
        ("rank_users", "delta-rs write validations #1"),
    ],
)
def test_a_stage_that_comes_back_after_its_retry_cannot_commit(
    farm: Nursery, ranked: Service, undisturbed: Service, tmp_path: Path, stage: str, point: str
) -> None:
    service = ranked.copied(tmp_path / "service")
    late = stop_before(farm, service, point, "job", stage, *service.options(1, "--validate"))
    for each in (*STAGES[STAGES.index(stage) :], "refresh_cache"):
        run(farm, "job", each, *service.options(1, *(["--validate"] if each in STAGES else [])))
    late.go_on()
    assert late.wait() == 5
    assert "another process has written this table meanwhile" in late.said
    assert compare_warehouses(undisturbed.warehouse, service.warehouse) == []
    assert pointer_of(service.cache) == pointer_of(undisturbed.cache)


LATE_REFRESHES = {
    "lmdb": ("lmdb append #1", "lmdb append #3", "rename cache/generations/{}.loading- #1", "lmdb pointer #1"),
    "redis": ("redis EVAL BEGIN #1", "redis pipeline #1", "redis EVAL COMPARE_AND_SET #1"),
}


@pytest.mark.parametrize(
    ("store", "point"), [(store, point) for store, points in LATE_REFRESHES.items() for point in points]
)
def test_a_refresh_that_comes_back_after_its_retry_leaves_the_cache_as_the_retry_left_it(
    farm: Nursery,
    ranked: Service,
    undisturbed: Service,
    listeners: set[str],
    redis_server: RedisServer,
    tmp_path: Path,
    store: str,
    point: str,
) -> None:
    service = ranked.copied(tmp_path / "service", cache=redis_server.url if store == "redis" else "")
    if store == "redis":
        run(farm, "job", "refresh_cache", *service.options(0))
    generation = pointer_of(undisturbed.cache).served.name
    refresh = ("job", "refresh_cache", *service.options(1))
    late = stop_before(farm, service, point.format(generation), *refresh)
    run(farm, *refresh)
    before = kept_in(service.cache)
    with cache_reader.Reader(service.cache, listeners) as reader:
        late.go_on()
        assert late.wait() == 5, late.said
    assert reader.wrong(cache_reader.promised(service.night(0)).values()) == []
    assert cache_reader.wrong_in(service.cache, cache_reader.promised(service.night(0))) == []
    assert kept_in(service.cache) == before
    assert pointer_of(service.cache) == pointer_of(undisturbed.cache)
    assert compare_warehouses(undisturbed.warehouse, service.warehouse) == []


@pytest.fixture(scope="module")
def next_ranked(farm: Nursery, ranked: Service, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """Night 2 is ranked and validated too, and night 0 is served."""
    service = ranked.copied(tmp_path_factory.mktemp("next") / "service")
    for stage in STAGES:
        run(farm, "job", stage, *service.options(2, "--validate"))
    return service


@pytest.mark.parametrize("store", ["lmdb", "redis"])
def test_of_two_racing_refreshes_the_later_night_is_served(
    farm: Nursery, next_ranked: Service, redis_server: RedisServer, tmp_path: Path, store: str
) -> None:
    service = next_ranked.copied(tmp_path / "service", cache=redis_server.url if store == "redis" else "")
    if store == "redis":
        run(farm, "job", "refresh_cache", *service.options(0))
    point = "lmdb pointer #1" if store == "lmdb" else "redis EVAL COMPARE_AND_SET #1"
    late = stop_before(farm, service, point, "job", "refresh_cache", *service.options(1))
    run(farm, "job", "refresh_cache", *service.options(2))
    served = pointer_of(service.cache)
    assert served.served.run_date == service.night(2).run_date
    late.go_on()
    assert late.wait() == 5, late.said
    assert "the generation is not in the cache" in late.said  # which the later night let go as it was not kept
    assert pointer_of(service.cache) == served
    assert cache_reader.wrong_in(service.cache, cache_reader.promised(service.night(0))) == []


def test_the_same_refresh_twice_changes_nothing(farm: Nursery, undisturbed: Service, tmp_path: Path) -> None:
    service = undisturbed.copied(tmp_path / "service")
    run(farm, "job", "refresh_cache", *service.options(1))
    before = publications.known(service.night(1)), pointer_of(service.cache), kept_in(service.cache)
    run(farm, "job", "refresh_cache", *service.options(1))
    again = publications.known(service.night(1)), pointer_of(service.cache), kept_in(service.cache)
    for known, *_ in (before, again):
        for row in known:
            row.pop("costs")  # of the refresh itself
    assert again == before
