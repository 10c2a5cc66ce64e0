"""Metrics of many nights as arrays: a row a series, a column a day."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from nocturne.core.arrays import Floats, Mask
from nocturne.monitoring.baseline import NIGHTS

KEY = ("table", "metric", "segment_kind", "segment")
Measure = tuple[str, str, str]
"""Table, metric and kind of segment."""


class Window(NamedTuple):
    """The series of one measure on a night and before.

    Attributes:
        segments: their names.
        values: the night's first, then the nights before it; shape (segments, 1 + nights); NaN where nothing counts.
        counts: rows or events that the night's values rest on; NaN where not counted; shape (segments,).
    """

    segments: list[str]
    values: Floats
    counts: Floats


@dataclass(frozen=True)
class MetricHistory:
    """Rows of `night_metrics`, by measure.

    Attributes:
        first: day of the first column.
        sound: columns of nights that others may be held against; shape (days,).
    """

    first: date
    sound: Mask
    segments: dict[Measure, list[str]]
    values: dict[Measure, Floats]
    counts: dict[Measure, Floats]

    @classmethod
    def of(cls, rows: pa.Table, sound: Collection[date]) -> "MetricHistory":
        """Of rows of any nights and in any order.

        Args:
            sound: nights that others may be held against.
        """
        days = np.array(rows["run_date"].cast(pa.int32()).to_numpy(), np.int64)
        first = int(days.min(initial=0 if not len(days) else days[0]))
        width = int(days.max(initial=first)) - first + 1
        names, codes = _encoded(rows)
        values, counts = (np.full((len(names), width), np.nan) for _ in range(2))
        values[codes, days - first] = rows["value"].to_numpy()
        counts[codes, days - first] = rows["count"].cast(pa.float64()).to_numpy()
        start = date(1970, 1, 1) + timedelta(days=first)
        kept = np.array([start + timedelta(days=day) in sound for day in range(width)])
        segments: dict[Measure, list[str]] = {}
        places: dict[Measure, list[int]] = {}
        for place, (table, metric, kind, segment) in enumerate(names):
            segments.setdefault((table, metric, kind), []).append(segment)
            places.setdefault((table, metric, kind), []).append(place)
        of_measure = {measure: (values[rows_], counts[rows_]) for measure, rows_ in places.items()}
        return cls(
            start,
            kept,
            segments,
            {measure: pair[0] for measure, pair in of_measure.items()},
            {measure: pair[1] for measure, pair in of_measure.items()},
        )

    def window(self, measure: Measure, day: date) -> Window | None:
        """The series of a measure on a night and the nights before it; None without any value.

        Segments that neither the night nor the nights before it have are left out.
        """
        place = (day - self.first).days
        if measure not in self.values or not 0 <= place < len(self.sound):
            return None
        before = self.back(self.values[measure], place)
        tonight = self.values[measure][:, place]
        there = np.isfinite(tonight) | np.isfinite(before).any(axis=1)
        if not there.any():
            return None
        names = [name for name, is_there in zip(self.segments[measure], there.tolist(), strict=True) if is_there]
        values = np.concatenate([tonight[:, None], before], axis=1)[there]
        return Window(names, values, self.counts[measure][there, place])

    def back(self, values: Floats, place: int) -> Floats:
        """The columns of the sound nights before a column, the last one first; shape (rows, NIGHTS)."""
        earlier = np.where(self.sound[:place], values[:, :place], np.nan)[:, ::-1][:, :NIGHTS]
        return np.pad(earlier, ((0, 0), (0, NIGHTS - earlier.shape[1])), constant_values=np.nan)

    def days_back(self, day: date) -> list[date]:
        """The days of a window's columns after the first."""
        return [day - timedelta(days=back) for back in range(1, NIGHTS + 1)]


def _encoded(rows: pa.Table) -> tuple[list[tuple[str, ...]], np.ndarray]:
    """The different keys in order, and the place of every row's among them."""
    code = np.zeros(rows.num_rows, np.int64)
    texts: list[list[str]] = []
    for name in KEY:
        encoded = rows[name].combine_chunks().dictionary_encode()
        known = np.array(encoded.dictionary.to_pylist(), dtype=object)
        order = np.argsort(known) if len(known) else np.zeros(0, np.int64)
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        texts.append(known[order].tolist())
        code = code * max(len(known), 1) + rank[encoded.indices.to_numpy(zero_copy_only=False)]
    different, codes = np.unique(code, return_inverse=True)
    names = [_key_of(int(number), texts) for number in different]
    return names, codes


def _key_of(number: int, texts: list[list[str]]) -> tuple[str, ...]:
    parts: list[str] = []
    for known in reversed(texts):
        number, place = divmod(number, max(len(known), 1))
        parts.append(known[place])
    return tuple(reversed(parts))


def rows_of(run_date: date, table: str, metrics: Iterable[tuple[str, str, str, float, float | None]]) -> pa.Table:
    """Metrics of a night, (metric, kind, segment, value, count), as rows of `night_metrics`."""
    listed = list(metrics)
    columns = [[row[place] for row in listed] for place in range(5)]
    texts = [pa.array(column, pa.string()) for column in columns[:3]]
    return pa.table(
        {
            "run_date": pa.array([run_date] * len(listed), pa.date32()),
            "table": pa.array([table] * len(listed), pa.string()),
            "metric": texts[0],
            "segment_kind": texts[1],
            "segment": texts[2],
            "value": pa.array(columns[3], pa.float64()),
            "count": pa.array(columns[4], pa.float64()),
        }
    )
