"""Which items may be listed on a night, in each market, by the catalogue's rules."""

from collections.abc import Collection
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Mask = npt.NDArray[np.bool_]

EVERYWHERE = "*"


def eligibility(
    item_ids: pa.Array,
    catalogue: pa.Table,
    markets: Collection[str | None],
    run_date: date,
    explicit_blocked_markets: Collection[str],
) -> dict[str | None, Mask]:
    """Which of some items may be listed, for every market.

    An item that the catalogue does not know has no rules against it. A listener without a market gets
    nothing that is restricted to markets, and nothing explicit if any market blocks that.

    Args:
        item_ids: the items; shape (items,).
        catalogue: rows of `items` of the night.
        markets: the markets to answer for; None is a listener without one.

    Returns:
        A mask of shape (items,) per market.
    """
    place = pc.index_in(item_ids, value_set=catalogue["item_id"].combine_chunks())
    known = catalogue.take(place)
    night = pa.scalar(run_date, pa.date32())
    started = pc.fill_null(pc.less_equal(known["available_from"], night), True)
    not_over = pc.fill_null(pc.greater_equal(known["available_until"], night), True)
    available = pc.and_(started, not_over).to_numpy()
    explicit = pc.fill_null(known["explicit"], False).to_numpy()
    restricted = pc.is_valid(known["markets"]).to_numpy()
    entries = known["markets"].combine_chunks()
    of_item, of_market = pc.list_parent_indices(entries).to_numpy(), pc.list_flatten(entries)
    masks = {}
    for market in sorted({*markets, None}, key=str):
        licensed = ~restricted
        if market is not None:
            licensed[of_item[pc.fill_null(pc.equal(of_market, market), False).to_numpy(zero_copy_only=False)]] = True
        blocked = market in explicit_blocked_markets or EVERYWHERE in explicit_blocked_markets
        blocked = blocked or (market is None and len(explicit_blocked_markets) > 0)
        masks[market] = available & licensed & ~(explicit & blocked)
    return masks
