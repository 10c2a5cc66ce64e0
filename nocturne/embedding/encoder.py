"""Encoders: what turns the text of an item into a vector."""

from typing import Literal, Protocol

import pyarrow as pa

from nocturne.core.arrays import Factors
from nocturne.embedding.hashed import HashedEncoder
from nocturne.embedding.sentence import SentenceEncoder


class TextEncoder(Protocol):
    """An encoder: the same text gets the same bytes, whatever else is encoded with it."""

    @property
    def name(self) -> str:
        """Encoder and version; embeddings under two names have nothing in common."""

    @property
    def width(self) -> int:
        """Numbers in an embedding."""

    def encode(self, items: pa.Table) -> Factors:
        """Embed items.

        Args:
            items: title, creator, content_type, tags and description, any of them null.

        Returns:
            Rows of length 1, zeros for an item without a text; shape (items, width).
        """


def make_encoder(name: Literal["hashed", "sentence"]) -> TextEncoder:
    """The encoder of a name.

    Raises:
        UsageError: what it needs is not installed.
    """
    return HashedEncoder() if name == "hashed" else SentenceEncoder()
