"""The load of the machine, told beside the figures: those taken beside other work are not figures."""

import os

from nocturne.core.console import say

_QUIET = 0.3
"""Of the machine's cores, busy over the last minute before anything was measured."""


def tell_load() -> None:
    """Tell the load of the last minute, loudly if it is high."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load / cores > _QUIET:
        say(f"WARNING: {load:.1f} of {cores} cores were busy over the last minute: quote no time that follows")
    else:
        say(f"{load:.1f} of {cores} cores were busy over the last minute")
