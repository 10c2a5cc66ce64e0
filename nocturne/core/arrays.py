"""Types of the arrays that rooms hand each other."""

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Factors = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Indexes = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
