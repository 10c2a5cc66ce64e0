"""A stage at work: the tables that it may open, its progress, and its result."""

from collections.abc import Callable
from dataclasses import dataclass, field

from nocturne.flow import Stage

Progress = Callable[[int, int, str], None]
"""Told how much is done, of how much, and what it is."""


@dataclass(frozen=True)
class StageResult:
    """Rows that a stage read and rejected, and a remark for people. What it wrote stands in the tables."""

    read: int
    rejected: int = 0
    remark: str = ""


class UndeclaredAccessError(RuntimeError):
    """A stage opened a table that the flow does not declare for it: a fault of Nocturne's."""


@dataclass(frozen=True)
class Access:
    """The tables that a stage declares in the flow: it can open no other.

    Attributes:
        stage: its declaration.
        tables_read: names of the tables opened for reading so far.
    """

    stage: Stage
    tables_read: set[str] = field(default_factory=set, compare=False)

    def record_read(self, table: str) -> None:
        """Note that a table is read, of whatever night.

        Raises:
            UndeclaredAccessError: the flow does not declare it.
        """
        if table not in self.stage.reads:
            self._refuse("reads", table, self.stage.reads)
        self.tables_read.add(table)

    def record_result(self, table: str) -> None:
        """Note that the night's own rows of a table are read: a stage may also look at what it has just written."""
        if table in self.stage.writes:
            return
        self.record_read(table)

    def require_write(self, table: str) -> None:
        """Raise UndeclaredAccessError unless the flow declares that the stage writes the table."""
        if table not in self.stage.writes:
            self._refuse("writes", table, self.stage.writes)

    def _refuse(self, verb: str, table: str, declared: tuple[str, ...]) -> None:
        raise UndeclaredAccessError(
            f"{self.stage.name} {verb} {table}, which nocturne/flow.py does not declare: {', '.join(declared)}"
        )
