"""Rows of a generation: however many buckets a loader goes through side by side, it reads few rows of each at once."""

from collections.abc import Callable

import pytest

from nocturne.core.night import Night
from nocturne.serving.served_rows import served_rows
from tests.fixtures import two_listeners


@pytest.mark.parametrize(("buckets", "at_once"), [(1, 4096), (4, 4096), (64, 1024), (100_000, 64)])
def test_what_is_read_ahead_does_not_grow_with_buckets(night: Callable[..., Night], buckets: int, at_once: int) -> None:
    parts = served_rows(night(two_listeners.TONIGHT, f"tables.buckets={buckets}"), None, {})
    assert len(parts) == buckets
    assert {rows.batch_rows for part in parts for rows in (part.lists, part.pools, part.interactions)} == {at_once}
