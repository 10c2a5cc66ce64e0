"""Errors of LMDB and the disk, raised as errors for people, and folders made durable."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb

from nocturne.core.errors import ServiceError


@contextmanager
def errors(place: str) -> Iterator[None]:
    """Errors of LMDB and the disk, raised as a ServiceError."""
    try:
        yield
    except (lmdb.Error, OSError) as error:
        raise failed(place, error) from error


def failed(place: str, error: Exception) -> ServiceError:
    """The error that says that the cache failed."""
    return ServiceError(
        "the serving cache failed",
        where=place,
        found=str(error),
        fix="check the disk's free space and the folder's permissions, then run again",
    )


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
