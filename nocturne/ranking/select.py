"""The exact top K of listeners x items scores."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

_UNIT_ROUNDOFF = 2.0**-24


def rounding_bound(users: Floats, items: npt.NDArray[np.float32]) -> Floats:
    """How far a float32 inner product can be from the exact one, for each user and any of the items.

    Args:
        users: shape (users, factors), rounded to float32 for the product.
        items: shape (items, factors); each entry rounded once when it was scaled.

    Source: Higham, Accuracy and Stability of Numerical Algorithms (2002), section 3.1, in any order of summation;
    three more roundings for the user's, the item's and the multiplier's entries.
    """
    roundings = (users.shape[1] + 3) * _UNIT_ROUNDOFF
    gamma = roundings / (1 - roundings)
    largest = np.sqrt((items.astype(np.float64) ** 2).sum(axis=1)).max(initial=0.0)
    bound: Floats = gamma * largest * np.sqrt((users**2).sum(axis=1)) * (1 + 1e-6)
    return bound


def top_k(
    users: Floats,
    items: npt.NDArray[np.float32],
    multipliers: Floats,
    tie_order: Positions,
    allowed: npt.NDArray[np.bool_],
    k: int,
) -> tuple[Positions, Positions, Floats]:
    """The k allowed items with the largest scores for each user, best first, ties by `tie_order`.

    A float32 product finds every item that can be among them; those are scored again in float64, each pair
    by itself, so that the result does not depend on how the product was blocked.

    Args:
        users: shape (users, factors).
        items: shape (items, factors).
        multipliers: a pair's score is its inner product times this; > 0; shape (items,).
        tie_order: rank of each item among equal scores; shape (items,).
        allowed: shape (users, items).

    Returns:
        offsets (users + 1,), and item positions and scores of each user's list, laid end to end.
    """
    scaled = (items.astype(np.float64) * multipliers[:, None]).astype(np.float32)
    approximate = users.astype(np.float32) @ scaled.T
    approximate[~allowed] = -np.inf
    margin = 2 * rounding_bound(users, scaled)
    if k < len(items):
        kth = np.partition(approximate, len(items) - k, axis=1)[:, len(items) - k].astype(np.float64)
        threshold = np.nextafter((kth - margin).astype(np.float32), np.float32(-np.inf))
        user, item = np.nonzero((approximate >= threshold[:, None]) & allowed)
    else:
        user, item = np.nonzero(allowed)
    exact = (users[user] * items[item]).sum(axis=1) * multipliers[item]
    order = np.lexsort((tie_order[item], -exact, user))
    user, item, exact = user[order], item[order], exact[order]
    place = np.arange(len(user)) - np.searchsorted(user, user)
    listed = place < k
    offsets = np.searchsorted(user[listed], np.arange(len(users) + 1))
    return offsets, item[listed], exact[listed]
