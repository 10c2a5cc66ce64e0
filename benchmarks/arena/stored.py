"""Measured nights in files, so that other watches can judge the same year."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.arena.course import Fork, Measured
from benchmarks.arena.kinds import KINDS
from benchmarks.arena.truth import Truth


def keep(nights: Sequence[Measured], folder: Path) -> None:
    """Write measured nights to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = [
        night.metrics.append_column("place", pa.repeat(pa.scalar(place, pa.int32()), night.metrics.num_rows))
        for place, night in enumerate(nights)
    ]
    pq.write_table(pa.concat_tables(tables), folder / "metrics.parquet", compression="zstd")
    told = [
        {
            "number": night.number,
            "closed_by": night.closed_by,
            "fork": [night.fork.kind.name, night.fork.step] if night.fork else None,
            "truth": asdict(night.truth) if night.truth else None,
        }
        for night in nights
    ]
    (folder / "nights.json").write_text(json.dumps(told), encoding="utf-8")


def kept(folder: Path) -> list[Measured]:
    """The measured nights of a folder."""
    rows = pq.read_table(folder / "metrics.parquet").combine_chunks()
    place = rows["place"].to_numpy()
    rows = rows.drop_columns(["place"])
    nights = []
    for number, told in enumerate(json.loads((folder / "nights.json").read_text(encoding="utf-8"))):
        first, last = place.searchsorted([number, number + 1]).tolist()
        fork = Fork(KINDS[told["fork"][0]], told["fork"][1], told["number"]) if told["fork"] else None
        truth = Truth(**told["truth"]) if told["truth"] else None
        nights.append(Measured(told["number"], fork, rows.slice(first, last - first), tuple(told["closed_by"]), truth))
    return nights
