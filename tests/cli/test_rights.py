"""Whoever may not read or write a folder is told so, and which: never that there is nothing, never a traceback."""

import json
import os
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from tests.fixtures.published_nights import serve_two_nights

pytestmark = pytest.mark.slow

RUN_COMMANDS = """
import contextlib, io, json, sys
from pathlib import Path
from nocturne.cli.main import app

def answer(arguments):
    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
        try:
            app(arguments)
        except SystemExit as ended:
            return [int(ended.code or 0), told.getvalue()]
    return [0, told.getvalue()]

commands, closed = json.loads(sys.argv[1])
answers = {}
for name, folder, mode in closed:
    Path(folder).chmod(mode)
    answers[name] = {command: answer(arguments) for command, arguments in commands.items()}
    Path(folder).chmod(0o755)
print(json.dumps(answers))
"""

WITHOUT_ROOTS_RIGHTS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
"""Root reads and writes what it likes."""

READING = {"status", "nights", "validations", "served", "list", "models", "retain", "rollback"}
NEED = {
    "warehouse": READING | {"show", "take", "give"},
    "table": {"status", "nights", "served", "retain"},
    "log": {"status", "nights", "served", "retain"},
    "rows": {"status", "nights", "served", "retain"},
    "first table": {"status", "models", "retain", "rollback"},
    "lease": {"status", "nights", "show", "take", "give", "retain"},
    "attempts": {"status", "nights"},
    "cache": {"served", "list", "rollback", "retain"},
    "not writable": {"retain"},
}
"""Commands that cannot do without a folder, by its name."""


@pytest.fixture(scope="module")
def answers(night_of_module) -> dict[str, dict[str, tuple[int, str]]]:
    """Status and message of every command while one folder is closed to its reader or writer."""
    if WITHOUT_ROOTS_RIGHTS and not shutil.which(WITHOUT_ROOTS_RIGHTS[0]):
        pytest.skip("root cannot let go of its rights here: there is no setpriv")
    service = serve_two_nights(night_of_module(date(2026, 3, 3), "tables.buckets=1"), "a b")
    folder, cache = service.warehouse.path, ["--cache", service.cache]
    for name in ("_lease", "_attempts"):
        Path(folder, name).mkdir(exist_ok=True)
    places, claim = ["--warehouse", folder], ["--holder", "somebody"]
    commands = {
        "status": ["status", *places],
        "nights": ["nights", *places],
        "validations": ["validations", *places, "--run-date", "2026-03-03"],
        "served": ["served", *cache, *places],
        "list": ["list", "u1", *cache, *places],
        "models": ["models", "list", *places],
        "show": ["lease", "show", *places],
        "take": ["lease", "take", *places, "--run-date", "2026-03-04", *claim],
        "give": ["lease", "release", *places, *claim],
        "retain": ["retain", *places, *cache, "--run-date", "2026-03-04"],
        "rollback": ["rollback", *cache, "--why", "too much jazz", "--to", "2026-03-01-00000000"],
    }
    closed = {
        "warehouse": folder,
        "table": f"{folder}/nights",
        "log": f"{folder}/nights/_delta_log",
        "rows": f"{folder}/nights/run_date=2026-03-03",
        "first table": f"{folder}/listens",
        "lease": f"{folder}/_lease",
        "attempts": f"{folder}/_attempts",
        "cache": service.cache.removeprefix("lmdb:"),
        "not writable": f"{folder}/pools",
    }
    todo = [commands, [(name, path, 0o555 if name == "not writable" else 0) for name, path in closed.items()]]
    program = [*WITHOUT_ROOTS_RIGHTS, sys.executable, "-c", RUN_COMMANDS, json.dumps(todo)]
    return json.loads(subprocess.run(program, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("closed", NEED)
def test_who_may_not_read_or_write_a_folder_is_told_which(answers, closed: str):
    for command, (status, told) in answers[closed].items():
        assert "Traceback" not in told, command
        assert "there is no warehouse" not in told, command
        if command in NEED[closed]:
            assert status in {2, 5}, (command, told)
            assert "Permission denied" in told or "may not be written" in told, (command, told)
