"""Texts of the catalogue, embedded once, on a warehouse written literally."""

from collections.abc import Callable

import pytest

from nocturne.core.night import Night
from nocturne.embedding.embed_items import embed_items
from nocturne.embedding.encoder import make_encoder
from nocturne.embedding.stored_texts import item_texts
from nocturne.storage import tables
from tests.fixtures import two_listeners
from tests.fixtures.two_listeners import TONIGHT, YESTERDAY, write

ENCODER = make_encoder("hashed").name


@pytest.fixture
def yesterday(night: Callable[..., Night]) -> Night:
    """A night whose index has four items, and whose catalogue names them and one more."""
    made = night(YESTERDAY, *two_listeners.SETTINGS)
    write(made, "item_index", [row | {"first_night": YESTERDAY} for row in two_listeners.item_index()])
    write(made, "items", two_listeners.items(YESTERDAY))
    return made


def embed(night: Night) -> list[str]:
    """Run the stage; the items that it embedded on this night."""
    embed_items(None, night, lambda *_: None)
    rows = tables.rows(night.warehouse, "item_texts").to_pylist()
    return sorted(row["item_id"] for row in rows if row["run_date"] == night.run_date)


def test_every_item_with_an_index_and_a_text_is_embedded_once(yesterday: Night) -> None:
    assert embed(yesterday) == ["a", "b", "c", "e"]
    tonight = yesterday.on(TONIGHT)
    write(tonight, "items", two_listeners.items(TONIGHT))
    write(tonight, "item_index", [{"first_night": TONIGHT, "item_index": 4, "item_id": "d"}])
    assert embed(tonight) == ["d"]


def test_an_item_keeps_the_embedding_of_the_text_that_it_was_first_known_by(yesterday: Night) -> None:
    embed(yesterday)
    first = item_texts(yesterday)
    tonight = yesterday.on(TONIGHT)
    write(tonight, "items", [row | {"title": f"other {row['title']}"} for row in two_listeners.items(TONIGHT)])
    assert embed(tonight) == []
    again = item_texts(tonight)
    assert again.item_ids.to_pylist() == first.item_ids.to_pylist() == ["a", "b", "c", "e"]
    assert again.embeddings.tobytes() == first.embeddings.tobytes()
    assert again.digests.equals(first.digests)


def test_an_item_without_a_text_and_one_that_the_catalogue_dropped_wait_until_there_is_one(yesterday: Night) -> None:
    silent = {"title": None, "creator": None, "tags": None, "description": None}
    changes = {"a": silent, "b": {"absent": True}}
    rows = [row | changes.get(row["item_id"], {}) for row in two_listeners.items(YESTERDAY)]
    write(yesterday, "items", rows)
    assert embed(yesterday) == ["c", "e"]
    tonight = yesterday.on(TONIGHT)
    write(tonight, "items", two_listeners.items(TONIGHT))
    assert embed(tonight) == ["a", "b"]


def test_a_night_run_again_embeds_the_same_items_by_the_same_bytes(yesterday: Night) -> None:
    embed(yesterday)
    once = tables.rows(yesterday.warehouse, "item_texts").sort_by("item_index")
    embed(yesterday)
    assert tables.rows(yesterday.warehouse, "item_texts").sort_by("item_index").equals(once)


def test_embeddings_of_a_night_whose_gate_closed_are_made_anew(yesterday: Night) -> None:
    embed(yesterday)
    failed = {
        "run_date": YESTERDAY, "table": "item_texts", "expectation": "not_unit", "severity": "critical",
        "observed": 1.0, "limit": "at most 0", "outcome": "failed", "seconds": 0.0, "content": "", "files": "",
    }  # fmt: skip
    write(yesterday, "validations", [failed])
    tonight = yesterday.on(TONIGHT)
    write(tonight, "items", two_listeners.items(TONIGHT))
    assert embed(tonight) == ["a", "b", "c", "e"]
    assert item_texts(tonight).item_indexes.tolist() == [0, 1, 2, 3]


def test_rows_say_which_encoder_and_which_text_they_are_of(yesterday: Night) -> None:
    embed(yesterday)
    rows = tables.rows(yesterday.warehouse, "item_texts").to_pylist()
    assert {row["encoder"] for row in rows} == {ENCODER}
    assert len({row["text_digest"] for row in rows}) == 4
    assert {len(row["embedding"]) for row in rows} == {make_encoder("hashed").width}
