"""Types of the arrays that rooms hand each other."""

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.int32]
"""Numbers of categories, such as creators or genres."""

Counts = npt.NDArray[np.int64]
Factors = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

Indexes = npt.NDArray[np.int32]
"""Positions as they are stored, by the million."""

Mask = npt.NDArray[np.bool_]

Offsets = npt.NDArray[np.int64]
"""Where each row of CSR rows begins, and where the last one ends."""

Positions = npt.NDArray[np.int64]
"""Positions as they are computed with."""
