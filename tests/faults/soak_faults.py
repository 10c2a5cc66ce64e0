"""Faults that the soak draws from: each begins a step of a night, and spoils it."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import psutil

from nocturne.flow import GATED_TABLES
from tests.faults.scenario import Scenario
from tests.faults.tools import faulty_disk

MISSED = "no write number"
"""Beginning of the description of a fault that did not happen."""

VALIDATED = "replace warehouse/_data_docs/index.part #4"
"""All tables are validated, and the refresh has not begun."""


@dataclass(frozen=True)
class Fault:
    """A kind of fault.

    Attributes:
        step: of the night, one of `STEPS`, that it spoils.
        inject: begins that step, spoils it, and waits for its end; says what it did.
    """

    name: str
    step: str
    inject: Callable[[Scenario, Random], str]


def kill_the_driver(scenario: Scenario, random: Random) -> str:
    """At the n-th write."""
    number = scenario.any_write("night", random)
    return scenario.attempt("night", at_number=number).died_at or f"{MISSED} {number}"


def kill_a_worker(scenario: Scenario, random: Random) -> str:
    """At its n-th write."""
    number = scenario.any_write("workers", random)
    return scenario.attempt("night", at_number=number, in_workers=True).died_at or f"{MISSED} {number}"


def kill_the_driver_any_time(scenario: Scenario, random: Random) -> str:
    """Between two writes, or in the middle of one."""
    seconds = random.uniform(0.3, scenario.night_seconds)
    process = scenario.begin("night")
    process.wait_for_end_or_stop(seconds)
    process.kill()
    scenario.end(process)
    return f"after {seconds:.2f} s"


def kill_java(scenario: Scenario, random: Random) -> str:
    """The other half of the driver, of its own this time."""
    process = scenario.begin("night", own_java=True)
    seconds = random.uniform(5, 5 + 2 * scenario.night_seconds)
    process.wait_for_end_or_stop(seconds)
    for child in psutil.Process(process.pid).children(recursive=True):
        if child.name() == "java":
            child.send_signal(signal.SIGKILL)
    scenario.end(process)
    return f"after {seconds:.1f} s"


def come_back_late(scenario: Scenario, random: Random) -> str:
    """A process of another machine falls silent before a write, and comes back when the retry is done."""
    number = max(2, scenario.any_write("night", random))
    late = scenario.begin("night", host="another-machine", at_number=number, stops=True)
    if not late.wait_for_end_or_stop():
        scenario.expire_lease()
        scenario.until_done("night")
        late.resume()
    scenario.end(late)
    return late.died_at or f"{MISSED} {number}"


def run_twice(scenario: Scenario, random: Random) -> str:
    """The same night by two processes."""
    runs = [scenario.begin("night"), scenario.begin("night")]
    random.shuffle(runs)
    for process in runs:
        scenario.end(process)
    return "at once"


def flip_a_byte(scenario: Scenario, random: Random) -> str:
    """In a file of the night, after all were validated."""
    table = random.choice(["ranked_lists", "pools"])
    column = {"ranked_lists": "items.list.element.score", "pools": "scores.list.element"}[table]

    def spoil() -> None:
        faulty_disk.flip_a_byte(f"{scenario.service.warehouse}/{table}", f"run_date={scenario.run_date}", column)

    scenario.end(scenario.stop_at(VALIDATED, spoil))
    return table


def lose_a_commit(scenario: Scenario, random: Random) -> str:
    """The last one of a table that the night has written."""
    table = random.choice([table for table in GATED_TABLES if table not in {"models", "item_factors", "encoders"}])
    log = f"{scenario.service.warehouse}/{table}"
    scenario.end(scenario.stop_at(VALIDATED, lambda: faulty_disk.lose_the_last_commit(log)))
    return table


def fill_the_disk(scenario: Scenario, random: Random) -> str:
    """All but a little."""
    kilobytes = random.randint(4, 300)
    scenario.disk.fill(kilobytes)
    scenario.attempt("night")
    scenario.disk.clear()
    return f"{kilobytes} KiB left"


def write_protect(scenario: Scenario, random: Random) -> str:
    """From the n-th write on."""
    number = scenario.any_write("night", random)
    process = scenario.begin("night", at_number=number, stops=True)
    ended = process.wait_for_end_or_stop()
    scenario.disk.protect(scenario.service.warehouse)
    if not ended:
        process.resume()
    scenario.end(process)
    scenario.disk.unprotect(scenario.service.warehouse)
    return process.died_at or f"{MISSED} {number}"


def restart_redis(scenario: Scenario, random: Random) -> str:
    """In the middle of a refresh, with what it has on its disk."""
    process = scenario.begin("refresh", at_number=scenario.any_write("refresh", random), stops=True)
    ended = process.wait_for_end_or_stop()
    scenario.server.kill()
    scenario.server.start()
    if not ended:
        process.resume()
    scenario.end(process)
    return process.died_at or "after it"


def empty_redis(scenario: Scenario, random: Random) -> str:
    """It forgets everything in the middle of a refresh."""
    process = scenario.begin("refresh", at_number=scenario.any_write("refresh", random), stops=True)
    ended = process.wait_for_end_or_stop()
    scenario.server.client.flushall()
    if not ended:
        process.resume()
    scenario.end(process)
    return process.died_at or "after it"


def fill_redis(scenario: Scenario, random: Random) -> str:
    """Out of memory."""
    used = scenario.server.client.info("memory")["used_memory"]
    more = random.randint(0, 20_000)
    scenario.server.client.config_set("maxmemory", used + more)
    scenario.attempt("refresh")
    scenario.server.client.config_set("maxmemory", 0)
    return f"{more} bytes left"


def cut_off_redis(scenario: Scenario, random: Random) -> str:
    """For good, after some bytes."""
    more = random.randint(0, 30_000)
    scenario.network.cut_after = scenario.network.sent + more
    scenario.attempt("refresh")
    scenario.network.cut_after = None
    return f"after {more} bytes"


def slow_redis_down(scenario: Scenario, random: Random) -> str:
    """Every piece waits, and some connections are cut."""
    scenario.network.delay, scenario.network.cut_every = random.uniform(0.01, 0.05), random.randint(5_000, 50_000)
    scenario.attempt("refresh")
    scenario.network.delay, scenario.network.cut_every = 0.0, None
    return "and connections cut"


def kill_the_refresh(scenario: Scenario, random: Random) -> str:
    """At the n-th write, on Redis."""
    number = scenario.any_write("refresh", random)
    return scenario.attempt("refresh", at_number=number).died_at or f"{MISSED} {number}"


def kill_retention(scenario: Scenario, random: Random) -> str:
    """At the n-th write."""
    number = 1 + scenario.any_write("retain", random) // 2  # it has more to do on some nights than on others
    return scenario.attempt("retain", at_number=number).died_at or f"{MISSED} {number}"


FAULTS = (
    Fault("driver killed at a write", "night", kill_the_driver),
    Fault("driver killed any time", "night", kill_the_driver_any_time),
    Fault("worker killed at a write", "night", kill_a_worker),
    Fault("Java killed any time", "night", kill_java),
    Fault("late writer comes back", "night", come_back_late),
    Fault("two runs at once", "night", run_twice),
    Fault("byte flipped", "night", flip_a_byte),
    Fault("log without its end", "night", lose_a_commit),
    Fault("disk full", "night", fill_the_disk),
    Fault("disk read-only", "night", write_protect),
    Fault("Redis restarted", "refresh", restart_redis),
    Fault("Redis emptied", "refresh", empty_redis),
    Fault("Redis out of memory", "refresh", fill_redis),
    Fault("Redis cut off", "refresh", cut_off_redis),
    Fault("Redis slow", "refresh", slow_redis_down),
    Fault("refresh killed at a write", "refresh", kill_the_refresh),
    Fault("retention killed at a write", "retain", kill_retention),
)


def draw(random: Random, nights: int) -> list[Fault]:
    """A fault a night: every kind about as often as every other, in random order."""
    faults: list[Fault] = []
    while len(faults) < nights:
        faults += random.sample(FAULTS, len(FAULTS))
    return faults[:nights]
