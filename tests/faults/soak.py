"""Nights in a row, each with a fault of a random kind, beside a service that nothing happens to.

python -m tests.faults.soak --nights 100 --seed 1 [--minutes M] [--folder DIR]

A night counts as survived if, after runs that a scheduler would start anyway, its tables equal those of the
undisturbed service, both caches serve it whole and keep what they should, and no reader ever saw a list of no
validated night. Ends with a table, and `injected=... survived=... lost=...`; status 1 if a night was lost.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from random import Random

from nocturne.flow import TABLES
from nocturne.lifecycle.expiry import ENCODERS
from nocturne.storage.tables import ACCUMULATED
from tests.faults.scenario import MEASURED, STEPS, Scenario
from tests.faults.soak_faults import FAULTS, MISSED, Fault, draw
from tests.faults.tools import cache_reader
from tests.faults.tools.faulty_disk import FaultyDisk
from tests.faults.tools.faulty_redis import FaultyNetwork, RedisServer
from tests.faults.tools.killable_process import ForkServer
from tests.faults.tools.sample_service import Service

DISK_MEGABYTES = 1024
KEPT_NIGHTS = 6
STOPS_AFTER = 3
LONG_ENOUGH, MOST_GROWTH = 6 * KEPT_NIGHTS, 1.25
"""Nights after which everything should be as large as it gets, and what items and models that come still add."""
IN_OWN_MOUNTS = "NOCTURNE_SOAK_MOUNTS"
RETENTION = "".join(
    ["\n[retention]\nremoved_files_hours = 0\n[retention.nights]\n"]
    + [f"{table} = {KEPT_NIGHTS}\n" for table in TABLES if table not in {*ACCUMULATED, ENCODERS}]
)


def one_night(scenario: Scenario, fault: Fault | None, random: Random) -> tuple[str, list[str]]:
    """The night with its fault, and meanwhile undisturbed; what the fault was, and the errors afterwards."""
    undisturbed = scenario.begin_undisturbed("night")
    detail, started = "", time.monotonic()
    try:
        for step in STEPS:
            if fault and step == fault.step:
                detail = fault.inject(scenario, random)
            scenario.until_done(step)
    except AssertionError as error:
        return detail, [str(error)]
    finally:
        retained = undisturbed if undisturbed.wait() else scenario.begin_undisturbed("retain")
        if retained.wait():
            sys.exit(f"the undisturbed service failed: {undisturbed.output} {retained.output}")
    if len(scenario.statuses) == len(STEPS):
        scenario.night_seconds = time.monotonic() - started
    return detail, scenario.check()


def run(scenario: Scenario, nights: int, seed: int, deadline: float) -> int:
    """Every night that begins in time, one at least, and its outcome; the exit status."""
    random = Random(seed)
    outcomes: dict[str, Counter[str]] = {fault.name: Counter() for fault in FAULTS}
    sizes = []
    for offset, fault in enumerate(draw(random, nights), start=1):
        if offset > 1 and time.monotonic() > deadline:
            break
        scenario.offset, scenario.statuses, started = offset, [], time.monotonic()
        detail, errors = one_night(scenario, fault, random)
        outcome = outcomes[fault.name]
        struck = not detail.startswith(MISSED) or bool(errors)
        unclear = 1 in scenario.statuses
        outcome.update({"injected": struck, "lost" if errors else "survived": struck, "unclear": unclear})
        sizes.append(scenario.measure())
        seconds, statuses = time.monotonic() - started, ",".join(map(str, scenario.statuses))
        print(f"{scenario.run_date} {fault.name}: {detail}; statuses {statuses}; {seconds:.1f} s", file=sys.stderr)
        for sentence in errors:
            print(f"    LOST {sentence}", file=sys.stderr)
        if sum(each["lost"] for each in outcomes.values()) >= STOPS_AFTER:
            break
    return report(outcomes, sizes)


def report(outcomes: dict[str, Counter[str]], sizes: Sequence[tuple[float, ...]]) -> int:
    """Print both tables and the last line; the exit status."""
    print(f"{'fault':<28} injected survived lost unclear")
    for name, outcome in outcomes.items():
        columns = f"{outcome['injected']:>8} {outcome['survived']:>8} {outcome['lost']:>4} {outcome['unclear']:>7}"
        print(f"{name:<28} {columns}")
    grown = _report_growth(sizes) if sizes else []
    if grown:
        print(f"not within retention: {', '.join(grown)}")
    totals = {word: sum(outcome[word] for outcome in outcomes.values()) for word in ("injected", "survived", "lost")}
    print(*(f"{word}={total}" for word, total in totals.items()))
    return int(totals["lost"] > 0 or bool(grown))


def _report_growth(sizes: Sequence[tuple[float, ...]]) -> list[str]:
    """Print the sizes of the second and the last quarter; the names of those that grew."""
    quarter = max(1, len(sizes) // 4)
    quarters = sizes[quarter : 2 * quarter] or sizes, sizes[-quarter:]
    grown = []
    for place, name in enumerate(MEASURED):
        second, last = (max(each[place] for each in quarter_sizes) for quarter_sizes in quarters)
        print(f"{name:<28} at most {second:,.1f} in the second quarter, {last:,.1f} in the last")
        if len(sizes) >= LONG_ENOUGH and last > MOST_GROWTH * second:
            grown.append(name)
    return grown


def main() -> int:
    """Set everything up, and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nights", type=int, default=100, help="nights, and faults; by default 100")
    parser.add_argument("--seed", type=int, default=1, help="of every random number; by default 1")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="begin no second night later; by default all"
    )
    parser.add_argument("--folder", type=Path, help="where to work, and to leave everything; by default nowhere")
    options = parser.parse_args()
    if IN_OWN_MOUNTS not in os.environ:  # a disk that can be filled, which nobody else sees
        os.environ[IN_OWN_MOUNTS] = "1"
        command = [sys.executable, "-m", "tests.faults.soak", *sys.argv[1:]]
        os.execvp("unshare", ["unshare", "-m", "--propagation", "private", *command])
    deadline = time.monotonic() + 60 * options.minutes
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what was started is ended
    with ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        scenario = _set_up(stack, folder.absolute(), options.nights, options.seed)
        return run(scenario, options.nights, options.seed, deadline)


def _set_up(stack: ExitStack, folder: Path, nights: int, seed: int) -> Scenario:
    """Both services with their night 0, on which nothing happens, and readers of both caches."""
    for name in ("reference", "service", "redis", "logs"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m", "none", str(folder / "service")]
    subprocess.run(mount, check=True)
    stack.callback(subprocess.run, ["umount", "-l", str(folder / "service")], check=False)
    reference = Service.simulate(folder / "reference", nights + 1, seed, retrain_every=2, more=RETENTION)
    service = replace(reference, folder=folder / "service", cache=f"lmdb:{folder}/service/cache")
    fork_server = stack.enter_context(closing(ForkServer(folder / "logs")))
    server = stack.enter_context(RedisServer(folder / "redis", "--appendonly", "yes", "--appendfsync", "always"))
    network = stack.enter_context(FaultyNetwork(server.port))
    scenario = Scenario(fork_server, reference, service, server, network, FaultyDisk(service.folder))
    if errors := one_night(scenario, None, Random(seed))[1]:
        sys.exit(f"the first night went wrong: {errors}")
    (lists,) = cache_reader.validated_lists(service.night(0)).values()
    scenario.readers = [stack.enter_context(cache_reader.Reader(url, lists)) for url in (service.cache, server.url)]
    return scenario


if __name__ == "__main__":
    sys.exit(main())
