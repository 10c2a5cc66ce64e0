"""Arithmetic of profiles, in which empty tables are sound."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from nocturne.validation.metrics.metric import Metric

Profile = dict[str, float | None]


@dataclass(frozen=True)
class Measured:
    """The profile of a night's table, the hash over the rows that it was taken of, and further metrics."""

    profile: Profile
    row_hash: str
    metrics: tuple[Metric, ...] = ()

    @property
    def all_metrics(self) -> tuple[Metric, ...]:
        """The metrics of the profile that have a value, and the further ones."""
        return *(Metric(name, value) for name, value in self.profile.items() if value is not None), *self.metrics


def share(part: float, whole: float) -> float:
    """Part of a whole; nothing out of nothing is 0."""
    return part / whole if whole else 0.0


def ratio(now: float, previous: float | None) -> float | None:
    """Now beside before; None without a before to compare with."""
    return now / previous if previous else None


def repeated(values: pa.Array | pa.ChunkedArray) -> int:
    """Number of values that repeat an earlier one."""
    return len(values) - int(pc.count_distinct(values, mode="all").as_py())


def counts(values: pa.Array | pa.ChunkedArray) -> dict[str, int]:
    """Occurrences of each text."""
    return {row["values"]: row["counts"] for row in pc.value_counts(values).to_pylist()}


def total(values: pa.Array | pa.ChunkedArray) -> float:
    """Sum of numbers or booleans; nulls count nothing."""
    return float(pc.sum(values).as_py() or 0)


def worst(changes: Iterable[float], of: Callable[[Iterable[float]], float] = max) -> float | None:
    """The largest of some changes, or whatever else is the worst; None of none."""
    known = list(changes)
    return float(of(known)) if known else None
