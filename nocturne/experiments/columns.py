"""Columns that are summed per listener: a metric's numerator and denominator, and the same from before the start.

`minutes` is the listener's minutes since the start of the experiment, `minutes:podcast` those of one content type,
`before:minutes` those of the days before, a covariate, and `last:minutes` those from the start up to the look before,
which tell how far the looks go together. An analysis does without columns of the last two kinds that there are not.
"""

from dataclasses import dataclass
from itertools import combinations

from nocturne.core.experiment import Experiment, Metric

BEFORE, LAST = "before:", "last:"
"""Prefixes of a column from before the start, and of one that ends with the look before."""


TEAM = "team:"
"""Prefix of the columns of plays of drafted items, by the arm that picked them."""


@dataclass(frozen=True)
class Columns:
    """Columns of one metric.

    Attributes:
        numerator: the measure.
        denominator: of a ratio of sums; None where every listener counts 1.
    """

    numerator: str
    denominator: str | None = None

    @property
    def before(self) -> "Columns":
        """The same from before the start."""
        return Columns(BEFORE + self.numerator, None if self.denominator is None else BEFORE + self.denominator)

    @property
    def last(self) -> "Columns":
        """The same up to the look before; 0 at the first look."""
        return Columns(LAST + self.numerator, None if self.denominator is None else LAST + self.denominator)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the one or two columns."""
        return (self.numerator,) if self.denominator is None else (self.numerator, self.denominator)


def numerator_of(metric: Metric) -> str:
    """Column of a metric's measure."""
    return metric.measure + _of_type(metric)


def denominator_of(metric: Metric) -> str | None:
    """Column of what a metric is counted per; None where that is the listener. A content type restricts it as well."""
    return None if metric.per == "listener" else metric.per + _of_type(metric)


def columns_of_metric(metric: Metric) -> Columns:
    """Both columns of a metric."""
    return Columns(numerator_of(metric), denominator_of(metric))


def columns_of(experiment: Experiment) -> tuple[str, ...]:
    """Every column whose count, mean and variance an experiment's looks need, sorted."""
    return tuple(sorted({name for group in _groups(experiment) for name in group}))


def pairs_of(experiment: Experiment) -> tuple[tuple[str, str], ...]:
    """Every pair of columns whose covariance an experiment's looks need; pairs and their names are sorted."""
    return tuple(sorted({pair for group in _groups(experiment) for pair in combinations(sorted(group), 2)}))


def _groups(experiment: Experiment) -> list[set[str]]:
    metrics = (columns_of_metric(metric) for metric in experiment.metrics.values())
    return [{*columns.names, *columns.before.names, *columns.last.names} for columns in metrics]


def _of_type(metric: Metric) -> str:
    return f":{metric.content_type}" if metric.content_type else ""
