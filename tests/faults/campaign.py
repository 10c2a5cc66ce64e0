"""A campaign: the long searches for faults, which take turns for as long as asked.

python -m tests.faults.campaign --minutes 10 --seed 1

The property tests run with many more examples than in the suite, then the soak with a night for each kind of fault,
then a month of sound nights, of which no gate may close, then every fault of meaning on two months in memory; then all
again with the next seed. A turn takes its share of the time at most, but the soak finishes the night it is in, and runs
one at least, and the months are always whole.
Progress is on stderr. Ends with each failure as the command that repeats it, and
`campaign minutes=... seed=... searches=... failures=...`; status 1 if anything failed.
"""

import argparse
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Timer

import pytest

from tests.faults.soak_faults import FAULTS

ROOT = Path(__file__).parents[2]
PYTHON = ".venv/bin/python"
"""In commands for people."""
Search = Callable[[int, float], list[str]]
"""Searches with a seed for some minutes; returns the commands that repeat the failures."""


def search_properties(seed: int, minutes: float) -> list[str]:
    """Run every property test with many examples; a test that has failed when the time is up counts."""
    profile = ["--hypothesis-profile=campaign", f"--hypothesis-seed={seed}"]
    command = ["-m", "pytest", "-vv", "-m", "search", *profile]
    with subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        timer = Timer(60 * minutes, process.send_signal, [signal.SIGINT])
        timer.start()
        lines = []
        for line in process.stdout or ():
            print(line, end="", file=sys.stderr, flush=True)
            lines.append(line)
        timer.cancel()
    if failed := failed_tests(lines):
        return [shlex.join([PYTHON, "-m", "pytest", test, *profile]) for test in failed]
    searched = process.returncode in (pytest.ExitCode.OK, pytest.ExitCode.INTERRUPTED)
    return [] if searched else [shlex.join([PYTHON, *command])]


def failed_tests(lines: Sequence[str]) -> list[str]:
    """The tests that pytest's summary names: `FAILED tests/test_x.py::test_y - assert 1 == 2`."""
    failures = [line.partition(" ")[2] for line in lines if line.startswith(("FAILED ", "ERROR "))]
    return [failure.partition(" - ")[0].strip() for failure in failures]


def soak(seed: int, minutes: float) -> list[str]:
    """Run a night for each kind of fault."""
    command = ["-m", "tests.faults.soak", "--nights", str(len(FAULTS)), "--seed", str(seed)]
    limit = ["--minutes", f"{minutes:.2f}"]
    with subprocess.Popen([sys.executable, *command, *limit], cwd=ROOT, stdout=sys.stderr) as process:
        return [shlex.join([PYTHON, *command])] if process.wait() else []


def publish_a_month(seed: int, _: float) -> list[str]:
    """Run 30 nights of a sound service, weekdays and weekends."""
    with tempfile.TemporaryDirectory() as folder:
        places = [
            "--landing",
            f"{folder}/landing",
            "--warehouse",
            f"{folder}/warehouse",
            "--cache",
            f"lmdb:{folder}/cache",
        ]
        days = ["--listeners", "400", "--items", "300", "--nights", "30", "--seed", str(seed), "--start", "2025-01-01"]
        nocturne = [".venv/bin/nocturne"]
        commands = [
            [*nocturne, "simulate", "--landing", f"{folder}/landing", *days],
            [*nocturne, "night", "--from", "2025-01-01", "--to", "2025-01-30", *places],
        ]
        failed = [
            command
            for command in commands
            if subprocess.run(command, cwd=ROOT, check=False, stdout=sys.stderr).returncode
        ]
    return [shlex.join(command) for command in (commands if failed else [])]


def catch_faults_of_meaning(seed: int, _: float) -> list[str]:
    """Try every kind of fault of meaning on nights of a service of another seed: what hurts is told."""
    options = ["--nights", "60", "--listeners", "600", "--items", "500", "--seed", str(seed), "--check"]
    command = ["-m", "benchmarks.faults_of_meaning", *options]
    finished = subprocess.run([sys.executable, *command], cwd=ROOT, check=False, stdout=sys.stderr)
    return [shlex.join([PYTHON, *command])] if finished.returncode else []


def take_turns(searches: Sequence[Search], minutes: float, seed: int) -> tuple[int, list[str]]:
    """Searches in turn until the time is up, or Ctrl-C: how many began, and the commands that repeat their failures."""
    deadline = time.monotonic() + 60 * minutes
    turn, failures = 0, list[str]()
    with suppress(KeyboardInterrupt):
        while (minutes_left := (deadline - time.monotonic()) / 60) > 0:
            search, turn_seed = searches[turn % len(searches)], seed + turn // len(searches)
            turn += 1
            print(f"{search.__name__} with seed {turn_seed}; {minutes_left:.1f} minutes left", file=sys.stderr)
            failures += search(turn_seed, min(minutes_left, minutes / len(searches)))
    return turn, failures


def main() -> int:
    """Search for as long as asked; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="by default 10")
    parser.add_argument("--seed", type=int, default=1, help="of the first turns; by default 1")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background process ignores it, as would pytest
    searches, failures = take_turns(
        [search_properties, soak, publish_a_month, catch_faults_of_meaning], options.minutes, options.seed
    )
    for command in failures:
        print(f"to repeat: {command}")
    print(f"campaign minutes={options.minutes:g} seed={options.seed} searches={searches} failures={len(failures)}")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
