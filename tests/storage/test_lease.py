"""The lease serialises nights, whoever dies, waits or comes late."""

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from nocturne.core.errors import ServiceError, UsageError
from nocturne.storage import lease, lease_state

FIRST, SECOND, THIRD = date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 3)

HOLDER = """
import sys, time
from datetime import date
from nocturne.storage.lease import hold
with hold(sys.argv[1], date(2026, 1, 1), holder="other"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def warehouse(tmp_path: Path) -> str:
    return str(tmp_path / "warehouse")


@pytest.fixture
def other_process(warehouse: str):
    """A process of its own that holds the warehouse for night 1."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, warehouse], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def grant(warehouse: str, run_date: date, holder: str) -> None:
    """Two polls: the first one only queues."""
    assert [lease.take(warehouse, run_date, holder) for _ in range(2)] == [False, True]


def test_the_lease_is_held_in_the_block_and_free_after_it(warehouse: str):
    with lease.hold(warehouse, FIRST, holder="me"):
        claim = lease.show(warehouse).grant
        assert claim is not None
        assert (claim.holder, claim.run_date, claim.pid) == ("me", "2026-01-01", os.getpid())
    assert lease.show(warehouse).grant is None


def test_a_block_that_raises_gives_the_lease_back(warehouse: str):
    with pytest.raises(ValueError, match="the job failed"), lease.hold(warehouse, FIRST):
        raise ValueError("the job failed")
    assert lease.show(warehouse).grant is None


def test_a_second_process_is_told_who_holds_it_for_which_night_and_what_to_do(warehouse: str, other_process):
    with pytest.raises(ServiceError) as raised, lease.hold(warehouse, SECOND):
        pass
    message = str(raised.value)
    assert raised.value.status == 5
    assert "held by night 2026-01-01 of other, since 20" in message
    assert f"process {other_process.pid} on " in message
    assert f"nocturne lease release --warehouse {warehouse} --holder 'other'" in message


def test_the_lease_of_a_killed_process_is_taken_at_once(warehouse: str, other_process):
    other_process.send_signal(signal.SIGKILL)
    other_process.wait()
    with lease.hold(warehouse, SECOND) as mine:
        assert mine.token == 2


def test_a_killed_process_that_nobody_has_reaped_is_dead_too(warehouse: str, other_process):
    other_process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, other_process.pid, os.WEXITED | os.WNOWAIT)
    with lease.hold(warehouse, SECOND):
        pass


def test_a_later_process_with_the_same_pid_is_not_the_holder(warehouse: str, monkeypatch: pytest.MonkeyPatch):
    stale = lease._process_claim(FIRST, "earlier process")
    lease._request_grant(warehouse, replace(stale, started="1"), queue=False)
    assert lease.show(warehouse).grant is None


def test_every_process_that_is_let_in_has_a_higher_token_also_two_jobs_of_one_run(warehouse: str):
    with lease.hold(warehouse, FIRST, holder="a") as first:
        assert first.token == 1
    grant(warehouse, SECOND, "run")
    tokens = []
    for _ in range(2):
        with lease.hold(warehouse, SECOND, holder="run") as job:
            tokens.append(job.token)
    assert tokens == [3, 4]


def test_a_process_takes_over_only_from_one_that_never_said_that_it_left(warehouse: str, other_process):
    other_process.kill()
    other_process.wait()
    with lease.hold(warehouse, SECOND) as second:
        assert second.takes_over
    with lease.hold(warehouse, SECOND) as third:
        assert not third.takes_over


def test_a_job_whose_process_is_silent_on_another_host_loses_the_lease_to_its_own_retry(
    warehouse: str, monkeypatch: pytest.MonkeyPatch
):
    grant(warehouse, FIRST, "run")
    monkeypatch.setattr(lease.socket, "gethostname", lambda: "host-that-sleeps")
    with (
        pytest.raises(ServiceError, match="the lease on the warehouse was lost"),
        lease.hold(warehouse, FIRST, "run") as late,
    ):
        monkeypatch.setattr(lease.socket, "gethostname", lambda: "another-host")
        monkeypatch.setattr(lease_state, "PROCESS_LASTS_SECONDS", 0)
        with lease.hold(warehouse, FIRST, "run") as retry:
            assert retry.takes_over
            assert retry.token > late.token


def test_a_first_poll_only_queues_so_that_concurrent_nights_go_in_order_of_date(warehouse: str):
    nights = {"c": THIRD, "a": FIRST, "b": SECOND}
    assert [lease.take(warehouse, night, holder) for holder, night in nights.items()] == [False, False, False]
    order = []
    while len(order) < 3:
        for holder, night in nights.items():
            if holder not in order and lease.take(warehouse, night, holder):
                order.append(holder)
                lease.release(warehouse, holder)
    assert order == ["a", "b", "c"]


def test_a_run_that_holds_the_lease_is_granted_it_again_and_others_wait(warehouse: str):
    grant(warehouse, SECOND, "run")
    assert lease.take(warehouse, SECOND, "run")
    assert [lease.take(warehouse, FIRST, "earlier night") for _ in range(2)] == [False, False]
    assert lease.release(warehouse, "run")
    assert lease.take(warehouse, FIRST, "earlier night")


def test_a_job_of_the_run_that_holds_the_lease_renews_and_keeps_it(warehouse: str):
    grant(warehouse, FIRST, "run")
    with lease.hold(warehouse, FIRST, holder="run") as job:
        assert job.token == 2
    claim = lease.show(warehouse).grant
    assert claim is not None
    assert claim.holder == "run"


def test_a_job_started_again_does_not_meet_its_orphan(warehouse: str, other_process):
    lease.take(warehouse, FIRST, "other")
    with pytest.raises(ServiceError, match="held by night 2026-01-01 of other"), lease.hold(warehouse, FIRST, "other"):
        pass
    other_process.kill()
    other_process.wait()
    with lease.hold(warehouse, FIRST, "other") as again:
        assert again.token == 2


def test_an_orphan_keeps_the_lease_that_its_run_gave_up_until_it_ends(warehouse: str, other_process):
    lease.take(warehouse, FIRST, "other")
    assert not lease.release(warehouse, "other")
    assert [lease.take(warehouse, SECOND, "next") for _ in range(2)] == [False, False]
    other_process.kill()
    other_process.wait()
    assert lease.take(warehouse, SECOND, "next")


def test_a_run_keeps_the_lease_when_its_job_is_killed(warehouse: str, other_process):
    lease.take(warehouse, FIRST, "other")
    other_process.kill()
    other_process.wait()
    claim = lease.show(warehouse).grant
    assert claim is not None
    assert (claim.holder, claim.host) == ("other", "")


def test_a_job_by_hand_is_refused_while_a_run_holds_the_lease(warehouse: str):
    grant(warehouse, FIRST, "run")
    with pytest.raises(ServiceError, match="held by night 2026-01-01 of run"), lease.hold(warehouse, FIRST):
        pass


def test_a_job_by_hand_does_not_overtake_an_earlier_night_that_waits(warehouse: str):
    lease.take(warehouse, FIRST, "waiting run")
    with (
        pytest.raises(ServiceError, match="an earlier night comes first: night 2026-01-01 of waiting run"),
        lease.hold(warehouse, SECOND),
    ):
        pass


def test_releasing_gives_up_the_place_in_the_queue(warehouse: str):
    lease.take(warehouse, FIRST, "given up")
    assert lease.release(warehouse, "given up")
    grant(warehouse, SECOND, "next")


def test_releasing_what_another_holds_changes_nothing(warehouse: str):
    grant(warehouse, FIRST, "run")
    lease.release(warehouse, "somebody else")
    claim = lease.show(warehouse).grant
    assert claim is not None
    assert claim.holder == "run"


@pytest.mark.parametrize(
    ("silence", "free"),
    [(lease_state.RUN_LASTS_SECONDS - 10, False), (lease_state.RUN_LASTS_SECONDS + 10, True)],
)
def test_a_run_keeps_the_lease_between_its_tasks_and_loses_it_after_an_hour_of_silence(
    warehouse: str, monkeypatch: pytest.MonkeyPatch, silence: float, free: bool
):
    grant(warehouse, FIRST, "run")
    now = lease.time.time()
    monkeypatch.setattr(lease.time, "time", lambda: now + silence)
    assert (lease.show(warehouse).grant is None) == free


def test_the_process_of_another_host_is_dead_after_five_minutes_of_silence(
    warehouse: str, monkeypatch: pytest.MonkeyPatch
):
    far = replace(lease._process_claim(FIRST, "far"), host="another-host")
    lease._request_grant(warehouse, far, queue=False)
    now = lease.time.time()
    monkeypatch.setattr(lease.time, "time", lambda: now + 290)
    assert lease.show(warehouse).grant is not None
    monkeypatch.setattr(lease.time, "time", lambda: now + 310)
    assert lease.show(warehouse).grant is None


def test_a_waiting_night_that_stopped_polling_is_forgotten(warehouse: str, monkeypatch: pytest.MonkeyPatch):
    lease.take(warehouse, FIRST, "gone")
    now = lease.time.time()
    monkeypatch.setattr(lease.time, "time", lambda: now + lease_state.WAITER_LASTS_SECONDS + 1)
    grant(warehouse, SECOND, "next")


def test_the_heartbeat_renews_while_the_block_runs(warehouse: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.01)
    beaten = threading.Event()
    renew = lease._renew
    monkeypatch.setattr(lease, "_renew", lambda *claim: (renew(*claim), beaten.set())[0])
    with lease.hold(warehouse, FIRST, holder="me"):
        granted_claim = lease.show(warehouse).grant
        assert beaten.wait(5)
        renewed_claim = lease.show(warehouse).grant
    assert granted_claim is not None
    assert renewed_claim is not None
    assert renewed_claim.renewed > granted_claim.renewed


def test_a_job_whose_lease_went_to_another_ends_with_an_error(warehouse: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lease.socket, "gethostname", lambda: "host-that-sleeps")
    with pytest.raises(ServiceError, match="the lease on the warehouse was lost"), lease.hold(warehouse, FIRST, "me"):
        monkeypatch.setattr(lease.socket, "gethostname", lambda: "another-host")
        monkeypatch.setattr(lease_state, "PROCESS_LASTS_SECONDS", 0)
        grant(warehouse, SECOND, "other")
    claim = lease.show(warehouse).grant
    assert claim is not None
    assert claim.holder == "other"


def test_a_job_that_waits_gets_the_lease_when_the_night_before_it_is_done(warehouse: str, other_process):
    threading.Timer(0.5, other_process.kill).start()
    with lease.hold(warehouse, SECOND, wait_seconds=30) as mine:
        assert mine.token == 2


def test_a_job_that_waited_in_vain_leaves_the_queue(warehouse: str, other_process):
    with pytest.raises(ServiceError), lease.hold(warehouse, SECOND, wait_seconds=0.1):
        pass
    assert lease.show(warehouse).waiting == ()


@pytest.mark.slow
def test_of_many_processes_at_once_one_at_a_time_holds_the_lease(warehouse: str, tmp_path: Path):
    code = """
import sys, time
from datetime import date
from nocturne.storage.lease import hold
with hold(sys.argv[1], date(2026, 1, 1), wait_seconds=60):
    open(sys.argv[2], "x").close()
    time.sleep(0.05)
    __import__("os").remove(sys.argv[2])
"""
    alone = str(tmp_path / "alone")
    processes = [subprocess.Popen([sys.executable, "-c", code, warehouse, alone]) for _ in range(4)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0, 0]
    assert lease.show(warehouse).token == 4


def test_looking_at_a_warehouse_without_a_lease_writes_nothing(warehouse: str):
    assert lease.show(warehouse) == lease_state.State()
    assert lease.release(warehouse, "nobody")
    assert not Path(warehouse).exists()


def test_the_stored_state_is_what_other_releases_read(warehouse: str):
    grant(warehouse, FIRST, "run")
    lease.take(warehouse, SECOND, "next")
    stored = json.loads(Path(warehouse, "_lease", "state.json").read_bytes())
    assert (stored["token"], stored["worked"], stored["left"]) == (1, 0, 0)
    assert list(stored["held"]) == ["holder", "run_date", "since", "renewed", "run", "token", "host", "pid", "started"]
    assert (stored["held"]["holder"], [claim["holder"] for claim in stored["waiting"]]) == ("run", ["next"])


LOCK_KEEPER = """
import fcntl, sys, time
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
print("kept", flush=True)
time.sleep(60)
"""


def test_a_process_that_was_stopped_with_the_lock_in_its_hand_is_told_and_not_waited_for_for_ever(
    warehouse: str, monkeypatch: pytest.MonkeyPatch
):
    grant(warehouse, FIRST, "run")
    monkeypatch.setattr(lease_state, "LOCK_SECONDS", 0.05)
    command = [sys.executable, "-c", LOCK_KEEPER, f"{warehouse}/_lease/lock"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as keeper:
        try:
            assert keeper.stdout is not None
            assert keeper.stdout.readline() == "kept\n"
            keeper.send_signal(signal.SIGSTOP)
            with pytest.raises(ServiceError, match="another process keeps the lease's lock"):
                lease.release(warehouse, "run")
        finally:
            keeper.kill()
    assert lease.show(warehouse).grant is not None


def test_who_holds_the_lease_is_told_to_a_reader_too(warehouse: str):
    grant(warehouse, FIRST, "run")
    stored = {path: path.stat().st_mtime_ns for path in Path(warehouse, "_lease").iterdir()}
    Path(warehouse, "_lease", "lock").unlink()
    assert lease.show(warehouse).grant is not None
    left = {path: path.stat().st_mtime_ns for path in Path(warehouse, "_lease").iterdir()}
    assert left == {path: time for path, time in stored.items() if path.name != "lock"}


def test_a_warehouse_that_is_a_file_is_a_wrong_setting(tmp_path: Path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(UsageError, match="the warehouse cannot be written"),
        lease.hold(str(tmp_path / "file"), FIRST),
    ):
        pass


def test_a_warehouse_without_a_file_system_is_a_wrong_setting():
    with pytest.raises(UsageError, match="on a file system"):
        lease.take("s3://bucket/warehouse", FIRST, "run")


def test_a_file_uri_and_its_path_are_one_warehouse(warehouse: str):
    grant(f"file://{warehouse}", FIRST, "run")
    claim = lease.show(warehouse).grant
    assert claim is not None
    assert claim.holder == "run"
