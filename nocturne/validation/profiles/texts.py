"""Profiles of `item_texts` and `cold_factors`: every item with a text can be ranked, by factors that follow from it."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Factors
from nocturne.core.hashing import hash_rows
from nocturne.core.night import Night
from nocturne.embedding.encoder import make_encoder
from nocturne.storage import tables
from nocturne.storage.history import accumulated_rows
from nocturne.validation.profiles.arithmetic import Profile, repeated, share, total
from nocturne.validation.profiles.model_items import cold_rows
from nocturne.validation.profiles.models import live_models

_TEXTS = ["title", "creator", "tags", "description", "content_type"]
_ENCODED_AGAIN = 4_096
_UNIT = 1e-4
"""Largest distance of the length of an embedding from 1."""

_OF_COLD = [
    *("model_version", "item_index", "factors", "score_multiplier", "neighbours", "similarities", "text_digest"),
    "digest",
]


def item_texts(night: Night) -> Profile:
    """Of the embeddings of the night's encoder, and above all of tonight's."""
    encoder = make_encoder(night.settings.content.encoder)
    of_encoder = pc.field("encoder") == encoder.name
    ours = accumulated_rows(night, "item_texts", ["run_date", "item_index", "item_id"], of_encoder)
    added = _added_tonight(night)
    norms = _norms(added)
    return {
        "duplicate_items": repeated(ours["item_index"]),
        "unlike_index": _unlike_index(night, added),
        "wrong_length": total(pc.not_equal(pc.list_value_length(added["embedding"]), encoder.width)),
        "not_finite": int((~np.isfinite(norms)).sum()),
        "not_unit": int((np.abs(norms - 1) > _UNIT).sum()),
        "unlike_encoded": _unlike_encoded(night, added),
        "share_without_text": _share_without_text(night, ours),
    }


def cold_factors(night: Night) -> Profile:
    """Of the items that the live model knows by their text alone."""
    live = live_models(night)
    if not live:
        unknown = ("duplicate_items", "unlike_index", "learned", "wrong_length", "not_finite", "unlike_digest")
        return dict.fromkeys((*unknown, "unlike_text", "without_factors", "largest_norm_vs_learned"))
    model = live[0]
    rows = cold_rows(night, model.version, [*_OF_COLD, "item_id"]).combine_chunks()
    learned = tables.night_rows(night, "item_factors", ["item_index", "factors"])
    added = tables.night_rows(night, "cold_factors", ["run_date", "model_version", "item_index"])
    tonight = added.filter(pc.equal(added["run_date"], pa.scalar(night.run_date, pa.date32())))
    norms, usual = _norms(rows, "factors"), _norms(learned, "factors")
    return {
        "duplicate_items": repeated(tonight.filter(pc.equal(tonight["model_version"], model.version))["item_index"]),
        "unlike_index": _unlike_index(night, rows),
        "learned": total(pc.is_in(rows["item_index"], value_set=learned["item_index"].combine_chunks())),
        "wrong_length": total(
            pc.not_equal(pc.list_value_length(rows["factors"]), json.loads(model.settings)["factors"])
        ),
        "not_finite": int((~np.isfinite(norms)).sum()),
        "unlike_digest": _unlike_digest(rows),
        "unlike_text": _unlike_text(night, rows),
        "without_factors": _without_factors(night, learned, rows),
        "largest_norm_vs_learned": share(float(norms.max(initial=0.0)), float(usual.max(initial=0.0))),
    }


def _added_tonight(night: Night) -> pa.Table:
    rows = tables.night_rows(night, "item_texts")
    return rows.filter(pc.equal(rows["run_date"], pa.scalar(night.run_date, pa.date32()))).combine_chunks()


def _norms(rows: pa.Table, column: str = "embedding") -> np.ndarray:
    """Length of each list of numbers."""
    lists = rows[column].combine_chunks()
    squares = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float64) ** 2
    return np.sqrt(np.bincount(pc.list_parent_indices(lists), squares, minlength=len(lists)))


def _unlike_index(night: Night, rows: pa.Table) -> int:
    """Rows whose item id is not the one that `item_index` has for their index."""
    index = tables.night_rows(night, "item_index", ["item_index", "item_id"]).combine_chunks()
    place = pc.index_in(rows["item_index"].combine_chunks(), value_set=index["item_index"].combine_chunks())
    ids = index["item_id"].combine_chunks().take(place)
    return int(rows.num_rows - total(pc.equal(ids, rows["item_id"].combine_chunks())))


def _unlike_encoded(night: Night, added: pa.Table) -> int:
    """Of the first rows of tonight, those that are not what the encoder makes of the night's catalogue."""
    rows = added.slice(0, _ENCODED_AGAIN)
    catalogue = tables.night_rows(night, "items", ["item_id", *_TEXTS]).combine_chunks()
    place = pc.index_in(rows["item_id"].combine_chunks(), value_set=catalogue["item_id"].combine_chunks())
    texts = catalogue.take(place).select(_TEXTS).combine_chunks()
    if not texts.num_rows:
        return 0
    encoder = make_encoder(night.settings.content.encoder)
    stored = rows["embedding"].combine_chunks().flatten().to_numpy()
    if len(stored) != rows.num_rows * encoder.width:
        return int(rows.num_rows)
    same = (encoder.encode(texts) == _shaped(stored, encoder.width)).all(axis=1)
    digests = pa.array([f"{digest:016x}" for digest in hash_rows(texts.to_batches()[0]).tolist()])
    alike = pc.equal(digests, rows["text_digest"].combine_chunks()).to_numpy(zero_copy_only=False)
    return int((~(same & alike)).sum())


def _shaped(flat: np.ndarray, width: int) -> Factors:
    return flat.reshape(-1, width)


def _share_without_text(night: Night, rows: pa.Table) -> float | None:
    """Share of the items that the catalogue names that have no embedding."""
    catalogue = tables.night_rows(night, "items", ["item_id", "absent"])
    named = catalogue.filter(pc.invert(catalogue["absent"]))
    with_text = pc.is_in(named["item_id"], value_set=rows["item_id"].combine_chunks())
    return share(named.num_rows - total(with_text), named.num_rows) if named.num_rows else None


def _unlike_digest(rows: pa.Table) -> int:
    """Rows that are not what they were when they were added."""
    if not rows.num_rows:
        return 0
    hashed = rows.select(_OF_COLD[:-1]).combine_chunks().to_batches()[0]
    digests = pa.array([f"{digest:016x}" for digest in hash_rows(hashed).tolist()])
    return int(rows.num_rows - total(pc.equal(digests, rows["digest"].combine_chunks())))


def _unlike_text(night: Night, rows: pa.Table) -> int:
    """Rows that name another text than the item was embedded by."""
    texts = accumulated_rows(night, "item_texts", ["run_date", "item_index", "text_digest"])
    key = pc.binary_join_element_wise(texts["item_index"].cast(pa.string()), texts["text_digest"], " ")
    ours = pc.binary_join_element_wise(rows["item_index"].cast(pa.string()), rows["text_digest"], " ")
    return int(rows.num_rows - total(pc.is_in(ours, value_set=pc.unique(key))))


def _without_factors(night: Night, learned: pa.Table, rows: pa.Table) -> int:
    """Items with an embedding that the live model neither learned nor knows by it; 0 where none can be."""
    encoder = make_encoder(night.settings.content.encoder)
    texts = accumulated_rows(night, "item_texts", ["run_date", "item_index"], pc.field("encoder") == encoder.name)
    embedded = pc.unique(texts["item_index"])
    learned_too = pc.is_in(embedded, value_set=learned["item_index"].combine_chunks())
    if not (night.settings.content.cold_items and total(learned_too)):
        return 0
    known = pc.or_(learned_too, pc.is_in(embedded, value_set=rows["item_index"].combine_chunks()))
    return int(len(embedded) - total(known))
