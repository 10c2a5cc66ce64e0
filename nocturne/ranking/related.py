"""Related items: the best items for each item of a model, by likeness of factors and by what is heard after what. Pure.

The score of an item for another is the cosine of their factors + weight x evidence. Evidence is how often the item is
heard after the other, as a share of the one that is so most often: from 0, never, or not often enough to be kept, to 1.

The proof that k items are the best of all that may be listed, although few are scored: let C be the k best by cosine
and E the items with evidence above 0. Whatever is in neither has its cosine as its score. All k items of C have a
cosine as large, or as large and an earlier place among equals, and evidence adds nothing negative to it: so all k come
before it. Hence the first k of C and E together, scored in full, are the first k of all.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from nocturne.core.arrays import Factors, Floats, Indexes, Mask, Positions
from nocturne.core.csr import CsrRows, entries_of
from nocturne.kernel.combine import EvidenceRows, combine
from nocturne.kernel.layout import Eligible, ItemLayout, lay_out_items
from nocturne.kernel.query import Query
from nocturne.kernel.top_k import exact_scores, top_k

SOURCES = FACTORS, NEIGHBOURS, BOTH = "factors", "neighbours", "both"
"""Names of the kernel's ORIGINS. They depend on nothing else that may be listed, so that they can be carried over."""

_BLOCKS_PER_PANEL = 16
_BYTES_PER_ENTRY = 128
"""Of an item that is scored for another, while they are put in order."""

SourceCodes = npt.NDArray[np.int8]


@dataclass(frozen=True)
class RelatedRows:
    """The related items of some items, a row each.

    Attributes:
        items: positions, best first.
        scores: aligned with them, falling within a row.
        sources: places in SOURCES, aligned with them.
    """

    items: CsrRows
    scores: Floats
    sources: SourceCodes

    @classmethod
    def concatenated(cls, parts: list["RelatedRows"]) -> "RelatedRows":
        """The rows of all parts, one after another."""
        lengths = np.concatenate([[0], *(part.items.lengths for part in parts)])
        positions = np.concatenate([np.zeros(0, np.int32), *(part.items.positions for part in parts)])
        return cls(
            CsrRows(np.cumsum(lengths).astype(np.int64), positions),
            np.concatenate([np.zeros(0), *(part.scores for part in parts)]),
            np.concatenate([np.zeros(0, np.int8), *(part.sources for part in parts)]),
        )

    def take(self, rows: Positions) -> "RelatedRows":
        """Some of the rows, in any order."""
        offsets, entries = entries_of(self.items.offsets, rows)
        return RelatedRows(CsrRows(offsets, self.items.positions[entries]), self.scores[entries], self.sources[entries])

    def where(self, mask: Mask) -> "RelatedRows":
        """The same rows with some of the items; the mask is aligned with these."""
        return RelatedRows(self.items.where(mask), self.scores[mask], self.sources[mask])

    def split(self, k: int) -> tuple["RelatedRows", "RelatedRows"]:
        """The first k items of every row, and what comes after them."""
        place = np.arange(len(self.scores)) - np.repeat(self.items.offsets[:-1], self.items.lengths)
        return self.where(place < k), self.where(place >= k)


@dataclass(frozen=True)
class Relations:
    """The items of a model, and what each of them has to do with the others.

    Attributes:
        factors: shape (items, factors); an item without any has no cosine, and is related to nothing.
        tie_order: rank of each item among equal scores; shape (items,).
        predecessors: positions of items that each item is heard after, -1 where there are fewer; shape (items, width).
        predecessor_weights: how often, from 0; aligned with them.
        weight: of this evidence beside the cosine, >= 0.
        memory_mb: memory that finding related items may take beside its result, in MiB.
        threads: how many work on it side by side. Each product of matrices has one: on a busy machine those that wait
            for one another take ten times as long.
    """

    factors: Factors
    tie_order: Positions
    predecessors: Indexes
    predecessor_weights: Factors
    weight: float
    memory_mb: int
    threads: int

    @cached_property
    def norms(self) -> Floats:
        """Norm of the factors of each item; shape (items,)."""
        norms: Floats = np.sqrt(np.einsum("if,if->i", self.factors, self.factors, dtype=np.float64))
        return norms

    @cached_property
    def followers(self) -> tuple[CsrRows, Floats]:
        """The items that are heard after each item, ascending, and the evidence of each of them, above 0."""
        after, place = np.nonzero((self.predecessors >= 0) & (self.predecessor_weights > 0))
        before = self.predecessors[after, place]
        order = np.argsort(before, kind="stable")
        offsets = np.searchsorted(before[order], np.arange(len(self.factors) + 1)).astype(np.int64)
        weights = self.predecessor_weights[after, place].astype(np.float64)
        largest = np.zeros(len(self.factors))
        np.maximum.at(largest, before, weights)
        return CsrRows(offsets, after[order].astype(np.int32)), (weights / largest[before])[order]

    def best(self, some: Positions, listable: Mask, k: int) -> RelatedRows:
        """The k best items for some items, fewer where there are fewer; never an item itself.

        Args:
            some: positions of items.
            listable: what may be listed; shape (items,).
        """
        among = np.flatnonzero(listable & (self.norms > 0)).astype(np.int32)
        rows = np.flatnonzero(self.norms[some] > 0)
        if not len(among) or not len(rows):
            return RelatedRows(CsrRows.empty(len(some)), np.zeros(0), np.zeros(0, np.int8))
        ranks = np.argsort(np.argsort(self.tie_order[among]))
        items = lay_out_items(self.factors[among], 1 / self.norms[among], ranks)
        place = np.full(len(self.factors), -1, np.int32)
        place[among] = np.arange(len(among), dtype=np.int32)
        part = _Part(self, among, place, items, Eligible.of(np.ones((1, len(among)), np.bool_), items), k)
        with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(self.threads) as workers:
            found = RelatedRows.concatenated(list(workers.map(part.best, self._chunks(some[rows], k))))
        if len(rows) == len(some):
            return found
        lengths = np.zeros(len(some) + 1, np.int64)
        lengths[rows + 1] = found.items.lengths
        return RelatedRows(CsrRows(np.cumsum(lengths), found.items.positions), found.scores, found.sources)

    def _chunks(self, some: Positions, k: int) -> Iterator[Positions]:
        """Consecutive parts, each as large as memory allows every thread."""
        entries = k + self.followers[0].lengths[some]
        needed = np.cumsum(_BYTES_PER_ENTRY * entries + 8 * self.factors.shape[1])
        yield from np.split(some, np.flatnonzero(np.diff(needed * self.threads // (self.memory_mb << 20))) + 1)


@dataclass(frozen=True)
class _Part:
    """The items that may be listed, laid out for ranking.

    Attributes:
        among: their positions in the model, ascending.
        place: place of each of the model's items among these; -1 for others; shape (model items,).
    """

    relations: Relations
    among: Indexes
    place: Indexes
    items: ItemLayout
    eligible: Eligible
    k: int

    def best(self, some: Positions) -> RelatedRows:
        """The k best for some items."""
        relations = self.relations
        users = relations.factors[some].astype(np.float64) / relations.norms[some, None]
        nearest, cosines = self._nearest(some, users)
        rows, evidence = self._heard_after(some)
        heard = EvidenceRows(rows.offsets, rows.positions, exact_scores(users, self.items, rows), evidence)
        found, scores, sources = combine(nearest, cosines, heard, relations.weight, self.items.tie_order, self.k)
        return RelatedRows(CsrRows(found.offsets, self.among[found.positions]), scores, sources)

    def _nearest(self, some: Positions, users: Floats) -> tuple[CsrRows, Floats]:
        """The k items of the largest cosines, for some items, and these; never an item itself.

        Items that only the same listeners heard have the same factors, often by the thousand: one query asks for all
        of them, and for one item more, which may be the asking one.
        """
        distinct, of = np.unique(users, axis=0, return_inverse=True)
        nobody, one_class = CsrRows.empty(len(distinct)), np.zeros(len(distinct), np.int32)
        query = Query(distinct, self.items, self.k + 1, nobody, one_class, self.eligible)
        nearest = top_k(query, blocks_per_panel=_BLOCKS_PER_PANEL)
        offsets, entries = entries_of(nearest.lists.offsets, of)
        lists, cosines = CsrRows(offsets, nearest.lists.positions[entries]), nearest.scores[entries]
        others = lists.positions != np.repeat(self.place[some], lists.lengths)
        return lists.where(others).heads(cosines[others], self.k)

    def _heard_after(self, some: Positions) -> tuple[CsrRows, Floats]:
        """The items that may be listed and are heard after some items, by their place; and the evidence of each."""
        followers, evidence = self.relations.followers
        offsets, entries = entries_of(followers.offsets, some)
        places = self.place[followers.positions[entries]]
        may = (places >= 0) & (places != np.repeat(self.place[some], np.diff(offsets)))
        return CsrRows(offsets, places).where(may), evidence[entries[may]]
