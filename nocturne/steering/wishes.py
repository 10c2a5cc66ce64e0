"""Soft wishes over candidates that obey the rules: what each adds to the score of each candidate. Pure.

    score = liking + sum of strength x match, of `more`, - the same of `less` + sum of leaning x place on its scale

- liking: the score without the plan as a share of the largest, so that the best candidate has 1.
- match: 1 for a candidate of the tag, creator, type or language; of an item, the cosine of the factors, below 0
  counted as 0, and 1 for a candidate of the same creator that has no factors.
- place: from 0 to 1. Familiarity: 1 for what the listener heard, .5 for other items of creators whom they heard.
  Popularity: the share of heard items that have no more listeners. Length: the share of items that are no longer.
  Energy: the catalogue's. Where the catalogue does not say, .5.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from nocturne.core.arrays import Codes, Factors, Floats, Indexes, Mask
from nocturne.steering.bitmaps import Catalogue
from nocturne.steering.plan import FIELD_OF, Plan, Wish

_UNSAID = 0.5
_SAME_CREATOR = 0.5


class Described(Catalogue, Protocol):
    """A catalogue with what soft wishes read beside the fields of rules."""

    def number(self, item_id: str) -> int | None:
        """Number of an item; None if there is no such item."""

    @property
    def popularity(self) -> Floats:
        """From 0, nobody's item, to 1, the most heard one; shape (items,)."""

    @property
    def length_places(self) -> Floats:
        """The share of the items of known length that are no longer; NaN where it is unknown; shape (items,)."""

    @property
    def creators(self) -> Codes:
        """The creator of each item, numbered; -1 without one; shape (items,)."""


class WishReceipt(NamedTuple):
    """A wish in words, and what it adds to each candidate's score; shape (candidates,)."""

    wish: str
    adds: Floats


class Space(NamedTuple):
    """Items as the model places them.

    Attributes:
        factors: shape (items, factors).
        inverse_norms: 1 over their norms, 0 of items without factors; shape (items,).
    """

    factors: Factors
    inverse_norms: Factors


def wish_scores(
    plan: Plan, candidates: Indexes, catalogue: Described, space: Space, heard: Indexes
) -> tuple[WishReceipt, ...]:
    """Additions of every wish and leaning to the scores of candidates, in the order of the plan.

    Args:
        candidates: numbers of items.
        heard: numbers of the items that the listener has heard.
    """
    receipts = [
        WishReceipt(
            f"{direction} {wish.in_words()}", sign * wish.strength * _matches(wish, candidates, catalogue, space)
        )
        for direction, sign, wishes in (("more", 1.0, plan.more), ("less", -1.0, plan.less))
        for wish in wishes
    ]
    for name, leaning in plan.leanings.given().items():
        place = _scale(name, candidates, catalogue, heard)
        receipts.append(WishReceipt(plan.leanings.in_words(name), leaning * place))
    return tuple(receipts)


def as_liking(scores: Floats) -> Floats:
    """Scores as shares of the largest; as they are if none is above 0."""
    largest = scores.max(initial=0.0)
    return scores / largest if largest > 0 else scores


def matching_any(wishes: Sequence[Wish], catalogue: Described) -> Mask:
    """True for items that match a wish by a field of the catalogue; shape (items,)."""
    matching = np.zeros(len(catalogue), bool)
    for wish in wishes:
        if wish.about != "item":
            matching |= catalogue.matching(FIELD_OF[wish.about], wish.value)
    return matching


def _matches(wish: Wish, candidates: Indexes, catalogue: Described, space: Space) -> Floats:
    if wish.about == "item":
        number = catalogue.number(wish.value)
        return np.zeros(len(candidates)) if number is None else _likeness(number, candidates, catalogue, space)
    return catalogue.matching(FIELD_OF[wish.about], wish.value)[candidates].astype(np.float64)


def _likeness(number: int, candidates: Indexes, catalogue: Described, space: Space) -> Floats:
    """Likeness of candidates to an item, from 0 to 1."""
    products = space.factors[candidates].astype(np.float64) @ space.factors[number].astype(np.float64)
    cosines = np.maximum(products * space.inverse_norms[candidates] * space.inverse_norms[number], 0)
    creator = catalogue.creators[number]
    unplaced = (space.inverse_norms[candidates] == 0) | (space.inverse_norms[number] == 0)
    same = unplaced & (catalogue.creators[candidates] == creator) & (creator >= 0)
    likeness: Floats = np.where(same | (candidates == number), 1.0, cosines)
    return likeness


def _scale(name: str, candidates: Indexes, catalogue: Described, heard: Indexes) -> Floats:
    """Places of candidates on a scale, from 0 to 1."""
    if name == "familiarity":
        known = np.isin(candidates, heard)
        creators = np.unique(catalogue.creators[heard])
        by_creator = np.isin(catalogue.creators[candidates], creators[creators >= 0])
        return np.where(known, 1.0, _SAME_CREATOR * by_creator)
    if name == "popularity":
        return catalogue.popularity[candidates]
    places = (catalogue.length_places if name == "length" else catalogue.amounts(name))[candidates]
    return np.where(np.isnan(places), _UNSAID, places)
