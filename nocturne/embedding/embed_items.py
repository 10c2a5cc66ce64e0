"""Stage `embed_items`: an embedding of the text of every item that has none yet."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from nocturne.core.hashing import hash_rows
from nocturne.core.night import Night
from nocturne.core.stage import Progress, StageResult
from nocturne.embedding.encoder import TextEncoder, make_encoder
from nocturne.storage import tables, writing
from nocturne.storage.contracts import contract
from nocturne.storage.history import accumulated_rows

TEXTS = ("title", "creator", "tags", "description", "content_type")
"""Columns of `items` that are a text."""

_ITEMS_AT_ONCE = 20_000


def embed_items(spark: SparkSession, night: Night, progress: Progress) -> StageResult:
    """Embed every item that the catalogue names and no earlier night has embedded; without Spark.

    An item keeps the embedding that it was given first, whatever the catalogue says of it later.
    """
    encoder = make_encoder(night.settings.content.encoder)
    items = new_items(night, encoder)
    parts = [contract("item_texts").arrow_schema.empty_table()]
    for first in range(0, items.num_rows, _ITEMS_AT_ONCE):
        progress(first, items.num_rows, "items")
        parts.append(texts_table(items.slice(first, _ITEMS_AT_ONCE), encoder, night))
    table = pa.concat_tables(parts)
    writing.replace_night(table, "item_texts", night)
    return StageResult(items.num_rows, remark=f"{encoder.name}, {table.num_rows:,} texts")


def new_items(night: Night, encoder: TextEncoder) -> pa.Table:
    """Items of the index that the night's catalogue names and the encoder has not embedded.

    Returns:
        item_index, item_id and TEXTS, in order of item_index.
    """
    ours = pc.field("encoder") == encoder.name
    stored = accumulated_rows(night, "item_texts", ["run_date", "item_index"], ours, before=True)
    embedded = stored["item_index"].combine_chunks()
    catalogue = tables.night_rows(night, "items", ["item_id", "absent", *TEXTS])
    named = catalogue.filter(pc.invert(catalogue["absent"])).drop(["absent"])
    index = tables.night_rows(night, "item_index", ["item_id", "item_index"]).combine_chunks()
    place = pc.index_in(named["item_id"].combine_chunks(), value_set=index["item_id"].combine_chunks())
    items = named.append_column("item_index", index["item_index"].combine_chunks().take(place))
    known = pc.is_valid(items["item_index"])
    new = pc.and_not(known, pc.is_in(items["item_index"], value_set=embedded))
    return items.filter(new).sort_by("item_index").combine_chunks()


def texts_table(items: pa.Table, encoder: TextEncoder, night: Night) -> pa.Table:
    """Rows of `item_texts` of the items that have a text.

    Args:
        items: item_index, item_id and TEXTS.
    """
    vectors = encoder.encode(items)
    texts = items.select(TEXTS).combine_chunks()
    digests = hash_rows(texts.to_batches()[0]) if texts.num_rows else np.zeros(0, np.uint64)
    some = vectors.any(axis=1)
    columns = {
        "run_date": pa.repeat(pa.scalar(night.run_date, pa.date32()), items.num_rows),
        "item_index": items["item_index"],
        "item_id": items["item_id"],
        "encoder": pa.repeat(encoder.name, items.num_rows),
        "text_digest": pa.array([f"{digest:016x}" for digest in digests.tolist()], pa.string()),
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), encoder.width),
    }
    return pa.table(columns).filter(pa.array(some)).cast(contract("item_texts").arrow_schema)
