"""Nights whose listeners react to the lists of the night before: everything that landed is ingested."""

from datetime import timedelta

import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from nocturne.ingestion.simulator.memory import shown_file
from nocturne.ingestion.simulator.reacted_day import published_lists, react
from nocturne.pipeline import runner
from nocturne.storage import tables
from tests.fixtures.simulated_service import FIRST, NIGHTS, Service


def test_two_nights_of_reactions_are_ingested_without_a_reject(spark: SparkSession, copied: Service) -> None:
    landing = copied.folder / "landing"
    for offset in (NIGHTS, NIGHTS + 1):
        before, night = copied.night(offset - 1), copied.night(offset)
        summary = react(landing, published_lists(before.warehouse, before.run_date), {"control": 0.1})
        runner.run_nights([night])
        assert summary.day == night.run_date == FIRST + timedelta(days=offset)
        truth = pq.read_table(shown_file(landing.absolute(), night.run_date, 0), partitioning=None)
        seen = truth.filter(pc.invert(truth["lost"]))
        (account,) = tables.night_rows(night, "exposure_ingests").to_pylist()
        assert (account["writer"], account["state"]) == ("simulated", "complete")
        assert (account["lines"], account["accepted"], account["rejected"]) == (summary.exposures, summary.exposures, 0)
        exposures = tables.night_rows(night, "exposures")
        assert set(exposures["generation"].to_pylist()) == {summary.generation}
        assert set(exposures["list_run_date"].to_pylist()) == {before.run_date}
        assert sorted(exposures["user_id"].to_pylist()) == sorted(pc.unique(seen["user_id"]).to_pylist())
        played = truth.filter(truth["played"])
        listens = tables.night_rows(night, "listens", ["event_id", "user_id", "item_id", "context"])
        caused = listens.filter(pc.equal(listens["context"], "list"))
        assert 0 < caused.num_rows == played.num_rows == summary.plays
        pairs = [
            sorted(zip(rows["user_id"].to_pylist(), rows["item_id"].to_pylist(), strict=True))
            for rows in (caused, played)
        ]
        assert pairs[0] == pairs[1]
