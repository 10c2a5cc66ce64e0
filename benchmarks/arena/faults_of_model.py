"""Faults of the model and of how it is learned and used: none is seen by proofs that use the model themselves."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.arena.kinds import LEARN, RANK, Rng, kind, some
from benchmarks.arena.night import Learned, Night
from nocturne.training.als import train
from nocturne.training.model import Model


def _with(night: Night, **changes: Any) -> Night:
    """The night with another model of another version."""
    assert night.model is not None
    return replace(night, model=replace(night.model, version=f"{night.model.version}-faulty", **changes))


def _model(night: Night) -> Model:
    assert night.model is not None
    return night.model


def _fit(night: Night, **settings: Any) -> Night:
    """The night with another model, learned by other settings."""
    recipe = replace(night.recipe, als=night.recipe.als.model_copy(update=settings))
    return replace(night, recipe=recipe, trains=True)


def _used(night: Night, **settings: Any) -> Night:
    """The night with its model, used by other settings."""
    return _with(night, settings=_model(night).settings.model_copy(update=settings))


@kind(RANK, 0.1, 0.4, 1.0)
def factors_off_by_one(night: Night, _: Rng, share: float) -> Night:
    """Factors of the item before: of a share of the items, the last ones."""
    factors = _model(night).factors.copy()
    first = int((1 - share) * len(factors))
    factors[first:] = np.roll(factors[first:], 1, axis=0)
    return _with(night, factors=factors)


@kind(RANK, 0.1, 0.4, 1.0)
def factors_swapped(night: Night, rng: Rng, share: float) -> Night:
    """Factors of each other's items: of a share, drawn."""
    factors = _model(night).factors.copy()
    moved = np.flatnonzero(rng.random(len(factors)) < share)
    factors[moved] = factors[rng.permutation(moved)]
    return _with(night, factors=factors)


@kind(RANK, 0.5, 0.9, 0.999)
def factors_collapsed(night: Night, _: Rng, part: float) -> Night:
    """Factors that are drawn to their mean: part of the way."""
    factors = _model(night).factors
    return _with(night, factors=((1 - part) * factors + part * factors.mean(axis=0)).astype(np.float32))


@kind(RANK, 0.3, 1.0, 4.0)
def factors_noisy(night: Night, rng: Rng, noise: float) -> Night:
    """Factors with noise: standard deviations of theirs."""
    factors = _model(night).factors
    return _with(night, factors=(factors + rng.normal(0, noise * factors.std(), factors.shape)).astype(np.float32))


@kind(RANK, 0.05, 0.2, 0.5)
def factors_negated(night: Night, _: Rng, share: float) -> Night:
    """Factors of the other sign: of a share of the items."""
    model = _model(night)
    sign = np.where(some(model.item_ids, share, 51), -1, 1)[:, None]
    return _with(night, factors=(model.factors * sign).astype(np.float32))


@kind(RANK, 0.5, 3.0, 30.0)
def factors_scaled(night: Night, _: Rng, scale: float) -> Night:
    """Factors in another unit, beside a spectrum in the old one: times as long."""
    return _with(night, factors=(_model(night).factors * np.float32(scale)))


@kind(RANK, 8, 16, 28)
def dimensions_lost(night: Night, _: Rng, dimensions: float) -> Night:
    """Factors without the first ones: dimensions, of 32."""
    factors = _model(night).factors.copy()
    factors[:, : int(dimensions)] = 0
    return _with(night, factors=factors)


@kind(RANK, 4, 16, 31)
def dimensions_turned(night: Night, _: Rng, dimensions: float) -> Night:
    """Factors rolled along their axes, while the spectrum stays: dimensions."""
    return _with(night, factors=np.ascontiguousarray(np.roll(_model(night).factors, int(dimensions), axis=1)))


@kind(RANK, 0.3, 0.01, 0.0001)
def spectrum_wrong(night: Night, _: Rng, part: float) -> Night:
    """A spectrum of another matrix: part of what it should be."""
    return _with(night, spectrum=_model(night).spectrum * part)


@kind(RANK, 1, 7, 100)
def neighbours_shifted(night: Night, _: Rng, places: float) -> Night:
    """Neighbours of other items: items further on."""
    near = _model(night).neighbours
    return _with(
        night, neighbours=np.sort(np.where(near < 0, near, (near + int(places)) % len(near)), axis=1).astype(near.dtype)
    )


@kind(RANK, 0.3, 0.7, 1.0)
def neighbour_weights_negated(night: Night, rng: Rng, share: float) -> Night:
    """Weights of neighbours of the other sign: of a share of the items."""
    weights = _model(night).similarities
    sign = np.where(rng.random(len(weights)) < share, -1, 1)[:, None]
    return _with(night, similarities=(weights * sign).astype(weights.dtype))


@kind(RANK, 0.0, 5.0, 100.0)
def neighbourhood_reweighed(night: Night, _: Rng, weight: float) -> Night:
    """Neighbourhoods of another weight beside the factors, for 0.5."""
    return _used(night, neighbour_weight=weight)


@kind(RANK, 0.0, 0.6, 1.5)
def popularity_unweighed(night: Night, _: Rng, exponent: float) -> Night:
    """Confidences by another exponent of popularity than the model was learned with, for 0.3."""
    model = _model(night)
    return _with(night, confidence_weights=np.maximum(model.listeners, 1).astype(float) ** -exponent)


@kind(RANK, 0.0, -0.5, -1.5)
def popularity_turned_round(night: Night, _: Rng, exponent: float) -> Night:
    """Scores by another exponent of popularity, for 0.1."""
    return _with(night, score_multipliers=np.maximum(_model(night).listeners, 1).astype(float) ** exponent)


@kind(RANK, 0.6, 1.0, 2.0)
def popularity_overrated(night: Night, _: Rng, exponent: float) -> Night:
    """Scores by a larger exponent of popularity, for 0.1."""
    return _with(night, score_multipliers=np.maximum(_model(night).listeners, 1).astype(float) ** exponent)


@kind(RANK, 0.1, 0.4, 0.8)
def popularity_reset(night: Night, _: Rng, share: float) -> Night:
    """Items that count as never heard: a share, by which scores and confidences go."""
    model = _model(night)
    reset = some(model.item_ids, share, 52)
    return _with(
        night,
        listeners=np.where(reset, 0, model.listeners),
        score_multipliers=np.where(reset, 1e-3, model.score_multipliers),
        confidence_weights=np.where(reset, 0.0, model.confidence_weights),
    )


@kind(RANK, 0.05, 0.2, 0.6)
def items_lost_from_model(night: Night, _: Rng, share: float) -> Night:
    """Items without factors: a share, lengths of whose vectors are nothing."""
    model = _model(night)
    lost = some(model.item_ids, share, 53)
    return _with(night, factors=np.where(lost[:, None], np.float32(1e-9), model.factors))


@kind(RANK, 100.0, 0.2, 10_000.0)
def ridge_wrong(night: Night, _: Rng, ridge: float) -> Night:
    """Listeners solved with another ridge term than the model was learned with, for 20."""
    return _used(night, regularization=ridge)


@kind(RANK, 2.0, 0.5, 0.01)
def confidence_wrong(night: Night, _: Rng, alpha: float) -> Night:
    """Listeners solved with another confidence, for 20."""
    return _used(night, alpha=alpha)


@kind(RANK, 0.9, 0.6, 0.2)
def recency_wrong(night: Night, _: Rng, recency: float) -> Night:
    """Listeners solved with their last listens alone: weight of each listen before the last."""
    return _used(night, recency=recency)


@kind(RANK, 2, 5, 8)
def model_of_long_ago(night: Night, _: Rng, models: float) -> Night:
    """A model of long ago, under a new name: models back."""
    old = night.before.models[max(-len(night.before.models), -1 - int(models))]
    assert old is not None
    return replace(night, model=replace(old, version=f"{old.version}-again"))


@kind(RANK, 1, 2, 3)
def model_of_a_market(night: Night, _: Rng, market: float) -> Night:
    """A model learned in one market alone: the first, third or last by size."""
    name = ["US", "DE", "JP"][int(market) - 1]
    rows = night.interactions.filter(pc.equal(night.interactions["market"], name))
    return _learned_from(night, rows)


@kind(RANK, 0.3, 0.1, 0.02)
def model_of_few(night: Night, _: Rng, share: float) -> Night:
    """A model learned from a share of the listeners."""
    return _learned_from(night, night.interactions.filter(pa.array(some(night.interactions["user_id"], share, 54))))


def _learned_from(night: Night, rows: pa.Table) -> Night:
    batches = rows.combine_chunks().to_batches()
    trained = train(batches, night.ids, night.run_date, night.recipe.half_life_days, night.recipe.als)
    return replace(night, model=trained.model, learned=Learned.of(trained))


@kind(LEARN, 2, 1, 0)
def training_cut_short(night: Night, _: Rng, iterations: float) -> Night:
    """A model of few iterations; of none it has one with hardly any confidence."""
    return _fit(night, iterations=max(1, int(iterations)), **({} if iterations else {"alpha": 0.01}))


@kind(LEARN, 200.0, 2_000.0, 100_000.0)
def training_overregularized(night: Night, _: Rng, ridge: float) -> Night:
    """A model learned with a ridge term far too large, for 20."""
    return _fit(night, regularization=ridge)


@kind(LEARN, 1e-1, 1e-3, 1e-6)
def training_underregularized(night: Night, _: Rng, ridge: float) -> Night:
    """A model learned with next to no ridge term, for 20."""
    return _fit(night, regularization=ridge)


@kind(LEARN, 8, 4, 1)
def few_factors(night: Night, _: Rng, factors: float) -> Night:
    """A model of few factors, for 32."""
    return _fit(night, factors=int(factors))


@kind(LEARN, 0.05, 0.2, 0.4)
def items_need_many_listeners(night: Night, _: Rng, share: float) -> Night:
    """A model of the items alone that many have heard: share of the listeners."""
    return _fit(night, min_item_listeners=int(1 + share * night.interactions.num_rows))


@kind(LEARN, 0.8, 1.5, 2.0)
def training_against_popularity(night: Night, _: Rng, exponent: float) -> Night:
    """A model learned against what is popular: exponent, for 0.3."""
    return _fit(night, popularity_exponent=exponent)


@kind(LEARN, 1, 2, 3)
def training_of_minutes(night: Night, _: Rng, way: float) -> Night:
    """A model of other strengths: linear plays, minutes, or minutes counted a thousandfold."""
    settings: dict[str, Any] = {"transform": "linear"}
    if way > 1:
        settings |= {"play_weight": 0.0, "minute_weight": 1.0 if way < 3 else 1000.0}
    return _fit(night, **settings)
