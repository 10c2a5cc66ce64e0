"""Whatever makes lists, as an evaluation asks for them: those that were published, models, recipes, baselines."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from nocturne.core.night import Night
from nocturne.core.settings import Settings
from nocturne.evaluation import baselines
from nocturne.evaluation.baselines import Lists
from nocturne.evaluation.held_out import HeldOut, Past
from nocturne.ranking.rank_users import ROWS, make_ranker
from nocturne.ranking.ranker import Account
from nocturne.ranking.spark_tasks import Aligned, cut, one_blas_thread
from nocturne.storage import tables
from nocturne.training import als
from nocturne.training.model import Model

RECENT_DAYS = 7
SPARK_BASELINE = "mllib-als"
BASELINES = ("popular", "popular-recent", "item-knn", "ease", SPARK_BASELINE, "implicit-als")


@dataclass(frozen=True)
class System:
    """Something that makes lists.

    Attributes:
        rank: lists of the listeners with something relevant, shape (listeners, top_k); None where it has none for
            that night.
        without: why it has none on some nights.
        baseline: whether it is one.
    """

    name: str
    rank: Callable[[HeldOut, int], Lists | None]
    without: str = ""
    baseline: bool = False


def published() -> System:
    """The lists as the night wrote them."""
    return System("published", _published_lists, "the night has no lists")


def of_model(model: Model, name: str | None = None) -> System:
    """Lists by a model, from the nights on which it was there already."""

    def rank(held_out: HeldOut, top_k: int) -> Lists | None:
        return model_lists(model, held_out, top_k) if model.anchor_date <= held_out.night.run_date else None

    return System(name or model.version, rank, f"it was trained on {model.anchor_date}")


def of_recipe(name: str, recipe: Settings) -> System:
    """Lists by a model trained on every night anew, as settings say, and ranked as they say.

    What may be listed at all is decided by the settings of the night, the same for every system.
    """

    def rank(held_out: HeldOut, top_k: int) -> Lists:
        night = held_out.night
        model = als.train(
            tables.StoredRows.at(night, "interactions", als.COLUMNS),
            held_out.item_ids,
            night.run_date,
            night.settings.interactions.half_life_days,
            recipe.als,
        ).model
        return model_lists(model, replace(held_out, night=_under(night, recipe)), top_k)

    return System(name, rank)


def of_baseline(name: str, past: Past, spark: SparkSession | None) -> System:
    """Lists by a baseline, learned from the listens up to the night.

    Args:
        spark: the session that MLlib needs.
    """

    def rank(held_out: HeldOut, top_k: int) -> Lists:
        plays, asked = past.plays(held_out), held_out.asked
        if name == "popular-recent":
            return baselines.popular(past.plays(held_out, RECENT_DAYS), asked, top_k, before=plays)
        if name == SPARK_BASELINE:
            assert spark
            return baselines.mllib_als(spark, plays, asked, top_k)
        by_name: Mapping[str, Callable[..., Lists]] = {
            "popular": baselines.popular,
            "item-knn": baselines.item_knn,
            "ease": baselines.ease,
            "implicit-als": baselines.implicit_als,
        }
        return by_name[name](plays, asked, top_k)

    return System(name, rank, baseline=True)


def model_lists(model: Model, held_out: HeldOut, top_k: int) -> Lists:
    """The lists that ranking gives by a model, in this process, as the night's settings say but for the depth."""
    night = held_out.night
    ranking = night.settings.ranking.model_copy(update={"top_k": top_k, "carry_over": False})
    night = replace(night, settings=night.settings.model_copy(update={"ranking": ranking}))
    with one_blas_thread():
        ranker = replace(make_ranker(night, model, None), audited=0.0).prepare()
        found = []
        for batch in tables.StoredRows.at(night, "interactions", ROWS):
            asked = batch.filter(pc.is_in(batch.column("user_id"), value_set=held_out.user_ids))
            for rows in cut(asked, ranking.batch_memory_mb) if asked.num_rows else ():
                _, lists = ranker.rank(rows, Aligned(iter(())).of(rows.column("user_id")), Account())
                found.append(lists.select(["user_id", "items"]))
    return _as_array(pa.concat_tables(found), held_out, top_k) if found else _empty(held_out, top_k)


def _under(night: Night, recipe: Settings) -> Night:
    """The night with the recipe's way of ranking, under the night's rules."""
    rules = night.settings.ranking.model_dump(include={"let_back_after_days", "explicit_blocked_markets"})
    kept = {"interactions": night.settings.interactions, "tables": night.settings.tables}
    settings = recipe.model_copy(update=kept | {"ranking": recipe.ranking.model_copy(update=rules)})
    return replace(night, settings=settings)


def _published_lists(held_out: HeldOut, top_k: int) -> Lists | None:
    rows = tables.night_rows(held_out.night, "ranked_lists", ["user_id", "items"])
    return _as_array(rows, held_out, top_k) if rows.num_rows else None


def _as_array(rows: pa.Table, held_out: HeldOut, top_k: int) -> Lists:
    """Rows of `ranked_lists` as the numbers of their first items, in the order of the listeners."""
    place = pc.index_in(held_out.user_ids, value_set=rows["user_id"].combine_chunks())
    column = rows["items"].combine_chunks().take(place)
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    items = pc.index_in(pc.struct_field(column.flatten(), "item_id"), value_set=held_out.item_ids)
    listener = np.repeat(np.arange(len(lengths)), lengths)
    rank = np.arange(len(listener)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    kept = rank < top_k
    lists = _empty(held_out, top_k)
    lists[listener[kept], rank[kept]] = pc.fill_null(items, -1).to_numpy()[kept]
    return lists


def _empty(held_out: HeldOut, top_k: int) -> Lists:
    return np.full((len(held_out.user_ids), top_k), -1, dtype=np.int32)
