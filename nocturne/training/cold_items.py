"""Cold items: rows of `cold_factors`, by which a model ranks items that nobody had heard when it was trained."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Factors, Indexes
from nocturne.core.hashing import hash_rows
from nocturne.core.night import Night
from nocturne.embedding.stored_texts import ItemTexts, item_texts
from nocturne.storage.contracts import contract
from nocturne.storage.history import accumulated_rows
from nocturne.training import registry
from nocturne.training.model import Model, as_lists
from nocturne.training.text_factors import fit_text_map

LISTENERS = 5.0
"""Listeners that a cold item counts as having, where scores are multiplied by a power of them."""

_SCHEMA = contract("cold_factors").arrow_schema
_DIGESTED = ("model_version", "item_index", "factors", "score_multiplier", "neighbours", "similarities", "text_digest")


def cold_factors(night: Night, versions: Iterable[str]) -> pa.Table:
    """Tonight's rows: of every model the items with a text that it has not learned and no earlier night has added."""
    parts = [_SCHEMA.empty_table()]
    if not night.settings.content.cold_items:
        return parts[0]
    texts = item_texts(night)
    for version in sorted(set(versions)):
        learned = registry.learned_items(night.warehouse, version)
        of_model = pc.field("model_version") == version
        added = accumulated_rows(night, "cold_factors", ["run_date", "item_index"], of_model, before=True)
        known = np.concatenate([learned, added["item_index"].to_numpy()])
        new = np.flatnonzero(~np.isin(texts.item_indexes, known))
        if len(new) and np.isin(learned, texts.item_indexes).any():
            rows = rows_of(registry.load_model(night.warehouse, version), texts, texts.take(new))
            parts.append(_dated(rows, night))
    return pa.concat_tables(parts)


def rows_of(model: Model, texts: ItemTexts, cold: ItemTexts) -> pa.Table:
    """Rows of `cold_factors` without their night.

    Args:
        texts: of the items that the model learned, some of them or all; others are passed over.
        cold: items that it did not learn.
    """
    place = np.searchsorted(texts.item_indexes, model.item_indexes)
    place[place == len(texts.item_indexes)] = 0
    with_text = np.flatnonzero(texts.item_indexes[place] == model.item_indexes)
    embeddings = texts.embeddings[place[with_text]]
    text_map = fit_text_map(
        embeddings,
        model.factors[with_text],
        model.listeners[with_text],
        model.similarities[with_text],
    )
    neighbours, similarities = text_map.neighbours(cold.embeddings, model.settings.neighbours)
    columns = {
        "model_version": pa.repeat(model.version, len(cold.item_indexes)),
        "item_index": pa.array(cold.item_indexes),
        "item_id": cold.item_ids,
        "factors": _rows(text_map.factors(cold.embeddings)),
        "score_multiplier": pa.array(np.full(len(cold.item_indexes), LISTENERS**model.settings.score_exponent)),
        **_evidence(model.item_indexes[with_text], neighbours, similarities),
        "text_digest": cold.digests,
    }
    return _digested(pa.table(columns))


def digests(rows: pa.Table) -> pa.Array:
    """The digest of each row of `cold_factors`, in hexadecimal."""
    hashed = rows.select(_DIGESTED).cast(pa.schema([_SCHEMA.field(name) for name in _DIGESTED])).combine_chunks()
    hashes = hash_rows(hashed.to_batches()[0]).tolist() if hashed.num_rows else []
    return pa.array([f"{digest:016x}" for digest in hashes], pa.string())


def _digested(rows: pa.Table) -> pa.Table:
    return rows.append_column("digest", digests(rows))


def _dated(rows: pa.Table, night: Night) -> pa.Table:
    dated = rows.append_column("run_date", pa.repeat(pa.scalar(night.run_date, pa.date32()), rows.num_rows))
    return dated.select(_SCHEMA.names).cast(_SCHEMA)


def _rows(matrix: Factors) -> pa.ListArray:
    return as_lists(np.full(len(matrix), matrix.shape[1]), matrix.ravel())


def _evidence(item_indexes: Indexes, neighbours: Indexes, similarities: Factors) -> dict[str, pa.ListArray]:
    present = neighbours >= 0
    counts = present.sum(axis=1)
    return {
        "neighbours": as_lists(counts, item_indexes[neighbours[present]]),
        "similarities": as_lists(counts, similarities[present]),
    }
