"""The items of a night as its generation takes them: catalogue, model, related items and markets in one table."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Counts, Factors, Indexes, Mask
from nocturne.core.experiment import CONTROL, Experiment, arm_settings
from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import Settings
from nocturne.ranking import eligibility
from nocturne.ranking.arms import Cell
from nocturne.ranking.eligibility import Markets
from nocturne.serving.cache.items_info import ItemsInfo, with_info
from nocturne.serving.cache.listable import EVERYWHERE
from nocturne.serving.cache.served_items import SOURCES
from nocturne.steering.plan import Plan
from nocturne.storage import tables
from nocturne.storage.history import first_retained_listens
from nocturne.storage.running_experiments import running
from nocturne.storage.takedowns import stored_takedowns
from nocturne.training import registry
from nocturne.training.model import Model

POPULAR = 100
"""Of each content type, in each market: what listeners are offered of whom nothing is known."""

_DESCRIBED = ("title", "creator", "content_type", "duration_ms", "explicit")
_IF_THERE = ("language", "year", "energy")
"""Fields that rules read of catalogues that have them."""


def item_ids(warehouse: Warehouse) -> pa.ChunkedArray:
    """Every item that was ever heard, in order of its number.

    The whole index: a night that was mended may list what a later night was the first to number.
    """
    return tables.rows(warehouse, "item_index").sort_by("item_index")["item_id"]


def items_table(night: Night) -> pa.Table:
    """Every item of the night, those ever heard first, in order of their numbers; then the rest of the catalogue."""
    catalogue, model = tables.night_rows(night, "items"), registry.live_model(night)
    ids = _every_id(item_ids(night.warehouse), catalogue)
    rows = catalogue.take(pc.index_in(ids, value_set=catalogue["item_id"].combine_chunks())).combine_chunks()
    in_model = np.zeros(len(ids), bool)
    if model:
        in_model[model.item_indexes] = True
    blocked = night.settings.ranking.explicit_blocked_markets
    markets = eligibility.markets(ids, catalogue, night.run_date, blocked, stored_takedowns(night))
    described = {name: rows[name].combine_chunks() for name in _DESCRIBED}
    described["content_type"] = described["content_type"].fill_null("other")
    described["creator"] = described["creator"].dictionary_encode()
    described["explicit_known"] = described["explicit"].is_valid()
    described["explicit"] = described["explicit"].fill_null(False)
    described["tags"] = _encoded_lists(rows["tags"].combine_chunks())
    described |= {name: rows[name].combine_chunks() for name in _IF_THERE if name in rows.column_names}
    columns = {
        "item_id": ids,
        "order": pc.sort_indices(ids.cast(pa.binary())).cast(pa.int32()),
        **described,
        **_model_columns(model, len(ids)),
        **_related(night, ids),
        **{f"class_{number}": pa.array(mask) for number, mask in enumerate(markets.masks)},
    }
    table = pa.table(columns)
    info = _info(night, model, markets, table["content_type"].combine_chunks())
    return with_info(table, info, model.encoder if model else None)


def _every_id(heard: pa.ChunkedArray, catalogue: pa.Table) -> pa.Array:
    others = pc.filter(catalogue["item_id"], pc.invert(pc.is_in(catalogue["item_id"], heard.combine_chunks())))
    return pa.concat_arrays([heard.combine_chunks().cast(pa.string()), others.combine_chunks().sort()])


def _encoded_lists(lists: pa.ListArray) -> pa.ListArray:
    """Lists of names, each name stored once; a null list is empty."""
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, lists.flatten().dictionary_encode())


def _model_columns(model: Model | None, items: int) -> dict[str, pa.Array]:
    """Factors and second stage by item number, zeros and no neighbours for items that the model lacks."""
    numbers: dict[str, npt.NDArray[Any]]
    matrices: dict[str, npt.NDArray[Any]]
    if model is None:
        nothing = np.zeros((items, 1), np.float32)
        numbers = {
            "confidence_weight": np.zeros(items),
            "score_multiplier": np.ones(items),
            "listeners": np.zeros(items, np.int32),
        }
        matrices = {"factors": nothing, "neighbours": np.full((items, 1), -1, np.int32), "similarities": nothing}
    else:
        at = model.item_indexes
        neighbours, similarities = _one_wide_at_least(
            np.where(model.neighbours >= 0, at[model.neighbours], -1).astype(np.int32), model.similarities
        )
        numbers = {
            "confidence_weight": _placed(model.confidence_weights, at, items, 0.0),
            "score_multiplier": _placed(model.score_multipliers, at, items, 1.0),
            "listeners": _placed(model.listeners.astype(np.int32), at, items, 0),
        }
        matrices = {
            "factors": _placed(model.factors, at, items, 0.0),
            "neighbours": _placed(neighbours, at, items, -1),
            "similarities": _placed(similarities, at, items, 0.0),
        }
    return {name: pa.array(values) for name, values in numbers.items()} | {
        name: pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
        for name, values in matrices.items()
    }


def _one_wide_at_least(neighbours: Indexes, similarities: Factors) -> tuple[Indexes, Factors]:
    """The same, or one neighbour that is none: Arrow has no lists of a fixed length of 0."""
    if neighbours.shape[1]:
        return neighbours, similarities
    return np.full((len(neighbours), 1), -1, np.int32), np.zeros((len(neighbours), 1), np.float32)


def _placed(values: npt.NDArray[Any], at: Indexes, items: int, other: float) -> npt.NDArray[Any]:
    placed = np.full((items, *values.shape[1:]), other, values.dtype)
    placed[at] = values
    return placed


def _related(night: Night, ids: pa.Array) -> dict[str, pa.Array]:
    """Related items of each item as numbers, scores and numbers of sources, those of one content type together."""
    rows = tables.night_rows(night, "related_items", ["item_id", "content_type", "items"])
    rows = rows.append_column("number", pc.index_in(rows["item_id"], value_set=ids))
    rows = rows.sort_by([("number", "ascending"), ("content_type", "ascending")]).combine_chunks()
    lists = rows["items"].combine_chunks()
    related = lists.flatten()
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
    of_item = np.bincount(rows["number"].to_numpy(), weights=lengths, minlength=len(ids))
    offsets = pa.array(np.concatenate([[0], np.cumsum(of_item)]).astype(np.int32))
    values = {
        "related": pc.index_in(related.field("item_id"), value_set=ids),
        "related_scores": related.field("score").cast(pa.float32()),
        "related_sources": pc.index_in(related.field("source"), value_set=pa.array(SOURCES)).cast(pa.uint8()),
    }
    return {name: pa.ListArray.from_arrays(offsets, column) for name, column in values.items()}


def _info(night: Night, model: Model | None, markets: Markets, content_types: pa.Array) -> ItemsInfo:
    settings = night.settings
    arm_weights, counterparts = weights_of_arms(settings, running(night))
    classes = {market: number for market, number in markets.classes.items() if market is not None}
    return ItemsInfo(
        model_version=model.version if model else "",
        spectrum=tuple(model.spectrum.tolist()) if model and not model.encoder else (),
        ridge=model.settings.regularization if model else 0.0,
        ridge_exponent=model.settings.regularization_exponent if model else 0.0,
        neighbour_weight=model.settings.neighbour_weight if model else 0.0,
        candidates=max(settings.ranking.top_k, settings.ranking.candidates),
        let_back_after_days=settings.ranking.let_back_after_days,
        classes=classes | {EVERYWHERE: markets.others},
        no_market=markets.classes[None],
        popular=_popular(model, markets, content_types) if model else {EVERYWHERE: []},
        now_playing=settings.now_playing.model_dump(),
        arm_weights=arm_weights,
        counterparts=counterparts,
        **_plans(night),
        on_record_since=_on_record_since(night),
        set_aside=_set_aside(night),
    )


def _plans(night: Night) -> dict[str, Any]:
    """`plans` and `planned` of `ItemsInfo`; a plan that asks nothing of lists is none."""
    rows = tables.night_rows(night, "steers", ["user_id", "plan"]).to_pylist()
    plans = {row["user_id"]: Plan.model_validate_json(row["plan"]).of_lists() for row in rows}
    texts = {user_id: plan.to_json() for user_id, plan in plans.items() if not plan.empty}
    places = {text: place for place, text in enumerate(dict.fromkeys(texts.values()))}
    return {"plans": list(places), "planned": {user_id: places[text] for user_id, text in texts.items()}}


def _on_record_since(night: Night) -> str:
    first = first_retained_listens(night.on(night.run_date + timedelta(days=1)))
    ingested = tables.dates(night.warehouse, "ingests")
    return str(first) if ingested and ingested[0] < first else ""


def _set_aside(night: Night) -> dict[str, tuple[str, str, int, bool]]:
    rows = tables.night_rows(night, "set_aside", ["user_id", "not_taste", "asked_on", "listens", "older"]).to_pylist()
    return {row["user_id"]: (row["not_taste"], str(row["asked_on"]), row["listens"], row["older"]) for row in rows}


def weights_of_arms(
    settings: Settings, experiments: Sequence[Experiment]
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, str]]]:
    """`arm_weights` and `counterparts` of `ItemsInfo`; nothing of experiments that change only nightly lists.

    Args:
        settings: of the night, which control has.
        experiments: that run on it.

    Raises:
        UsageError: a value that an arm changes is unknown or out of range.
    """
    weights: dict[str, dict[str, float]] = {}
    counterparts: dict[str, dict[str, str]] = {}
    for experiment in experiments:
        control = Cell(experiment.name, CONTROL).label
        arms = {name: arm for name, arm in experiment.arms.items() if not arm.plays_on_alike}
        labels = {name: Cell(experiment.name, name).label for name in arms}
        if arms:
            weights[control] = settings.now_playing.model_dump()
            counterparts[control] = labels
        for name, arm in arms.items():
            weights[labels[name]] = arm_settings(settings, arm).now_playing.model_dump()
            counterparts[labels[name]] = {name: control}
    return weights, counterparts


def _popular(model: Model, markets: Markets, content_types: pa.Array) -> Mapping[str, Sequence[int]]:
    """Numbers of the most heard items that may be listed in each market, and among everyone; most heard first."""
    codes = content_types.dictionary_encode().indices.to_numpy()[model.item_indexes]
    everyone = np.asarray(markets.masks.any(axis=0))
    popular = {EVERYWHERE: _most_heard(model, model.listeners, everyone, codes)}
    for market, listeners in model.market_listeners.items():
        mask = markets.masks[markets.classes.get(market, markets.others)]
        popular[market] = _most_heard(model, listeners.of(np.arange(len(model.listeners))), mask, codes)
    return popular


def _most_heard(model: Model, listeners: Counts, may_list: Mask, codes: npt.NDArray[np.int32]) -> list[int]:
    heard = np.where(may_list[model.item_indexes], listeners, 0)
    order = np.lexsort((model.item_indexes, -heard))[: int((heard > 0).sum())]
    chosen = np.zeros(len(order), bool)
    for code in np.unique(codes):
        chosen[np.flatnonzero(codes[order] == code)[:POPULAR]] = True
    numbers: list[int] = model.item_indexes[order[chosen]].tolist()
    return numbers
