"""Moments of columns over listeners: all that leaves a task, and all that statistics are worked out from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tea_tasting.aggr import Aggregates

from nocturne.core.arrays import Floats

SEPARATOR = "|"
"""Between two columns, in the name of their covariance."""


@dataclass(frozen=True)
class Moments:
    """Count, means and products of deviations of some columns; those of different listeners can be added up.

    Attributes:
        means: shape (columns,).
        products: sums of products of deviations from the means; shape (columns, columns).
    """

    count: int
    means: Floats
    products: Floats

    @classmethod
    def of(cls, values: Floats) -> "Moments":
        """Of a row a listener; shape (listeners, columns)."""
        if not len(values):
            width = values.shape[1]
            return cls(0, np.zeros(width), np.zeros((width, width)))
        means = values.mean(axis=0)
        deviations = values - means
        return cls(len(values), means, deviations.T @ deviations)

    def plus(self, other: "Moments") -> "Moments":
        """Of both.

        Source: Chan, Golub and LeVeque (1983), "Algorithms for computing the sample variance", equation 2.1.
        """
        count = self.count + other.count
        if not count:
            return self
        apart = other.means - self.means
        means = self.means + apart * (other.count / count)
        products = self.products + other.products + np.outer(apart, apart) * (self.count * other.count / count)
        return Moments(count, means, products)

    def to_row(self, columns: Sequence[str], pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
        """Values of `experiment_looks`: listeners, means, sample variances, and covariances of pairs of columns."""
        sample = self.products / max(1, self.count - 1)
        place = {name: number for number, name in enumerate(columns)}
        covariances = {f"{one}{SEPARATOR}{other}": float(sample[place[one], place[other]]) for one, other in pairs}
        return {
            "listeners": self.count,
            "means": list(zip(columns, self.means.tolist(), strict=True)),
            "variances": list(zip(columns, np.diag(sample).tolist(), strict=True)),
            "covariances": sorted(covariances.items()),
        }


def aggregates_of(row: dict[str, Any]) -> Aggregates:
    """The aggregates of a row of `experiment_looks`."""
    covariances = {tuple(names.split(SEPARATOR)): value for names, value in row["covariances"]}
    return Aggregates(row["listeners"], dict(row["means"]), dict(row["variances"]), covariances)
