"""Airflow's database on one machine: a backfill is created while the scheduler writes."""

import importlib.util
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import Engine

SETTINGS = Path(__file__).parents[2] / "ops" / "airflow_settings" / "airflow_local_settings.py"


def write(path: Path) -> None:
    with sqlite3.connect(path, timeout=0) as other:
        other.execute("INSERT INTO runs VALUES (0)")


def create_in_a_savepoint(path: Path, beside: list[str]) -> None:
    """Read, let somebody else write, then write: what Airflow does for every night of a backfill."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection, connection.begin_nested():
        connection.execute(text("SELECT * FROM runs")).all()
        try:
            write(path)
        except sqlite3.OperationalError as error:
            beside.append(str(error))
        connection.execute(text("INSERT INTO runs VALUES (1)"))


def test_a_savepoint_takes_the_write_lock_before_it_reads(tmp_path: Path):
    database = tmp_path / "airflow.db"
    with sqlite3.connect(database) as new:
        new.execute("PRAGMA journal_mode = WAL")
        new.execute("CREATE TABLE runs (id INTEGER)")
        new.execute("INSERT INTO runs VALUES (0)")
    with pytest.raises(Exception, match="database is locked"):
        create_in_a_savepoint(database, [])

    spec = importlib.util.spec_from_file_location("airflow_local_settings", SETTINGS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        beside: list[str] = []
        create_in_a_savepoint(database, beside)
        assert beside == ["database is locked"], "the other writer waits instead"
    finally:
        event.remove(Engine, "savepoint", module.write_lock_before_savepoint)
