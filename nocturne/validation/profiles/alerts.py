"""Profile of `alerts`: how many close the gate, and how many are news."""

import pyarrow.compute as pc

from nocturne.core.night import Night
from nocturne.storage import tables
from nocturne.validation.profiles.arithmetic import Profile, total


def alerts(night: Night) -> Profile:
    """Of the night's alerts."""
    rows = tables.night_rows(night, "alerts", ["severity", "silenced", "accepted"])
    critical = pc.equal(rows["severity"], "critical")
    standing = pc.invert(rows["accepted"])
    return {
        "critical_alerts": total(pc.and_(critical, standing)),
        "new_warnings": total(pc.and_(pc.invert(critical), pc.invert(rows["silenced"]))),
    }
