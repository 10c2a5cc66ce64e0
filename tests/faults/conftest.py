"""Fixtures of faults: a service with one night published, its next night undisturbed, processes to kill."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.tools import cache_reader
from tests.faults.tools.faulty_disk import PrivateDisk
from tests.faults.tools.faulty_redis import RedisServer
from tests.faults.tools.killable_process import ForkServer
from tests.faults.tools.sample_service import STAGES, Service


@pytest.fixture(scope="session")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateDisk]:
    """A small disk that can be filled, or made read-only."""
    with PrivateDisk(tmp_path_factory.mktemp("disk"), 96) as mounted:
        yield mounted


@pytest.fixture(scope="session")
def fork_servers(
    disk: PrivateDisk, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ForkServer, ForkServer]]:
    """Both fork servers, started at once so that they import the same sources."""
    folders = [tmp_path_factory.mktemp(name) for name in ("processes", "processes_on_disk")]
    with closing(ForkServer(folders[0])) as fork_server, closing(ForkServer(folders[1], disk.pid)) as disk_fork_server:
        yield fork_server, disk_fork_server


@pytest.fixture(scope="session")
def fork_server(fork_servers: tuple[ForkServer, ForkServer]) -> ForkServer:
    """Starts processes."""
    return fork_servers[0]


@pytest.fixture(scope="session")
def disk_fork_server(fork_servers: tuple[ForkServer, ForkServer]) -> ForkServer:
    """Starts processes that see the small disk."""
    return fork_servers[1]


@pytest.fixture(scope="session")
def first_night(fork_server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """Night 0 is published. To be copied."""
    service = Service.simulate(tmp_path_factory.mktemp("first"), nights=3)
    job = fork_server.start("night", *service.options(0))
    assert job.wait() == 0, job.output
    return service


@pytest.fixture(scope="session")
def undisturbed(fork_server: ForkServer, first_night: Service, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """Night 1 is published too, and nothing went wrong. To be compared with."""
    service = first_night.copy_to(tmp_path_factory.mktemp("undisturbed") / "service")
    points = service.folder.with_name("points")
    for stage in (*STAGES, "refresh_cache"):
        if stage == "refresh_cache":
            service.copy_to(service.folder.with_name("ranked"))
        validate = ["--validate"] if stage in STAGES else []
        job = fork_server.start("job", stage, *service.options(1, *validate), plan={"folder": str(service.folder)})
        assert job.wait() == 0, job.output
        with points.open("a", encoding="utf-8") as file:
            file.writelines(f"{point}\n" for point in job.points_passed)
    return service


@pytest.fixture(scope="session")
def undisturbed_points(undisturbed: Service) -> list[str]:
    """The commit points of the undisturbed night 1."""
    return undisturbed.folder.with_name("points").read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="session")
def ranked(undisturbed: Service) -> Service:
    """Night 1 is ranked and validated, and night 0 is served. To be copied."""
    folder = undisturbed.folder.with_name("ranked")
    return Service(folder, undisturbed.landing, f"lmdb:{folder}/cache")


@pytest.fixture(scope="session")
def listeners(first_night: Service) -> set[str]:
    """Listeners who have a list on every night."""
    (lists,) = cache_reader.validated_lists(first_night.night(0)).values()
    return set(lists)


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def on_redis(fork_server: ForkServer, ranked: Service, tmp_path: Path) -> Callable[[str], Service]:
    """Copies the ranked service and serves night 0 from this Redis."""

    def copy(url: str) -> Service:
        service = ranked.copy_to(tmp_path / "service", cache=url)
        job = fork_server.start("job", "refresh_cache", *service.options(0))
        assert job.wait() == 0, job.output
        return service

    return copy
