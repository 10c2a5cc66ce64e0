"""`nocturne react` as it is typed: what it prints, and its exit status when something is wrong."""

import json
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner, Result

from nocturne.cli.main import app
from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import load_settings
from nocturne.ingestion.simulator.simulate import simulate
from nocturne.serving.night_record import PUBLISHED
from nocturne.storage import writing
from nocturne.storage.contracts import contract
from tests.fixtures.empty_warehouses import create_empty
from tests.fixtures.published_nights import listed

NIGHT = date(2025, 1, 1)


@pytest.fixture
def places(tmp_path: Path) -> list[str]:
    """A simulated landing zone and a warehouse with a published night of it, as options."""
    simulate(tmp_path / "landing", 40, 1, 1, seed=1, start=NIGHT)
    night = Night(Warehouse(str(tmp_path / "warehouse"), load_settings(overrides=["tables.buckets=1"])), NIGHT)
    create_empty(night.warehouse)
    lists = [listed(NIGHT, f"u{number:08d}", ["t0000000"]) for number in range(40)]
    writing.replace_night(pa.Table.from_pylist(lists, contract("ranked_lists").arrow_schema), "ranked_lists", night)
    collections = ("content", "versions", "files", "pointers", "expectations", "coverage", "costs")
    record = {
        **{name: [] for name in collections},
        **dict.fromkeys(("code_version", "settings_hash", "manifest"), "0"),
        "run_date": NIGHT,
        "state": PUBLISHED,
        "generation": "2025-01-01-00000000",
        "listeners": 40,
    }
    writing.replace_night(pa.Table.from_pylist([record], contract("nights").arrow_schema), "nights", night)
    return ["--landing", str(tmp_path / "landing"), "--warehouse", night.warehouse.path]


def react(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["react", *arguments])


def test_a_day_after_a_night_is_landed_and_told(places: list[str]) -> None:
    answer = react(*places, "--run-date", "2025-01-01", "--json", "--lose", "control=1")
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    assert (told["day"], told["generation"], told["lists"]) == ("2025-01-02", "2025-01-01-00000000", 40)
    assert 0 < told["opened"] == told["lost"] < 40
    day = Path(places[1], "events", "date=2025-01-02")
    assert int((day / "_SUCCESS").read_text()) == told["plays"] + told["organic"]
    mark = Path(places[1], "exposures", "date=2025-01-02", "simulated", "_SUCCESS")
    assert json.loads(mark.read_text()) == {"rows": 0}
    assert f"{told['opened']} of 40 lists of 2025-01-01-00000000 were opened" in answer.stderr


@pytest.mark.parametrize("loss", ["control", "control=much", "control=1.5", "control=-0.1", "=0.5", "control=nan"])
def test_a_loss_that_is_no_share_of_an_arm_is_status_2(places: list[str], loss: str) -> None:
    answer = react(*places, "--run-date", "2025-01-01", "--lose", loss)
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "the loss of exposures is not valid" in answer.stderr


def test_a_night_that_was_not_run_is_status_2(places: list[str]) -> None:
    answer = react(*places, "--run-date", "2025-01-02")
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "the night is not published" in answer.stderr
    assert not Path(places[1], "events", "date=2025-01-03").exists()
