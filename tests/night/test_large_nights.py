"""Large nights are worked on by Spark's tasks, small ones in one process: the tables are the same."""

from dataclasses import dataclass

import pyarrow as pa
import pytest

from nocturne.pipeline import runner
from nocturne.storage import tables
from nocturne.storage.contracts import contract
from tests.fixtures.simulated_service import NIGHTS, Service

MADE_EITHER_WAY = ("listens", "quarantine", "ingests", "item_index", "interactions", "pools", "ranked_lists", "nights")
LIMITS = (
    "nocturne.ingestion.ingest_events._FEW_EVENTS",
    "nocturne.ingestion.build_interactions._FEW_ROWS",
    "nocturne.ranking.spark_tasks._FEW_LISTENERS",
    "nocturne.serving.coverage._FEW_LISTS",
)


@dataclass(frozen=True)
class Made:
    """The rows of a table, without what was measured."""

    rows: list[str]

    @classmethod
    def of(cls, rows: pa.Table, table: str) -> "Made":
        kept = [column.name for column in contract(table).columns if not column.measured]
        return cls(sorted(map(str, rows.select(kept).to_pylist())))


def test_a_night_in_tasks_is_the_night_in_one_process(copied: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    night = copied.night(NIGHTS - 1)
    before = {table: Made.of(tables.night_rows(night, table), table) for table in MADE_EITHER_WAY}
    for limit in LIMITS:
        monkeypatch.setattr(limit, -1)
    runner.run_nights([night])
    after = {table: Made.of(tables.night_rows(night, table), table) for table in MADE_EITHER_WAY}
    for table in MADE_EITHER_WAY:
        assert after[table] == before[table], table
