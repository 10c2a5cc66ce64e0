"""The rules by which listeners are dealt to experiments, written a second time: docs/experiments.md says them."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from nocturne.core.arrays import Counts
from nocturne.core.experiment import CONTROL, HOLDBACK, INTERLEAVED, SLOTS, Experiment
from nocturne.core.hashing import Hashes, hash_ids
from nocturne.core.night import Night
from nocturne.storage.running_experiments import running

_BITS = 53


@dataclass(frozen=True)
class DealtArms:
    """The experiments of a night, and whom they have.

    Attributes:
        salt: of the layer.
        held_back: listeners of 2^53 that are in no experiment.
        holdback_model: whose lists they get; empty: the live one.
    """

    salt: str
    held_back: int
    holdback_model: str
    experiments: tuple[Experiment, ...]

    @classmethod
    def on(cls, night: Night) -> "DealtArms":
        """The experiments that run on the night."""
        settings = night.settings.experiments
        held_back = int(np.ceil(settings.holdback_share * 2.0**_BITS))
        return cls(settings.salt, held_back, settings.holdback_model, running(night))

    @cached_property
    def names(self) -> list[tuple[str, str]]:
        """Experiment and arm by code; of the holdback by code 0, and last for those who are in none."""
        names = [(HOLDBACK, HOLDBACK)]
        for experiment in self.experiments:
            names += [(experiment.name, arm) for arm in sorted(experiment.assigned_arms)]
        return [*names, ("", "")]

    @cached_property
    def labels(self) -> pa.Array:
        """`ranked_lists.arm` by code."""
        return pa.array([f"{name}/{arm}" if name else CONTROL for name, arm in self.names])

    @cached_property
    def like_control(self) -> pa.Array:
        """The labels of those whose nightly lists are those of control."""
        arms = [(each.name, name) for each in self.experiments for name, arm in each.arms.items() if arm.ranks_alike]
        own = [] if self.holdback_model else [(HOLDBACK, HOLDBACK)]
        return pa.array([CONTROL, *(f"{name}/{arm}" for name, arm in (*own, *arms))])

    @cached_property
    def ruled_alike(self) -> pa.Array:
        """The labels of those whose nightly lists follow the rules of the night, by whatever model."""
        changed = {
            (each.name, INTERLEAVED if each.kind == "interleaving" else name)
            for each in self.experiments
            for name, arm in each.arms.items()
            if any(key.startswith("ranking.") for key in arm.settings)
        }
        return pa.array([f"{name[0]}/{name[1]}" if name[0] else CONTROL for name in self.names if name not in changed])

    @property
    def empty(self) -> bool:
        """True if nobody is dealt to anything."""
        return not (self.experiments or self.held_back)

    def codes(self, user_ids: pa.Array) -> Counts:
        """The code of each listener; shape (listeners,)."""
        codes = np.full(len(user_ids), len(self.names) - 1)
        if self.empty:
            return codes
        slots = _number(user_ids, f"layer/{self.salt}") * np.uint64(SLOTS) >> np.uint64(_BITS)
        for experiment in self.experiments:
            first = self.names.index(next(name for name in self.names if name[0] == experiment.name))
            inside = (slots >= experiment.first_slot) & (slots < experiment.first_slot + experiment.slots)
            codes[inside] = first
            if experiment.kind == "ab":
                weights = [arm.weight for _, arm in sorted(experiment.arms.items())]
                number = _number(user_ids, f"experiment/{experiment.name}/{experiment.salt}")
                for end in np.cumsum(weights)[:-1] / np.cumsum(weights)[-1]:
                    codes[inside & (number >= int(np.ceil(end * 2.0**_BITS)))] += 1
        codes[_number(user_ids, f"holdback/{self.salt}") < self.held_back] = 0
        return codes


def _number(user_ids: pa.Array, salt: str) -> Hashes:
    """53 bits of each listener, by the first 8 bytes of the salt's BLAKE2b as the seed."""
    seed = int.from_bytes(hashlib.blake2b(salt.encode(), digest_size=8).digest())
    return hash_ids(user_ids, seed) >> np.uint64(64 - _BITS)
