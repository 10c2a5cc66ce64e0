"""A snapshot of a cache, as whoever reads more than one list sees it."""

from pathlib import Path
from typing import Protocol

from nocturne.serving.cache.pointer import Generation
from nocturne.serving.cache.rows import ServedRow
from nocturne.serving.cache.values import ServedList


class Snapshot(Protocol):
    """One generation, whole, however often the pointer moves, until it is let go."""

    @property
    def generation(self) -> Generation:
        """The generation that was served when the snapshot was taken."""

    def get(self, user_id: str) -> ServedList | None:
        """The list of this listener, without what is taken down by now; None if there is none.

        Raises:
            ServiceError: the store failed, or has lost the generation.
        """

    def row(self, user_id: str) -> ServedRow | None:
        """The list and the row of this listener, without what is taken down by now; None if there is none.

        Raises:
            As `get`.
        """

    def items_file(self) -> Path | None:
        """A local file of the generation's items, which can be mapped; None in a generation of lists alone."""

    def is_current(self) -> bool:
        """True if the generation is there still, and was not loaded anew since the snapshot was taken."""
