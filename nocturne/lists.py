"""Interactions + a model -> every listener's list for the night.

Whoever has heard something the model knows gets the exact top of the catalogue. Everyone else falls back:
to the list of the night before, to what their market hears most, to what everyone hears most.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from threadpoolctl import threadpool_info, threadpool_limits

from nocturne.als import Model, confidences, strengths
from nocturne.eligibility import Mask
from nocturne.interactions import EPOCH
from nocturne.ranking.select import top_k
from nocturne.ranking.solve import solve_users
from nocturne.settings import RankingSettings

CONTROL = "control"
COMPUTED = ("user_id", "bucket", "market", "items", "source", "candidates")
"""What `rank` fills in; run_date, arm, model_version and digest are the same for all or follow from it."""

Positions = npt.NDArray[np.int64]
PreviousLists = Callable[[int, list[str]], dict[str, list[str]]]
"""Bucket and listeners -> the item ids of their last lists, best first; listeners without one are absent."""


@dataclass(frozen=True)
class Ranker:
    """All that ranking needs beside the listeners' rows: the same on every executor.

    Attributes:
        eligible: which of the model's items may be listed, by market; shape (items,) each.
        previous: where fallbacks find the lists of the night before.
    """

    model: Model
    eligible: dict[str | None, Mask]
    run_date: date
    settings: RankingSettings
    previous: PreviousLists

    @cached_property
    def position(self) -> npt.NDArray[np.int32]:
        """Position in the model of each item index; -1 for items without factors."""
        position = np.full(int(self.model.item_indexes.max()) + 1, -1, dtype=np.int32)
        position[self.model.item_indexes] = np.arange(len(self.model.item_indexes), dtype=np.int32)
        return position

    @cached_property
    def tie_order(self) -> Positions:
        """Rank of each item by id, which breaks ties."""
        order = np.argsort(np.array(self.model.item_ids.to_pylist(), dtype=object), kind="stable")
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        return rank

    @cached_property
    def item_position(self) -> dict[str, int]:
        """Position in the model by item id."""
        return {item_id: place for place, item_id in enumerate(self.model.item_ids.to_pylist())}

    @cached_property
    def popular(self) -> dict[str | None, Positions]:
        """Items by number of listeners, in each market and (under None) everywhere; ties by id."""
        heard = self.model.market_listeners
        counts = [(None, self.model.listeners), *((market, heard[market]) for market in heard)]
        return {market: np.lexsort((self.tie_order, -count))[: int((count > 0).sum())] for market, count in counts}

    def rank(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Rank rows of `interactions`, whatever way they are cut into batches; for `mapInArrow`.

        One BLAS thread: Spark runs a worker on every core.
        """
        with threadpool_limits(limits=1, user_api="blas"):
            threads = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
            if threads - {1}:
                raise RuntimeError(f"BLAS runs {threads} threads in a worker, expected 1")
            scores_per_user = 16 * len(self.model.item_indexes)
            size = max(1, self.settings.batch_memory_mb * 2**20 // scores_per_user)
            for batch in batches:
                for start in range(0, batch.num_rows, size):
                    yield self._rank_batch(batch.slice(start, size))

    def _rank_batch(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        model, settings = self.model, self.settings
        offsets, item_indexes, amounts = strengths(rows, model.anchor_date, model.half_life_days, model.settings)
        heard = np.diff(offsets)
        listener = np.repeat(np.arange(rows.num_rows), heard)
        in_range = item_indexes < len(self.position)
        column = np.where(in_range, self.position[np.where(in_range, item_indexes, 0)], -1)
        used = (column >= 0) & (amounts > 0)
        used_offsets = np.concatenate([[0], np.cumsum(used)])[offsets]
        confidence = confidences(
            amounts[used], model.confidence_weights[column[used]], np.repeat(heard, heard)[used], model.settings
        )
        users = solve_users(
            model.factors, model.gram, model.settings.regularization, used_offsets, column[used], confidence
        )
        allowed = self._allowed(rows, listener, column)
        k = settings.top_k
        list_offsets, items, scores = top_k(users, model.factors, model.score_multipliers, self.tie_order, allowed, k)
        known = np.any(users != 0, axis=1)
        lists = [(items[a:b], scores[a:b], "als") for a, b in itertools.pairwise(list_offsets)]
        for place, (positions, values, source) in self._fallbacks(rows, np.flatnonzero(~known), allowed).items():
            lists[place] = (positions, values, source)
        return self._record_batch(rows, lists, allowed.sum(axis=1))

    def _allowed(
        self, rows: pa.RecordBatch, listener: Positions, column: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.bool_]:
        """Which items each listener may get: eligible in their market, and not heard, or long ago."""
        allowed = np.stack([self._mask(market) for market in rows.column("market").to_pylist()])
        filtered = column >= 0
        if self.settings.let_back_after_days:
            days = rows.column("last_heard").flatten().cast(pa.int32()).to_numpy()
            tonight = (self.run_date - EPOCH).days
            filtered &= tonight - days < self.settings.let_back_after_days
        allowed[listener[filtered], column[filtered]] = False
        return allowed

    def _mask(self, market: str | None) -> Mask:
        return self.eligible.get(market, self.eligible[None])

    def _fallbacks(
        self, rows: pa.RecordBatch, places: Positions, allowed: npt.NDArray[np.bool_]
    ) -> dict[int, tuple[Positions, npt.NDArray[np.float64], str]]:
        """Lists for listeners of whom the model knows nothing, by place in the batch."""
        if not len(places):
            return {}
        user_ids, buckets = rows.column("user_id").to_pylist(), rows.column("bucket").to_pylist()
        markets = rows.column("market").to_pylist()
        previous: dict[str, list[str]] = {}
        for bucket in sorted({buckets[place] for place in places}):
            previous |= self.previous(bucket, [user_ids[place] for place in places if buckets[place] == bucket])
        return {
            int(place): self._fallback(previous.get(user_ids[place], []), markets[place], allowed[place])
            for place in places
        }

    def _fallback(
        self, previous: list[str], market: str | None, allowed: Mask
    ) -> tuple[Positions, npt.NDArray[np.float64], str]:
        full = min(self.settings.top_k, int(allowed.sum()))
        kept = np.array([self.item_position[item] for item in previous if item in self.item_position], dtype=np.int64)
        kept = kept[allowed[kept]][:full]
        everyone = self.popular[None][allowed[self.popular[None]]]
        if len(kept):
            # What was heard or withdrawn since is made up for by popular items.
            fill = everyone[~np.isin(everyone, kept)]
            positions = np.concatenate([kept, fill])[:full]
            return positions, np.arange(len(positions), 0, -1, dtype=np.float64), "previous"
        if market is not None and market in self.popular:
            local = self.popular[market][allowed[self.popular[market]]][:full]
            if len(local) == full:
                return local, self.model.market_listeners[market][local].astype(np.float64), "market_popular"
        return everyone[:full], self.model.listeners[everyone[:full]].astype(np.float64), "global_popular"

    def _record_batch(
        self,
        rows: pa.RecordBatch,
        lists: list[tuple[Positions, npt.NDArray[np.float64], str]],
        candidates: npt.NDArray[np.int64],
    ) -> pa.RecordBatch:
        lengths = [len(positions) for positions, _, _ in lists]
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
        positions = np.concatenate([positions for positions, _, _ in lists])
        scores = np.concatenate([scores for _, scores, _ in lists])
        pairs = pa.StructArray.from_arrays(
            [self.model.item_ids.take(pa.array(positions)), pa.array(scores)], names=["item_id", "score"]
        )
        columns = {
            "user_id": rows.column("user_id"),
            "bucket": rows.column("bucket"),
            "market": rows.column("market"),
            "items": pa.ListArray.from_arrays(offsets, pairs),
            "source": pa.array([source for _, _, source in lists]),
            "candidates": pa.array(candidates.astype(np.int32)),
        }
        return pa.RecordBatch.from_arrays([columns[name] for name in COMPUTED], names=list(COMPUTED))
