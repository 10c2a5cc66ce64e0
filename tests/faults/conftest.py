"""What tests of faults share: a service with one night published, its next night undisturbed, processes to kill."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.tools import cache_reader
from tests.faults.tools.faulty_disk import Disk
from tests.faults.tools.faulty_redis import RedisServer
from tests.faults.tools.killable_process import Nursery, nursery
from tests.faults.tools.sample_service import STAGES, Service


@pytest.fixture(scope="session")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    """A small disk that can be filled, or made read-only."""
    with Disk(tmp_path_factory.mktemp("disk"), 96) as mounted:
        yield mounted


@pytest.fixture(scope="session")
def nurseries(disk: Disk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Nursery, Nursery]]:
    """Both at once, so that they import the same sources."""
    folders = [tmp_path_factory.mktemp(name) for name in ("farm", "there")]
    with nursery(folders[0]) as farm, nursery(folders[1], disk.pid) as there:
        yield farm, there


@pytest.fixture(scope="session")
def farm(nurseries: tuple[Nursery, Nursery]) -> Nursery:
    """Where processes come from."""
    return nurseries[0]


@pytest.fixture(scope="session")
def there(nurseries: tuple[Nursery, Nursery]) -> Nursery:
    """Where processes come from that see the small disk."""
    return nurseries[1]


@pytest.fixture(scope="session")
def first_night(farm: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """Night 0 is published. To be copied."""
    service = Service.simulated(tmp_path_factory.mktemp("first"), nights=3)
    job = farm.start("night", *service.options(0))
    assert job.wait() == 0, job.said
    return service


@pytest.fixture(scope="session")
def undisturbed(farm: Nursery, first_night: Service, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """Night 1 is published too, and nothing went wrong. To be compared with."""
    service = first_night.copied(tmp_path_factory.mktemp("undisturbed") / "service")
    points = service.folder.with_name("points")
    for stage in (*STAGES, "refresh_cache"):
        if stage == "refresh_cache":
            service.copied(service.folder.with_name("ranked"))
        validate = ["--validate"] if stage in STAGES else []
        job = farm.start("job", stage, *service.options(1, *validate), plan={"folder": str(service.folder)})
        assert job.wait() == 0, job.said
        with points.open("a", encoding="utf-8") as file:
            file.writelines(f"{point}\n" for point in job.passed)
    return service


@pytest.fixture(scope="session")
def passed(undisturbed: Service) -> list[str]:
    """The commit points of the undisturbed night 1."""
    return undisturbed.folder.with_name("points").read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="session")
def ranked(undisturbed: Service) -> Service:
    """Night 1 is ranked and validated, and night 0 is served. To be copied."""
    folder = undisturbed.folder.with_name("ranked")
    return Service(folder, undisturbed.landing, f"lmdb:{folder}/cache")


@pytest.fixture(scope="session")
def listeners(first_night: Service) -> set[str]:
    """Those who have a list on every night."""
    (lists,) = cache_reader.promised(first_night.night(0)).values()
    return set(lists)


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def on_redis(farm: Nursery, ranked: Service, tmp_path: Path) -> Callable[[str], Service]:
    """Copies the ranked service and serves night 0 from this Redis."""

    def copy(url: str) -> Service:
        service = ranked.copied(tmp_path / "service", cache=url)
        job = farm.start("job", "refresh_cache", *service.options(0))
        assert job.wait() == 0, job.said
        return service

    return copy
