"""Training: strengths and confidences derivable by hand, taste blocks learned, the same bytes again."""

import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from nocturne.core.errors import UsageError
from nocturne.core.sections import AlsSettings
from nocturne.core.settings import load_settings
from nocturne.ingestion.interactions import UNIT
from nocturne.training import registry
from nocturne.training.als import train
from nocturne.training.confidences import confidence_rows, confidences, strengths
from nocturne.training.model import factors_table, model_from_tables

HALF_LIFE = 10.0
NIGHT = date(1970, 1, 21)  # day 20: two half-lives after the epoch
PERIOD = 2


def als(**changes: object) -> AlsSettings:
    plain = {"factors": 8, "iterations": 5, "popularity_exponent": 0.0, "activity_exponent": 0.0, "score_exponent": 0.0}
    return load_settings().als.model_copy(update=plain | changes)


def rows(heard: dict[str, dict[int, float]], market: str | None = "SE") -> pa.RecordBatch:
    """Rows of `interactions` of listeners who played items so many times tonight."""
    ordered = {user: dict(sorted(items.items())) for user, items in heard.items()}
    return pa.RecordBatch.from_pydict(
        {
            "user_id": pa.array(list(ordered)),
            "market": pa.array([market] * len(ordered), pa.string()),
            "period": pa.array([PERIOD] * len(ordered), pa.int32()),
            "item_indexes": pa.array([list(items) for items in ordered.values()], pa.list_(pa.int32())),
            "play_sums": pa.array([[int(n * UNIT) for n in items.values()] for items in ordered.values()]),
            "second_sums": pa.array([[int(60 * n * UNIT) for n in items.values()] for items in ordered.values()]),
            "recent_items": pa.array([list(items) for items in heard.values()], pa.list_(pa.int32())),
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
    model = train([rows(taste_blocks())], ids(6), NIGHT, HALF_LIFE, als(factors=2, regularization=0.1)).model
    unit = model.factors / np.linalg.norm(model.factors, axis=1, keepdims=True)
    similarity = unit @ unit.T
    assert similarity[0, 2] > 0.9
    assert similarity[1, 3] > 0.9
    assert similarity[0, 1] < 0.5


def test_training_again_gives_the_same_bytes() -> None:
    first, second = (train([rows(taste_blocks())], ids(6), NIGHT, HALF_LIFE, als(threads=2)) for _ in range(2))
    assert first.model.factors.tobytes() == second.model.factors.tobytes()
    assert first.model.version == second.model.version
    assert first.losses == second.losses


def test_the_model_does_not_depend_on_how_rows_are_cut_into_batches() -> None:
    batch = rows(taste_blocks())
    whole, cut = (
        train(batches, ids(6), NIGHT, HALF_LIFE, als()).model
        for batches in ([batch], [batch.slice(0, 3), batch.slice(3, 0), batch.slice(3)])
    )
    assert whole.version == cut.version


def test_rows_that_can_be_read_only_once_are_refused() -> None:
    with pytest.raises(ValueError, match="8 rows were counted and then 0 read"):
        train(iter([rows(taste_blocks())]), ids(6), NIGHT, HALF_LIFE, als())


def test_the_loss_falls_and_progress_is_told_after_every_iteration() -> None:
    told: list[int] = []
    training = train(
        [rows(taste_blocks())], ids(6), NIGHT, HALF_LIFE, als(), progress=lambda iteration, loss: told.append(iteration)
    )
    assert told == [1, 2, 3, 4, 5]
    assert training.losses[-1] < training.losses[0]


def test_items_without_enough_listeners_get_no_factors() -> None:
    heard = {"a": {0: 1.0, 1: 1.0}, "b": {0: 1.0}}
    model = train([rows(heard)], ids(3), NIGHT, HALF_LIFE, als(min_item_listeners=2)).model
    assert model.item_ids.to_pylist() == ["i0"]
    assert model.listeners.tolist() == [2]


def test_popularity_is_counted_by_market() -> None:
    batches = [
        rows({"a": {0: 1.0}}, "SE"),
        rows({"b": {0: 1.0, 1: 1.0}}, "NO"),
        rows({"c": {1: 1.0}}, None),
    ]
    model = train(batches, ids(2), NIGHT, HALF_LIFE, als(popularity_exponent=1.0, score_exponent=2.0)).model
    assert model.listeners.tolist() == [2, 2]
    assert {market: heard.of(np.arange(2)).tolist() for market, heard in model.market_listeners.items()} == {
        "NO": [1, 1],
        "SE": [1, 0],
    }
    assert model.confidence_weights.tolist() == [0.5, 0.5]
    assert model.score_multipliers.tolist() == [4.0, 4.0]


def test_a_row_becomes_confidences_in_the_items_the_model_has() -> None:
    heard = {"left out": {0: 9.0}, "u": {1: 1.0, 2: 3.0, 3: 1.0, 9: 1.0}, "none": {}}
    position = np.array([0, -1, 1, 2], np.int32)
    weights = np.array([1.0, 0.5, 0.25])
    settings = als(alpha=8.0, transform="linear", activity_exponent=0.5)
    found = confidence_rows(rows(heard).slice(1), position, weights, NIGHT, HALF_LIFE, settings)
    assert found.offsets.tolist() == [0, 2, 2]
    assert found.columns.tolist() == [1, 2]
    assert found.confidences.tolist() == [8 * 3 * 0.5 * 4**-0.5, 8 * 1 * 0.25 * 4**-0.5]


def test_what_has_faded_to_nothing_is_no_confidence() -> None:
    found = confidence_rows(
        rows({"u": {0: 0.0, 1: 1.0}}), np.array([0, 1], np.int32), np.ones(2), NIGHT, HALF_LIFE, als()
    )
    assert found.columns.tolist() == [1]


def test_a_model_weighs_rows_as_it_was_trained_on_them() -> None:
    batch = rows(taste_blocks() | {"new": {0: 1.0, 6: 2.0}})
    model = train([batch.slice(0, 8)], ids(7), NIGHT, HALF_LIFE, als(popularity_exponent=0.5)).model
    found = model.confidence_rows(batch.slice(8))
    assert found.columns.tolist() == [0]
    assert found.confidences.tolist() == pytest.approx([model.settings.alpha * np.log(2) * model.listeners[0] ** -0.5])


def test_a_sample_holds_the_same_listeners_in_any_order_and_about_its_share() -> None:
    many = {f"u{number}": {number % 5: 1.0} for number in range(1000)}
    settings = als(sample_share=0.3)
    first, second = (
        train([rows(dict(listeners))], ids(5), NIGHT, HALF_LIFE, settings)
        for listeners in (many.items(), reversed(many.items()))
    )
    assert (first.listeners, first.entries) == (second.listeners, second.entries)
    assert 240 < first.listeners < 360
    assert first.sample_share == 0.3


def test_popularity_is_that_among_everyone_whatever_the_sample() -> None:
    many = {f"u{number}": {number % 5: 1.0} for number in range(1000)}
    model = train([rows(many)], ids(5), NIGHT, HALF_LIFE, als(sample_share=0.3)).model
    assert model.listeners.tolist() == [200] * 5
    assert model.market_listeners["SE"].counts.tolist() == [200] * 5


def test_factors_of_a_sample_are_as_long_as_those_of_everyone() -> None:
    heard = {f"u{number}": dict.fromkeys(range(number % 3, 30, 3), 1.0) for number in range(1200)}
    settings = als(factors=3, iterations=25, regularization=50.0)
    spectra = [
        train(
            [rows(heard)], ids(30), NIGHT, HALF_LIFE, settings.model_copy(update={"sample_share": share})
        ).model.spectrum
        for share in (1.0, 0.25)
    ]
    assert spectra[1] == pytest.approx(spectra[0], rel=0.05)


@pytest.mark.parametrize(("demanded", "used"), [(0.0, 0.25), (0.6, 0.5), (1.0, 1.0)])
def test_a_sample_is_doubled_until_it_covers_the_items(demanded: float, used: float) -> None:
    heard = {f"u{number}": {number: 1.0} for number in range(200)}  # u0 and u1 have an item each, and so on
    heard |= {f"second {user}": items for user, items in heard.items()}  # an item is covered by either of two
    training = train(
        [rows(heard)], ids(200), NIGHT, HALF_LIFE, als(sample_share=0.25, min_item_coverage=demanded, iterations=1)
    )
    assert training.sample_share == used
    assert training.item_coverage >= demanded
    assert len(training.model.item_ids) == training.item_coverage * 200


def test_a_warm_start_keeps_known_items_near_and_seeds_new_ones() -> None:
    parent = train([rows(taste_blocks())], ids(6), NIGHT, HALF_LIFE, als()).model
    grown = taste_blocks() | {"new": {0: 1.0, 6: 2.0}}
    child = train([rows(grown)], ids(7), NIGHT, HALF_LIFE, als(iterations=1, warm_start=True), parent).model
    assert np.isfinite(child.factors).all()
    assert child.item_ids.to_pylist() == [f"i{index}" for index in range(7)]
    similar = (
        (child.factors[:6] * parent.factors).sum() / np.linalg.norm(child.factors[:6]) / np.linalg.norm(parent.factors)
    )
    assert similar > 0.95


def test_a_warm_start_needs_fewer_iterations_to_the_loss_from_scratch() -> None:
    rng = np.random.default_rng(5)
    taste = rng.integers(0, 6, 400)
    heard = {
        f"u{user:03d}": dict.fromkeys((taste[user] * 20 + rng.permutation(20)[:8]).tolist(), 1.0) for user in range(400)
    }
    yesterday = {user: dict(list(items.items())[:-1]) for user, items in heard.items()}
    settings = als(iterations=8, regularization=1.0)
    parent = train([rows(yesterday)], ids(120), NIGHT, HALF_LIFE, settings).model
    scratch = train([rows(heard)], ids(120), NIGHT, HALF_LIFE, settings)
    warm = train([rows(heard)], ids(120), NIGHT, HALF_LIFE, settings, parent)
    assert scratch.parent is None
    assert warm.parent == parent.version
    assert min(i for i, loss in enumerate(warm.losses, 1) if loss <= scratch.losses[-1]) <= 4


def test_a_parent_of_another_length_is_no_start() -> None:
    parent = train([rows(taste_blocks())], ids(6), NIGHT, HALF_LIFE, als(factors=4)).model
    child = train([rows(taste_blocks())], ids(6), NIGHT, HALF_LIFE, als(), parent)
    assert child.parent is None
    assert child.model.factors.shape[1] == 8


def test_the_factors_lie_on_their_principal_axes() -> None:
    model = train([rows(taste_blocks())], ids(6), NIGHT, HALF_LIFE, als(factors=2)).model
    exact = model.factors.astype(np.float64)
    np.testing.assert_allclose(exact.T @ exact, np.diag(model.spectrum), atol=1e-6 * model.spectrum[0])
    assert model.spectrum[0] >= model.spectrum[1]


def test_a_model_comes_back_from_its_tables_as_it_was() -> None:
    training = train([rows(taste_blocks())], ids(6), NIGHT, HALF_LIFE, als(popularity_exponent=0.3))
    back = model_from_tables(
        registry._record(registry.Trained(training, {}, 0.0), "tune"), factors_table(training.model), HALF_LIFE
    )
    arrays = ("factors", "spectrum", "confidence_weights", "score_multipliers", "listeners", "item_indexes")
    assert (training.model.neighbours >= 0).any()
    assert (training.model.predecessors >= 0).any()
    for name in (*arrays, "neighbours", "similarities", "predecessors", "predecessor_weights"):
        assert getattr(back, name).tobytes() == getattr(training.model, name).tobytes(), name
    assert back.version == training.model.version
    assert back.settings == training.model.settings
    for kept, learned in zip(back.market_listeners["SE"], training.model.market_listeners["SE"], strict=True):
        assert kept.tolist() == learned.tolist()


def test_a_matrix_over_its_memory_is_refused_by_the_name_of_the_setting() -> None:
    many = {f"u{number}": dict.fromkeys(range(100), 1.0) for number in range(1000)}
    with pytest.raises(UsageError, match=r"als\.matrix_memory_mb"):
        train([rows(many)], ids(100), NIGHT, HALF_LIFE, als(matrix_memory_mb=1))


def test_nobody_heard_often_enough_is_an_error_that_names_the_setting() -> None:
    with pytest.raises(UsageError, match=r"als\.min_item_listeners"):
        train([rows({"a": {0: 1.0}})], ids(1), NIGHT, HALF_LIFE, als(min_item_listeners=5))


@pytest.mark.slow
def test_memory_grows_by_at_most_three_times_the_matrix(tmp_path: Path) -> None:
    """Two trainings in a process of its own: what the larger takes beyond the smaller is for its matrix."""
    program = Path(__file__).with_name("training_memory.py")
    for step in ("write", "train"):
        done = subprocess.run([sys.executable, program, tmp_path, step], capture_output=True, text=True, check=True)
    matrix, peak = map(int, done.stdout.split())
    assert matrix > 30 * 2**20
    assert peak < 3 * matrix
