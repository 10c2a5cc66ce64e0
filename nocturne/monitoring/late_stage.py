"""Late stage: one that is not done when it was due, as it is told outside. Holds no listener."""

from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow.compute as pc

from nocturne.core.night import Warehouse
from nocturne.flow import COSTS
from nocturne.monitoring.webhook import with_id
from nocturne.serving import publications
from nocturne.storage import tables


@dataclass(frozen=True)
class LateStage:
    """A stage of a night that is not done.

    Attributes:
        due: when it should have been, ISO 8601; "" if nobody says.
        state: of the night, such as running, failed or not begun.
        served: night that listeners get meanwhile, the oldest of all caches; None if none is.
    """

    warehouse: str
    run_date: date
    stage: str
    due: str
    state: str
    served: date | None

    @property
    def next_step(self) -> str:
        """The command that says why."""
        return f"`nocturne status --warehouse {self.warehouse} --run-date {self.run_date}` says why, and what to do"

    @property
    def sentence(self) -> str:
        """All of it in a line, as a chat shows it."""
        due = f", due {self.due}" if self.due else ""
        served = f"listeners get night {self.served} meanwhile" if self.served else "nothing is served yet"
        return f"Night {self.run_date} is late: {self.stage} is not done{due}; the night is {self.state}; {served}"

    def document(self) -> dict[str, Any]:
        """As JSON: the same content has the same id."""
        content = {
            "kind": "nocturne.late",
            "warehouse": self.warehouse,
            "run_date": self.run_date.isoformat(),
            "stage": self.stage,
            "due": self.due,
            "state": self.state,
            "served": self.served.isoformat() if self.served else None,
            "next_step": self.next_step,
            "text": f"{self.sentence}. Next: {self.next_step}",
        }
        return with_id(content)


def is_done(warehouse: Warehouse, run_date: date, stage: str) -> bool:
    """True if the stage came to its end on that night: what it cost is on record."""
    if not tables.is_warehouse(warehouse):
        return False
    of_stage = (pc.field("run_date") == run_date) & (pc.field("stage") == stage)
    return bool(tables.rows(warehouse, COSTS, of_stage, ["stage"]).num_rows)


def served_meanwhile(warehouse: Warehouse) -> date | None:
    """The night that listeners get, as `nights` has it on record; of several caches the oldest."""
    if not tables.is_warehouse(warehouse):
        return None
    pointers = publications.recorded_pointers(publications.all_records(warehouse))
    return min((pointer.served.run_date for pointer in pointers.values()), default=None)
