"""A published split is scored by what a night of it does."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from nocturne.core.list_arrays import lists_array
from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import load_settings
from nocturne.evaluation.published_splits import evaluate_split
from nocturne.evaluation.splits import read_split
from nocturne.flow import NIGHTLY, PUBLICATION
from nocturne.ingestion.importers.gowalla import import_gowalla
from nocturne.ingestion.interactions import EPOCH
from nocturne.pipeline.runner import run_stage, working_on
from nocturne.storage import tables
from tests.fixtures.published_split import taste_blocks

# The day from which decay is counted, and one bucket, in which rows lie in the order of ids as those of a split do: the
# sums are then the same to the last bit, and so is where training starts.
DAY = EPOCH
OVERRIDES = ["als.factors=2", "als.regularization=0.1", "tables.buckets=1", "spark.shuffle_partitions=1"]


@pytest.mark.usefixtures("spark")
def test_the_lists_of_a_split_are_those_that_a_night_of_it_writes(tmp_path: Path):
    folder = taste_blocks(tmp_path)
    settings, split = load_settings(overrides=OVERRIDES), read_split(folder)
    import_gowalla(folder, tmp_path / "landing", DAY)
    warehouse = Warehouse(str(tmp_path / "warehouse"), settings)
    night = Night(warehouse, DAY, str(tmp_path / "landing"), f"lmdb:{tmp_path / 'cache'}")
    with working_on([night], "night") as (spark, (tonight,)):
        for stage in NIGHTLY[: NIGHTLY.index(PUBLICATION)]:
            run_stage(spark, tonight, stage)
    rows = tables.night_rows(night, "ranked_lists", ["user_id", "items"])
    theirs = lists_array(rows, pa.array(split.users), pa.array(split.items), settings.ranking.top_k)
    ours = evaluate_split(split, settings).lists
    assert np.array_equal(ours[:, : theirs.shape[1]], theirs)
