"""A metric, as `night_metrics` stores it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """One number of a night's table, or of a segment of it: a row of `night_metrics`.

    Attributes:
        segment_kind: `all`, `market`, `content_type`, `quantile` …
        count: rows, listeners or events that the value rests on.
    """

    name: str
    value: float
    segment_kind: str = "all"
    segment: str = ""
    count: float | None = None
