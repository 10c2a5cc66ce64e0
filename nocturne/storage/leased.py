"""Nights under the lease on their warehouse, with the token that keeps late writers out of its tables."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from nocturne.core.night import Night
from nocturne.storage import warehouse
from nocturne.storage.lease import hold


@contextmanager
def leased(nights: Sequence[Night], holder: str | None = None) -> Iterator[list[Night]]:
    """Hold the lease for as long as the block runs; gives the nights with its token. Tables that lack are created.

    Args:
        nights: of one warehouse, in order.
        holder: a run that may hold the lease already.

    Raises:
        ServiceError: another night holds the lease.
        SettingsError: the warehouse cannot be written.
    """
    first = nights[0]
    with hold(first.warehouse, first.run_date, holder) as lease:
        warehouse.create_missing(first)
        if lease.takes_over:
            warehouse.keep_out_late_writers(replace(first, token=lease.token))
        yield [replace(night, token=lease.token) for night in nights]
