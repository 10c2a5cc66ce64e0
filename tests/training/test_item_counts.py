"""Counts by market: whatever the batches, the same as counting one by one; nothing is kept of unheard items."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.training import item_counts
from nocturne.training.item_counts import ItemCounts, MarketCensus, from_maps, to_maps

LISTENERS = st.lists(
    st.tuples(st.sampled_from([None, "SE", "NO", "FI"]), st.lists(st.integers(0, 9), max_size=5, unique=True)),
    max_size=20,
)


@pytest.mark.parametrize("fewest", [1, 2**20])
@given(listeners=LISTENERS, cut=st.integers(1, 20))
def test_listeners_are_counted_as_one_by_one(
    fewest: int, listeners: list[tuple[str | None, list[int]]], cut: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(item_counts, "_FEWEST_PAIRS", fewest)
        census = MarketCensus()
        for start in range(0, len(listeners), cut):
            batch = listeners[start : start + cut]
            items = np.array([item for _, heard in batch for item in heard], np.int64)
            lengths = np.array([len(heard) for _, heard in batch])
            census.add(pa.array([market for market, _ in batch], pa.string()), lengths, items)
        counted = census.by_market()
    expected = Counter((market, item) for market, heard in listeners for item in heard if market)
    assert {
        (market, item): count
        for market, (items, counts) in counted.items()
        for item, count in zip(items.tolist(), counts.tolist(), strict=True)
    } == expected
    assert list(counted) == sorted(counted)
    back = from_maps(to_maps(counted, 10))
    heard_of = {market: counts for market, counts in counted.items() if len(counts.items)}
    assert {name: [part.tolist() for part in counts] for name, counts in back.items()} == {
        name: [part.tolist() for part in counts] for name, counts in heard_of.items()
    }


def test_counts_of_a_choice_of_items_have_their_places_in_it() -> None:
    counts = ItemCounts(np.array([2, 5, 9]), np.array([20, 50, 90]))
    assert counts.of(np.array([9, 0, 5, 10])).tolist() == [90, 0, 50, 0]
    items, values = counts.among(np.array([1, 2, 9]))
    assert (items.tolist(), values.tolist()) == ([1, 2], [20, 90])
