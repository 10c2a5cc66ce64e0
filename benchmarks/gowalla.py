"""Gowalla as benchmarks use it: LightGCN's split as matrices, and how well lists find what was withheld."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from nocturne.importers.source import unpacked

ARCHIVE = Path("../shared/data/gowalla-lightgcn.tar.xz")
PARTS = ("train.txt", "valid.txt", "test.txt")


def read(path: Path = ARCHIVE) -> tuple[csr_matrix, csr_matrix, csr_matrix]:
    """Who visited what: train, valid and test, ones in float32; all of shape (listeners, items), columns ascending."""
    with unpacked(path) as files:
        parts = [_pairs(files.find(name)) for name in PARTS]
    shape = tuple(1 + max(int(part[axis].max()) for part in parts) for axis in (0, 1))
    matrices = [csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape) for rows, columns in parts]
    return matrices[0], matrices[1], matrices[2]


def _pairs(path: Path) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Row and column of each pair; a line of the file is a listener and then their items."""
    lines = [np.array(line.split(), dtype=np.int32) for line in path.read_text(encoding="utf-8").splitlines()]
    rows = np.repeat([line[0] for line in lines], [len(line) - 1 for line in lines]).astype(np.int32)
    return rows, np.concatenate([line[1:] for line in lines])


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
    listeners, k = lists.shape
    relevant = np.diff(held_out.indptr)
    keys = np.repeat(np.arange(listeners), relevant) * held_out.shape[1] + held_out.indices
    hits = np.isin(np.arange(listeners)[:, None] * held_out.shape[1] + lists, keys)
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[0], np.cumsum(discounts)])[np.minimum(relevant, k)]
    asked = relevant > 0
    return {
        f"recall@{k}": hits[asked].sum(axis=1) / relevant[asked],
        f"ndcg@{k}": (hits[asked] @ discounts) / ideal[asked],
    }
