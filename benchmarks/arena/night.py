"""A night of the arena: listens to lists by the project's own functions, in memory."""

from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.arena.days import Day
from benchmarks.arena.year import Year
from nocturne.core.arrays import Mask
from nocturne.core.experiment import CONTROL
from nocturne.core.hashing import hash_ids
from nocturne.core.sections import AlsSettings, RankingSettings, RerankingSettings
from nocturne.core.settings import load_settings
from nocturne.ingestion.interactions import EPOCH, ROW, add_listens, weigh_listens, with_digests
from nocturne.kernel.layout import lay_out_items
from nocturne.ranking import eligibility
from nocturne.ranking.arm_rows import POOL_COLUMNS
from nocturne.ranking.item_traits import traits
from nocturne.ranking.ranker import Ranker
from nocturne.ranking.reranker import Reranker
from nocturne.ranking.stats import RankingStats
from nocturne.storage.contracts import contract
from nocturne.training.als import Training, train
from nocturne.training.model import Model

ROWS_AT_ONCE = 512
MODELS = 9
"""That are kept: what somebody may roll back to."""

IN_EXPERIMENT = 0.5
"""Share of the listeners who are in an experiment, if one runs."""

NO_POOLS = contract("pools").arrow_schema.empty_table().select(POOL_COLUMNS)
NO_TAKEDOWNS = contract("takedowns").arrow_schema.empty_table()
NO_ROWS = with_digests(ROW.empty_table())


@dataclass(frozen=True)
class Recipe:
    """The settings that a night follows."""

    half_life_days: float
    als: AlsSettings
    ranking: RankingSettings
    treatment: RerankingSettings

    @classmethod
    @cache
    def usual(cls) -> "Recipe":
        """The project's defaults, with fewer factors and shorter lists, and heard items let back after three days."""
        settings = load_settings()
        als = {"factors": 32, "iterations": 6, "neighbours": 20, "threads": 1, "recipe": "settings"}
        ranking = {
            "top_k": 30,
            "candidates": 60,
            "let_back_after_days": 3,
            "explicit_blocked_markets": ("JP", "SE"),
            "shelf_types": (),
        }
        return cls(
            settings.interactions.half_life_days,
            settings.als.model_copy(update=als),
            settings.ranking.model_copy(update=ranking),
            settings.reranking.model_copy(update={"genre_calibration": 0.2, "exploration_places": (10, 20)}),
        )


@dataclass(frozen=True)
class Learned:
    """The learning of a model.

    Attributes:
        loss: after the last iteration.
        listeners, entries: that it was learned from, count.
    """

    loss: float = 0.0
    listeners: int = 0
    entries: int = 0

    @classmethod
    def of(cls, training: Training) -> "Learned":
        """Of a training."""
        return cls(training.losses[-1], training.listeners, training.entries)


@dataclass(frozen=True)
class Before:
    """The tables and models that the night before left.

    Attributes:
        learned: how the model was.
        models: the last ones, the live one last.
    """

    interactions: pa.Table = field(default_factory=lambda: NO_ROWS)
    pools: pa.Table = field(default_factory=lambda: NO_POOLS)
    lists: pa.Table | None = None
    catalogue: pa.Table | None = None
    model: Model | None = None
    learned: Learned = field(default_factory=Learned)
    day: Day | None = None
    models: tuple[Model, ...] = ()


@dataclass(frozen=True)
class Night:
    """A night: what comes in, and what was made of it so far.

    Attributes:
        ids: items by index: those of the service, then those that only listens name.
        trains: whether a model is learned.
        built, ranked: rows and lists as their stages left them, whatever became of them since: what proofs make again.
    """

    number: int
    run_date: date
    before: Before
    day: Day
    catalogue: pa.Table
    experiment: str | None
    recipe: Recipe
    ids: pa.Array
    trains: bool
    interactions: pa.Table = field(default_factory=lambda: NO_ROWS)
    built: pa.Table = field(default_factory=lambda: NO_ROWS)
    model: Model | None = None
    learned: Learned = field(default_factory=Learned)
    pools: pa.Table = field(default_factory=lambda: NO_POOLS)
    lists: pa.Table | None = None
    ranked: pa.Table | None = None

    @property
    def after(self) -> Before:
        """The tables and models that this night leaves."""
        trained = self.model is not self.before.model
        return Before(
            interactions=self.interactions,
            pools=self.pools,
            lists=self.lists,
            catalogue=self.catalogue,
            model=self.model,
            learned=self.learned,
            day=self.day,
            models=(*self.before.models, self.model)[-MODELS:] if trained and self.model else self.before.models,
        )


def arrive(year: Year, number: int, before: Before, day: Day, recipe: Recipe, *, trains: bool) -> Night:
    """A night of which nothing is made yet."""
    return Night(
        number=number,
        run_date=year.date(number),
        before=before,
        day=day,
        catalogue=year.catalogue(number),
        experiment=year.experiment(number),
        recipe=recipe,
        ids=year.ids,
        trains=trains,
    )


def build(night: Night) -> Night:
    """Listens, decayed, in the rows of their listeners."""
    listens = night.day.listens
    ids = night.ids
    index = pc.index_in(listens["item_id"], value_set=ids)
    if index.null_count:
        strange = pc.unique(listens["item_id"].filter(pc.is_null(index)))
        ids = pa.concat_arrays([ids, strange])
        index = pc.index_in(listens["item_id"], value_set=ids)
    weighted = weigh_listens(listens.append_column("item_index", index), night.run_date, night.recipe.half_life_days)
    rows = add_listens(night.before.interactions, weighted)
    return replace(night, ids=ids, interactions=rows, built=rows)


def learn(night: Night) -> Night:
    """The model of the night: a new one where one is due."""
    if not night.trains:
        return replace(night, model=night.before.model, learned=night.before.learned)
    batches = night.interactions.combine_chunks().to_batches()
    trained = train(batches, night.ids, night.run_date, night.recipe.half_life_days, night.recipe.als)
    return replace(night, model=trained.model, learned=Learned.of(trained))


def rank(night: Night) -> Night:
    """Pools and lists of all listeners."""
    rankers = _rankers(night)
    rows = night.interactions.combine_chunks()
    treated = treats(rows["user_id"].combine_chunks(), night.experiment)
    arms = arms_of(rows["user_id"].combine_chunks(), night.experiment)
    pools, lists = [], []
    for some, ranker in zip((~treated, treated), rankers, strict=True):
        of_arm = rows.filter(pa.array(some)).append_column("arm", arms.filter(pa.array(some)))
        for batch in of_arm.combine_chunks().to_batches(ROWS_AT_ONCE):
            earlier = night.before.pools
            place = pc.index_in(batch["user_id"], value_set=earlier["user_id"].combine_chunks())
            own = batch.drop_columns(["arm"])
            ranked = ranker.rank(own, earlier.take(place).combine_chunks(), RankingStats())
            pools.append(ranked.pools.select(POOL_COLUMNS))
            lists.append(ranked.lists.set_column(ranked.lists.column_names.index("arm"), "arm", batch["arm"]))
    listed = pa.concat_tables(lists).sort_by("user_id").combine_chunks()
    return replace(
        night, pools=pa.concat_tables(pools).sort_by("user_id").combine_chunks(), lists=listed, ranked=listed
    )


def treats(users: pa.Array, experiment: str | None) -> Mask:
    """Listeners who are in the treatment arm of an experiment."""
    share = _share(users, experiment)
    return np.asarray((share < IN_EXPERIMENT / 2) & (experiment is not None))


def arms_of(users: pa.Array, experiment: str | None) -> pa.Array:
    """The arm of each listener."""
    share = _share(users, experiment)
    names = pa.array([CONTROL, f"{experiment}/control", f"{experiment}/treatment"])
    code = np.where(share < IN_EXPERIMENT / 2, 2, np.where(share < IN_EXPERIMENT, 1, 0))
    return names.take(pa.array(code if experiment else np.zeros(len(users), np.int64)))


def _share(users: pa.Array, experiment: str | None) -> np.ndarray:
    return hash_ids(users, sum(map(ord, experiment or ""))) / 2.0**64


def _rankers(night: Night) -> tuple[Ranker, Ranker]:
    """Rankers of those who are not in the treatment arm, and of those who are."""
    model, recipe = night.model, night.recipe
    assert model is not None
    order = np.argsort(np.array(model.item_ids.to_pylist(), dtype=object), kind="stable")
    tie_order = np.empty(len(order), np.int64)
    tie_order[order] = np.arange(len(order))
    before = night.before.catalogue
    nights = {
        "markets": (night.catalogue, night.run_date),
        "previous_markets": (
            night.catalogue if before is None else before,
            date.fromordinal(night.run_date.toordinal() - 1),
        ),
    }
    markets = {
        name: eligibility.markets(model.item_ids, rows, on, recipe.ranking.explicit_blocked_markets)
        for name, (rows, on) in nights.items()
    }
    met = pa.nulls(len(model.item_ids), pa.date32())
    of_items = traits(model.item_ids, night.catalogue, met, night.run_date, recipe.treatment.fresh_nights)
    control = Ranker(
        model=model,
        items=lay_out_items(model.factors, model.score_multipliers, tie_order),
        run_date=night.run_date,
        settings=recipe.ranking,
        audit_share=0.0,
        **markets,
    )
    treatment = Reranker(recipe.treatment, of_items, (night.run_date - EPOCH).days)
    return control, replace(control, reranker=treatment)


STEPS = (build, learn, rank)


def run(night: Night, first: int = 0) -> Night:
    """The rest of a night, from the step of a number on."""
    for step in STEPS[first:]:
        night = step(night)
    return night
