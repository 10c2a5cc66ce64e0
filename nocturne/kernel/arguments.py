"""Arguments of compiled loops: arrays that belong together, under a name each."""

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from nocturne.core.arrays import Codes, Floats, Indexes, Offsets


class ConfidenceRows(Protocol):
    """CSR rows of what listeners heard: positions in `columns`, and a confidence > 0 beside each of them."""

    @property
    def offsets(self) -> Offsets:
        """Where each row begins and the last one ends; shape (listeners + 1,)."""

    @property
    def columns(self) -> Indexes:
        """Positions of the items; shape (entries,)."""

    @property
    def confidences(self) -> Floats:
        """Aligned with the columns."""


class ValuedRows(NamedTuple):
    """CSR rows of positions, and a value aligned with each of them."""

    offsets: Offsets
    positions: Indexes
    values: Floats

    @classmethod
    def of_confidences(cls, rows: ConfidenceRows) -> "ValuedRows":
        """Listeners' rows, read-only."""
        return cls(*frozen(rows.offsets, rows.columns, rows.confidences))


class Traits(NamedTuple):
    """Items by position, names turned into numbers.

    Attributes:
        creators: -1 without one; shape (items,).
        types: content types; shape (items,).
        tag_offsets: where each item's tags begin and the last one's end; shape (items + 1,).
        tags: distinct and ascending within an item; 0 alone for an item without any.
        fresh: whether the item is new; shape (items,).
    """

    creators: Codes
    types: Codes
    tag_offsets: Offsets
    tags: Codes
    fresh: npt.NDArray[np.bool_]


class RerankRules(NamedTuple):
    """The rules that every list follows.

    Attributes:
        top_k: items in a full list.
        max_per_creator: 0: any number.
        fresh_slots: new items that a list holds if the candidates do.
        diversity, type_calibration, genre_calibration: strengths, from 0 to 1.
    """

    top_k: int
    max_per_creator: int
    fresh_slots: int
    diversity: float
    type_calibration: float
    genre_calibration: float

    def converted(self) -> "RerankRules":
        """Numbers of the types declared: another type would have the loops compiled anew."""
        return RerankRules(
            *(kind(value) for kind, value in zip(RerankRules.__annotations__.values(), self, strict=True))
        )


class Exploration(NamedTuple):
    """Places of a list whose items are drawn.

    Attributes:
        places: from 0, ascending.
        draws: numbers in [0, 1) for them; shape (listeners, places).
        temperature: 0: all are as likely.
    """

    places: Offsets
    draws: Floats
    temperature: float


def frozen(*arrays: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """Read-only C-contiguous views, or copies: of one kind, so that everyone's call runs the same compiled code."""
    views = [np.ascontiguousarray(array).view() for array in arrays]
    for view in views:
        view.flags.writeable = False
    return views
