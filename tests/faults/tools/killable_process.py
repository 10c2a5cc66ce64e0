"""Processes that can be killed: jobs and nights, forked from a server that has everything imported already.

What a child runs is what people and Airflow run: the command line of `nocturne` or of a job, with its exit statuses.
"""

import contextlib
import ctypes
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.faults.tools import commit_points
from tests.faults.tools.commit_points import KillPlan

CLONE_NEWUTS = 0x04000000
PR_SET_PDEATHSIG = 1
GATEWAY = "gateway"
PRELOADED = (
    "implicit.als",
    "pyspark.sql.classic.dataframe",
    "nocturne.cli.main",
    "nocturne.pipeline.runner",
    "nocturne.serving.cache.encoding",
    "nocturne.kernel",
    "nocturne.lifecycle.retention",
)
KILLED = -signal.SIGKILL


@dataclass
class ChildProcess:
    """A job, a night or a retention that was started.

    Attributes:
        log: file of its output.
        points: file of the commit points that it passed.
    """

    pid: int
    log: Path
    points: Path
    _server: "ForkServer"
    _status: int | None = None

    def wait(self) -> int:
        """Wait until it ends; its exit status, or the signal that killed it, negative."""
        if self._status is None:
            self._status = int(self._server.request({"wait": self.pid})["status"])
        return self._status

    def wait_for_end_or_stop(self, seconds: float = float("inf")) -> bool:
        """Wait until it has ended, or has stopped where its plan says, or so long; whether it has ended."""
        deadline = time.monotonic() + seconds
        while (state := _process_state(self.pid)) not in {"T", "Z", ""} and time.monotonic() < deadline:
            time.sleep(0.02)
        return state in {"Z", ""}

    def wait_until_stopped(self) -> str:
        """Wait until it has stopped where its plan says; the commit point."""
        if self.wait_for_end_or_stop():
            raise RuntimeError(f"it ended, and did not stop: {self.output}")
        return str(self.died_at)

    def kill(self) -> None:
        """End it at once, with no time to clean up."""
        os.kill(self.pid, signal.SIGKILL)

    def resume(self) -> None:
        """Let it go on after it stopped."""
        os.kill(self.pid, signal.SIGCONT)

    @property
    def output(self) -> str:
        """Its output so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def died_at(self) -> str | None:
        """The commit point at which it, or one of its workers, died."""
        return next(iter(commit_points.read_points(self.points, "died")), None)

    @property
    def points_passed(self) -> list[str]:
        """The commit points that it passed."""
        return commit_points.read_points(self.points, "at")


class ForkServer:
    """A process that has imported everything and started nothing, so that its children start at once."""

    def __init__(self, folder: Path, mounts_of: int | None = None) -> None:
        """Args: folder for logs, and a process whose mounts to see, if not those of this one."""
        self._folder, self._started = folder, 0
        self._gateway: dict[str, str] = {}
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3]), "OPENBLAS_NUM_THREADS": "1"}
        environment["PYSPARK_PYTHON"] = sys.executable  # an attached driver is not asked where it is
        inside = ["nsenter", "-t", str(mounts_of), "-m"] if mounts_of else []
        self.process = subprocess.Popen(
            [*inside, sys.executable, "-m", "tests.faults.tools.killable_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def start(
        self,
        *command: str,
        plan: Mapping[str, Any] | None = None,
        own_java: bool = False,
        host: str = "",
    ) -> ChildProcess:
        """Start `nocturne COMMAND`, or the job of that name.

        Args:
            command: such as `night --run-date ...`, or `job train_als --run-date ...`.
            plan: fields of `KillPlan` but for the log; None: it is not killed.
            own_java: start a Java of its own, as every driver does, which takes longer than most stages.
            host: name of the machine that it believes to run on.
        """
        self._started += 1
        log = self._folder / f"{self._started:04d}-{command[0]}.log"
        points = log.with_suffix(".points")
        # Without a plan too: Python workers that are used again must forget the one before.
        full_plan = asdict(KillPlan(log=str(points), **(plan if plan is not None else {"folder": os.devnull})))
        request = {"start": command, "log": str(log), "plan": full_plan, "host": host}
        request |= {"java": None if own_java else self._java()}
        return ChildProcess(self.request(request)["pid"], log, points, self)

    def _java(self) -> dict[str, str]:
        """Port and secret of the Java that children share; it is started when first needed."""
        if not self._gateway:
            log = self._folder / "java.log"
            unset = dict.fromkeys(("plan", "host", "java"))
            self.request({"start": ["java"], "log": str(log), **unset})
            while not (announced := [line for line in _lines(log) if line.startswith(GATEWAY)]):
                time.sleep(0.1)
            _, port, secret = announced[0].split()
            self._gateway = {"PYSPARK_GATEWAY_PORT": port, "PYSPARK_GATEWAY_SECRET": secret}
        return self._gateway

    def request(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and return the answer."""
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps(request, default=sorted), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError("the fork server died")
        return dict(json.loads(answer))

    def close(self) -> None:
        """End it, and whatever of its children is left."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def _process_state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


def _lines(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


def _serve_requests() -> None:
    """Answer requests until the input ends."""
    _import_everything()
    children: set[int] = set()
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            pid = os.fork()
            if pid == 0:
                _run_child(request)
            children.add(pid)
            answer = {"pid": pid}
        else:
            status = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
            children.discard(request["wait"])
            answer = {"status": status}
        print(json.dumps(answer), flush=True)
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _import_everything() -> None:
    """Import all that takes long; nothing that starts a thread, which would not survive a fork."""
    for name in PRELOADED:
        importlib.import_module(name)
    importlib.import_module("nocturne.validation.suites").prepare()
    # One for all, whoever edits the sources meanwhile.
    importlib.import_module("nocturne.training.registry").code_version()


def _run_child(request: Mapping[str, Any]) -> None:
    """Run the requested command and exit, without return to the server's loop."""
    status = 1
    try:
        os.setsid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # nobody is left when the server is killed
        output = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if request["host"]:
            _set_host_name(request["host"])
        if request["plan"]:
            spared = request["plan"]["spared"]
            commit_points.install(
                KillPlan(**request["plan"] | {"spared": None if spared is None else frozenset(spared)})
            )
        if request["java"]:
            _attach_to_java(request["java"])
        status = _run(request["start"]) if request["start"] != ["java"] else _serve_java()
    except BaseException:  # noqa: BLE001 - nothing may come back into the server's loop
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _set_host_name(host: str) -> None:
    """Give this process a host name, in a name space of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUTS):
        raise OSError(ctypes.get_errno(), "this fault needs root, and a container that may unshare")
    socket.sethostname(host)


def _run(command: Sequence[str]) -> int:
    from nocturne.cli import jobs
    from nocturne.cli.main import app

    sys.argv = list(command[1:] if command[0] == "job" else ("nocturne", *command))
    try:
        if command[0] == "job":
            jobs.run(command[1])
        else:
            app()
    except SystemExit as stopped:
        return stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
    return 0


def _serve_java() -> int:
    """Start a Java with Spark for other children, and keep it running."""
    from nocturne.core.settings import load_settings
    from nocturne.core.spark.session import spark_session

    settings = load_settings(overrides=["spark.driver_memory=1g", "spark.shuffle_partitions=2"])
    with spark_session(settings.spark, "faults") as spark:
        gateway = spark.sparkContext._gateway.gateway_parameters
        print(GATEWAY, gateway.port, gateway.auth_token, flush=True)
        signal.pause()
    return 0


def _attach_to_java(java: Mapping[str, str]) -> None:
    """Open a session in a Java that runs already, without anything cached by earlier sessions."""
    from pyspark import SparkContext
    from pyspark.java_gateway import launch_gateway
    from pyspark.sql import SparkSession

    os.environ.update(java)
    gateway = launch_gateway()
    for name in java:
        del os.environ[name]
    jvm = gateway.jvm
    running = jvm.org.apache.spark.SparkContext.getOrCreate()
    context = SparkContext(gateway=gateway, jsc=jvm.org.apache.spark.api.java.JavaSparkContext(running))
    jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()
    session = SparkSession(context).newSession()
    session.catalog.clearCache()
    jvm.org.apache.spark.sql.classic.SparkSession.setActiveSession(session._jsparkSession)


if __name__ == "__main__":
    _serve_requests()
