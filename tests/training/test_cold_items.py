"""Items that a model knows by their text alone: added once a model, by the night that first could, on literal rows."""

from collections.abc import Callable

import numpy as np
import pytest

from nocturne.core.night import Night
from nocturne.embedding.encoder import make_encoder
from nocturne.storage import tables
from nocturne.training import registry
from nocturne.training.cold_items import cold_factors, digests
from tests.fixtures import two_listeners
from tests.fixtures.two_listeners import MODEL, TONIGHT, YESTERDAY, write

ENCODER = make_encoder("hashed")


def embedding(place: int) -> list[float]:
    """A text that has only one word, another one for each place."""
    return [float(at == place) for at in range(ENCODER.width)]


def text(index: int, item: str, place: int, **changes: object) -> dict[str, object]:
    return {
        "run_date": YESTERDAY, "item_index": index, "item_id": item, "encoder": ENCODER.name,
        "text_digest": f"text of {item}", "embedding": embedding(place),
    } | changes  # fmt: skip


@pytest.fixture
def tonight(night: Callable[..., Night]) -> Night:
    """A model of a, b, c and e, and one item, d, that it has not learned and that has the text of a and c."""
    made = night(TONIGHT, *two_listeners.SETTINGS, "als.neighbours=2")
    index = [*two_listeners.item_index(), {"first_night": TONIGHT, "item_index": 4, "item_id": "d"}]
    write(made, "item_index", index)
    recipe = made.settings.als.with_recipe(two_listeners.RECIPE | {"neighbours": 2, "regularization": 1.0})
    (model,) = two_listeners.models()
    write(made, "models", [model | {"settings": recipe.model_dump_json()}])
    write(made, "item_factors", two_listeners.item_factors())
    places = {"a": 0, "b": 1, "c": 0, "e": 1}
    write(made.on(YESTERDAY), "item_texts", [text(at, item, places[item]) for at, item in enumerate("abce")])
    write(made, "item_texts", [text(4, "d", 0, run_date=TONIGHT)])
    return made


def add(night: Night) -> list[tuple[str, str]]:
    """Tonight's rows, written; the model and item of each."""
    rows = cold_factors(night, [MODEL])
    write(night, "cold_factors", rows.to_pylist())
    return [(row["model_version"], row["item_id"]) for row in rows.to_pylist()]


def test_an_item_that_was_not_learned_gets_factors_that_point_to_those_of_the_same_text(tonight: Night) -> None:
    assert add(tonight) == [(MODEL, "d")]
    (row,) = tables.rows(tonight.warehouse, "cold_factors").to_pylist()
    along, across = row["factors"]
    assert along > across
    assert dict(zip(row["neighbours"], row["similarities"], strict=True)) == {0: 0.0, 2: 0.0}
    assert row["text_digest"] == "text of d"


def test_it_is_added_once_for_a_model_whatever_its_text_becomes(tonight: Night) -> None:
    add(tonight)
    before = tables.rows(tonight.warehouse, "cold_factors").to_pylist()
    tomorrow = tonight.on(TONIGHT.replace(day=3))
    write(tomorrow, "item_texts", [text(4, "d", 1, run_date=tomorrow.run_date)])
    assert add(tomorrow) == []
    assert tables.rows(tonight.warehouse, "cold_factors").to_pylist() == before


def test_the_model_ranks_it_behind_those_it_learned_from_that_night_on(tonight: Night) -> None:
    add(tonight)
    model = registry.live_model(tonight)
    assert model is not None
    assert model.item_ids.to_pylist() == ["a", "b", "c", "e", "d"]
    assert model.cold.tolist() == [False] * 4 + [True]
    assert model.known_on(TONIGHT).tolist() == [True] * 5
    assert model.known_on(YESTERDAY).tolist() == [True] * 4 + [False]
    assert (model.confidence_weights[-1], model.listeners[-1]) == (0, 0)
    assert registry.load_model(tonight.warehouse, MODEL).item_ids.to_pylist() == ["a", "b", "c", "e"]
    assert np.array_equal(model.spectrum, registry.load_model(tonight.warehouse, MODEL).spectrum)


def test_two_rows_of_an_item_count_as_the_older_one(tonight: Night) -> None:
    add(tonight)
    (row,) = tables.rows(tonight.warehouse, "cold_factors").to_pylist()
    tomorrow = tonight.on(TONIGHT.replace(day=3))
    write(tomorrow, "cold_factors", [row | {"run_date": tomorrow.run_date, "factors": [9.0, 9.0]}])
    model = registry.live_model(tomorrow)
    assert model is not None
    assert model.item_ids.to_pylist() == ["a", "b", "c", "e", "d"]
    assert model.factors[-1].tolist() == row["factors"]


def test_nothing_is_added_where_settings_say_so_or_no_learned_item_has_a_text(tonight: Night) -> None:
    off = tonight.settings.model_copy(
        update={"content": tonight.settings.content.model_copy(update={"cold_items": False})}
    )
    assert cold_factors(tonight.with_settings(off), [MODEL]).num_rows == 0
    write(tonight.on(YESTERDAY), "item_texts", [])
    assert cold_factors(tonight, [MODEL]).num_rows == 0


def test_a_row_changed_by_hand_has_another_digest(tonight: Night) -> None:
    add(tonight)
    rows = tables.rows(tonight.warehouse, "cold_factors")
    assert digests(rows).equals(rows["digest"].combine_chunks())
    spoilt = rows.set_column(
        rows.schema.get_field_index("score_multiplier"), rows.schema.field("score_multiplier"), [[2.0]]
    )
    assert not digests(spoilt).equals(rows["digest"].combine_chunks())
