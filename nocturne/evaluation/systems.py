"""Systems under evaluation, all of which make lists: the nights' own, stored models, recipes, baselines."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from nocturne.core.list_arrays import Lists, empty_lists, lists_array
from nocturne.core.night import Night
from nocturne.core.settings import Settings
from nocturne.evaluation import baselines
from nocturne.evaluation.held_out import HeldOut, ListeningHistory
from nocturne.ranking.rank_users import ROWS, make_ranker
from nocturne.ranking.spark_tasks import Aligned, cut, one_blas_thread
from nocturne.ranking.stats import RankingStats
from nocturne.storage import tables
from nocturne.storage.model_transitions import live_on
from nocturne.storage.stored_rows import StoredRows
from nocturne.training import als, registry
from nocturne.training.hold_out import COLUMNS as HELD_OUT
from nocturne.training.hold_out import share_asked
from nocturne.training.model import Model
from nocturne.training.race import FEWEST_ASKED, run_race

RECENT_DAYS = 7
SPARK_BASELINE = "mllib-als"
BASELINES = ("popular", "popular-recent", "item-knn", "ease", SPARK_BASELINE, "implicit-als")


@dataclass(frozen=True)
class System:
    """A maker of lists, under the name that reports give it.

    Attributes:
        rank: lists of the listeners with something relevant, shape (listeners, top_k); None where it has none for
            that night.
        absence_reason: why it has none on some nights.
        baseline: whether it is one.
        asked_share: share of listeners, by hash, whom a race may have asked for the recipe of a night's lists.
    """

    name: str
    rank: Callable[[HeldOut, int], Lists | None]
    absence_reason: str = ""
    baseline: bool = False
    asked_share: Callable[[Night], float] = lambda _night: 0.0


def published_lists_system() -> System:
    """The lists as the night wrote them."""
    return System("published", _read_published_lists, "the night has no lists", asked_share=_asked_for_live_model)


def model_system(model: Model, name: str | None = None, asked_share: float = 0.0) -> System:
    """Lists by a model, from the nights on which it was there already.

    Args:
        asked_share: of the race of its recipe.
    """

    def rank(held_out: HeldOut, top_k: int) -> Lists | None:
        return rank_with_model(model, held_out, top_k) if model.anchor_date <= held_out.night.run_date else None

    reason = f"it was trained on {model.anchor_date}"
    return System(name or model.version, rank, reason, asked_share=lambda _night: asked_share)


def recipe_system(name: str, recipe: Settings) -> System:
    """Lists by a model trained on every night anew, as settings say, and ranked as they say.

    With als.recipe "fit" a race chooses the recipe on every night.

    What may be listed at all is decided by the settings of the night, the same for every system.
    """

    def rank(held_out: HeldOut, top_k: int) -> Lists:
        night = held_out.night
        rows, withheld_rows = (StoredRows.at(night, "interactions", names) for names in (als.COLUMNS, HELD_OUT))
        terms = held_out.item_ids, night.run_date, night.settings.interactions.half_life_days
        settings = run_race(withheld_rows, *terms, recipe.als, recipe.ranking.candidates).settings
        model = als.train(rows, *terms, settings).model
        return rank_with_model(model, replace(held_out, night=_with_recipe(night, recipe)), top_k)

    return System(name, rank, asked_share=partial(_asked_anew, recipe))


def baseline_system(name: str, history: ListeningHistory, spark: SparkSession | None) -> System:
    """Lists by a baseline, learned from the listens up to the night.

    Args:
        spark: the session that MLlib needs.
    """

    def rank(held_out: HeldOut, top_k: int) -> Lists:
        plays, requests = history.plays(held_out), held_out.requests
        if name == "popular-recent":
            return baselines.popular(history.plays(held_out, RECENT_DAYS), requests, top_k, older_plays=plays)
        if name == SPARK_BASELINE:
            assert spark
            return baselines.mllib_als(spark, plays, requests, top_k)
        baselines_by_name: Mapping[str, Callable[..., Lists]] = {
            "popular": baselines.popular,
            "item-knn": baselines.item_knn,
            "ease": baselines.ease,
            "implicit-als": baselines.implicit_als,
        }
        return baselines_by_name[name](plays, requests, top_k)

    return System(name, rank, baseline=True)


def rank_with_model(model: Model, held_out: HeldOut, top_k: int) -> Lists:
    """The lists that ranking gives by a model, in this process, as the night's settings say but for the depth."""
    night = held_out.night
    ranking = night.settings.ranking.model_copy(update={"top_k": top_k, "carry_over": False})
    night = night.with_settings(night.settings.model_copy(update={"ranking": ranking}))
    with one_blas_thread():
        ranker = replace(make_ranker(night, model, None), audit_share=0.0).prepare()
        ranked = []
        for batch in StoredRows.at(night, "interactions", ROWS):
            requested = batch.filter(pc.is_in(batch.column("user_id"), value_set=held_out.user_ids))
            for rows in cut(requested, ranking.batch_memory_mb) if requested.num_rows else ():
                lists = ranker.rank(rows, Aligned(iter(())).of(rows.column("user_id")), RankingStats()).lists
                ranked.append(lists.select(["user_id", "items"]))
    if not ranked:
        return empty_lists(len(held_out.user_ids), top_k)
    return lists_array(pa.concat_tables(ranked), held_out.user_ids, held_out.item_ids, top_k)


def _with_recipe(night: Night, recipe: Settings) -> Night:
    """The night with the recipe's settings, but for its own rules of what may be listed and of its tables."""
    rules = night.settings.ranking.model_dump(include={"let_back_after_days", "explicit_blocked_markets"})
    ranking = recipe.ranking.model_copy(update=rules)
    sections = {"interactions": night.settings.interactions, "tables": night.settings.tables, "ranking": ranking}
    settings = recipe.model_copy(update=sections)
    return night.with_settings(settings)


def _read_published_lists(held_out: HeldOut, top_k: int) -> Lists | None:
    asked = [
        batch.filter(pc.is_in(batch.column("user_id"), value_set=held_out.user_ids))
        for batch in StoredRows.at(held_out.night, "ranked_lists", ["user_id", "items"])
    ]
    return lists_array(pa.Table.from_batches(asked), held_out.user_ids, held_out.item_ids, top_k) if asked else None


def _asked_for_live_model(night: Night) -> float:
    live = live_on(registry.models(night.warehouse), night.run_date)
    return live.race_share if live else 0.0


def _asked_anew(recipe: Settings, night: Night) -> float:
    listeners = tables.count(night, "interactions")
    share = share_asked(listeners, tables.count(night, "item_index"))
    return share if recipe.als.recipe == "fit" and share * listeners >= FEWEST_ASKED else 0.0
