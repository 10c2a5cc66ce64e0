"""Arms of experiments on a night: who is in which, and where the lists of two arms differ. Pure.

All experiments share one layer, so that a listener is in one of them at most. The holdback is dealt first. A hash of
the layer's salt and the listener's id then gives everyone else one of a thousand slots, of which experiments have some
each; and a hash of the experiment's own salt gives its listeners their arms. Nothing of it depends on anyone else, and
the next experiment on the same slots deals them anew.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Codes, Counts, Floats
from nocturne.core.experiment import HOLDBACK, INTERLEAVED, SLOTS, Experiment
from nocturne.core.hashing import hash_ids
from nocturne.core.list_arrays import aligned_array, count_shared, first_places

_UNUSED_BITS, _UNIT = np.uint64(11), 2.0**-53


class Cell(NamedTuple):
    """An arm of an experiment."""

    experiment: str
    arm: str

    @property
    def label(self) -> str:
        """Its name in `ranked_lists`, where those who are in no experiment have CONTROL alone."""
        return f"{self.experiment}/{self.arm}"

    @property
    def keys(self) -> dict[str, str]:
        """Its values of the partition columns of tables that keep arms apart."""
        return {"experiment": self.experiment, "arm": self.arm}


HELD_BACK = Cell(HOLDBACK, HOLDBACK)


@dataclass(frozen=True)
class Layer:
    """The experiments of a night, and how listeners are dealt to them.

    Attributes:
        salt: of the slots.
        holdback_share: share of listeners in no experiment.
        experiments: that run on the night, on slots of their own.
    """

    salt: str
    holdback_share: float
    experiments: tuple[Experiment, ...]

    @property
    def empty(self) -> bool:
        """True if everyone has the lists of control, and is counted nowhere."""
        return not (self.experiments or self.holdback_share)

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The holdback, and the arms that listeners are in, in the order of their codes."""
        arms = (
            Cell(experiment.name, arm) for experiment in self.experiments for arm in sorted(experiment.assigned_arms)
        )
        return (HELD_BACK, *arms)

    def assign(self, user_ids: pa.Array) -> Codes:
        """The place in `cells` of each listener's arm, -1 for who is in none; shape (listeners,)."""
        codes = np.full(len(user_ids), -1, np.int32)
        held_back = _unit(user_ids, f"holdback/{self.salt}") < self.holdback_share
        slots = np.floor(_unit(user_ids, f"layer/{self.salt}") * SLOTS)
        for experiment in self.experiments:
            members = np.flatnonzero(
                (slots >= experiment.first_slot) & (slots < experiment.first_slot + experiment.slots)
            )
            codes[members] = self._arms_of(experiment, user_ids.take(pa.array(members)))
        codes[held_back] = 0
        return codes

    def _arms_of(self, experiment: Experiment, user_ids: pa.Array) -> Codes:
        if experiment.kind == "interleaving":
            return np.full(len(user_ids), self.cells.index(Cell(experiment.name, INTERLEAVED)), np.int32)
        names = sorted(experiment.arms)
        places = [self.cells.index(Cell(experiment.name, name)) for name in names]
        ends = np.cumsum([experiment.arms[name].weight for name in names])
        arms = np.searchsorted(
            ends[:-1] / ends[-1], _unit(user_ids, f"experiment/{experiment.name}/{experiment.salt}"), side="right"
        )
        return np.array(places, np.int32)[arms]


def _unit(user_ids: pa.Array, salt: str) -> Floats:
    """A number from 0 to below 1 for each listener, evenly spread."""
    seed = int.from_bytes(hashlib.blake2b(salt.encode(), digest_size=8).digest())
    return np.asarray((hash_ids(user_ids, seed) >> _UNUSED_BITS) * _UNIT)


def compare_lists(one: pa.Array, other: pa.Array) -> tuple[pa.Array, Counts]:
    """First place, from 1, at which each pair of lists differs, null where they are the same; and shared items.

    Args:
        one, other: lists of structs with item_id, those of a pair in the same place.
    """
    pair = one, other
    width = int(pc.max(pc.list_value_length(pa.chunked_array(pair))).as_py() or 0)
    item_ids = pc.unique(pa.concat_arrays([lists.flatten().field("item_id") for lists in pair]))
    ours, theirs = (aligned_array(lists, item_ids, width) for lists in pair)
    first = first_places(ours, theirs)
    return pa.array(first + 1, pa.int32(), mask=first < 0), count_shared(ours, theirs, len(item_ids))


def replace_rows(rows: pa.Table, places: npt.NDArray[np.intp], others: pa.Table) -> pa.Table:
    """The rows with others in some places, ascending."""
    source = np.arange(rows.num_rows)
    source[places] = rows.num_rows + np.arange(others.num_rows)
    return pa.concat_tables([rows, others.select(rows.column_names)]).take(pa.array(source))
