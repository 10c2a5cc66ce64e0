"""Items that a model ranks on a night: those that it learned, and those that it knows by their text."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Indexes
from nocturne.core.night import Night
from nocturne.storage import tables
from nocturne.storage.contracts import contract
from nocturne.storage.history import accumulated_rows

_UNLEARNED = {"confidence_weight": 0.0, "listeners": 0, "market_listeners": [], "predecessors": []} | {
    "predecessor_weights": []
}
"""Values in `item_factors` that an item without listeners would have."""


def model_items(night: Night, version: str, columns: Sequence[str]) -> pa.Table:
    """Columns of `item_factors`, item_index among them, in its order: also of items that the model knows by text."""
    learned = tables.rows(night.warehouse, "item_factors", pc.field("model_version") == version, columns)
    cold = cold_rows(night, version, [name for name in columns if name not in _UNLEARNED])
    kinds = contract("item_factors").arrow_schema
    for name in columns:
        if name in _UNLEARNED:
            values = pa.array([_UNLEARNED[name]] * cold.num_rows, kinds.field(name).type)
            cold = cold.append_column(name, values)
    schema = pa.schema([kinds.field(name) for name in columns])
    return pa.concat_tables([rows.select(columns).cast(schema) for rows in (learned, cold)]).sort_by("item_index")


def cold_rows(night: Night, version: str, columns: Sequence[str]) -> pa.Table:
    """Columns of `cold_factors`, of one model; of two rows of an item the older one."""
    if not night.settings.content.cold_items:
        return contract("cold_factors").arrow_schema.empty_table().select(columns)
    needed = [*dict.fromkeys(("run_date", "item_index", *columns))]
    rows = accumulated_rows(night, "cold_factors", needed, pc.field("model_version") == version)
    _, first = np.unique(rows["item_index"].to_numpy(), return_index=True)
    return rows.take(pa.array(first)).select(columns)


def cold_indexes(night: Night, version: str) -> Indexes:
    """Indexes of the items that a model knows by their text alone, ascending."""
    indexes: Indexes = cold_rows(night, version, ["item_index"])["item_index"].to_numpy()
    return indexes
