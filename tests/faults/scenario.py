"""A service that is disturbed, beside one that is not: the scenario in which the soak injects its faults."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from random import Random

from nocturne.storage import lease_state
from tests.faults.tools import cache_reader
from tests.faults.tools.faulty_disk import FaultyDisk
from tests.faults.tools.faulty_redis import FaultyNetwork, RedisServer
from tests.faults.tools.killable_process import ChildProcess, ForkServer
from tests.faults.tools.sample_service import Service, cache_contents, measure_folder, read_pointer
from tests.tools.compare_warehouses import compare_warehouses

STEPS = ("night", "refresh", "retain")
"""Of every night: its stages, the refresh of Redis, retention."""
MOST_ATTEMPTS = 4
MEASURED = ("warehouse files", "warehouse MiB", "cache MiB", "Redis keys", "Redis MiB")


@dataclass
class Scenario:
    """Two services on one landing zone, what may be broken of the disturbed one, and readers of its caches.

    Attributes:
        reference: the undisturbed service.
        service: the disturbed one, on an embedded cache; its lists also go to a Redis.
        network: in front of that Redis, for whoever loads.
        offset: number of the night.
        night_seconds: duration of the last night on which every step succeeded at once.
        statuses: exit statuses of this night's processes.
        writes: commit points that each step passed last time, and the Python workers of a night.
    """

    fork_server: ForkServer
    reference: Service
    service: Service
    server: RedisServer
    network: FaultyNetwork
    disk: FaultyDisk
    offset: int = 0
    night_seconds: float = 10.0
    statuses: list[int] = field(default_factory=list)
    readers: list[cache_reader.Reader] = field(default_factory=list)
    writes: Counter[str] = field(default_factory=Counter)

    @property
    def run_date(self) -> date:
        """Date of the night."""
        return self.service.night(self.offset).run_date

    def begin(self, step: str, *, host: str = "", own_java: bool = False, **plan: object) -> ChildProcess:
        """Start a step of the disturbed night; `plan` holds fields of its `KillPlan`."""
        command = _command(self.service, step, self.offset, self.network.url)
        full_plan = {"folder": str(self.service.folder), **plan}
        return self.fork_server.start(*command, plan=full_plan, host=host, own_java=own_java)

    def begin_undisturbed(self, step: str) -> ChildProcess:
        """Start a step of the undisturbed night."""
        return self.fork_server.start(*_command(self.reference, step, self.offset, ""))

    def any_write(self, step: str, random: Random) -> int:
        """The number of a write of a step of the night, or of `workers`."""
        return random.randint(1, max(1, self.writes[step]))

    def end(self, process: ChildProcess) -> ChildProcess:
        """Wait for its end, and record its status."""
        self.statuses.append(process.wait())
        return process

    def attempt(self, step: str, **plan: object) -> ChildProcess:
        """Run a step of the night, however it ends."""
        return self.end(self.begin(step, **plan))

    def until_done(self, step: str) -> None:
        """Run a step of the night until it succeeds, as a scheduler would.

        Raises:
            AssertionError: it does not.
        """
        for _ in range(MOST_ATTEMPTS):
            process = self.attempt(step)
            if process.wait() == 0:
                worker_writes = sum(point.startswith("worker ") for point in process.points_passed)
                self.writes[step] = len(process.points_passed) - worker_writes
                # Two workers share them.
                self.writes["workers"] = worker_writes // 2 or self.writes["workers"]
                return
        raise AssertionError(f"{step} of night {self.run_date} needs a hand: {process.output}")

    def stop_at(self, point: str, meanwhile: Callable[[], None]) -> ChildProcess:
        """Stop the night at a commit point, do something meanwhile, and let it go on."""
        process = self.begin("night", at_point=point, stops=True)
        process.wait_until_stopped()
        meanwhile()
        process.resume()
        return process

    def expire_lease(self) -> None:
        """Make whoever holds the lease seem to have been silent for too long."""
        path = Path(self.service.warehouse, "_lease", "state.json")
        state = json.loads(path.read_bytes())
        if state["held"]:
            state["held"]["renewed"] -= lease_state.PROCESS_LASTS_SECONDS + 1
            path.write_text(json.dumps(state))

    def check(self) -> list[str]:
        """Sentences on what differs from the undisturbed service, now that the night is done; empty if it survived."""
        lists = cache_reader.validated_lists(self.service.night(self.offset))
        errors = compare_warehouses(self.reference.warehouse, self.service.warehouse)
        for reader in self.readers:
            errors += reader.check(lists.values())
            reader.forget()
        for url in (self.service.cache, self.server.url):
            errors += cache_reader.check_cache(url, lists)
            pointer = read_pointer(url)
            assert pointer
            if pointer.served.run_date != self.run_date:
                errors.append(f"{url} serves {pointer.served.run_date}")
            names = sorted(generation.name for generation in pointer.retained)
            if cache_contents(url) != _expected_contents(url, names):
                errors.append(f"{url} keeps {cache_contents(url)}, expected {_expected_contents(url, names)}")
        if read_pointer(self.service.cache).served != read_pointer(self.reference.cache).served:  # type: ignore[union-attr]
            errors.append("the caches serve different generations")
        return errors

    def measure(self) -> tuple[float, ...]:
        """The sizes that `MEASURED` names."""
        files, size = measure_folder(Path(self.service.warehouse))
        memory = self.server.client.info("memory")["used_memory"]  # type: ignore[index]
        cache = measure_folder(self.service.folder / "cache")[1]
        return files, size / 2**20, cache / 2**20, self.server.client.dbsize(), memory / 2**20  # type: ignore[return-value]


def _command(service: Service, step: str, offset: int, redis_url: str) -> list[str]:
    if step == "night":
        return ["night", *service.options(offset)]
    if step == "refresh":
        return ["job", "refresh_cache", *replace(service, cache=redis_url).options(offset)]
    day = str(service.night(offset).run_date)
    return ["retain", "--warehouse", service.warehouse, "--run-date", day, "--conf", service.conf]


def _expected_contents(url: str, names: Sequence[str]) -> list[str]:
    if url.startswith("lmdb:"):
        return sorted([*(f"generations/{name}" for name in names), "pointer/data.mdb"])
    keys = [f"nocturne:{name}:{part}" for name in names for part in ("*:0", "*:items", "about")]
    return sorted([*keys, "nocturne:generations", "nocturne:pointer"])
