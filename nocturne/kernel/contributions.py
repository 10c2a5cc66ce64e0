"""The contributions of heard items to scores: each score of a listener's factors as a sum over what they heard."""

import numpy as np

from nocturne.core.arrays import Factors, Floats, Indexes


def contributions(
    factors: Factors, spectrum: Floats, ridge: float, heard: Indexes, confidences: Floats, candidates: Indexes
) -> Floats:
    """The part of each candidate's score that each heard item carries; the parts of a candidate add up to the score.

    The listener's factors are the solution x of A x = sum of c y over the heard items, with A = G + Y'(C - I)Y + ridge,
    so that the score of a candidate z is the sum of c (z' A^-1 y): each heard item's confidence times its likeness to
    the candidate as this listener sees it. Scores are those before an item's multiplier.

    Args:
        factors: on their principal axes; shape (items, factors).
        spectrum: diagonal of G = factors.T @ factors of the learned items, which has nothing else; shape (factors,).
        ridge: of this listener, > 0.
        heard: positions; shape (heard,).
        confidences: > 0, aligned with them.
        candidates: positions; shape (candidates,).

    Returns:
        Shape (candidates, heard).

    Source: Hu, Koren and Volinsky (2008), section 5, with the ridge term and the principal axes of `solve_users`.
    """
    own = factors[heard].astype(np.float64)
    normal = np.diag(spectrum + ridge) + own.T @ (own * (confidences - 1)[:, None])
    solved = np.linalg.solve(normal, factors[candidates].astype(np.float64).T)
    carried: Floats = (own @ solved).T * confidences
    return carried


def neighbour_contributions(
    neighbours: Indexes, similarities: Factors, heard: Indexes, confidences: Floats, candidates: Indexes
) -> Floats:
    """The part of each candidate's neighbourhood score that each heard item carries, which add up to it.

    Args:
        neighbours: of each item, -1 where there are fewer; shape (items, neighbours).
        similarities: aligned with them.
        heard: positions, ascending; shape (heard,).
        confidences: aligned with them.
        candidates: positions; shape (candidates,).

    Returns:
        Shape (candidates, heard).
    """
    carried = np.zeros((len(candidates), len(heard)))
    if not len(heard):
        return carried
    near, weights = neighbours[candidates], similarities[candidates].astype(np.float64)
    at = np.minimum(np.searchsorted(heard, near), len(heard) - 1)
    rows, columns = np.nonzero((near >= 0) & (heard[at] == near))
    np.add.at(carried, (rows, at[rows, columns]), weights[rows, columns] * confidences[at[rows, columns]])
    return carried
