"""Profiles of `exposures`, `exposure_rejects` and `exposure_ingests`: of what was shown, all there and each once.

They are read in this process, a batch at a time: most nights have few exposures or none, and no list waits for many.
"""

from collections import Counter
from datetime import UTC, datetime, time, timedelta
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.hashing import hash_ids
from nocturne.core.night import Night
from nocturne.ingestion.exposure_files import TORN, UNFINISHED
from nocturne.ingestion.exposure_rows import REASONS
from nocturne.storage import tables
from nocturne.storage.history import RECENT_NIGHTS
from nocturne.validation.metrics.exposures import add_exposures, exposure_metrics
from nocturne.validation.metrics.metric import Metric
from nocturne.validation.metrics.sums import SegmentSums
from nocturne.validation.profiles.arithmetic import Profile, counts, ratio, share, total
from nocturne.validation.profiles.shown_lists import ShownSample

_FAULTS = ("outside_day", "mislabelled_late", "impossible_propensities", "impossible_differences")


def exposures(night: Night) -> tuple[Profile, tuple[Metric, ...]]:
    """Of the night's accepted exposures, and further metrics of them."""
    segments, sample = SegmentSums(), ShownSample(night)
    day = datetime.combine(night.run_date, time(), UTC)
    earliest, end = day - timedelta(days=night.settings.listens.late_days), day + timedelta(days=1)
    sums: dict[str, float] = dict.fromkeys(("rows", "late", *_FAULTS), 0)
    hashes = [np.empty(0, np.uint64)]
    for batch in tables.batches(night, "exposures"):
        shown_at, late = batch["shown_at"], batch["late"]
        chances = pc.list_flatten(batch["items"]).field("propensity")
        is_chance = pc.and_(pc.greater(chances, 0), pc.less_equal(chances, 1))
        sums["rows"] += batch.num_rows
        sums["late"] += total(late)
        sums["outside_day"] += total(pc.or_(pc.less(shown_at, earliest), pc.greater_equal(shown_at, end)))
        sums["mislabelled_late"] += total(pc.not_equal(late, pc.less(shown_at, day)))
        sums["impossible_propensities"] += total(pc.invert(pc.fill_null(is_chance, False)))
        sums["impossible_differences"] += _impossible_differences(batch)
        hashes.append(hash_ids(batch["exposure_id"], 0))
        add_exposures(segments, batch)
        sample.add(batch)
    sample.measure(segments)
    # Two ids of one hash are no duplicates: of 10^9 exposures such a pair is met in one night of 40, and warns.
    all_hashes = np.concatenate(hashes)
    profile: Profile = {
        "exposures_vs_recent": ratio(sums["rows"], _usual(night)),
        "duplicate_exposures": len(all_hashes) - len(np.unique(all_hashes)),
        **{name: sums[name] for name in _FAULTS},
        "share_late": share(sums["late"], sums["rows"]),
    }
    return profile, exposure_metrics(segments)


def exposure_rejects(night: Night) -> Profile:
    """Of the night's rejected exposures, against what `exposure_ingests` says about them."""
    stored = counts(tables.night_rows(night, "exposure_rejects", ["reason"])["reason"])
    told: Counter[str] = Counter()
    for row in _accounts(night):
        told.update(dict(row["reasons"]))
    return {
        "unknown_reasons": sum(count for reason, count in stored.items() if reason not in REASONS),
        "unlike_ingests": sum(abs(stored.get(reason, 0) - told[reason]) for reason in stored.keys() | told.keys()),
    }


def exposure_ingests(night: Night) -> Profile:
    """Of the night's accounts of writers."""
    accounts = _accounts(night)
    names = ("lines", "accepted", "duplicates", "rejected")
    sums = {name: sum(row[name] for row in accounts) for name in (*names, "erased")}
    states = Counter(row["state"] for row in accounts)
    return {
        "torn_writers": states[TORN],
        "unfinished_writers": states[UNFINISHED],
        "duplicate_writers": len(accounts) - len({row["writer"] for row in accounts}),
        "lines_lost": abs(sums["lines"] - sums["accepted"] - sums["duplicates"] - sums["rejected"] - sums["erased"]),
        "unlike_exposures": abs(sums["accepted"] - tables.count(night, "exposures")),
        "share_rejected": share(sums["rejected"], sums["lines"]),
        "share_duplicates": share(sums["duplicates"], sums["lines"]),
    }


def _impossible_differences(exposures: pa.RecordBatch) -> int:
    """Places at which answers are said to differ and nothing was shown."""
    compared = exposures.filter(exposures["differences"].is_valid())
    differences, shown = compared["differences"], pc.list_value_length(compared["items"]).to_numpy()
    last = pa.array(np.repeat(shown, np.diff(differences.offsets.to_numpy())))
    return int(total(pc.or_(pc.less(differences.items, 1), pc.greater(differences.items, last))))


def _accounts(night: Night) -> list[dict[str, Any]]:
    return list(tables.night_rows(night, "exposure_ingests").to_pylist())


def _usual(night: Night) -> float | None:
    """Median of the exposures of the recent nights that had any; None without such nights."""
    earlier = pc.field("run_date") < night.run_date
    past = tables.rows(night.warehouse, "exposure_ingests", earlier, ["run_date", "accepted"])
    sums = past.group_by("run_date").aggregate([("accepted", "sum")]).sort_by("run_date")["accepted_sum"].to_pylist()
    recent = [count for count in sums if count][-RECENT_NIGHTS:]
    return float(median(recent)) if recent else None
