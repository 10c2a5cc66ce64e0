"""Metrics of accounts: rejected rows by reason and file, and what stages cost."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from nocturne.validation.metrics.metric import Metric
from nocturne.validation.metrics.sums import metric

_NUMBERS = re.compile(r"\d+")
_STAGE_COSTS = ("seconds", "rows_read", "rows_written", "bytes_written")


def reject_metrics(reasons: Iterable[str], producers: Iterable[str], kind: str = "producer") -> tuple[Metric, ...]:
    """Rejected rows, and their shares by reason and by who wrote them.

    Args:
        reasons, producers: of each row.
        kind: of the segments of producers.
    """
    of_reasons, of_producers = Counter(reasons), Counter(producers)
    whole = of_reasons.total()
    return (
        metric("rejected", whole),
        *_shares(of_reasons, "reason", whole),
        *_shares(of_producers, kind, whole),
    )


def producer(file: str) -> str:
    """Who wrote a landing file: its name without endings and numbers, such as `part` of `part-0007.json.gz`."""
    return _NUMBERS.sub("", file.split(".", maxsplit=1)[0]).strip("-_") or file


def account_metrics(account: Mapping[str, float], reasons: Mapping[str, float], whole: str) -> tuple[Metric, ...]:
    """Counts of an account, and its rows rejected by reason as shares of all.

    Args:
        account: counts by name.
        reasons: rows rejected by reason.
        whole: the count of which shares are.
    """
    read = account[whole]
    rejected = [
        metric("share_rejected", count / read, "reason", reason, read) for reason, count in sorted(reasons.items())
    ]
    return (*(metric(name, count) for name, count in account.items()), *(rejected if read else ()))


def cost_metrics(costs: Iterable[Mapping[str, Any]]) -> tuple[Metric, ...]:
    """Seconds, rows and bytes of every stage.

    Args:
        costs: rows of `costs` of a night.
    """
    return tuple(
        metric(name, row[name], "stage", row["stage"])
        for row in sorted(costs, key=lambda row: str(row["stage"]))
        for name in _STAGE_COSTS
    )


def _shares(counts: Counter[str], kind: str, whole: int) -> list[Metric]:
    return [metric("share", count / whole, kind, name, whole) for name, count in sorted(counts.items())]
