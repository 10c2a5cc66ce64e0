"""Bridges of a model: rows of `bridges` and `bridge_factors`, by which listeners get lists of a type new to them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from nocturne.core.arrays import Factors, Floats, Indexes, Mask
from nocturne.core.csr import CsrRows
from nocturne.core.hashing import hash_ids
from nocturne.core.night import Night
from nocturne.ingestion.catalogue import UNNAMED_TYPE
from nocturne.storage import tables
from nocturne.storage.contracts import contract
from nocturne.storage.history import accumulated_rows
from nocturne.storage.model_transitions import live_on
from nocturne.storage.stored_rows import StoredRows
from nocturne.training import registry
from nocturne.training.bridge import Bridge, choose_bridge, listener_vectors, taste_axes
from nocturne.training.confidences import columns_of, heard_items
from nocturne.training.model import Model, as_lists

MOST_LISTENERS = 200_000
"""Listeners that a bridge learns from, by hash: enough for the items that lists are made of."""

MOST_SOURCES = 50_000
"""Items of other types that tell listeners apart, the most heard: the others have too few listeners to say much."""

SOURCE, TARGET = "source", "target"
_SEED = 4_099


class BridgeTables(NamedTuple):
    """Rows of the tables of these names."""

    bridges: pa.Table
    bridge_factors: pa.Table


@dataclass(frozen=True)
class StoredBridge:
    """A bridge in the positions of a model.

    Attributes:
        sources: positions of items of other types, ascending.
        axes: theirs; shape (sources, axes).
        targets: positions of items of the type, ascending.
        factors: theirs, with the intercept last; shape (targets, axes + 1).
    """

    sources: Indexes
    axes: Factors
    targets: Indexes
    factors: Factors

    @classmethod
    def nothing(cls, sources: Indexes, targets: Indexes) -> "StoredBridge":
        """A bridge without axes."""
        return cls(sources, np.zeros((len(sources), 0), np.float32), targets, np.zeros((len(targets), 1), np.float32))

    def listeners(self, heard: CsrRows, items: int) -> Floats:
        """Listeners as the bridge takes them, with a 1 behind; zeros for those who heard no source.

        Args:
            heard: positions of what each of them heard.
            items: of the model, count.

        Returns:
            Shape (listeners, axes + 1).
        """
        place = np.full(items, -1, np.int32)
        place[self.sources] = np.arange(len(self.sources))
        of_sources = CsrRows(heard.offsets, place[heard.positions])
        of_sources = of_sources.where(of_sources.positions >= 0)
        used, column = np.unique(of_sources.positions, return_inverse=True)
        ones = np.ones(len(column))
        matrix = csr_matrix((ones, column, of_sources.offsets), (len(heard.lengths), len(used)))
        vectors = listener_vectors(matrix, self.axes[used].astype(np.float64))
        return np.hstack([vectors, vectors.any(axis=1, keepdims=True).astype(np.float64)])


def bridge_tables(night: Night) -> BridgeTables:
    """Tonight's rows: of the live model, every content type that no earlier night has decided on."""
    none = BridgeTables(*(contract(name).arrow_schema.empty_table() for name in BridgeTables._fields))
    model = live_on(registry.models(night.warehouse), night.run_date)
    if model is None:
        return none
    of_model = pc.field("model_version") == model.version
    decided = accumulated_rows(night, "bridges", ["run_date", "content_type"], of_model, before=True)
    types = sorted(set(night.settings.ranking.shelf_types) - set(decided["content_type"].to_pylist()))
    if not types:
        return none
    learned = registry.load_model(night.warehouse, model.version)
    user_ids, heard = _sample(night, learned)
    of_items = _content_types(night, learned)
    with threadpool_limits(1):
        built = {name: build(user_ids, heard, of_items == name) for name in types}
    parts = [_tables(name, *made, learned) for name, made in built.items()]
    dated = (
        _dated(pa.concat_tables(rows), table, night, model.version)
        for table, rows in zip(BridgeTables._fields, zip(*parts, strict=True), strict=True)
    )
    return BridgeTables(*dated)


def build(user_ids: pa.Array, heard: csr_matrix, of_type: Mask) -> tuple[Bridge, StoredBridge]:
    """A bridge into a content type, from listeners of that type and of others.

    Args:
        user_ids: of the listeners, all different.
        heard: 1 where a listener heard an item; shape (listeners, items).
        of_type: items of the type; shape (items,).
    """
    counts = np.bincount(heard.indices, minlength=heard.shape[1])
    others = np.flatnonzero(~of_type & (counts > 0))
    most_heard = others[np.argsort(-counts[others], kind="stable")[:MOST_SOURCES]]
    sources, targets = np.sort(most_heard).astype(np.int32), np.flatnonzero(of_type & (counts > 0)).astype(np.int32)
    of_sources, of_targets = heard[:, sources], heard[:, targets]
    crossing = np.flatnonzero((np.diff(of_sources.indptr) > 0) & (np.diff(of_targets.indptr) > 0))
    if not len(crossing):
        return Bridge.nothing(len(targets)), StoredBridge.nothing(sources, targets)
    axes = taste_axes(of_sources).astype(np.float32)
    vectors = listener_vectors(of_sources[crossing], axes.astype(np.float64))
    bridge = choose_bridge(vectors, of_targets[crossing], user_ids.take(pa.array(crossing)))
    return bridge, StoredBridge(sources, axes, targets, bridge.factors)


def stored_bridges(night: Night, model: Model) -> dict[str, StoredBridge | None]:
    """The bridges of a model by content type; None where popularity is the best that can be said."""
    of_model = pc.field("model_version") == model.version
    decisions = accumulated_rows(night, "bridges", ["run_date", "content_type", "beats_popularity"], of_model)
    columns = ["run_date", "item_index", "content_type", "side", "factors"]
    rows = accumulated_rows(night, "bridge_factors", columns, of_model)
    return {
        name: _stored(rows.filter(pc.equal(rows["content_type"], name)), model) if beats else None
        for name, beats in zip(
            *(decisions[column].to_pylist() for column in ("content_type", "beats_popularity")), strict=True
        )
    }


def _stored(rows: pa.Table, model: Model) -> StoredBridge:
    """A bridge of its rows, in order of item_index."""
    sides = {}
    for side in (SOURCE, TARGET):
        some = rows.filter(pc.equal(rows["side"], side)).combine_chunks()
        positions = columns_of(some["item_index"].to_numpy(), model.position)
        factors = some["factors"].combine_chunks().flatten().to_numpy().reshape(len(positions), -1)
        order = np.argsort(positions, kind="stable")
        sides[side] = positions[order].astype(np.int32), factors[order]
    return StoredBridge(*sides[SOURCE], *sides[TARGET])


def _sample(night: Night, model: Model) -> tuple[pa.Array, csr_matrix]:
    """Listeners, all or as many as a bridge learns from, and what they heard of the model's items."""
    share = MOST_LISTENERS / max(1, tables.count(night, "interactions"))
    user_ids, lengths, positions = [pa.array([], pa.string())], [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]
    for everyone in StoredRows.at(night, "interactions", ["user_id", "item_indexes"]):
        batch = everyone.filter(pa.array(hash_ids(everyone.column("user_id"), _SEED) / 2.0**64 < share))
        offsets, item_indexes = heard_items(batch)
        rows = CsrRows(offsets, columns_of(item_indexes, model.position))
        rows = rows.where(rows.positions >= 0)
        user_ids.append(batch.column("user_id"))
        lengths.append(rows.lengths)
        positions.append(rows.positions)
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    column = np.concatenate(positions)
    shape = (len(offsets) - 1, len(model.item_indexes))
    return pa.concat_arrays(user_ids), csr_matrix((np.ones(len(column)), column, offsets), shape)


def _content_types(night: Night, model: Model) -> np.ndarray:
    """The content type of each item of the model tonight; shape (items,)."""
    catalogue = tables.night_rows(night, "items", ["item_id", "content_type"]).combine_chunks()
    place = pc.index_in(model.item_ids, value_set=catalogue["item_id"].combine_chunks())
    types = pc.fill_null(catalogue["content_type"].combine_chunks().take(place), UNNAMED_TYPE)
    return np.asarray(types.to_numpy(zero_copy_only=False))


def _tables(content_type: str, bridge: Bridge, stored: StoredBridge, model: Model) -> BridgeTables:
    decision = {
        "content_type": content_type,
        "listeners": bridge.listeners,
        "penalty": bridge.penalty,
        "ndcg": bridge.ndcg,
        "popularity_ndcg": bridge.popularity_ndcg,
        "low": bridge.low,
        "high": bridge.high,
        "beats_popularity": bridge.beats_popularity,
    }
    sides = ((SOURCE, stored.sources, stored.axes), (TARGET, stored.targets, stored.factors))
    parts = [
        pa.table(
            {
                "content_type": pa.repeat(content_type, len(positions)),
                "side": pa.repeat(side, len(positions)),
                "item_index": pa.array(model.item_indexes[positions]),
                "factors": as_lists(np.full(len(positions), factors.shape[1]), factors.ravel()),
            }
        )
        for side, positions, factors in sides
    ]
    factors = pa.concat_tables(parts)
    return BridgeTables(pa.Table.from_pylist([decision]), factors if bridge.beats_popularity else factors.slice(0, 0))


def _dated(rows: pa.Table, table: str, night: Night, version: str) -> pa.Table:
    named = {"run_date": pa.scalar(night.run_date, pa.date32()), "model_version": version}
    for name, value in named.items():
        rows = rows.append_column(name, pa.repeat(value, rows.num_rows))
    schema = contract(table).arrow_schema
    return rows.select(schema.names).cast(schema)
