"""Watches, all of them in the order of the flow, with the limits that settings say."""

from collections.abc import Mapping

from nocturne.core.errors import UsageError
from nocturne.monitoring.watch import Watch
from nocturne.monitoring.watches_of_input import ACCOUNTS, ITEMS, LISTENS, ROWS
from nocturne.monitoring.watches_of_lists import BESIDE_LISTS, COSTS, LISTS, SHOWN
from nocturne.monitoring.watches_of_models import FACTORS, MODELS, POOLS

WATCHES = (*ITEMS, *LISTENS, *ACCOUNTS, *ROWS, *MODELS, *FACTORS, *POOLS, *LISTS, *BESIDE_LISTS, *SHOWN, *COSTS)
"""What is watched; of one table the cause comes before what follows from it."""

AFTER = frozenset(watch.table for watch in (*SHOWN, *COSTS))
"""Tables that are complete only after lists are served: those of the last night are watched."""


def watches(limits: Mapping[str, Mapping[str, float]]) -> tuple[Watch, ...]:
    """Every watch, with other limits where settings have them.

    Args:
        limits: `warn` and `block` by cause: `[monitoring.limits]`.

    Raises:
        UsageError: there is no watch of that name, or the limits of one make no sense.
    """
    known = {watch.cause: watch for watch in WATCHES}
    for cause, limit in limits.items():
        if cause not in known or not set(limit) <= {"warn", "block"}:
            raise UsageError(
                "a limit of monitoring is of no watch",
                where=f"[monitoring.limits], {cause}",
                found=", ".join(limit) or "nothing",
                expected=f"warn and block of one of {', '.join(known)}",
                fix="`nocturne monitor calibrate` prints limits as they are written",
            )
        known[cause] = known[cause].with_limits(limit.get("warn"), limit.get("block"))
    return tuple(known.values())
