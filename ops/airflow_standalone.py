"""`airflow standalone` until Ctrl-C: a sign of life while it starts, and no process left when it ends.

Its tasks are in sessions of their own, so that no signal to a group reaches them all: this process adopts whatever
loses its parent below it, and ends everything that it then has for descendants.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil

ADDRESS = "127.0.0.1"
SIGN_OF_LIFE_SECONDS = 1
PATIENCE_SECONDS = 4
PR_SET_CHILD_SUBREAPER = 36
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130


class Interrupted(Exception):  # noqa: N818 - it is what happened
    """Somebody asked for the end: Ctrl-C, a closed terminal, or `kill`."""


def main(port: int, log: Path) -> int:
    """Run Airflow on a port of this machine; returns the exit status."""
    if not free(port):
        say(f"Airflow is not started: something else answers at port {port}. End it, or: PORT={port + 1} make airflow")
        return 1
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in INTERRUPTS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
            signal.signal(number, interrupt)
    try:
        with log.open("wb") as output:
            standalone = subprocess.Popen(
                ["airflow", "standalone"], stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        if started(standalone, port):
            say(f"\nAirflow answers at http://{ADDRESS}:{port}")
            while os.waitpid(-1, 0)[0] != standalone.pid:
                pass  # a process that was adopted has ended
        end_descendants()
    except Interrupted:
        end_descendants()
        say("\nAirflow stopped; nothing of it is left; run make airflow to go on.")
        return INTERRUPTED
    say(f"\nAirflow ended by itself, and nothing of it is left. Its log, {log}, ends with:\n{last_lines(log)}")
    return 1


def say(text: str, end: str = "\n") -> None:
    """Tell the person at the terminal, if there still is one."""
    with suppress(OSError):
        print(text, end=end, file=sys.stderr, flush=True)


def interrupt(*_: object) -> None:
    """End what goes on; whoever asks a second time is being obeyed already."""
    for number in INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)
    raise Interrupted


def free(port: int) -> bool:
    """True if nobody listens on that port."""
    with suppress(OSError), socket.create_server((ADDRESS, port)):
        return True
    return False


def started(standalone: subprocess.Popen[bytes], port: int) -> bool:
    """True once Airflow answers; false if it has ended instead, or a part of it without which it never will."""
    ended: set[psutil.Process] = set()
    while standalone.poll() is None:
        if answers(port):
            return True
        ended, before = ended_parts(standalone.pid), ended
        if ended & before:  # seen once, it may be a program that is being waited for
            return False
        say(".", end="")
        time.sleep(SIGN_OF_LIFE_SECONDS)
    return False


def answers(port: int) -> bool:
    """True if Airflow tells its health."""
    with suppress(OSError, HTTPException), closing(HTTPConnection(ADDRESS, port, timeout=5)) as connection:
        connection.request("GET", "/api/v2/monitor/health")
        return connection.getresponse().status == 200
    return False


def ended_parts(standalone: int) -> set[psutil.Process]:
    """The scheduler, the server and other parts that have ended; Airflow takes no notice of it."""
    ended = set()
    with suppress(psutil.NoSuchProcess):
        for part in psutil.Process(standalone).children():
            with suppress(psutil.NoSuchProcess):
                if part.status() == psutil.STATUS_ZOMBIE:
                    ended.add(part)
    return ended


def end_descendants() -> None:
    """Ask every process below this one to end; after some seconds end it by force."""
    asked: set[psutil.Process] = set()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while descendants := psutil.Process().children(recursive=True):
        for process in descendants:
            with suppress(psutil.NoSuchProcess):
                if time.monotonic() > deadline:
                    process.kill()
                elif process not in asked:
                    process.terminate()
        asked.update(descendants)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.1)


def last_lines(log: Path) -> str:
    """The end of the log, indented."""
    return "\n".join(f"  {line}" for line in log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2])))
