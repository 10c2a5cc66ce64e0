"""Peak memory of training, measured: `python training_memory.py FOLDER write`, and then `... train`.

Two nights of `interactions` are written, in buckets of two million entries, and trained on from the warehouse. Both
numbers are differences between the two, so that what libraries and the reading of a file take once is in neither.
"""

import resource
import sys
from datetime import date

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import load_settings
from nocturne.storage.contracts import contract
from nocturne.storage.stored_rows import StoredRows
from nocturne.storage.warehouse import create_missing
from nocturne.training import als

ITEMS, HEARD, LISTENERS = 5_000, 50, 40_000
BUCKETS = {date(2025, 1, 1): 1, date(2025, 1, 2): 4}


def bucket_rows(day: date, bucket: int) -> pa.Table:
    """Listeners who heard one random item of each fiftieth of the catalogue."""
    rng = np.random.default_rng(bucket)
    width = ITEMS // HEARD
    offsets = pa.array(np.arange(LISTENERS + 1, dtype=np.int32) * HEARD)
    indexes = (rng.integers(0, width, (LISTENERS, HEARD), np.int32) + np.arange(HEARD, dtype=np.int32) * width).ravel()
    plays = rng.integers(1, 9, len(indexes)) << 20
    columns = {
        "run_date": pa.repeat(pa.scalar(day), LISTENERS),
        "bucket": pa.repeat(pa.scalar(bucket, pa.int32()), LISTENERS),
        "user_id": pa.array([f"{bucket}-{listener:07d}" for listener in range(LISTENERS)]),
        "market": pa.repeat("SE", LISTENERS),
        "market_heard_at": pa.nulls(LISTENERS, pa.timestamp("us", "UTC")),
        "period": pa.repeat(pa.scalar(223, pa.int32()), LISTENERS),
        "item_indexes": pa.ListArray.from_arrays(offsets, pa.array(indexes)),
        "play_sums": pa.ListArray.from_arrays(offsets, pa.array(plays)),
        "second_sums": pa.ListArray.from_arrays(offsets, pa.array(plays)),
        "last_heard": pa.ListArray.from_arrays(offsets, pa.repeat(pa.scalar(day), len(indexes))),
        "recent_items": pa.ListArray.from_arrays(offsets, pa.array(indexes)),
        "recent_times": pa.ListArray.from_arrays(offsets, pa.repeat(pa.scalar(day), len(indexes))),
        "changed_on": pa.repeat(pa.scalar(day), LISTENERS),
        "digest": pa.repeat("", LISTENERS),
    }
    return pa.table(columns).cast(contract("interactions").arrow_schema)


def write(night: Night) -> None:
    """Append the night's rows, a bucket at a time."""
    for bucket in range(BUCKETS[night.run_date]):
        rows = bucket_rows(night.run_date, bucket)
        write_deltalake(night.warehouse.table_path("interactions"), rows, mode="append")


def measure(night: Night) -> tuple[int, int]:
    """Bytes of the matrix, and the most memory this process has held up to the end of its training."""
    rows = StoredRows.at(night, "interactions", als.COLUMNS)
    ids = pa.array([str(index) for index in range(ITEMS)])
    training = als.train(rows, ids, night.run_date, 90.0, night.settings.als)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 2**10
    return 8 * training.entries + 4 * (training.listeners + 1), peak


def main() -> None:
    """Write, or measure in another process, whose memory has held nothing but the training."""
    folder = sys.argv[1]
    settings = load_settings(overrides=["als.factors=8", "als.iterations=1"])
    nights = [Night(Warehouse(f"{folder}/warehouse", settings), day, folder, f"lmdb:{folder}/cache") for day in BUCKETS]
    if sys.argv[2] == "write":
        create_missing(nights[0].warehouse)
        for night in nights:
            write(night)
        return
    (small, before), (large, after) = map(measure, nights)
    print(large - small, after - before)


if __name__ == "__main__":
    main()
