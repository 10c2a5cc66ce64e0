"""Training: strengths and confidences derivable by hand, taste blocks learned, the same bytes again."""

from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from nocturne.als import confidences, is_due, model_from_tables, model_tables, strengths, train
from nocturne.errors import SettingsError
from nocturne.interactions import UNIT
from nocturne.settings import AlsSettings, load_settings

HALF_LIFE = 10.0
NIGHT = date(1970, 1, 21)  # day 20: two half-lives after the epoch
PERIOD = 2


def als(**changes: object) -> AlsSettings:
    plain = {"factors": 8, "iterations": 5, "popularity_exponent": 0.0, "activity_exponent": 0.0, "score_exponent": 0.0}
    return load_settings().als.model_copy(update=plain | changes)


def rows(heard: dict[str, dict[int, float]], market: str | None = "SE") -> pa.Table:
    """Rows of `interactions` of listeners who played items so many times tonight."""
    ordered = {user: dict(sorted(items.items())) for user, items in heard.items()}
    return pa.table(
        {
            "user_id": pa.array(list(ordered)),
            "market": pa.array([market] * len(ordered), pa.string()),
            "period": pa.array([PERIOD] * len(ordered), pa.int32()),
            "item_indexes": pa.array([list(items) for items in ordered.values()], pa.list_(pa.int32())),
            "play_sums": pa.array([[int(n * UNIT) for n in items.values()] for items in ordered.values()]),
            "second_sums": pa.array([[int(60 * n * UNIT) for n in items.values()] for items in ordered.values()]),
        }
    )


def taste_blocks(users: int = 8, items: int = 6) -> dict[str, dict[int, float]]:
    """Even listeners hear even items, odd ones odd items; each has one item of the block withheld."""
    return {
        f"u{user:02d}": {item: 3.0 for item in range(user % 2, items, 2) if item != (user % items)}
        for user in range(users)
    }


def ids(count: int) -> pa.Array:
    return pa.array([f"i{index}" for index in range(count)])


def test_a_play_one_half_life_before_the_anchor_counts_half() -> None:
    _, _, amounts = strengths(rows({"u": {0: 4.0}}), date(1970, 1, 31), HALF_LIFE, als())
    assert amounts.tolist() == [2.0]


def test_minutes_count_by_their_weight() -> None:
    _, _, amounts = strengths(rows({"u": {0: 4.0}}), NIGHT, HALF_LIFE, als(play_weight=0.5, minute_weight=2.0))
    assert amounts.tolist() == [0.5 * 4 + 2.0 * 4]


def test_confidence_is_alpha_times_transform_times_weights() -> None:
    settings = als(alpha=10.0, transform="log1p", activity_exponent=0.5)
    found = confidences(np.array([np.e - 1]), np.array([0.25]), np.array([4]), settings)
    assert found.tolist() == pytest.approx([10 * 1 * 0.25 * 0.5])


def test_each_taste_block_is_closest_to_its_own_items() -> None:
    model = train(rows(taste_blocks()), ids(6), NIGHT, HALF_LIFE, als(factors=2, regularization=0.1)).model
    unit = model.factors / np.linalg.norm(model.factors, axis=1, keepdims=True)
    similarity = unit @ unit.T
    assert similarity[0, 2] > 0.9
    assert similarity[1, 3] > 0.9
    assert similarity[0, 1] < 0.5


def test_training_again_gives_the_same_bytes() -> None:
    first, second = (train(rows(taste_blocks()), ids(6), NIGHT, HALF_LIFE, als(threads=2)) for _ in range(2))
    assert first.model.factors.tobytes() == second.model.factors.tobytes()
    assert first.model.version == second.model.version
    assert first.losses == second.losses


def test_the_model_does_not_depend_on_the_order_of_rows() -> None:
    table = rows(taste_blocks())
    backwards = table.take(pa.array(range(table.num_rows))[::-1])
    model, same = (train(each, ids(6), NIGHT, HALF_LIFE, als()).model for each in (table, backwards))
    assert model.version == same.version


def test_the_loss_falls_and_progress_is_told_after_every_iteration() -> None:
    told: list[int] = []
    training = train(
        rows(taste_blocks()), ids(6), NIGHT, HALF_LIFE, als(), progress=lambda iteration, loss: told.append(iteration)
    )
    assert told == [1, 2, 3, 4, 5]
    assert training.losses[-1] < training.losses[0]


def test_items_without_enough_listeners_get_no_factors() -> None:
    heard = {"a": {0: 1.0, 1: 1.0}, "b": {0: 1.0}}
    model = train(rows(heard), ids(3), NIGHT, HALF_LIFE, als(min_item_listeners=2)).model
    assert model.item_ids.to_pylist() == ["i0"]
    assert model.listeners.tolist() == [2]


def test_popularity_is_counted_by_market() -> None:
    table = pa.concat_tables(
        [rows({"a": {0: 1.0}}, "SE"), rows({"b": {0: 1.0, 1: 1.0}}, "NO"), rows({"c": {1: 1.0}}, None)]
    )
    model = train(table, ids(2), NIGHT, HALF_LIFE, als(popularity_exponent=1.0, score_exponent=2.0)).model
    assert model.listeners.tolist() == [2, 2]
    assert {market: heard.tolist() for market, heard in model.market_listeners.items()} == {"NO": [1, 1], "SE": [1, 0]}
    assert model.confidence_weights.tolist() == [0.5, 0.5]
    assert model.score_multipliers.tolist() == [4.0, 4.0]


def test_a_sample_holds_the_same_listeners_every_time_and_about_its_share() -> None:
    many = {f"u{number}": {number % 5: 1.0} for number in range(1000)}
    first, second = (train(rows(many), ids(5), NIGHT, HALF_LIFE, als(sample_share=0.3)) for _ in range(2))
    assert first.listeners == second.listeners
    assert 240 < first.listeners < 360


def test_a_warm_start_keeps_known_items_near_and_seeds_new_ones() -> None:
    parent = train(rows(taste_blocks()), ids(6), NIGHT, HALF_LIFE, als()).model
    grown = taste_blocks() | {"new": {0: 1.0, 6: 2.0}}
    child = train(rows(grown), ids(7), NIGHT, HALF_LIFE, als(iterations=1, warm_start=True), parent).model
    assert np.isfinite(child.factors).all()
    assert child.item_ids.to_pylist() == [f"i{index}" for index in range(7)]
    similar = (
        (child.factors[:6] * parent.factors).sum() / np.linalg.norm(child.factors[:6]) / np.linalg.norm(parent.factors)
    )
    assert similar > 0.95


def test_a_model_comes_back_from_its_tables_as_it_was() -> None:
    training = train(rows(taste_blocks()), ids(6), NIGHT, HALF_LIFE, als(popularity_exponent=0.3))
    model_row, factors = model_tables(training, None, 1.5)
    back = model_from_tables(model_row, factors, HALF_LIFE)
    for name in ("factors", "gram", "confidence_weights", "score_multipliers", "listeners", "item_indexes"):
        assert getattr(back, name).tobytes() == getattr(training.model, name).tobytes(), name
    assert back.version == training.model.version
    assert back.settings == training.model.settings
    assert back.market_listeners["SE"].tolist() == training.model.market_listeners["SE"].tolist()


def test_a_matrix_over_its_memory_is_refused_by_the_name_of_the_setting() -> None:
    many = {f"u{number}": dict.fromkeys(range(100), 1.0) for number in range(1000)}
    with pytest.raises(SettingsError, match=r"als\.matrix_memory_mb"):
        train(rows(many), ids(100), NIGHT, HALF_LIFE, als(matrix_memory_mb=1))


def test_nobody_heard_often_enough_is_an_error_that_names_the_setting() -> None:
    with pytest.raises(SettingsError, match=r"als\.min_item_listeners"):
        train(rows({"a": {0: 1.0}}), ids(1), NIGHT, HALF_LIFE, als(min_item_listeners=5))


@pytest.mark.parametrize(("age", "due"), [(0, False), (6, False), (7, True), (8, True)])
def test_a_model_is_replaced_at_its_age(age: int, due: bool) -> None:
    assert is_due(date(2025, 1, 10), date(2025, 1, 10 - age), als(retrain_every_nights=7)) is due


def test_a_service_without_a_model_trains() -> None:
    assert is_due(NIGHT, None, als())
