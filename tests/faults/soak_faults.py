"""The faults that the soak draws from: each begins a part of a night, and spoils it."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import psutil

from nocturne.flow import GATED_TABLES
from tests.faults.tools import faulty_disk

if TYPE_CHECKING:
    from tests.faults.soak import Soak

MISSED = "no write number"
"""How the account of a fault begins that did not happen."""

VALIDATED = "replace warehouse/_data_docs/index.part #4"
"""All tables are validated, and the refresh has not begun."""


@dataclass(frozen=True)
class Fault:
    """A kind of fault.

    Attributes:
        part: of the night that it spoils: night, refresh (on Redis) or retain.
        inject: begins that part, spoils it, and waits for its end; says what it did.
    """

    name: str
    part: str
    inject: Callable[["Soak", Random], str]


def kill_the_driver(soak: "Soak", random: Random) -> str:
    """At the n-th write."""
    at = soak.any_write("night", random)
    return soak.attempt("night", at=at).died_at or f"{MISSED} {at}"


def kill_a_worker(soak: "Soak", random: Random) -> str:
    """At its n-th write."""
    at = soak.any_write("workers", random)
    return soak.attempt("night", at=at, workers=True).died_at or f"{MISSED} {at}"


def kill_the_driver_any_time(soak: "Soak", random: Random) -> str:
    """Between two writes, or in the middle of one."""
    seconds = random.uniform(0.3, soak.night_seconds)
    job = soak.begin("night")
    job.ended_or_stopped(seconds)
    job.kill()
    soak.end(job)
    return f"after {seconds:.2f} s"


def kill_java(soak: "Soak", random: Random) -> str:
    """The other half of the driver, of its own this time."""
    job = soak.begin("night", own_java=True)
    seconds = random.uniform(5, 5 + 2 * soak.night_seconds)
    job.ended_or_stopped(seconds)
    for child in psutil.Process(job.pid).children(recursive=True):
        if child.name() == "java":
            child.send_signal(signal.SIGKILL)
    soak.end(job)
    return f"after {seconds:.1f} s"


def come_back_late(soak: "Soak", random: Random) -> str:
    """A process of another machine falls silent before a write, and comes back when the retry is done."""
    at = max(2, soak.any_write("night", random))
    late = soak.begin("night", host="another-machine", at=at, stops=True)
    if not late.ended_or_stopped():
        soak.lapse()
        soak.until_done("night")
        late.go_on()
    soak.end(late)
    return late.died_at or f"{MISSED} {at}"


def run_twice(soak: "Soak", random: Random) -> str:
    """The same night by two processes."""
    both = [soak.begin("night"), soak.begin("night")]
    random.shuffle(both)
    for job in both:
        soak.end(job)
    return "at once"


def flip_a_byte(soak: "Soak", random: Random) -> str:
    """In a file of the night, after all were validated."""
    table = random.choice(["ranked_lists", "pools"])
    column = {"ranked_lists": "items.list.element.score", "pools": "scores.list.element"}[table]

    def spoil() -> None:
        faulty_disk.flip_a_byte(f"{soak.service.warehouse}/{table}", f"run_date={soak.run_date}", column)

    soak.end(soak.stopped_at(VALIDATED, spoil))
    return table


def lose_a_commit(soak: "Soak", random: Random) -> str:
    """The last one of a table that the night has written."""
    table = random.choice([table for table in GATED_TABLES if table not in {"models", "item_factors"}])
    log = f"{soak.service.warehouse}/{table}"
    soak.end(soak.stopped_at(VALIDATED, lambda: faulty_disk.lose_the_last_commit(log)))
    return table


def fill_the_disk(soak: "Soak", random: Random) -> str:
    """All but a little."""
    kilobytes = random.randint(4, 300)
    soak.disk.fill(kilobytes)
    soak.attempt("night")
    soak.disk.clear()
    return f"{kilobytes} KiB left"


def write_protect(soak: "Soak", random: Random) -> str:
    """From the n-th write on."""
    at = soak.any_write("night", random)
    job = soak.begin("night", at=at, stops=True)
    ended = job.ended_or_stopped()
    soak.disk.protect(soak.service.warehouse)
    if not ended:
        job.go_on()
    soak.end(job)
    soak.disk.unprotect(soak.service.warehouse)
    return job.died_at or f"{MISSED} {at}"


def restart_redis(soak: "Soak", random: Random) -> str:
    """In the middle of a refresh, with what it has on its disk."""
    job = soak.begin("refresh", at=soak.any_write("refresh", random), stops=True)
    ended = job.ended_or_stopped()
    soak.server.kill()
    soak.server.start()
    if not ended:
        job.go_on()
    soak.end(job)
    return job.died_at or "after it"


def empty_redis(soak: "Soak", random: Random) -> str:
    """It forgets everything in the middle of a refresh."""
    job = soak.begin("refresh", at=soak.any_write("refresh", random), stops=True)
    ended = job.ended_or_stopped()
    soak.server.client.flushall()
    if not ended:
        job.go_on()
    soak.end(job)
    return job.died_at or "after it"


def fill_redis(soak: "Soak", random: Random) -> str:
    """Out of memory."""
    used = soak.server.client.info("memory")["used_memory"]
    more = random.randint(0, 20_000)
    soak.server.client.config_set("maxmemory", used + more)
    soak.attempt("refresh")
    soak.server.client.config_set("maxmemory", 0)
    return f"{more} bytes left"


def cut_off_redis(soak: "Soak", random: Random) -> str:
    """For good, after some bytes."""
    more = random.randint(0, 30_000)
    soak.network.cut_after = soak.network.sent + more
    soak.attempt("refresh")
    soak.network.cut_after = None
    return f"after {more} bytes"


def slow_redis_down(soak: "Soak", random: Random) -> str:
    """Every piece waits, and some connections are cut."""
    soak.network.delay, soak.network.cut_every = random.uniform(0.01, 0.05), random.randint(5_000, 50_000)
    soak.attempt("refresh")
    soak.network.delay, soak.network.cut_every = 0.0, None
    return "and connections cut"


def kill_the_refresh(soak: "Soak", random: Random) -> str:
    """At the n-th write, on Redis."""
    at = soak.any_write("refresh", random)
    return soak.attempt("refresh", at=at).died_at or f"{MISSED} {at}"


def kill_retention(soak: "Soak", random: Random) -> str:
    """At the n-th write."""
    at = 1 + soak.any_write("retain", random) // 2  # it has more to do on some nights than on others
    return soak.attempt("retain", at=at).died_at or f"{MISSED} {at}"


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
