"""The world of `served_world` from a real cache, as a reader has it."""

from collections.abc import Iterator

import pytest

from nocturne.serving.cache import open_cache
from nocturne.serving.reader import Reader, Served
from tests.fixtures.served_world import serve_world


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with open_cache(f"lmdb:{tmp_path_factory.mktemp('cache')}") as cache:
        serve_world(cache)
        reader = Reader(cache)
        yield reader.served()
        reader.close()
