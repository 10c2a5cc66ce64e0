"""Re-ranking: a listener's list from their candidates, by more than score; done every night, and stored in no pool.

In this order:

1. Caps per creator, diversity and calibration choose what is listed, one item after the other: each time the candidate
   with room under its creator's cap and the largest value, which is
   relevance x (1 - diversity) (1 - type_calibration) (1 - genre_calibration)
   - diversity x likeness to the most alike item already listed
   + calibration x how much closer the list comes to the listener's mix, times the length of the list.
   When no creator has room, the best that are left fill the list. What was chosen is listed in the candidates' order.
2. Fresh slots: if too few of the list are new, the best new candidates take its end; the last old ones leave.
3. Exploration: the items of some places are drawn from the candidates that are not listed.

Relevance is the score from 0, a listener's worst candidate, to 1, the best; likeness the cosine of tags and creator.
A listener's mix weighs the items of their row by the model's confidence. Everything follows from settings, night,
model, catalogue and the listener's own id and row.

Sources: diversity, Carbonell and Goldstein (1998), "The use of MMR"; calibration, Steck (2018), "Calibrated
recommendations", with the mean relevance of a list in place of its sum, so that a strength means the same at any
length; propensities of draws without replacement, Plackett (1975), "The analysis of permutations".
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nocturne.core.arrays import Floats, Positions
from nocturne.core.csr import CsrRows
from nocturne.core.hashing import SPLITMIX_STEP, hash_ids, spread
from nocturne.core.sections import RerankingSettings
from nocturne.kernel.arguments import Exploration, RerankRules, Traits
from nocturne.kernel.rerank import rerank
from nocturne.training.confidences import Confidences

_FRACTION_BITS = 53


@dataclass(frozen=True)
class Reranker:
    """The re-ranking of a night.

    Attributes:
        traits: of the model's items.
        day: the night, in days since 1970-01-01.
    """

    settings: RerankingSettings
    traits: Traits
    day: int

    @cached_property
    def explored(self) -> Positions:
        """Places that are drawn, from 0, ascending."""
        return np.array(sorted(set(self.settings.exploration_places)), dtype=np.int64) - 1

    def rerank(
        self, user_ids: pa.Array, candidates: CsrRows, scores: Floats, rows: Confidences, top_k: int
    ) -> tuple[CsrRows, Floats, Floats]:
        """Every listener's list.

        Args:
            user_ids: the listeners.
            candidates: positions, best first.
            scores: aligned with the candidates, falling.
            rows: of the same listeners.
            top_k: items in a full list.

        Returns:
            The lists, the items' scores, and the probability of each item given those chosen before it: 1 for
            those that were not drawn.
        """
        settings = self.settings
        rules = RerankRules(
            top_k=top_k,
            max_per_creator=settings.max_per_creator,
            fresh_slots=settings.fresh_slots,
            diversity=settings.diversity,
            type_calibration=settings.type_calibration,
            genre_calibration=settings.genre_calibration,
        )
        temperature = settings.exploration_temperature if settings.exploration == "softmax" else 0.0
        exploration = Exploration(self.explored, self.draws(user_ids), temperature)
        return rerank(candidates, scores, rows, self.traits, rules, exploration)

    def draws(self, user_ids: pa.Array) -> Floats:
        """A number in [0, 1) for each listener and explored place, by hash; shape (listeners, places)."""
        night = spread(np.array([self.day], np.uint64))
        of_listener = spread(hash_ids(user_ids, self.settings.seed) ^ night)
        steps = np.arange(1, len(self.explored) + 1, dtype=np.uint64) * np.uint64(SPLITMIX_STEP)
        bits = spread(of_listener[:, None] + steps) >> np.uint64(64 - _FRACTION_BITS)
        draws: Floats = bits / 2.0**_FRACTION_BITS
        return draws

    def were_explored(self, lists: CsrRows) -> npt.NDArray[np.bool_]:
        """True for lists that reach a place that is drawn; shape (listeners,)."""
        reached: npt.NDArray[np.bool_] = lists.lengths > self.explored.min(initial=np.iinfo(np.int64).max)
        return reached
