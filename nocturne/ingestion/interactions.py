"""Listens -> the interaction matrix: one row per listener, decayed sums as fixed-point integers.

Time is cut into periods of one half-life, counted from 1970-01-01. A listen is worth 2^(t/half_life - n)
in the period n of the night that ingests it, t being its day: 1 on the period's first day, nearly 2 on
its last, in units of 2^-20. When listens of a later period arrive, what was there is halved once per period,
rounding down. Integers add without rounding, so adding a night to a row gives exactly what a rebuild
from all nights gives; and because halving bounds the sums, they never overflow, however old the service.
A row that gets no listens stays as it is, byte by byte.

Sums know no order. So a row also keeps its last listens in the order of time: ages in listens follow from them when
the row is read, late listens included.
"""

from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.hashing import Hashes, hash_rows
from nocturne.ingestion.row_merge import LISTENER, merge_listens
from nocturne.storage.contracts import contract

UNIT = 2**20
"""Sums count 1/UNIT plays or seconds."""

EPOCH = date(1970, 1, 1)

_KINDS = contract("interactions").arrow_schema
ROW = pa.schema(field for field in _KINDS if field.name not in {"run_date", "bucket", "digest"})
"""What is built upon, and its digest taken over."""

WEIGHTED = pa.schema(
    [
        *(_KINDS.field(name) for name in LISTENER),
        pa.field("item_index", pa.int32(), nullable=False),
        ("plays", pa.int64()),
        ("seconds", pa.int64()),
        ("heard_at", pa.timestamp("us", "UTC")),
    ]
)
"""Listens as the amounts that they add to their listeners' rows."""

_DAY = 86_400_000_000
"""In microseconds."""


def strength_scale(period: int, anchor_date: date, half_life_days: float) -> float:
    """Factor that turns a sum of `period` into plays (or seconds), as they are worth on `anchor_date`."""
    return float(2.0 ** (period - (anchor_date - EPOCH).days / half_life_days)) / UNIT


def index_new_items(items: pa.Array, index: pa.Table, run_date: date) -> pa.Table:
    """Give the items that are new the next free indexes, in order of item_id.

    Args:
        items: ids of items that were heard or that the catalogue names, any number of times.
        index: all rows of `item_index`.

    Returns:
        The rows of `item_index` whose first_night is `run_date`: those that `index` has, and the new ones.
    """
    ids = pc.unique(items)
    new = ids.filter(pc.invert(pc.is_in(ids, value_set=index["item_id"].combine_chunks())))
    new = new.take(pc.sort_indices(new))
    next_free = 1 + (pc.max(index["item_index"]).as_py() if index.num_rows else -1)
    added = {
        "first_night": pa.repeat(pa.scalar(run_date), len(new)),
        "item_index": pa.array(np.arange(next_free, next_free + len(new)), pa.int32()),
        "item_id": new,
    }
    columns = list(added)
    of_night = index.select(columns).filter(pc.equal(index["first_night"], pa.scalar(run_date)))
    return pa.concat_tables([of_night, pa.table(added).cast(of_night.schema)])


def weigh_listens(listens: pa.Table, run_date: date, half_life_days: float) -> pa.Table:
    """Each listen as the amounts that it adds to its listener's row, WEIGHTED.

    Args:
        listens: columns user_id, market, listened_at, ms_played, plays, and `item_index`, of one night.
        run_date: the night that ingested them.
    """
    heard_at = listens["listened_at"]
    period = np.floor((run_date - EPOCH).days / half_life_days)
    days = heard_at.cast(pa.int64()).to_numpy() // _DAY
    weight = np.floor(np.exp2(days / half_life_days - period) * UNIT + 0.5).astype(np.int64)
    seconds = (pc.fill_null(listens["ms_played"], 0).to_numpy() + 500) // 1000
    rows = listens.num_rows
    columns = {
        "user_id": listens["user_id"],
        "market": listens["market"],
        "market_heard_at": pc.if_else(pc.is_valid(listens["market"]), heard_at, None),
        "period": pa.array(np.full(rows, period, np.int32)),
        "changed_on": pa.repeat(pa.scalar(run_date), rows),
        "item_index": listens["item_index"],
        "plays": pa.array(listens["plays"].to_numpy() * weight),
        "seconds": pa.array(seconds * weight),
        "heard_at": heard_at,
    }
    return pa.table(columns).select(WEIGHTED.names).cast(WEIGHTED)


def add_listens(previous: pa.Table, weighted: pa.Table) -> pa.Table:
    """Add listens to their listeners' rows.

    Args:
        previous: rows of `interactions` of one earlier night, by user_id; none to rebuild from all listens.
        weighted: from `weigh_listens`, of the nights since; all listens of a listener come together.

    Returns:
        The rows of `interactions` without run_date and bucket: one per listener, old and new, by user_id.

    Source: confidence from how often something was heard, after Hu, Koren and Volinsky (2008), section 2.
    """
    return with_digests(merge_listens(weighted, previous))


def with_digests(rows: pa.Table) -> pa.Table:
    """Rows of `interactions` without run_date and bucket, their digests beside them."""
    rows = rows.select(ROW.names).cast(ROW).combine_chunks()
    digests = [_hexadecimal(hash_rows(batch)) for batch in rows.to_batches()]
    return rows.append_column("digest", pa.chunked_array(digests, pa.string()))


def _hexadecimal(numbers: Hashes) -> pa.Array:
    """Numbers of 64 bits as texts of 16 digits."""
    digits = numbers.astype(">u8").tobytes().hex().encode()
    places = np.arange(0, len(digits) + 1, 16, dtype=np.int32)
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(places), pa.py_buffer(digits))
