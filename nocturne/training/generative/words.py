"""Words of items and of prompts as bags: places of hashed words, and of pairs of words that stand together."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa

from nocturne.core.csr import CsrRows
from nocturne.core.hashing import hash_ids
from nocturne.embedding.hashed import words

_SEED = 7


def bags(texts: Iterable[Sequence[str]], buckets: int) -> CsrRows:
    """The bag of each text, given as its phrases: no pair of words reaches from one phrase into the next."""
    found = [list(dict.fromkeys(token for phrase in phrases for token in _tokens(phrase))) for phrases in texts]
    hashes = hash_ids(pa.array([token for tokens in found for token in tokens], pa.string()), _SEED)
    offsets = np.concatenate([[0], np.cumsum([len(tokens) for tokens in found], dtype=np.int64)])
    return CsrRows(offsets, (hashes % np.uint64(buckets)).astype(np.int32))


def phrases_of(items: pa.Table) -> Iterator[list[str]]:
    """Title, creator and tags of each item, each tag once.

    Args:
        items: title, creator and tags, any of them null.
    """
    for title, creator, tags in zip(*(items[name].to_pylist() for name in ("title", "creator", "tags")), strict=True):
        yield list(dict.fromkeys(phrase for phrase in (title, creator, *(tags or ())) if phrase))


def _tokens(phrase: str) -> Iterator[str]:
    found = words(phrase)
    yield from found
    yield from (" ".join(pair) for pair in pairwise(found))
