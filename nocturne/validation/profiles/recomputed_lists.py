"""A sample of whole lists worked out anew, from their listeners' rows: dense, in float64, by code of its own.

Sources: docs/tables.md for columns and units, docs/decisions/periods-of-one-half-life.md for decayed sums,
docs/decisions/a-second-stage-over-the-pool.md for lists; confidences and solve: Hu, Koren and Volinsky (2008), 4.
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Counts, Floats, Mask, Positions
from nocturne.core.night import Night
from nocturne.core.settings import Settings
from nocturne.storage import tables
from nocturne.storage.model_transitions import ModelRecord
from nocturne.storage.stored_rows import StoredRows
from nocturne.validation.profiles.catalogue_rules import Catalogue
from nocturne.validation.profiles.encoders import DenseEncoder
from nocturne.validation.profiles.model_items import model_items
from nocturne.validation.profiles.obeyed_plans import ObeyedPlans

_SAMPLE = 64
_TOLERANCE = 1e-6
"""Of scores of the order of 1: float32 factors are exact in both, and float64 sums agree to some 1e-12."""

_TIE = 1e-9
"""Scores this close to one another may be in another order by other sums."""

SAMPLED = ("user_id", "market", "arm", "items", "source")
"""Columns of `ranked_lists`, or of `arm_lists`, that are read."""

_ROWS = ["user_id", "market", "period", "item_indexes", "play_sums", "second_sums", "last_heard", "recent_items"]
_ITEMS = [
    *("item_index", "item_id", "factors", "confidence_weight", "score_multiplier"),
    *("listeners", "market_listeners", "neighbours", "similarities"),
]
_UNITS = 2.0**20
_EPOCH = date(1970, 1, 1)
_TRANSFORMS: dict[str, Callable[[Floats], Floats]] = {
    "linear": np.positive,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "binary": np.ones_like,
}

Row = Mapping[str, Any]


def recompute_sample(night: Night, lists: StoredRows, model: ModelRecord, arms: pa.Array) -> int | None:
    """Lists of a sample that are not what their listeners' rows give; None without lists.

    The sample is drawn by the night. Lists carried on without factors are left out, and those of other arms. With
    re-ranking beyond caps a list is held against its candidates and their scores, not against its order.

    Args:
        night: with the settings of the arm.
        lists: SAMPLED columns.
        model: that the lists of these arms depend on.
    """
    ours = set(arms.to_pylist())
    sampled = [row for row in sample(night, lists) if row["arm"] in ours]
    if not sampled:
        return None
    row_of, dense = rows_of(night, sampled), DenseNight.of(night, model)
    compared = [each for each in sampled if each["source"] != "previous"]
    return sum(not dense.gives(each, row_of.get(each["user_id"])) for each in compared)


def sample(night: Night, lists: StoredRows) -> list[Row]:
    """Rows of some listeners of every bucket, others each night."""
    per_file = -(-_SAMPLE // night.settings.tables.buckets)
    return [row for batch in lists.sample(per_file, (night.run_date - _EPOCH).days) for row in batch.to_pylist()]


def rows_of(night: Night, lists: Collection[Row]) -> dict[str, Row]:
    """Rows of `interactions` by listener, of those of some lists."""
    listeners = sorted({row["user_id"] for row in lists})
    rows = StoredRows.at(night, "interactions", _ROWS).of_listeners(listeners)
    return {row["user_id"]: row for row in rows.to_pylist()}


@dataclass(frozen=True)
class DenseNight:
    """A model and a catalogue, with which any list of the night can be worked out.

    Attributes:
        recipe: the model's settings.
        half_lives: the model's anchor date, in half-lives since 1970-01-01.
        items: rows of `item_factors`, in order of item_index, and likewise what the model knows by its text.
        factors: theirs, float64; shape (items, factors).
        gram: factors.T @ factors of the items that were learned, of the factors that listeners are solved by.
        encoder: of a sequence model; None of another.
        tie_order: place of each item in the order of ids; shape (items,).
        catalogue: rules of the night.
        creators: by item id, where there is one and lists are capped by it.
        plans: of listeners.
    """

    run_date: date
    settings: Settings
    recipe: dict[str, Any]
    half_lives: float
    items: pa.Table
    factors: Floats
    gram: Floats
    encoder: DenseEncoder | None
    tie_order: Positions
    catalogue: Catalogue
    creators: dict[str, str]
    plans: ObeyedPlans

    @classmethod
    def of(cls, night: Night, model: ModelRecord) -> "DenseNight":
        """The night's catalogue, and a model."""
        settings = night.settings
        items = model_items(night, model.version, _ITEMS).combine_chunks()
        catalogue = tables.night_rows(night, "items", [*Catalogue.COLUMNS, "creator"])
        known = catalogue.filter(pc.is_valid(catalogue["creator"])) if settings.reranking.max_per_creator else None
        factors = items["factors"].combine_chunks().flatten().to_numpy().astype(np.float64).reshape(len(items), -1)
        recipe = json.loads(model.settings)
        solved = recipe["factors"] if recipe["family"] == "blended" else factors.shape[1]
        learned = factors[items["listeners"].to_numpy() > 0, :solved]
        return cls(
            run_date=night.run_date,
            settings=settings,
            recipe=recipe,
            half_lives=(model.anchor_date - _EPOCH).days / settings.interactions.half_life_days,
            items=items,
            factors=factors,
            gram=learned.T @ learned,
            encoder=DenseEncoder.of(night, model),
            tie_order=pc.rank(items["item_id"].combine_chunks()).to_numpy().astype(np.int64),
            catalogue=Catalogue(
                catalogue,
                night.run_date,
                settings.ranking.explicit_blocked_markets,
                tables.night_rows(night, "takedowns", Catalogue.WORDS),
            ),
            creators=dict(zip(*(known[name].to_pylist() for name in ("item_id", "creator")), strict=True))
            if known
            else {},
            plans=ObeyedPlans.of(night),
        )

    def gives(self, listed: Row, row: Row | None) -> bool:
        """True if a row of `ranked_lists` is what its listener's row of `interactions` gives."""
        if row is None or row["market"] != listed["market"]:
            return False
        allowed = self.allowed(row)
        places, confidences = self.confidences(row)
        user = self.user(row, places, confidences)
        if not user.any():
            popular = self.popular(listed["market"], allowed, self.settings.ranking.top_k)
            return listed["source"] != "als" and [entry["item_id"] for entry in listed["items"]] == popular
        head = self.candidates(user, allowed, places, confidences, self._considered)
        only_caps = self.settings.reranking.model_copy(update={"max_per_creator": 0}).neutral
        return listed["source"] == "als" and head.gives(listed, self._capped(head.best), in_order=only_caps)

    def allowed(self, row: Row) -> Mask:
        """Items of the model that may be listed to the listener; shape (items,)."""
        allowed = self._allowed_in(row["market"]).copy()
        days = self.settings.ranking.let_back_after_days
        heard = [
            index
            for index, last in zip(row["item_indexes"], row["last_heard"], strict=True)
            if not days or last + timedelta(days=days) > self.run_date
        ]
        allowed[np.isin(self.item_indexes, heard)] = False
        if row["user_id"] in self.plans.plans:
            some = np.flatnonzero(allowed)
            allowed[some] = self.plans.allowed(row["user_id"], self.item_ids.take(pa.array(some)).to_pylist())
        return allowed

    def _allowed_in(self, market: str | None) -> Mask:
        """Items of the model that may be listed in a market; shape (items,)."""
        if market not in self._allowed_by_market:
            barred, _ = self.catalogue.judge(self.item_ids, pa.array([market], pa.string()))
            self._allowed_by_market[market] = ~barred[0 if market is not None else -1]
        return self._allowed_by_market[market]

    def confidences(self, row: Row) -> tuple[Positions, Floats]:
        """Places in the model of what was heard and has not faded to nothing, and the confidence in it."""
        recipe, index = self.recipe, np.array(row["item_indexes"], np.int64)
        plays, seconds = (np.array(row[name], np.float64) for name in ("play_sums", "second_sums"))
        amount = recipe["play_weight"] * plays + recipe["minute_weight"] * seconds / 60
        place = np.searchsorted(self.item_indexes, index).clip(max=len(self.item_indexes) - 1)
        learned = self.items["listeners"].to_numpy() > 0
        used = (self.item_indexes[place] == index) & (amount > 0) & learned[place]
        strength = _TRANSFORMS[recipe["transform"]](amount[used] / _UNITS * 2.0 ** (row["period"] - self.half_lives))
        newest_first = [*reversed(row["recent_items"])]
        ages = [
            newest_first.index(item) if item in newest_first else len(newest_first) for item in index[used].tolist()
        ]
        weights = self.items["confidence_weight"].to_numpy()[place[used]] * recipe["recency"] ** np.array(ages, float)
        return place[used], recipe["alpha"] * strength * weights * max(1, len(index)) ** -recipe["activity_exponent"]

    def user(self, row: Row, places: Positions, confidences: Floats) -> Floats:
        """The listener's factors: encoded from the last listens, or solved."""
        if self.encoder is None:
            return self.solve(places, confidences)
        solved = self.solve(places, confidences) if self.recipe["family"] == "blended" else np.zeros(0)
        recent = [self._learned[index] for index in row["recent_items"] if index in self._learned]
        return np.concatenate([solved, self.encoder.vector(self.factors, recent)])

    def solve(self, places: Positions, confidences: Floats) -> Floats:
        """The listener who fits 1 to what was heard and 0, with a confidence of 1, to all else, under the ridge."""
        ridge = self.recipe["regularization"] * max(1, len(places)) ** self.recipe["regularization_exponent"]
        heard = self.factors[places, : len(self.gram)]
        normal = self.gram + ridge * np.eye(len(self.gram)) + heard.T @ (heard * (confidences - 1)[:, None])
        return np.asarray(np.linalg.solve(normal, heard.T @ confidences))

    @property
    def _considered(self) -> int:
        """Items that a list of `ranked_lists` is chosen from, where there are so many."""
        return max(self.settings.ranking.top_k, self.settings.ranking.candidates)

    def candidates(
        self, user: Floats, allowed: Mask, places: Positions, confidences: Floats, considered: int
    ) -> "Candidates":
        """The best of the factors, in the order of factors and neighbourhoods."""
        scores = np.where(allowed, self.factors @ user * self.items["score_multiplier"].to_numpy(), -np.inf)
        considered = min(considered, int(allowed.sum()))
        head = self._best(scores, considered)
        near_head = np.flatnonzero(scores >= scores[head].min(initial=np.inf) - _TIE)
        values = dict(zip(head.tolist(), self._second_stage(head, scores[head], places, confidences), strict=True))
        return Candidates(self.item_ids, values, near_head)

    def _best(self, scores: Floats, count: int) -> Positions:
        """Places of the best so many, which are no more than there are, in order of score, then of id."""
        if not count:
            return np.zeros(0, np.int64)
        least = -np.partition(-scores, count - 1)[count - 1]
        some = np.flatnonzero(~(scores < least))
        return np.asarray(some[np.lexsort((self.tie_order[some], -scores[some]))][:count])

    def _second_stage(self, head: Positions, scores: Floats, places: Positions, confidences: Floats) -> Floats:
        """Scores of factors and of neighbourhoods as shares of the largest, added; those of factors if alone."""
        weight, width = self.recipe["neighbour_weight"], self.recipe["neighbours"]
        if not (weight and width and len(head)):
            return scores
        last = int(self.item_indexes.max()) + 1
        confidence_of = np.zeros(last + 1)  # the last one is that of what the model lacks
        confidence_of[self.item_indexes[places]] = confidences
        near, similarities = (lists.take(pa.array(head)) for lists in self._neighbourhoods)
        index, row = near.flatten().to_numpy(), pc.list_parent_indices(near).to_numpy()
        confidence = confidence_of[np.where((index >= 0) & (index < last), index, last)]
        products = similarities.flatten().to_numpy().astype(np.float64) * confidence
        neighbourhoods = np.bincount(row, products, minlength=len(head)).astype(np.float64)
        values: Floats = _shares(scores, scores.max()) + weight * _shares(neighbourhoods, np.abs(neighbourhoods).max())
        return values

    def _capped(self, best: list[int]) -> list[int]:
        """The first top_k under the cap of their creators; the best of the others where those are too few."""
        cap, top_k, taken = self.settings.reranking.max_per_creator, self.settings.ranking.top_k, Counter[str]()
        chosen: set[int] = set()
        for place, item in zip(best, self.item_ids.take(pa.array(best, pa.int64())).to_pylist(), strict=True):
            creator = self.creators.get(item)
            if len(chosen) < top_k and not (cap and creator is not None and taken[creator] >= cap):
                chosen.add(place)
                taken.update([creator] if creator is not None else [])
        others = [place for place in best if place not in chosen][: top_k - len(chosen)]
        return [place for place in best if place in chosen or place in others]

    def popular(self, market: str | None, allowed: Mask, count: int) -> list[str]:
        """Ids of what the listener's market hears most, if that is long enough, or of what everyone does."""
        everyone = self._most_heard(self.items["listeners"].to_numpy(), allowed, count)
        local = self._most_heard(self._listeners_in(market), allowed, count)
        return local if local and len(local) == len(everyone) else everyone

    def _most_heard(self, listeners: Counts, allowed: Mask, count: int) -> list[str]:
        """The ids of the items that most listeners heard, then in order of ids; so many of them."""
        order = np.lexsort((self.tie_order, -listeners))
        heard = order[(allowed & (listeners > 0))[order]][:count]
        ids: list[str] = self.item_ids.take(pa.array(heard)).to_pylist()
        return ids

    def _listeners_in(self, market: str | None) -> Counts:
        """Listeners of each item in a market; shape (items,)."""
        maps = self.items["market_listeners"].combine_chunks()
        entry = pc.indices_nonzero(pc.fill_null(pc.equal(maps.keys, pa.scalar(market, pa.string())), False)).to_numpy()
        item = np.searchsorted(maps.offsets.to_numpy(), entry, side="right") - 1
        listeners = np.zeros(len(maps), np.int64)
        listeners[item] = maps.items.to_numpy()[entry]
        return listeners

    @cached_property
    def _allowed_by_market(self) -> dict[str | None, Mask]:
        """Filled as markets are met."""
        return {}

    @cached_property
    def _learned(self) -> dict[int, int]:
        """Places of the items that were learned, by index."""
        places = np.flatnonzero(self.items["listeners"].to_numpy() > 0)
        return dict(zip(self.item_indexes[places].tolist(), places.tolist(), strict=True))

    @cached_property
    def _neighbourhoods(self) -> tuple[pa.ListArray, pa.ListArray]:
        """The neighbours of each item, and the similarities to them."""
        return self.items["neighbours"].combine_chunks(), self.items["similarities"].combine_chunks()

    @cached_property
    def item_ids(self) -> pa.Array:
        """Of the model, aligned with `items`."""
        return self.items["item_id"].combine_chunks()

    @cached_property
    def item_indexes(self) -> np.ndarray:
        """Of the model, ascending."""
        return np.asarray(self.items["item_index"].to_numpy())


@dataclass(frozen=True)
class Candidates:
    """The items that a list is chosen from.

    Attributes:
        ids: of the model's items.
        values: score of each candidate, by its place in the model.
        near: places of the candidates, and of what scores as much as the last of them, but for rounding.
    """

    ids: pa.Array
    values: dict[int, float]
    near: Positions

    @property
    def best(self) -> list[int]:
        """Places of the candidates, best first."""
        return sorted(self.values, key=lambda place: -self.values[place])

    def gives(self, listed: Row, chosen: list[int], *, in_order: bool) -> bool:
        """True if the list holds candidates with their scores, as many as were chosen.

        Args:
            chosen: places in the model, best first.
            in_order: whether the list's scores must be those of the chosen.
        """
        ids = pa.array([entry["item_id"] for entry in listed["items"]], pa.string())
        places = pc.index_in(ids, self.ids)
        if places.null_count:
            return False
        if len(self.near) > len(self.values):
            # Among items as good as the last candidate, rounding decides which of them are candidates.
            return bool(np.isin(places.to_numpy(), self.near).all())
        scores = [entry["score"] for entry in listed["items"]]
        listed_values = [self.values.get(place) for place in places.to_pylist()]
        if not all(near(value, score) for value, score in zip(listed_values, scores, strict=True)):
            return False
        if len(scores) != len(chosen):
            return False
        return not in_order or all(near(self.values[place], score) for place, score in zip(chosen, scores, strict=True))


def _shares(scores: Floats, largest: float) -> Floats:
    """Of the largest; as they are if that is not above zero."""
    return scores / largest if largest > 0 else scores


def near(one: float | None, other: float) -> bool:
    """True if two scores are the same but for rounding."""
    return one is not None and abs(one - other) <= _TOLERANCE * max(1.0, abs(one))
