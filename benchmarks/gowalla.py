"""Gowalla as benchmarks use it: LightGCN's split as matrices, and how well lists find what was withheld."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from nocturne.evaluation.metrics import accuracy
from nocturne.evaluation.splits import read_split

ARCHIVE = Path("data/sets/gowalla")


def read(path: Path = ARCHIVE) -> tuple[csr_matrix, csr_matrix, csr_matrix]:
    """Who visited what: train, valid and test, ones in float32; all of shape (listeners, items), columns ascending."""
    split = read_split(path)
    return split.train, split.valid, split.test


def top_lists(
    users: npt.NDArray[np.floating], items: npt.NDArray[np.floating], seen: csr_matrix, k: int
) -> npt.NDArray[np.int64]:
    """The k unseen items with the largest inner products for each user, best first; shape (users, k).

    In float32. Items are put into groups of 32: the k-th largest of the groups' maxima leaves few candidates.
    """
    padded = 32 * -(-len(items) // 32)
    users, across = users.astype(np.float32), np.zeros((items.shape[1], padded), dtype=np.float32)
    across[:, : len(items)] = items.T
    lists = np.empty((len(users), k), dtype=np.int64)
    scores = np.empty((1024, padded), dtype=np.float32)
    for start in range(0, len(users), len(scores)):
        block = scores[: len(users) - start]
        np.matmul(users[start : start + len(block)], across, out=block)
        heard = seen[start : start + len(block)]
        block[np.repeat(np.arange(len(block)), np.diff(heard.indptr)), heard.indices] = -np.inf
        block[:, len(items) :] = -np.inf
        kth = np.partition(block.reshape(len(block), 32, -1).max(axis=1), -k, axis=1)[:, -k]
        user, item = np.divmod(np.flatnonzero(block >= kth[:, None]), padded)
        order = np.lexsort((item, -block[user, item], user))
        first = np.searchsorted(user, np.arange(len(block)))
        lists[start : start + len(block)] = item[order][first[:, None] + np.arange(k)]
    return lists


def quality(lists: npt.NDArray[np.int64], held_out: csr_matrix) -> dict[str, npt.NDArray[np.float64]]:
    """Recall (of the relevant) and NDCG of every listener from whom something was withheld."""
    asked = np.flatnonzero(np.diff(held_out.indptr))
    found = accuracy(lists[asked], held_out[asked])
    return {name: values for name, values in found.items() if name.startswith(("recall@", "ndcg@"))}
