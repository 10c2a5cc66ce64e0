"""A listener's factors, solved exactly against the item factors."""

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

Floats = npt.NDArray[np.float64]


def solve_users(
    factors: npt.NDArray[np.float32],
    gram: Floats,
    regularization: float,
    offsets: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int32],
    confidences: Floats,
) -> Floats:
    """Solve the ridge regression of every listener's confidences on the item factors.

    Each listener is solved alone, in float64, in an order of operations that their own row fixes.

    Args:
        factors: shape (items, factors).
        gram: factors.T @ factors; shape (factors, factors).
        offsets, columns, confidences: CSR rows of the listeners; confidences > 0.

    Returns:
        Shape (listeners, factors); zeros for an empty row.

    Source: Hu, Koren and Volinsky (2008), equation 4; the same solution as implicit's `recalculate_user`.
    """
    listeners = len(offsets) - 1
    ridge = gram + regularization * np.eye(len(gram))
    solved = np.zeros((listeners, factors.shape[1]))
    for listener in range(listeners):
        row = slice(offsets[listener], offsets[listener + 1])
        if row.start == row.stop:
            continue
        heard = factors[columns[row]].astype(np.float64)
        confidence = confidences[row]
        normal = ridge + heard.T @ (heard * (confidence - 1)[:, None])
        solved[listener] = cho_solve(cho_factor(normal, check_finite=False), confidence @ heard, check_finite=False)
    return solved
