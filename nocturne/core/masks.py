"""Booleans of Arrow as NumPy has them."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Mask


def mask(truths: pa.Array | pa.ChunkedArray) -> Mask:
    """Booleans as NumPy; null is false."""
    return np.asarray(pc.fill_null(truths, False), dtype=bool)
