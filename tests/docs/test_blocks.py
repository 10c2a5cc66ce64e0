"""Every block of every page runs as it is pasted: in a checkout after `make ten-nights`, with nothing on PATH."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.compute as pc
import pytest

from nocturne.core.night import Warehouse
from nocturne.core.settings import load_settings
from nocturne.storage import tables
from tests.docs.pages import PAGES, ROOT, Block, runnable

pytestmark = pytest.mark.slow

SIMULATED = "--listeners 300 --items 200 --nights 10 --seed 1 --start 2025-01-01"
PLACES = "--landing data/landing --warehouse data/warehouse --cache lmdb:data/cache"
NIGHTS = "--from 2025-01-01 --to 2025-01-10"
DEMO = f"""
.venv/bin/nocturne simulate --landing data/landing {SIMULATED}
.venv/bin/nocturne night {NIGHTS} {PLACES} --set spark.shuffle_partitions=2
"""
"""The service of `make night`, smaller, with its ten nights."""

WITH_BLOCKS = [page for page in PAGES if runnable(page)]

Paste = Callable[[str, str], subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a checkout, with data of its own, that the ten nights have been run in."""
    folder = tmp_path_factory.mktemp("checkout")
    for path in (*ROOT.iterdir(), *(ROOT / "docs").iterdir()):
        if path.name not in {"data", "docs", ".git"}:
            link = folder / path.relative_to(ROOT)
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(path)
    made = paste_in(folder, "sh", DEMO)
    assert made.returncode == 0, made.stdout
    (folder / "data").rename(folder / "demo")
    return folder


@pytest.fixture
def paste(checkout: Path) -> Iterator[Paste]:
    """Pastes code into the checkout as the demo left it: `paste("sh", code)`."""
    data = checkout / "data"
    shutil.copytree(checkout / "demo", data)  # at the same place: a cache knows where its warehouse is
    yield lambda language, code: paste_in(checkout, language, code)
    shutil.rmtree(data)


def paste_in(folder: Path, language: str, code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a terminal of 80 columns that knows nothing of the checkout but this folder."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": os.environ["HOME"],
        "LANG": "C.UTF-8",
        "COLUMNS": "80",
        "PYTHONPATH": str(ROOT),  # this code, wherever the environment was installed
        "AIRFLOW_HOME": str(folder / "airflow"),  # importing Airflow writes there, by default into the home directory
        "JDK_JAVA_OPTIONS": os.environ.get("JDK_JAVA_OPTIONS", ""),
    }
    command = ["bash", "-euo", "pipefail", "-c", code] if language == "sh" else [".venv/bin/python", "-c", code]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
    return subprocess.run(command, cwd=folder, env=environment, text=True, check=False, **output)


def test_ten_sound_nights_fail_no_critical_expectation(checkout):
    warehouse = Warehouse(str(checkout / "demo" / "warehouse"), load_settings())
    rows = tables.rows(warehouse, "validations", pc.field("severity") == "critical").to_pylist()
    assert len({row["run_date"] for row in rows}) == 10
    assert [row for row in rows if row["outcome"] == "failed"] == []


def test_every_page_with_blocks_is_run():
    assert ROOT / "README.md" in WITH_BLOCKS


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_a_page_runs_as_it_is_pasted(page, paste):
    for block in runnable(page):
        ended = paste(block.language, block.code)
        assert ended.returncode == 0, failure(page, block, ended)


def test_every_cell_of_the_quickstart_runs(paste):
    ended = paste("sh", ".venv/bin/python -m docs.tools.run_notebook docs/quickstart.ipynb")
    assert ended.returncode == 0, ended.stdout


def failure(page: Path, block: Block, ended: subprocess.CompletedProcess[str]) -> str:
    return f"{page.relative_to(ROOT)}:{block.line} ends with status {ended.returncode}\n{block.code}\n{ended.stdout}"
