"""Stats of ranking: listeners by reason, proofs, and processor time."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class RankingStats:
    """Counts and processor time of ranking some listeners.

    Attributes:
        reasons: listeners by why their pool was computed, or carried, and by the source of lists without a pool.
        seconds: processor time by what it was spent on.
    """

    listeners: int = 0
    audited: int = 0
    mismatches: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, other: "RankingStats") -> None:
        """Add the stats of other listeners."""
        self.listeners += other.listeners
        self.audited += other.audited
        self.mismatches += other.mismatches
        self.reasons.update(other.reasons)
        for step, seconds in other.seconds.items():
            self.seconds[step] += seconds

    def add_arms(self, arms: "RankingStats") -> None:
        """Add the proofs and the time of the arms of experiments, whose listeners count already."""
        self.audited += arms.audited
        self.mismatches += arms.mismatches
        self.seconds["arms"] += sum(arms.seconds.values())

    @contextmanager
    def timing(self, step: str) -> Iterator[None]:
        """Add the time of a block of code to the seconds of a step."""
        started = time.thread_time()
        yield
        self.seconds[step] += time.thread_time() - started
