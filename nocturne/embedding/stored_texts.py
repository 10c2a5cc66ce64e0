"""Embeddings of a night's items, as `embed_items` has left them."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Factors, Indexes, Positions
from nocturne.core.night import Night
from nocturne.embedding.encoder import make_encoder
from nocturne.storage.history import accumulated_rows

_COLUMNS = ("run_date", "item_index", "item_id", "text_digest", "embedding")


@dataclass(frozen=True)
class ItemTexts:
    """Items with a text.

    Attributes:
        item_indexes: ascending; shape (items,).
        item_ids: aligned with it.
        digests: hash of each text.
        embeddings: float32, of length 1; shape (items, width).
    """

    item_indexes: Indexes
    item_ids: pa.Array
    digests: pa.Array
    embeddings: Factors

    def take(self, places: Positions) -> "ItemTexts":
        """Some of the items."""
        chosen = pa.array(places)
        return ItemTexts(
            self.item_indexes[places], self.item_ids.take(chosen), self.digests.take(chosen), self.embeddings[places]
        )


def item_texts(night: Night) -> ItemTexts:
    """All items that the night's encoder has embedded so far; of two embeddings of an item the first one counts."""
    encoder = make_encoder(night.settings.content.encoder)
    rows = accumulated_rows(night, "item_texts", _COLUMNS, pc.field("encoder") == encoder.name).combine_chunks()
    indexes, first = np.unique(rows["item_index"].to_numpy(), return_index=True)
    chosen = rows.take(pa.array(first))
    return ItemTexts(
        indexes.astype(np.int32),
        chosen["item_id"].combine_chunks(),
        chosen["text_digest"].combine_chunks(),
        chosen["embedding"].combine_chunks().flatten().to_numpy().reshape(-1, encoder.width),
    )
