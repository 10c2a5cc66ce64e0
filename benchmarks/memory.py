"""Memory and processor time that a process and its children take, sampled while they run."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SAMPLE_SECONDS = 1.0
MIB = 2**20


class Peak:
    """The largest samples so far, in MiB: of everything, of all Python workers, of one, and of all but workers.

    What a process has for itself is counted; files that it maps are not, for the system may drop them any time.

    Attributes:
        processor_seconds: time on any core since the first sample; unlike wall time, little of it is due to what else
            the machine does.
    """

    def __init__(self) -> None:
        self.total = self.workers = self.worker = self.driver = 0.0
        self._before = {pid: _processor_seconds(pid) for pid in _tree(os.getpid())}
        self._now = dict(self._before)

    @property
    def processor_seconds(self) -> float:
        """As far as was sampled: of a process that ended, up to its last sample."""
        return sum(seconds - self._before.get(pid, 0.0) for pid, seconds in self._now.items())

    def sample(self) -> None:
        """Look at every process of the tree."""
        self._now |= {pid: _processor_seconds(pid) for pid in _tree(os.getpid())}
        sizes = {pid: (_size(pid), _is_worker(pid)) for pid in _tree(os.getpid())}
        self.total = max(self.total, sum(size for size, _ in sizes.values()) / MIB)
        workers = [size for size, is_worker in sizes.values() if is_worker]
        self.workers = max(self.workers, sum(workers) / MIB)
        self.worker = max(self.worker, max(workers, default=0) / MIB)
        self.driver = max(self.driver, sum(size for size, is_worker in sizes.values() if not is_worker) / MIB)


@contextmanager
def watching() -> Iterator[Peak]:
    """Sample until the block ends."""
    peak, finished = Peak(), threading.Event()

    def watch() -> None:
        while not finished.wait(SAMPLE_SECONDS):
            peak.sample()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        finished.set()
        watcher.join()
        peak.sample()


def _tree(root: int) -> list[int]:
    try:
        children = Path(f"/proc/{root}/task/{root}/children").read_text(encoding="ascii").split()
    except OSError:
        return []
    # Threads other than the first may have children too.
    for task in Path(f"/proc/{root}/task").glob("[0-9]*/children"):
        try:
            children += task.read_text(encoding="ascii").split()
        except OSError:
            continue
    return [root, *(pid for child in sorted(set(map(int, children))) for pid in _tree(child))]


def _size(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon:", "RssShmem:")))


def _processor_seconds(pid: int) -> float:
    """User and system time of a process, without that of its children."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _is_worker(pid: int) -> bool:
    try:
        return b"pyspark.daemon" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
