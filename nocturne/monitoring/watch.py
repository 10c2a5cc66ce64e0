"""Watch: one thing that may go wrong, the metric that tells, and how far it may go."""

import math
from dataclasses import dataclass, replace
from typing import Literal

from nocturne.flow import TABLES

DISTRIBUTIONS = ("psi", "jensen_shannon", "wasserstein")
"""Effect sizes over all segments of a kind together."""

Direction = Literal["both", "fall", "rise"]
SHARE = "share"
QUANTILE = "quantile"


@dataclass(frozen=True)
class Watch:
    """A metric that is held against earlier nights.

    Attributes:
        cause: its name: the table, and what goes wrong with it.
        metric: as in `night_metrics`.
        kinds: of segments, each of which is watched; of a distribution the one kind that it is over.
        effect_size: how the distance to what is expected is told. `wasserstein` is told in the metric's unit, and its
            limits are parts of what is expected on average: 1 of what shrank to nothing.
        warn: effect from which on people are told.
        block: effect from which on lists made of such a night would hurt; None: nothing waits for it.
        direction: the one that is trouble.
        noise: chance that is known: the metric counts events, or is a share of its count.
        of_model: whether it jumps on the night of another model, which only such nights are compared with.
        at_least: in the metric's unit: neither numbers nor, of a distribution, distances below are worth a word.
        at_most: in the metric's unit: nothing is said where more than this is expected.
    """

    cause: str
    metric: str
    kinds: tuple[str, ...]
    effect_size: Literal["ratio", "difference", "psi", "jensen_shannon", "wasserstein"]
    warn: float
    block: float | None
    meaning: str
    next_step: str
    direction: Direction = "both"
    noise: Literal["", "count", "share"] = ""
    of_model: bool = False
    at_least: float = 0.0
    at_most: float = math.inf

    @property
    def table(self) -> str:
        """The table that the metric is of."""
        return self.cause.partition(".")[0]

    @property
    def follows_model(self) -> bool:
        """True if its table is written with a model or by one."""
        return TABLES.index(self.table) >= TABLES.index("models")

    @property
    def of_arms(self) -> bool:
        """True if it is of the sizes of arms, which experiments that begin or end change by their dates."""
        return self.kinds == ("arm",)

    @property
    def over_segments(self) -> bool:
        """True if all segments of its kind are one distribution."""
        return self.effect_size in DISTRIBUTIONS

    def with_limits(self, warn: float | None, block: float | None) -> "Watch":
        """The same with other limits, where they are given; what blocks nothing still does not."""
        block = self.block if block is None or self.block is None else block
        return replace(self, warn=self.warn if warn is None else warn, block=block)
