"""Compile the kernel into numba's cache, so that no night has to: python -m nocturne.kernel."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from nocturne.core.csr import CsrRows
from nocturne.kernel.arguments import Exploration, RerankRules, Traits
from nocturne.kernel.audit import audit
from nocturne.kernel.autotune import KernelPlan, rank
from nocturne.kernel.blend import blend
from nocturne.kernel.combine import EvidenceRows, combine
from nocturne.kernel.layout import Eligible, lay_out_items
from nocturne.kernel.local_ridge import fit_weights
from nocturne.kernel.places import places_in
from nocturne.kernel.query import Query
from nocturne.kernel.rerank import rerank
from nocturne.kernel.solve import solve_users
from nocturne.kernel.top_one import top_one

ITEMS, WIDTH = 600, 4


class Heard(NamedTuple):
    """Rows of listeners with a confidence of 1 in everything they heard."""

    offsets: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int32]
    confidences: npt.NDArray[np.float64]


factors = np.random.default_rng(0).normal(size=(ITEMS, WIDTH)).astype(np.float32)
items = lay_out_items(factors, np.ones(ITEMS), np.arange(ITEMS))
heard = Heard(np.array([0, 2, 12]), np.arange(12, dtype=np.int32), np.ones(12))
already_heard = CsrRows(heard.offsets, heard.columns)
users = solve_users(factors, (factors.astype(float) ** 2).sum(axis=0), 1.0, heard)
query = Query(users, items, 5, already_heard, np.zeros(2, np.int32), Eligible.of(np.arange(ITEMS)[None] != 3, items))
top = rank(query, KernelPlan(blocks_per_panel=4, warm_start=True), already_heard)
assert audit(query, top).all()
places_in(top.lists, top.lists, ITEMS)
evidence = EvidenceRows(heard.offsets, heard.columns, heard.confidences, heard.confidences)
combine(top.lists, top.scores, evidence, 1.0, items.tie_order, 5)
neighbours = np.zeros((ITEMS, 1), np.int32)
blend(top.lists, top.scores, heard, neighbours, neighbours.astype(np.float32), 1.0)
matrix = csr_matrix((heard.confidences, heard.columns, heard.offsets.astype(np.int32)), (2, ITEMS))
fit_weights(matrix, 1 - np.minimum(np.arange(ITEMS, dtype=np.int32)[:, None], 1), 1.0, threads=1, memory_mb=1)
codes = np.zeros(ITEMS, np.int32)
traits = Traits(codes, codes, np.arange(ITEMS + 1), codes, codes == 0)
exploration = Exploration(np.array([1]), np.zeros((2, 1)), 1.0)
rerank(top.lists, top.scores, heard, traits, RerankRules(5, 1, 1, 0.1, 0.1, 0.1), exploration)
many = lay_out_items(np.tile(factors, (4, 1)), np.ones(4 * ITEMS), np.arange(4 * ITEMS))
for allowed in (np.ones(4 * ITEMS, bool), np.arange(4 * ITEMS) % 4 == 0):
    top_one(users[0], many, allowed, 5)
one = Heard(heard.offsets[:2], heard.columns[:2], heard.confidences[:2])
blend(CsrRows(np.array([0, 5]), top.lists.positions[:5]), top.scores[:5], one, neighbours, neighbours.astype("f4"), 1.0)
