"""Places of items in other rows: as a dictionary finds them."""

import numpy as np

from nocturne.core.csr import CsrRows
from nocturne.kernel.places import places_in


def test_places_are_those_in_the_other_row_of_the_same_listener():
    rng = np.random.default_rng(0)
    others = [rng.permutation(50)[: rng.integers(0, 20)].tolist() for _ in range(100)]
    rows = [rng.permutation(other)[: rng.integers(0, 20)].astype(int).tolist() for other in others]
    found = places_in(laid_out(rows), laid_out(others), 50)
    expected = [other.index(item) for row, other in zip(rows, others, strict=True) for item in row]
    assert found.tolist() == expected


def laid_out(rows: list[list[int]]) -> CsrRows:
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return CsrRows(offsets, np.array([item for row in rows for item in row], np.int32))
