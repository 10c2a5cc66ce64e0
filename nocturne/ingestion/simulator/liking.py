"""True liking: how much a listener likes an item, between 0 and 1, by the factors that the world is drawn from."""

from dataclasses import dataclass

import numpy as np

from nocturne.core.arrays import Floats
from nocturne.ingestion.simulator.world import MAINSTREAM, IntArray, Items


@dataclass(frozen=True)
class Liking:
    """Factors of the items as far as they are not 0, and how topics share items.

    Attributes:
        topics: home topic, second topic and the mainstream, (items, 3).
        shares: P(item | topic) of these, 0 for a second topic that is the home topic, (items, 3).
        overlap: sum over items of P(item | s) x P(item | t), (FACTORS, FACTORS).
    """

    topics: IntArray
    shares: Floats
    overlap: Floats

    @classmethod
    def of(cls, items: Items) -> "Liking":
        """The liking of a catalogue."""
        factors = items.factors().astype(np.float64)
        topics = np.column_stack([items.topics, np.full(len(items.topics), MAINSTREAM)])
        shares = np.take_along_axis(factors, topics, axis=1)
        shares[topics[:, 0] == topics[:, 1], 1] = 0
        return cls(topics, shares, factors.T @ factors)

    def scores(self, tastes: Floats, listener: IntArray, item: IntArray) -> Floats:
        """P(item | listener), the oracle's score, of each pair.

        Args:
            tastes: of the listeners, (listeners, FACTORS).
            listener, item: rows, (pairs,).
        """
        scores = np.zeros(len(item))
        for kind in range(self.topics.shape[1]):
            scores += tastes[listener, self.topics[item, kind]] * self.shares[item, kind]
        return scores

    def typical(self, tastes: Floats) -> Floats:
        """The mean score of what each listener plays by themselves: the sum over items of scores squared; > 0."""
        typical: Floats = ((tastes @ self.overlap) * tastes).sum(axis=1)
        return typical

    def of_pairs(self, tastes: Floats, listener: IntArray, item: IntArray) -> Floats:
        """The liking of each pair: score / (score + typical score), so 1/2 for what is like their own plays."""
        scores = self.scores(tastes, listener, item)
        liking: Floats = scores / (scores + self.typical(tastes)[listener])
        return liking
