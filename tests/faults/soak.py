"""Nights in a row, each with a fault of a random kind, beside a service that nothing happens to.

python -m tests.faults.soak --nights 100 --seed 1 [--folder DIR]

A night counts as survived if, after runs that a scheduler would start anyway, its tables equal those of the
undisturbed service, both caches serve it whole and keep what they should, and no reader ever saw a list of no
validated night. Ends with a table, and `injected=... survived=... lost=...`; status 1 if a night was lost.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from random import Random

from nocturne.flow import TABLES
from nocturne.storage import lease
from tests.faults.soak_faults import FAULTS, MISSED, Fault, draw
from tests.faults.tools import cache_reader
from tests.faults.tools.faulty_disk import OwnDisk
from tests.faults.tools.faulty_redis import BadNetwork, RedisServer
from tests.faults.tools.killable_process import Job, Nursery, nursery
from tests.faults.tools.sample_service import Service, kept_in, pointer_of, size_of
from tests.tools.compare_warehouses import compare_warehouses

DISK_MEGABYTES = 1024
KEPT_NIGHTS = 6
MOST_ATTEMPTS = 4
STOPS_AFTER = 3
LONG_ENOUGH, MOST_GROWTH = 6 * KEPT_NIGHTS, 1.25
"""Nights after which everything should be as large as it gets, and what items and models that come still add."""
PARTS = ("night", "refresh", "retain")
IN_OWN_MOUNTS = "NOCTURNE_SOAK_MOUNTS"
MEASURED = ("warehouse files", "warehouse MiB", "cache MiB", "Redis keys", "Redis MiB")
RETENTION = "".join(
    ["\n[retention]\nremoved_files_hours = 0\n[retention.nights]\n"]
    + [f"{table} = {KEPT_NIGHTS}\n" for table in TABLES if table != "item_index"]
)


@dataclass
class Soak:
    """A service to which things happen, and one to which nothing does.

    Attributes:
        reference: nothing happens to it.
        service: the other one, on an embedded cache; its lists also go to a Redis.
        network: in front of that Redis, for whoever loads.
        offset: number of the night.
        night_seconds: what a night took on which all went well at once, last time.
        statuses: how runs of this night ended.
        writes: how many commit points each part had, last time, and the Python workers of a night.
    """

    farm: Nursery
    reference: Service
    service: Service
    server: RedisServer
    network: BadNetwork
    disk: OwnDisk
    offset: int = 0
    night_seconds: float = 10.0
    statuses: list[int] = field(default_factory=list)
    readers: list[cache_reader.Reader] = field(default_factory=list)
    writes: Counter[str] = field(default_factory=Counter)

    @property
    def run_date(self) -> date:
        """Of the night."""
        return self.service.night(self.offset).run_date

    def begin(self, part: str, *, host: str = "", own_java: bool = False, **plan: object) -> Job:
        """Start a part of the night: night, refresh (on Redis) or retain."""
        command = _command(self.service, part, self.offset, self.network.url)
        full = {"folder": str(self.service.folder), **plan}
        return self.farm.start(*command, plan=full, host=host, own_java=own_java)

    def any_write(self, part: str, random: Random) -> int:
        """The number of a write of a part of the night, or of `workers`."""
        return random.randint(1, max(1, self.writes[part]))

    def end(self, job: Job) -> Job:
        """Wait for its end, and keep its status."""
        self.statuses.append(job.wait())
        return job

    def attempt(self, part: str, **plan: object) -> Job:
        """Run a part of the night, however it ends."""
        return self.end(self.begin(part, **plan))

    def until_done(self, part: str) -> None:
        """Run a part of the night until it succeeds, as a scheduler would.

        Raises:
            AssertionError: it does not.
        """
        for _ in range(MOST_ATTEMPTS):
            job = self.attempt(part)
            if job.wait() == 0:
                of_workers = sum(point.startswith("worker ") for point in job.passed)
                self.writes[part] = len(job.passed) - of_workers
                # Two workers share them.
                self.writes["workers"] = of_workers // 2 or self.writes["workers"]
                return
        raise AssertionError(f"{part} of night {self.run_date} needs a hand: {job.said}")

    def stopped_at(self, point: str, meanwhile: Callable[[], None]) -> Job:
        """A run that stopped at a point, and went on when something was done."""
        job = self.begin("night", named=point, stops=True)
        job.stopped()
        meanwhile()
        job.go_on()
        return job

    def lapse(self) -> None:
        """Whoever holds the lease was silent for too long."""
        state = Path(self.service.warehouse, "_lease", "state.json")
        said = json.loads(state.read_bytes())
        if said["held"]:
            said["held"]["renewed"] -= lease.PROCESS_LASTS_SECONDS + 1
            state.write_text(json.dumps(said))

    def wrong(self) -> list[str]:
        """What is not as it should be now that the night is done."""
        lists = cache_reader.promised(self.service.night(self.offset))
        told = compare_warehouses(self.reference.warehouse, self.service.warehouse)
        for reader in self.readers:
            told += reader.wrong(lists.values())
            reader.forget()
        for url in (self.service.cache, self.server.url):
            told += cache_reader.wrong_in(url, lists)
            pointer = pointer_of(url)
            assert pointer
            if pointer.served.run_date != self.run_date:
                told.append(f"{url} serves {pointer.served.run_date}")
            names = sorted(generation.name for generation in pointer.retained)
            if kept_in(url) != _expected(url, names):
                told.append(f"{url} keeps {kept_in(url)}, expected {_expected(url, names)}")
        if pointer_of(self.service.cache).served != pointer_of(self.reference.cache).served:  # type: ignore[union-attr]
            told.append("the caches serve different generations")
        return told

    def measure(self) -> tuple[float, ...]:
        """What `MEASURED` names."""
        files, size = size_of(Path(self.service.warehouse))
        memory = self.server.client.info("memory")["used_memory"]  # type: ignore[index]
        cache = size_of(self.service.folder / "cache")[1]
        return files, size / 2**20, cache / 2**20, self.server.client.dbsize(), memory / 2**20  # type: ignore[return-value]


def _command(service: Service, part: str, offset: int, redis_url: str) -> list[str]:
    if part == "night":
        return ["night", *service.options(offset)]
    if part == "refresh":
        return ["job", "refresh_cache", *replace(service, cache=redis_url).options(offset)]
    day = str(service.night(offset).run_date)
    return ["retain", "--warehouse", service.warehouse, "--run-date", day, "--conf", service.conf]


def _expected(url: str, names: Sequence[str]) -> list[str]:
    if url.startswith("lmdb:"):
        return sorted([*(f"generations/{name}" for name in names), "pointer/data.mdb"])
    keys = [f"nocturne:{name}:{part}" for name in names for part in ("*:0", "about")]
    return sorted([*keys, "nocturne:generations", "nocturne:pointer"])


def one_night(soak: Soak, fault: Fault | None, random: Random) -> tuple[str, list[str]]:
    """The night with its fault, and meanwhile undisturbed; what the fault was, and what is wrong afterwards."""
    beside = soak.farm.start(*_command(soak.reference, "night", soak.offset, ""))
    detail, started = "", time.monotonic()
    try:
        for part in PARTS:
            if fault and part == fault.part:
                detail = fault.inject(soak, random)
            soak.until_done(part)
    except AssertionError as error:
        return detail, [str(error)]
    finally:
        retained = (
            soak.farm.start(*_command(soak.reference, "retain", soak.offset, "")) if not beside.wait() else beside
        )
        if retained.wait():
            sys.exit(f"the undisturbed service failed: {beside.said} {retained.said}")
    if len(soak.statuses) == len(PARTS):
        soak.night_seconds = time.monotonic() - started
    return detail, soak.wrong()


def run(soak: Soak, nights: int, seed: int) -> int:
    """Every night, and what it came to; the exit status."""
    random = Random(seed)
    outcomes: dict[str, Counter[str]] = {fault.name: Counter() for fault in FAULTS}
    measured = []
    for offset, fault in enumerate(draw(random, nights), start=1):
        soak.offset, soak.statuses, started = offset, [], time.monotonic()
        detail, wrong = one_night(soak, fault, random)
        count = outcomes[fault.name]
        struck = not detail.startswith(MISSED) or bool(wrong)
        count.update({"injected": struck, "lost" if wrong else "survived": struck, "unclear": 1 in soak.statuses})
        measured.append(soak.measure())
        seconds, statuses = time.monotonic() - started, ",".join(map(str, soak.statuses))
        print(f"{soak.run_date} {fault.name}: {detail}; statuses {statuses}; {seconds:.1f} s", file=sys.stderr)
        for sentence in wrong:
            print(f"    LOST {sentence}", file=sys.stderr)
        if sum(each["lost"] for each in outcomes.values()) >= STOPS_AFTER:
            break
    return report(outcomes, measured)


def report(outcomes: dict[str, Counter[str]], measured: Sequence[tuple[float, ...]]) -> int:
    """Print both tables and the last line; the exit status."""
    print(f"{'fault':<28} injected survived lost unclear")
    for name, count in outcomes.items():
        print(f"{name:<28} {count['injected']:>8} {count['survived']:>8} {count['lost']:>4} {count['unclear']:>7}")
    quarter = max(1, len(measured) // 4)
    quarters = measured[quarter : 2 * quarter] or measured, measured[-quarter:]
    grown = []
    for place, what in enumerate(MEASURED):
        second, last = (max(each[place] for each in of_quarter) for of_quarter in quarters)
        print(f"{what:<28} at most {second:,.1f} in the second quarter, {last:,.1f} in the last")
        if len(measured) >= LONG_ENOUGH and last > MOST_GROWTH * second:
            grown.append(what)
    if grown:
        print(f"not within retention: {', '.join(grown)}")
    injected, survived, lost = (sum(c[each] for c in outcomes.values()) for each in ("injected", "survived", "lost"))
    print(f"injected={injected} survived={survived} lost={lost}")
    return int(lost > 0 or bool(grown))


def main() -> int:
    """Set everything up, and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nights", type=int, default=100, help="nights, and faults; by default 100")
    parser.add_argument("--seed", type=int, default=1, help="of every random number; by default 1")
    parser.add_argument("--folder", type=Path, help="where to work, and to leave everything; by default nowhere")
    given = parser.parse_args()
    if IN_OWN_MOUNTS not in os.environ:  # a disk that can be filled, which nobody else sees
        os.environ[IN_OWN_MOUNTS] = "1"
        again = [sys.executable, "-m", "tests.faults.soak", *sys.argv[1:]]
        os.execvp("unshare", ["unshare", "-m", "--propagation", "private", *again])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what was started is ended
    with ExitStack() as held:
        folder = given.folder or Path(held.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        soak = _set_up(held, folder.absolute(), given.nights, given.seed)
        return run(soak, given.nights, given.seed)


def _set_up(held: ExitStack, folder: Path, nights: int, seed: int) -> Soak:
    """Both services with their night 0, on which nothing happens, and readers of both caches."""
    for name in ("reference", "service", "redis", "logs"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m", "none", str(folder / "service")]
    subprocess.run(mount, check=True)
    held.callback(subprocess.run, ["umount", "-l", str(folder / "service")], check=False)
    reference = Service.simulated(folder / "reference", nights + 1, seed, retrain_every=2, more=RETENTION)
    service = replace(reference, folder=folder / "service", cache=f"lmdb:{folder}/service/cache")
    farm = held.enter_context(nursery(folder / "logs"))
    server = held.enter_context(RedisServer(folder / "redis", "--appendonly", "yes", "--appendfsync", "always"))
    network = held.enter_context(BadNetwork(server.port))
    soak = Soak(farm, reference, service, server, network, OwnDisk(service.folder))
    if wrong := one_night(soak, None, Random(seed))[1]:
        sys.exit(f"the first night went wrong: {wrong}")
    (lists,) = cache_reader.promised(service.night(0)).values()
    soak.readers = [held.enter_context(cache_reader.Reader(url, lists)) for url in (service.cache, server.url)]
    return soak


if __name__ == "__main__":
    sys.exit(main())
