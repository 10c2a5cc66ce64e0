"""Encoders: texts alike have embeddings alike, each for itself, of length 1."""

import sys

import numpy as np
import pyarrow as pa
import pytest

from nocturne.core.errors import UsageError
from nocturne.embedding.encoder import make_encoder
from nocturne.embedding.hashed import HashedEncoder

KINDS = {name: pa.string() for name in ("title", "creator", "content_type", "description")}
SCHEMA = pa.schema(KINDS | {"tags": pa.list_(pa.string())})


def texts(*rows: dict[str, object]) -> pa.Table:
    return pa.Table.from_pylist([dict.fromkeys(SCHEMA.names) | row for row in rows], schema=SCHEMA)


def likeness(one: dict[str, object], other: dict[str, object]) -> float:
    first, second = HashedEncoder().encode(texts(one, other))
    return float(first @ second)


def test_embeddings_have_length_1_and_an_item_without_a_text_has_none() -> None:
    found = HashedEncoder().encode(texts({"title": "Blue Train"}, {"content_type": "track"}, {"tags": ["jazz"]}))
    assert np.linalg.norm(found, axis=1).tolist() == pytest.approx([1, 0, 1])


def test_common_tags_words_and_creators_make_items_alike() -> None:
    jazz = {"title": "Blue Train", "creator": "Ada", "tags": ["jazz"]}
    assert likeness(jazz, jazz | {"title": "Night Bus"}) > likeness(jazz, jazz | {"tags": ["metal"]}) > 0
    assert likeness(jazz, {"title": "Iron", "creator": "Bo", "tags": ["metal"]}) < 0.4
    assert likeness(jazz, jazz | {"creator": "Bo"}) < likeness(jazz, jazz)


def test_case_accents_and_compatible_forms_make_no_difference() -> None:
    assert likeness({"title": "Caf\u00e9 \uff22LUE"}, {"title": "cafe blue"}) == pytest.approx(1)
    assert likeness({"tags": ["Hip-Hop"]}, {"tags": ["hip hop"]}) == pytest.approx(1)


def test_an_embedding_depends_on_the_items_own_text_alone() -> None:
    rows = [{"title": f"song {number}", "tags": [f"tag {number % 7}"]} for number in range(5_000)]
    together = HashedEncoder().encode(texts(*rows))
    for place in (0, 4_095, 4_096, 4_999):
        assert HashedEncoder().encode(texts(rows[place])).tobytes() == together[place : place + 1].tobytes()


def test_the_same_text_has_the_same_bytes_on_every_machine() -> None:
    """Stored digests are compared with texts encoded anew: another value here is another version of the encoder."""
    (found,) = HashedEncoder().encode(texts({"tags": ["jazz"]}))
    assert HashedEncoder().name == "hashed-1024-v1"
    assert {place: round(float(found[place]), 4) for place in np.flatnonzero(found).tolist()} == {
        254: 0.3664,
        570: 0.7327,
        869: 0.5735,
    }


def test_without_its_extra_the_transformer_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match="uv sync --extra sentence"):
        make_encoder("sentence")
