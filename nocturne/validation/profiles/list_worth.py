"""Tonight's and last night's lists as last night's model judges them, of the listeners of a sample of buckets."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Positions
from nocturne.core.night import Night
from nocturne.storage import tables
from nocturne.storage.stored_rows import StoredRows
from nocturne.validation.metrics.id_numbers import IdNumbers
from nocturne.validation.metrics.lists import Rows
from nocturne.validation.metrics.metric import Metric
from nocturne.validation.metrics.sums import Labels, SegmentSums
from nocturne.validation.metrics.worth import KINDS, Judge, add_tastes, add_worth, asked_items, worth_metrics
from nocturne.validation.profiles.model_items import model_items
from nocturne.validation.profiles.models import live_models

_LISTENERS = 5_000
"""Of whom buckets have at most so many together, or one bucket has more."""


def list_worth(night: Night, previous: Night | None) -> tuple[Metric, ...]:
    """Metrics of the worth of tonight's lists; none where last night had no model, or has no pools any longer.

    Args:
        previous: the night whose lists are served.
    """
    if previous is None or previous.run_date not in tables.dates(night.warehouse, "pools"):
        return ()
    models = [_KnownModel.of(each) for each in (night, previous)]
    if models[0] is None or models[1] is None:
        return ()
    sums = SegmentSums()
    for bucket in _sampled(previous):
        _add_bucket(sums, (night, previous), (models[0], models[1]), bucket)
    return worth_metrics(sums)


class _KnownModel(NamedTuple):
    """Items of a night's model.

    Attributes:
        numbers: of the items.
        items: factors times the multiplier of the item's scores; shape (items, factors).
    """

    numbers: IdNumbers
    items: np.ndarray

    @classmethod
    def of(cls, night: Night) -> "_KnownModel | None":
        """The live one; None without one, or of none."""
        models = live_models(night)
        if len(models) != 1:
            return None
        rows = model_items(night, models[0].version, ["item_index", "item_id", "factors", "score_multiplier"])
        if not rows.num_rows:
            return None
        vectors = _vectors(rows["factors"], len(rows["factors"][0]))
        return cls(IdNumbers(rows["item_id"].combine_chunks()), vectors * rows["score_multiplier"].to_numpy()[:, None])

    def judge(self, pools: pa.Table) -> Judge:
        """The judge for the listeners of some pools."""
        return Judge(_vectors(pools["factors"], self.items.shape[1]), self.items)


def _add_bucket(
    sums: SegmentSums, nights: tuple[Night, Night], models: tuple[_KnownModel, _KnownModel], bucket: int
) -> None:
    """Add the listeners of a bucket with a list on both nights, tonight's first, and factors."""
    lists = [_rows(each, "ranked_lists", bucket, ["user_id", "items", *KINDS]) for each in nights]
    pools = [_with_factors(each, bucket, model.items.shape[1]) for each, model in zip(nights, models, strict=True)]
    (now, then), (tonight, last_night) = lists, pools
    rows = [_beside(now, each) for each in (then, last_night, tonight)]
    some = (rows[0] >= 0) & (rows[1] >= 0)
    also = some & (rows[2] >= 0)
    labels = {kind: Labels.of(now[kind]) for kind in KINDS}
    of_some, of_also = (
        {kind: each.take(np.flatnonzero(those)) for kind, each in labels.items()} for those in (some, also)
    )
    judge, numbers = models[1].judge(last_night.take(pa.array(rows[1][some]))), models[1].numbers
    listed = _items(now.filter(pa.array(some)), numbers)
    add_worth(sums, judge, listed, _items(then.take(pa.array(rows[0][some])), numbers), of_some)
    of_tonight = models[0].judge(tonight.take(pa.array(rows[2][also])))
    of_last_night = models[1].judge(last_night.take(pa.array(rows[1][also])))
    asked = _asked(models)
    add_tastes(sums, of_tonight.scores(asked[0]), of_last_night.scores(asked[1]), of_also)


def _asked(models: tuple[_KnownModel, _KnownModel]) -> list[np.ndarray]:
    """Places in both models of the items that are compared."""
    tonight, last_night = (each.numbers for each in models)
    known = last_night.ids.filter(pa.array(tonight.find(last_night.ids) >= 0))
    ids = known.take(pa.array(asked_items(known)))
    return [each.find(ids) for each in (tonight, last_night)]


def _with_factors(night: Night, bucket: int, width: int) -> pa.Table:
    """Listeners of pools with factors."""
    pools = _rows(night, "pools", bucket, ["user_id", "factors"])
    return pools.filter(pc.equal(pc.list_value_length(pools["factors"]), width))


def _beside(lists: pa.Table, others: pa.Table) -> Positions:
    """Row of each listener among others; -1 of none."""
    place = pc.index_in(lists["user_id"], value_set=others["user_id"].combine_chunks())
    return np.asarray(pc.fill_null(place, -1).to_numpy()).astype(np.int64)


def _sampled(night: Night) -> range:
    buckets = night.settings.tables.buckets
    return range(max(1, min(buckets, _LISTENERS * buckets // max(1, tables.count(night, "pools")))))


def _rows(night: Night, table: str, bucket: int, columns: list[str]) -> pa.Table:
    return StoredRows.at(night, table, columns).in_bucket(bucket).to_table()


def _vectors(lists: pa.ChunkedArray, width: int) -> np.ndarray:
    flat = lists.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat.reshape(len(lists), width))


def _items(lists: pa.Table, numbers: IdNumbers) -> Rows:
    items = lists["items"].combine_chunks()
    return Rows.of_lists(items, numbers.find_repeating(pc.struct_field(pc.list_flatten(items), "item_id")))
