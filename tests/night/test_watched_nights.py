"""Nights that are watched: as usual they are published, a fault closes the gate, and people may open it for a night.

Metrics are literal; the stage, its validation, the gate and the refresh are those of every night.
"""

import json
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from click.testing import Result
from typer.testing import CliRunner

from nocturne.cli.main import app
from nocturne.core.errors import GateClosed
from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import load_settings, with_values
from nocturne.monitoring.watch_night import watch_night
from nocturne.serving import manifest, refresh_cache
from nocturne.serving.cache import open_cache
from nocturne.storage import fingerprints, tables, writing
from nocturne.storage.contracts import contract
from nocturne.validation.validate_table import validate
from tests.fixtures import tiny_nights
from tests.fixtures.tiny_nights import FIRST_NIGHT, lists_of

NAMES = {"ranked_lists": ["share_short"], "alerts": ["critical_alerts"]}
SOUND_NIGHTS = 15
USUAL = {"SE": 20_000.0, "DE": 30_000.0}


@pytest.fixture(scope="module")
def without_spark() -> Iterator[None]:
    """The last stage without Spark, about lists and alerts alone."""
    with tiny_nights.without_spark(lambda: NAMES), pytest.MonkeyPatch.context() as patch:
        for module in (refresh_cache, manifest):
            patch.setattr(module, "GATED_TABLES", ("ranked_lists", "alerts"))
        yield


@pytest.fixture(scope="module")
def sound(without_spark: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifteen nights as usual. Shared: copy them."""
    folder = tmp_path_factory.mktemp("watched")
    service = in_folder(tiny_nights.service_in(folder), folder)
    for offset in range(SOUND_NIGHTS):
        run(service.on(FIRST_NIGHT + timedelta(days=offset)), USUAL)
    return folder


@pytest.fixture
def night(sound: Path, tmp_path: Path) -> Night:
    """The night after the sound ones, in a copy of their service."""
    shutil.copytree(sound, tmp_path, dirs_exist_ok=True)
    settings = load_settings(overrides=["tables.buckets=1"])
    warehouse = Warehouse(str(tmp_path / "warehouse"), settings)
    return in_folder(Night(warehouse, FIRST_NIGHT + timedelta(days=SOUND_NIGHTS)), tmp_path)


def in_folder(night: Night, folder: Path) -> Night:
    """The night with its cache beside its warehouse."""
    return replace(night, cache=f"lmdb:{folder / 'cache'}")


def measure(night: Night, listens: dict[str, float], churn: float = 0.1) -> None:
    """Write the metrics of a night: listens by market, and the churn of its lists."""
    rows = [("listens", "listens", "market", market, value, None) for market, value in listens.items()]
    rows += [("listens", "listens", "all", "", sum(listens.values()), None)]
    rows += [("ranked_lists", "mean_churn", "all", "", churn, 5_000.0)]
    columns = ("table", "metric", "segment_kind", "segment", "value", "count")
    written = [{"run_date": night.run_date, **dict(zip(columns, row, strict=True))} for row in rows]
    writing.replace_night(
        pa.Table.from_pylist(written, schema=contract("night_metrics").arrow_schema), "night_metrics", night
    )


def run(night: Night, listens: dict[str, float], churn: float = 0.1) -> None:
    """A night from its lists to the cache.

    Raises:
        GateClosed: an alert stands.
    """
    tiny_nights.write_night(night, lists_of(1), {"ranked_lists": NAMES["ranked_lists"]})
    measure(night, listens, churn)
    watch_night(None, night, lambda *_: None)
    validate(None, night, ["alerts"])
    refresh_cache.refresh_cache(None, night, lambda *_: None)


def alerts_of(night: Night) -> list[dict[str, object]]:
    return tables.night_rows(night, "alerts").sort_by("alert").to_pylist()


def accepting(night: Night, rows: list[dict[str, object]]) -> Night:
    """The night with its critical alerts accepted in settings."""
    accepted = [f"{row['alert']}@{night.run_date}" for row in rows if row["severity"] == "critical"]
    return night.with_settings(with_values(night.settings, {"monitoring.accepted": accepted}))


def monitor(command: str, night: Night, *options: str) -> Result:
    """`nocturne monitor` on the warehouse of a night."""
    return CliRunner().invoke(app, ["monitor", command, "--warehouse", night.warehouse.path, *options])


def served(service: Night) -> date:
    with open_cache(service.cache) as cache:
        return cache.pointer().served.run_date


def test_a_fault_closes_the_gate_until_people_accept_it(night):
    assert tables.rows(night.warehouse, "alerts").num_rows == 0
    halved = USUAL | {"SE": 9_000.0}
    with pytest.raises(GateClosed, match="alerts: critical_alerts is 2"):
        run(night, halved, churn=0.5)
    last_sound = night.run_date - timedelta(days=1)
    assert served(night) == last_sound
    rows = alerts_of(night)
    churn, volume = sorted(
        (row for row in rows if row["severity"] == "critical"), key=lambda row: row["silenced"], reverse=True
    )
    assert (volume["cause"], volume["segment"], volume["group"]) == ("listens.volume", "SE", volume["alert"])
    assert (churn["cause"], churn["group"]) == ("ranked_lists.churn", volume["alert"])
    told = monitor("alerts", night, "--run-date", str(night.run_date), "--json")
    assert told.exit_code == 3
    assert {row["alert"] for row in json.loads(told.stdout)["alerts"]} == {row["alert"] for row in rows}

    accepted = accepting(night, rows)
    run(accepted, halved, churn=0.5)
    assert served(night) == night.run_date
    assert {row["accepted"] for row in alerts_of(night) if row["severity"] == "critical"} == {True}

    before = fingerprints.row_hashes(None, night, ["alerts"])
    run(accepted, halved, churn=0.5)
    assert fingerprints.row_hashes(None, night, ["alerts"]) == before


def test_a_fault_that_lasts_is_told_once_and_closes_every_gate(night):
    for offset, silenced in ((0, False), (1, True)):
        tonight = night.on(night.run_date + timedelta(days=offset))
        with pytest.raises(GateClosed):
            run(tonight, USUAL | {"SE": 9_000.0})
        (alert,) = [row for row in alerts_of(tonight) if row["segment"] == "SE"]
        assert (alert["silenced"], alert["since"]) == (silenced, night.run_date)


def test_costs_and_exposures_are_watched_the_night_after_and_only_warn(night):
    for offset in range(SOUND_NIGHTS):
        day = FIRST_NIGHT + timedelta(days=offset)
        seconds = 900.0 if offset == SOUND_NIGHTS - 1 else 100.0
        row = {"run_date": day, "stage": "rank_users", "seconds": seconds}
        row |= {"rows_read": 1, "rows_written": 1, "bytes_written": 1}
        writing.replace_night(
            pa.Table.from_pylist([row], schema=contract("costs").arrow_schema), "costs", night.on(day)
        )
    run(night, USUAL)
    (alert,) = alerts_of(night)
    assert (alert["cause"], alert["severity"], alert["segment"]) == ("costs.seconds", "warning", "rank_users")
    assert str(night.run_date - timedelta(days=1)) in alert["evidence"]
    assert fingerprints.row_hashes(None, night, ["alerts"]) == {"alerts": "0" * 16}  # of what is not measured
    assert served(night) == night.run_date


def test_a_night_whose_gate_closed_says_nothing_about_what_is_usual(night):
    for offset in range(5):
        with pytest.raises(GateClosed):
            run(night.on(night.run_date + timedelta(days=offset)), USUAL | {"SE": 9_000.0})
    after = night.on(night.run_date + timedelta(days=5))
    run(after, USUAL)
    assert pc.sum(pc.equal(tables.night_rows(after, "alerts")["severity"], "critical")).as_py() in {0, None}


def test_people_are_told_what_a_sound_night_has_and_that_a_night_was_not_watched(night):
    last = night.on(night.run_date - timedelta(days=1))
    told = monitor("alerts", last, "--run-date", str(last.run_date))
    assert (told.exit_code, "nothing that is not as usual" in told.stderr) == (0, True)
    assert monitor("alerts", night, "--run-date", str(night.run_date)).exit_code == 2


def test_limits_of_sound_nights_are_printed_as_settings(night):
    told = monitor("calibrate", night)
    assert told.exit_code == 0
    assert tomllib.loads(told.stdout) == {"monitoring": {"limits": {}}}
    assert json.loads(monitor("calibrate", night, "--json").stdout)["nights"] == SOUND_NIGHTS - 5
