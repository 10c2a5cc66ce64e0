"""The transaction log of a Delta table as files, and those of them that no promised version needs.

Delta's own cleanup goes by the age of log files alone. This one goes by versions: a version can be read from the
last checkpoint at or below it on, so that nothing below that of the oldest promised version is needed.
"""

import json
import re
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

_ENTRY = re.compile(r"\.?(\d{20})\.")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\.parquet")
_COMMIT = re.compile(r"(\d{20})\.json")
_LATE_DAYS, _ALL_DAYS = 7, 36_500
_COMMITS = 10
"""Commits since the last checkpoint that are worth another one: as many as Spark makes of them."""


def properties(nights: int | None) -> dict[str, str]:
    """Properties of a table whose log is left to retention, for as long as it keeps a night.

    Writers do not clean it up by its age whenever they make a checkpoint, and Spark travels back so many days: by
    default a week.

    Args:
        nights: how many the table keeps; None: all.
    """
    days = _ALL_DAYS if nights is None else min(nights + _LATE_DAYS, _ALL_DAYS)
    return {
        "delta.enableExpiredLogCleanup": "false",
        "delta.logRetentionDuration": f"interval {days} days",
        "delta.deletedFileRetentionDuration": f"interval {days} days",
    }


@dataclass(frozen=True)
class Log:
    """The numbered files of a log.

    Attributes:
        entries: files in order of version, so that deleting some of them from the front leaves no gap.
        checkpoints: versions that can be read without what lies below them, ascending.
        commits: versions of single commits, ascending.
    """

    entries: tuple[tuple[int, Path], ...]
    checkpoints: tuple[int, ...]
    commits: tuple[int, ...]

    @classmethod
    def read(cls, table: Path) -> "Log":
        """Read the log of the table in this folder."""
        files = sorted(path for path in (table / "_delta_log").iterdir() if path.is_file())
        entries = sorted((int(name[1]), path) for path in files if (name := _ENTRY.match(path.name)))
        # What a reader's hint points to must stay, even where a checkpoint was made and the hint was not.
        hint = _hint(table)
        checkpoints = tuple(version for version in _versions(_CHECKPOINT, files) if version <= hint)
        return cls(tuple(entries), checkpoints, _versions(_COMMIT, files))

    def __contains__(self, path: object) -> bool:
        return any(path == entry for _, entry in self.entries)

    def with_checkpoint(self, version: int) -> "Log":
        """The log as it would be with a checkpoint made now."""
        return replace(self, checkpoints=(*self.checkpoints, version))

    @property
    def wants_checkpoint(self) -> bool:
        """True if many commits have come since the last checkpoint."""
        last = max(self.checkpoints, default=-1)
        return sum(version > last for version in self.commits) >= _COMMITS

    @property
    def first(self) -> int:
        """The oldest version that can be read."""
        whole = [0] if self.commits[:1] == (0,) else []
        return min([*whole, *self.checkpoints], default=self.commits[0])

    def unneeded(self, promised: Collection[int], last: int, hours: int) -> list[Path]:
        """Files that no promised version and not the last one needs, in the order to delete them in.

        A reader who opened the table began at its newest checkpoint: only once a checkpoint is older than the hours
        nobody needs what lies below it.

        Args:
            promised: versions that somebody may still want to read.
            last: the last version.
        """
        needed = min([last, *(version for version in promised if version >= self.first)])
        usable = [version for version in self.checkpoints if version <= needed and self._age(version) >= hours * 3600]
        base = max(usable, default=0)
        return [path for version, path in self.entries if version < base]

    def _age(self, checkpoint: int) -> float:
        files = [path for _, path in self.entries if path.name == f"{checkpoint:020}.checkpoint.parquet"]
        return time.time() - files[0].stat().st_mtime if files else 0.0


def _versions(pattern: re.Pattern[str], files: Collection[Path]) -> tuple[int, ...]:
    return tuple(sorted(int(name[1]) for path in files if (name := pattern.fullmatch(path.name))))


def _hint(table: Path) -> int:
    """Version of the checkpoint that readers begin at; -1 without one."""
    try:
        return int(json.loads((table / "_delta_log" / "_last_checkpoint").read_bytes())["version"])
    except (FileNotFoundError, ValueError, KeyError):
        return -1
