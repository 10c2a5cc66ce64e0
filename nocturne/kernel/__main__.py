"""Compile the kernel into numba's cache, so that no night has to: python -m nocturne.kernel."""

from typing import Any

import numpy as np

from nocturne.core.csr import Rows
from nocturne.kernel.audit import audit
from nocturne.kernel.autotune import Way, rank
from nocturne.kernel.blend import blend
from nocturne.kernel.layout import Eligible, frozen, lay_out
from nocturne.kernel.rerank import SMOOTHING
from nocturne.kernel.rerank import choose as choose_lists
from nocturne.kernel.solve import solve_users

ITEMS, WIDTH = 600, 4

factors = np.random.default_rng(0).normal(size=(ITEMS, WIDTH)).astype(np.float32)
items = lay_out(factors, np.ones(ITEMS), np.arange(ITEMS))
heard = Rows(np.array([0, 2, 12]), np.arange(12, dtype=np.int32))
users = solve_users(factors, (factors.astype(float) ** 2).sum(axis=0), 1.0, heard.offsets, heard.positions, np.ones(12))
classes, eligible = np.zeros(2, np.int32), Eligible.of(np.arange(ITEMS)[None] != 3, items)
top = rank(users, items, 5, heard, classes, eligible, Way(panel=4, warm=True), heard)
assert audit(users, items, 5, heard, classes, eligible, top).all()
neighbours = np.zeros((ITEMS, 1), np.int32)
blend(
    top.lists, top.scores, heard.offsets, heard.positions, np.ones(12), neighbours, neighbours.astype(np.float32), 1.0
)
codes, untagged = np.zeros(ITEMS, np.int32), np.arange(ITEMS + 1)
reranked: list[Any] = [
    *frozen(top.lists.offsets, top.lists.positions, top.scores, heard.offsets, heard.positions, np.ones(12)),
    *frozen(codes, codes, untagged, codes, codes == 0),
    *(5, 1, 0.1, 0.1, 0.1, SMOOTHING, 1, *frozen(np.array([1]), np.zeros((2, 1))), 1.0),
]
choose_lists(*reranked)
