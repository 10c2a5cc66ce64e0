"""Nearness: the known tag whose text is most like a word that nothing knows, by an encoder of `nocturne.embedding`."""

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
import pyarrow as pa

from nocturne.core.arrays import Factors
from nocturne.embedding.encoder import TextEncoder

LEAST_LIKENESS = 0.5
"""Cosine from which words are taken for a tag, of embeddings less the mean of all tags."""


class NearestTags:
    """Tags by the likeness of their text."""

    def __init__(self, tags: Iterable[str], encoder: TextEncoder) -> None:
        """Tags of a catalogue, embedded when they are first asked for."""
        self._tags, self._encoder = sorted(tags), encoder

    def find(self, words: str) -> str | None:
        """The tag that is most like some words; None if none is like them."""
        if not self._tags:
            return None
        likeness = self._centred @ _unit(_embed([words], self._encoder) - self._mean)[0]
        best = int(np.argmax(likeness))
        return self._tags[best] if likeness[best] >= LEAST_LIKENESS else None

    @cached_property
    def _embedded(self) -> Factors:
        return _embed(self._tags, self._encoder)

    @cached_property
    def _mean(self) -> Factors:
        mean: Factors = self._embedded.mean(axis=0, keepdims=True)
        return mean

    @cached_property
    def _centred(self) -> Factors:
        return _unit(self._embedded - self._mean)


def _unit(vectors: Factors) -> Factors:
    unit: Factors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit


def _embed(texts: Sequence[str], encoder: TextEncoder) -> Factors:
    nothing = pa.nulls(len(texts), pa.string())
    columns = {
        "title": pa.array(texts, pa.string()),
        "creator": nothing,
        "content_type": nothing,
        "tags": pa.nulls(len(texts), pa.list_(pa.string())),
        "description": nothing,
    }
    return encoder.encode(pa.table(columns))
