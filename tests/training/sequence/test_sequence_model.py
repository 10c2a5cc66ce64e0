"""The sequence model: one function in JAX, NumPy and the code of validation; training that is seeded and resumable."""

from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nocturne.core.csr import CsrRows
from nocturne.core.errors import UsageError
from nocturne.core.sections import SequenceSettings
from nocturne.core.settings import load_settings
from nocturne.kernel.encoder import Encoder, Shape, encode, windows_of
from nocturne.training.principal_axes import axes_of, principal_axes
from nocturne.training.sequence import fit as fitting
from nocturne.training.sequence import network
from nocturne.training.sequence.batches import epoch, lengths_of
from nocturne.training.sequence.fit import Fitted, fit
from nocturne.validation.profiles.encoders import DenseEncoder

SHAPE = Shape(length=6, width=8, blocks=2, heads=2)
ITEMS = 30
COMPILES = pytest.mark.slow
"""Of what compiles programs of JAX for many seconds."""
ENCODE = jax.jit(network.encode_all, static_argnums=1)


def recipe(**changes: object) -> SequenceSettings:
    small = {"length": 6, "width": 8, "negatives": 8, "batch_listeners": 16, "epochs": 30, "patience": 30}
    return SequenceSettings.model_validate(load_settings().als.sequence.model_dump() | small | changes)


def rows(lists: list[list[int]]) -> CsrRows:
    return CsrRows(np.cumsum([0, *map(len, lists)]), np.array([item for each in lists for item in each], np.int32))


def parameters() -> dict[str, np.ndarray]:
    """Of a network that does something: none of its arrays is as it begins."""
    rng = np.random.default_rng(5)
    begun = network.initial(SHAPE, ITEMS, 1)
    return {name: np.asarray(of) + rng.normal(0, 0.1, of.shape).astype(np.float32) for name, of in begun.items()}


def encoder() -> tuple[Encoder, np.ndarray]:
    """An encoder and factors of items on their principal axes."""
    weights = parameters()
    embeddings = weights.pop("items")
    axes = axes_of(embeddings).astype(np.float32)
    return Encoder(SHAPE, weights, axes), principal_axes(embeddings)[0]


HISTORIES = st.lists(st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=12), min_size=1, max_size=5)


@settings(max_examples=20, deadline=None)
@given(histories=HISTORIES)
def test_numpy_encodes_as_jax_does_within_a_hundred_thousandth(histories: list[list[int]]) -> None:
    weights = parameters()
    windows = windows_of(rows(histories), SHAPE.length)
    beside = np.zeros((5 - len(windows), SHAPE.length), np.int32)  # one shape, compiled once
    of_jax = np.asarray(ENCODE(weights, SHAPE, np.concatenate([windows, beside])))[: len(windows), -1]
    np.testing.assert_allclose(encode(weights, SHAPE, weights["items"], windows), of_jax, atol=1e-5, rtol=1e-5)


@settings(max_examples=20, deadline=None)
@given(histories=HISTORIES, beside=HISTORIES)
def test_a_vector_does_not_depend_on_whom_it_is_computed_with(
    histories: list[list[int]], beside: list[list[int]]
) -> None:
    model, factors = encoder()
    embeddings = model.embeddings(factors)
    alone = np.concatenate([model.vectors(embeddings, rows([each])) for each in histories])
    assert model.vectors(embeddings, rows([*beside, *histories]))[len(beside) :].tobytes() == alone.tobytes()


@settings(max_examples=20, deadline=None)
@given(histories=HISTORIES)
def test_the_validation_encodes_the_same_by_code_of_its_own(histories: list[list[int]]) -> None:
    model, factors = encoder()
    arrays = {name: of.astype(np.float64) for name, of in model.weights.items()} | {"axes": model.axes.astype(float)}
    dense = DenseEncoder({"length": 6, "width": 8, "blocks": 2, "heads": 2}, arrays)
    expected = [dense.vector(factors.astype(np.float64), each) for each in histories]
    np.testing.assert_allclose(model.vectors(model.embeddings(factors), rows(histories)), expected, atol=2e-6)


def test_who_heard_nothing_has_a_vector_of_zeros() -> None:
    model, factors = encoder()
    assert not model.vectors(model.embeddings(factors), rows([[], []])).any()


def test_only_the_last_items_of_a_long_history_are_read() -> None:
    assert windows_of(rows([[1, 2, 3, 4], [7], []]), 3).tolist() == [[2, 3, 4], [-1, -1, 7], [-1, -1, -1]]


def test_every_listener_with_two_items_is_in_one_batch_of_an_epoch_and_targets_are_the_items_after() -> None:
    histories = rows([[0, 1, 2], [3], [4, 5], [*range(20)]])
    batches = list(epoch(histories, ITEMS, 6, 2, 8, (1, 2)))
    assert lengths_of(6) == [2, 3, 6]
    pairs = {(int(a), int(b)) for batch in batches for a, b in zip(batch.windows.flat, batch.targets.flat, strict=True)}
    assert {(0, 1), (1, 2), (4, 5)} <= pairs
    assert all(b == a + 1 for a, b in pairs if b >= 0)
    assert all(a != 3 or b == 4 for a, b in pairs)  # who has one item is in no batch; 3 is heard by the last one too


CYCLES = rows([[(first + step) % 10 for step in range(5 + first % 4)] for first in range(200)])
"""Listeners who hear items 0 to 9 in a circle."""


@pytest.fixture(scope="module")
def learned() -> Fitted:
    return fit(CYCLES, 10, recipe())


@COMPILES
def test_a_circle_of_items_is_learned(learned: Fitted) -> None:
    windows = windows_of(rows([[8, 9, 0], [4], [1, 2, 3, 4, 5, 6]]), 6)
    scores = encode(learned.weights, SHAPE, learned.embeddings, windows) @ learned.embeddings.T
    assert scores.argmax(axis=1).tolist() == [1, 5, 7]
    assert learned.losses[-1] < 0.5 * learned.losses[0]
    assert learned.curve[learned.best - 1] == max(learned.curve)


@COMPILES
def test_a_training_that_was_killed_goes_on_to_the_same_bits(learned: Fitted, tmp_path: Path) -> None:
    checkpoint = tmp_path / "folder" / "state.npz"

    def die(done: int, _loss: float, _ndcg: float) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(CYCLES, 10, recipe(), checkpoint, die)
    epochs: list[int] = []
    again = fit(CYCLES, 10, recipe(), checkpoint, lambda done, _loss, _ndcg: epochs.append(done))
    assert epochs[0] == 4
    assert again.losses == learned.losses
    assert again.embeddings.tobytes() == learned.embeddings.tobytes()
    assert {name: of.tobytes() for name, of in again.weights.items()} == {
        name: of.tobytes() for name, of in learned.weights.items()
    }


@COMPILES
def test_a_checkpoint_of_another_training_is_left_aside(tmp_path: Path) -> None:
    checkpoint = tmp_path / "state.npz"
    fit(CYCLES, 10, recipe(epochs=1), checkpoint)
    epochs: list[int] = []
    fit(CYCLES, 10, recipe(epochs=1, seed=2), checkpoint, lambda done, _loss, _ndcg: epochs.append(done))
    assert epochs == [1]


@COMPILES
def test_a_loss_that_is_no_number_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "loss", lambda *_: np.float32("nan") * network.jnp.sum(_[0]["items"]))
    with pytest.raises(UsageError, match="the loss is no number"):
        fit(CYCLES, 10, recipe(epochs=1))


def test_nobody_with_two_listens_is_told() -> None:
    with pytest.raises(UsageError, match="nobody has two listens"):
        fitting.fit(rows([[1], [], [2]]), 10, recipe())
