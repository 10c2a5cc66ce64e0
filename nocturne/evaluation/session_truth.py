"""The truth of simulated sessions: the probability of every item to come next, given all that can be seen.

The topic of an event is hidden. Given what was played in a session, the probability of each topic follows by Bayes'
rule from event to event; with it and the tastes of the listener, so does that of each item to come next.

Source: Rabiner (1989), "A tutorial on hidden Markov models", the forward algorithm of section III.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nocturne.core.arrays import Floats, Mask, Positions
from nocturne.core.csr import CsrRows
from nocturne.core.errors import UsageError

FILES = ("items", "listeners", "sessions")


@dataclass(frozen=True)
class SessionTruth:
    """The law that a simulation drew its sessions from.

    Attributes:
        stay: probability that an event keeps the topic of the one before.
        tastes: of each listener; shape (listeners, topics).
        shares: P(item | topic); shape (items, topics).
    """

    stay: float
    tastes: Floats
    shares: Floats

    def next_items(self, listener: Positions, context: CsrRows, playable: Mask) -> Floats:
        """Probability of each item to come next; shape (questions, items).

        Args:
            listener: of each question; shape (questions,).
            context: items played in the session, the one that plays last.
            playable: what is played at all; shape (items,).
        """
        shares = self.shares * playable[:, None]
        shares = shares / np.maximum(shares.sum(axis=0), np.finfo(np.float64).tiny)
        tastes = self.tastes[listener]
        belief = tastes
        lengths = context.lengths
        for step in range(int(lengths.max(initial=0))):
            there = lengths > step
            item = context.positions[context.offsets[:-1][there] + step]
            prior = tastes[there] if step == 0 else self.stay * belief[there] + (1 - self.stay) * tastes[there]
            seen = prior * self.shares[item]
            total = seen.sum(axis=1, keepdims=True)
            belief = belief.copy()
            belief[there] = np.where(total > 0, seen / np.maximum(total, np.finfo(np.float64).tiny), prior)
        law: Floats = (self.stay * belief + (1 - self.stay) * tastes) @ shares.T
        return law


def read_truth(folder: Path, user_ids: pa.Array, item_ids: pa.Array) -> SessionTruth:
    """Read the truth of a simulation.

    Args:
        folder: beside the landing zone.
        user_ids, item_ids: to be aligned with.

    Raises:
        UsageError: it is not there, or is of another service.
    """
    if missing := [name for name in FILES if not (folder / f"{name}.parquet").is_file()]:
        raise UsageError(
            "there is no truth of a simulation",
            where=str(folder),
            found=f"no {missing[0]}.parquet",
            expected="the folder that `nocturne simulate` wrote beside the landing zone",
            fix="check --truth",
        )
    stay = pq.read_table(folder / "sessions.parquet")["stay"][0].as_py()
    tastes = _factors(folder / "listeners.parquet", "user_id", user_ids)
    if (unknown := ~tastes.any(axis=1)).any():
        raise UsageError(
            "the truth is that of another service",
            where=str(folder),
            found=f"nothing of listener {user_ids[int(unknown.argmax())]}",
            fix="check --truth",
        )
    # Items of corrupted events are nowhere else, and are never played.
    return SessionTruth(stay, tastes, _factors(folder / "items.parquet", "item_id", item_ids))


def _factors(path: Path, name: str, ids: pa.Array) -> Floats:
    """Factors aligned with ids; zeros where there are none."""
    rows = pq.read_table(path, columns=[name, "factors"]).combine_chunks()
    factors = rows["factors"].combine_chunks()
    known = factors.flatten().to_numpy().reshape(len(factors), -1).astype(np.float64)
    place = pc.fill_null(pc.index_in(ids, value_set=rows[name].combine_chunks()), -1).to_numpy()
    return np.where(place[:, None] >= 0, known[place], 0.0)
