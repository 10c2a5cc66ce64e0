"""Stored bridges: listeners as sums over what they heard, and what a bridge is built from."""

import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import csr_matrix

from nocturne.core.csr import CsrRows
from nocturne.training import bridges
from nocturne.training.bridges import StoredBridge, build

BRIDGE = StoredBridge(
    sources=np.array([0, 3], np.int32),
    axes=np.eye(2, dtype=np.float32),
    targets=np.array([1], np.int32),
    factors=np.array([[0.5, 0.25, 2.0]], np.float32),
)


def heard_by(*rows: list[int], items: int = 4) -> csr_matrix:
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    columns = [item for row in rows for item in row]
    return csr_matrix((np.ones(len(columns)), columns, offsets), (len(rows), items))


def test_a_listener_is_the_sum_of_what_they_heard_of_length_1_with_a_1_behind() -> None:
    heard = CsrRows(np.array([0, 3, 4, 5]), np.array([0, 1, 3, 0, 2], np.int32))
    half = 0.5**0.5
    assert BRIDGE.listeners(heard, items=4) == pytest.approx(np.array([[half, half, 1], [1, 0, 1], [0, 0, 0]]))


def test_nobody_crosses_a_bridge_where_nobody_hears_both_types() -> None:
    bridge, stored = build(pa.array(["u", "v"]), heard_by([0, 3], [1]), np.array([False, True, True, False]))
    assert (bridge.listeners, bridge.beats_popularity) == (0, False)
    assert stored.targets.tolist() == [1]


def test_a_bridge_leads_from_the_items_that_are_heard_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridges, "MOST_SOURCES", 2)
    rows = [[0, 1, 4], [2, 3, 4], [1, 3, 4], [1, 3, 4]]
    of_type = np.array([False, False, False, False, True, True])
    _, stored = build(pa.array(["a", "b", "c", "d"]), heard_by(*rows, items=6), of_type)
    assert stored.sources.tolist() == [1, 3]
    # Nobody heard the last item of the type.
    assert stored.targets.tolist() == [4]
    assert stored.factors.tolist() == [[*[0.0] * stored.axes.shape[1], 1.0]]
