"""Commands for people to paste: programs by the shortest name that is found from here, one job for one night."""

import shlex
import shutil
import sys
from datetime import date
from pathlib import Path

from nocturne import ROOT


def job_command(stage: str, run_date: date, landing: str, warehouse: str, cache: str) -> str:
    """A stage of a night; a password is not in it."""
    program = (shortest(Path(sys.executable)), shortest(Path(str(ROOT / "jobs" / f"{stage}.py"))))
    shown = "URL" if "://" in cache and "@" in cache else cache
    places = ("--landing", landing, "--warehouse", warehouse, "--cache", shown)
    return shlex.join([*program, "--run-date", str(run_date), *places])


def shortest(executable: Path) -> str:
    """Its name where that is found by it, else its path, from here if it lies below."""
    found = shutil.which(executable.name)
    if found and Path(found).absolute() == executable.absolute():
        return executable.name
    here = Path.cwd()
    return str(executable.relative_to(here)) if executable.is_relative_to(here) else str(executable)
