"""Profiles of `bridges` and `bridge_factors`: a decision on every content type, and factors where it says so."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.night import Night
from nocturne.storage import tables
from nocturne.storage.history import accumulated_rows
from nocturne.validation.profiles.arithmetic import Profile, repeated, total
from nocturne.validation.profiles.models import live_models

_FIGURES = ("penalty", "ndcg", "popularity_ndcg", "low", "high")
_OF_BRIDGES = ("undecided", "duplicate_types", "not_finite", "unlike_evidence", "outside_interval")
_OF_FACTORS = ("unlike_bridges", "duplicate_items", "not_learned", "wrong_length", "not_finite")
_ROUNDING = 1e-9


def bridges(night: Night) -> Profile:
    """Of the decisions on the live model's bridges."""
    live = live_models(night)
    if not live:
        return dict.fromkeys(_OF_BRIDGES)
    rows = _decisions(night, live[0].version)
    figures = np.stack([rows[name].to_numpy() for name in _FIGURES])
    difference, low, high = rows["ndcg"].to_numpy() - rows["popularity_ndcg"].to_numpy(), *figures[-2:]
    beats, proved = (rows[name].to_numpy() for name in ("beats_popularity", "listeners"))
    return {
        "undecided": len(set(night.settings.ranking.shelf_types) - set(rows["content_type"].to_pylist())),
        "duplicate_types": repeated(rows["content_type"]),
        "not_finite": int((~np.isfinite(figures)).any(axis=0).sum()),
        "unlike_evidence": int((beats != ((low > 0) & (proved > 0))).sum()),
        "outside_interval": int(((difference < low - _ROUNDING) | (difference > high + _ROUNDING)).sum()),
    }


def bridge_factors(night: Night) -> Profile:
    """Of the live model's bridges."""
    live = live_models(night)
    if not live:
        return dict.fromkeys(_OF_FACTORS)
    columns = ["run_date", "item_index", "content_type", "side", "factors"]
    of_model = pc.field("model_version") == live[0].version
    rows = accumulated_rows(night, "bridge_factors", columns, of_model).combine_chunks()
    learned = tables.night_rows(night, "item_factors", ["item_index"])["item_index"].combine_chunks()
    present = set(rows["content_type"].to_pylist())
    expected = {name for name, beats in bridges_of(night, live[0].version).items() if beats}
    keys = pc.binary_join_element_wise(rows["content_type"], rows["item_index"].cast(pa.string()), " ")
    lengths = pc.list_value_length(rows["factors"]).to_numpy()
    values = rows["factors"].combine_chunks()
    wrong = pc.list_parent_indices(values).to_numpy()[~np.isfinite(values.flatten().to_numpy())]
    return {
        "unlike_bridges": len(present ^ expected),
        "duplicate_items": repeated(keys),
        "not_learned": rows.num_rows - total(pc.is_in(rows["item_index"], value_set=learned)),
        "wrong_length": _count_wrong_lengths(rows, lengths),
        "not_finite": len(np.unique(wrong)),
    }


def bridges_of(night: Night, version: str) -> dict[str, bool]:
    """The content types that a model has decided on, and whether its bridge into them beats what is popular."""
    rows = _decisions(night, version)
    return dict(zip(*(rows[name].to_pylist() for name in ("content_type", "beats_popularity")), strict=True))


def _decisions(night: Night, version: str) -> pa.Table:
    columns = ["run_date", "content_type", "listeners", *_FIGURES, "beats_popularity"]
    return accumulated_rows(night, "bridges", columns, pc.field("model_version") == version)


def _count_wrong_lengths(rows: pa.Table, lengths: np.ndarray) -> int:
    """Rows that are not as long as their side of their bridge is: targets have an intercept behind the axes."""
    types, targets = (np.asarray(rows[name].to_pylist(), object) for name in ("content_type", "side"))
    axes = lengths - (targets == "target")
    return sum(int((axes[types == name] != np.median(axes[types == name])).sum()) for name in set(types.tolist()))
