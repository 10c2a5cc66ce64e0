"""The training of the sequence model: epochs of sampled softmax by AdamW, the best of which is taken.

JAX and optax are needed here and in `network` alone; the group `sequence` of pyproject.toml has them.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from nocturne.core.arrays import Factors, Floats
from nocturne.core.csr import CsrRows
from nocturne.core.errors import UsageError
from nocturne.core.sections import SequenceSettings
from nocturne.kernel.encoder import Arrays, Shape, encode, windows_of
from nocturne.training.sequence import network
from nocturne.training.sequence.batches import epoch
from nocturne.training.sequence.optimizer import make_optimizer
from nocturne.training.sequence.sequences import Withheld, withhold_last

Progress = Callable[[int, float, float], None]

_ENCODED_AT_ONCE = 256


@dataclass(frozen=True)
class Fitted:
    """A trained network and how the training went.

    Attributes:
        embeddings: of items; shape (items, width).
        weights: of the encoder.
        best: the epoch that these are of, from 1.
        losses: mean loss of each epoch, natural logarithm.
        curve: NDCG@10 of the validation listeners after each epoch; shape (epochs,).
    """

    embeddings: Factors
    weights: Arrays
    best: int
    losses: tuple[float, ...]
    curve: tuple[float, ...]


@dataclass
class _State:
    """The state between two epochs."""

    parameters: network.Parameters
    optimizer: Any
    best: network.Parameters
    losses: list[float]
    curve: list[float]


def fit(
    sequences: CsrRows,
    items: int,
    settings: SequenceSettings,
    checkpoint: Path | None = None,
    progress: Progress = lambda _epoch, _loss, _ndcg: None,
) -> Fitted:
    """Learn to tell the next item of every listener.

    The last item of some listeners, picked by the seed, is withheld from training, and decides which epoch is taken;
    training ends when it gets no better for `settings.patience` epochs.

    Args:
        sequences: positions of items by listener, oldest first.
        items: positions that there are.
        checkpoint: file that the state is written to after every epoch and gone on from, to the same bits; None: none.
        progress: called after each epoch with its number, its loss and the NDCG@10 of validation.

    Raises:
        UsageError: nobody has two events, or the loss is no number any more.
    """
    shape = Shape.of(settings)
    learned, asked = withhold_last(sequences, settings.validation_listeners, settings.seed)
    if not (learned.lengths > 1).any():
        raise UsageError("nobody has two listens to learn a sequence from", expected="more nights, or more listeners")
    steps = sum(1 for _ in _batches(learned, items, settings, 0))
    step, optimizer = _step(shape, settings, steps)
    parameters = network.initial(shape, items, settings.seed)
    state = _State(parameters, optimizer.init(parameters), parameters, [], [])
    name = _digest(sequences, items, settings)
    if checkpoint and checkpoint.exists():
        state = _read(checkpoint, name, state)
    while not _is_over(state, settings):
        number = len(state.losses)
        losses = []
        for place, batch in enumerate(_batches(learned, items, settings, number)):
            key = jax.random.key(settings.seed * 2**20 + number * steps + place, impl="unsafe_rbg")
            state.parameters, state.optimizer, loss = step(state.parameters, state.optimizer, *batch, key)
            losses.append(loss)
        state.losses.append(float(f"{np.mean([float(loss) for loss in losses]):.5g}"))
        if not np.isfinite(state.losses[-1]):
            raise UsageError(
                "the loss is no number any more",
                found=f"{state.losses[-1]} in epoch {number + 1}",
                fix="lower sequence.learning_rate",
            )
        state.curve.append(float(f"{_ndcg(state.parameters, shape, learned, asked):.5g}"))
        if state.curve[-1] >= max(state.curve):
            state.best = state.parameters
        if checkpoint:
            _write(checkpoint, name, state)
        progress(number + 1, state.losses[-1], state.curve[-1])
    best = int(np.argmax(state.curve[::-1]))
    embeddings, weights = _on_this_machine(state.best)
    return Fitted(embeddings, weights, len(state.curve) - best, tuple(state.losses), tuple(state.curve))


def _batches(sequences: CsrRows, items: int, settings: SequenceSettings, number: int) -> Any:
    return epoch(
        sequences, items, settings.length, settings.batch_listeners, settings.negatives, (settings.seed, 2 + number)
    )


def _step(shape: Shape, settings: SequenceSettings, steps: int) -> tuple[Any, optax.GradientTransformation]:
    """One step of training, compiled for every length of windows, and its optimizer."""
    optimizer = make_optimizer(settings.learning_rate, settings.weight_decay, steps * settings.epochs)

    def step(parameters: network.Parameters, state: Any, *batch: Any) -> tuple[network.Parameters, Any, jax.Array]:
        windows, targets, negatives, key = batch
        value, gradient = jax.value_and_grad(network.loss)(
            parameters, shape, windows, targets, negatives, key, settings.dropout
        )
        updates, state = optimizer.update(gradient, state, parameters)
        return optax.apply_updates(parameters, updates), state, value

    return jax.jit(step), optimizer


def _is_over(state: _State, settings: SequenceSettings) -> bool:
    if len(state.curve) >= settings.epochs:
        return True
    since_best = int(np.argmax(state.curve[::-1])) if state.curve else 0
    return since_best >= settings.patience


def _ndcg(parameters: network.Parameters, shape: Shape, learned: CsrRows, asked: Withheld) -> float:
    """Mean NDCG@10 of what was withheld, all items ranked but those heard."""
    embeddings, weights = _on_this_machine(parameters)
    gains: list[Floats] = []
    for first in range(0, len(asked.listeners), _ENCODED_AT_ONCE):
        listeners = asked.listeners[first : first + _ENCODED_AT_ONCE]
        rows = learned.take(listeners)
        scores = encode(weights, shape, embeddings, windows_of(rows, shape.length)) @ embeddings.T
        places = np.arange(len(listeners))
        wanted = scores[places, asked.items[first : first + len(listeners)]].copy()
        scores[np.repeat(places, rows.lengths), rows.positions] = -np.inf
        ranks = (scores > wanted[:, None]).sum(axis=1)
        gains.append(np.where(ranks < 10, 1 / np.log2(ranks + 2), 0))
    return float(np.concatenate(gains).mean()) if gains else 0.0


def _on_this_machine(parameters: network.Parameters) -> tuple[Factors, Arrays]:
    """Embeddings and weights of an encoder as arrays of NumPy."""
    weights = {name: np.asarray(values) for name, values in parameters.items()}
    return weights.pop("items"), weights


def _digest(sequences: CsrRows, items: int, settings: SequenceSettings) -> str:
    """A name of all that a training depends on."""
    digest = hashlib.sha256(json.dumps([items, settings.model_dump(mode="json")]).encode())
    digest.update(sequences.offsets.tobytes())
    digest.update(np.ascontiguousarray(sequences.positions).tobytes())
    return digest.hexdigest()


def _write(path: Path, name: str, state: _State) -> None:
    """Replace the checkpoint in one step."""
    path.parent.mkdir(exist_ok=True)
    leaves = jax.tree.leaves((state.parameters, state.optimizer, state.best))
    arrays = {f"leaf_{number:04d}": np.asarray(leaf) for number, leaf in enumerate(leaves)}
    beside = path.with_name(path.name + ".new.npz")
    arrays |= {"name": np.array(name), "losses": np.array(state.losses), "curve": np.array(state.curve)}
    np.savez(beside, allow_pickle=False, **arrays)
    beside.replace(path)


def _read(path: Path, name: str, state: _State) -> _State:
    """The state of a checkpoint; the one given, if it is of another training."""
    with np.load(path) as stored:
        if str(stored["name"]) != name:
            return state
        places, structure = jax.tree.flatten((state.parameters, state.optimizer, state.best))
        leaves = [stored[f"leaf_{number:04d}"] for number in range(len(places))]
        parameters, optimizer, best = jax.tree.unflatten(structure, leaves)
        return _State(parameters, optimizer, best, stored["losses"].tolist(), stored["curve"].tolist())
