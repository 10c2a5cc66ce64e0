"""The training of the decoder: epochs over listeners' sequences and over words, by AdamW, the best of which is taken.

JAX and optax are needed here and in `network` alone; the group `sequence` of pyproject.toml has them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import optax
from scipy.sparse import csr_matrix

from nocturne.core.arrays import Counts, Indexes, Positions
from nocturne.core.csr import CsrRows
from nocturne.core.errors import UsageError
from nocturne.kernel.encoder import NOTHING, Shape, windows_of
from nocturne.training.generative import network
from nocturne.training.generative.decoder import Decoder, Prior
from nocturne.training.generative.network import Catalogue, Drop
from nocturne.training.generative.trie import Trie
from nocturne.training.sequence.batches import epoch
from nocturne.training.sequence.optimizer import make_optimizer
from nocturne.training.sequence.sequences import withhold_last

Progress = Callable[[int, float, float], None]

_ASKED_BATCH = 512
_NO_WORD = -1
_K, _BEAM = 10, 30


@dataclass(frozen=True)
class Recipe:
    """A recipe of a decoder: its network, and how it is learned.

    Attributes:
        shape: of the network.
        dropout: share of values that are dropped.
        learning_rate, weight_decay: of AdamW.
        batch_listeners: listeners of a batch, where windows are full.
        epochs: at most; training ends when `patience` of them brought nothing better.
        validation_listeners: whose last item is withheld, and decides which epoch is taken; 0: the last one is.
        buckets: places of words.
        longest: words of a text that are read.
        own_words: share of items that are asked for by some of their own words, each epoch.
        said: of these words so many at most, but for chance.
        prior: power of listens that scores begin with; 0: every code that can follow is as likely.
    """

    shape: Shape
    dropout: float = 0.3
    learning_rate: float = 0.003
    weight_decay: float = 0.01
    batch_listeners: int = 64
    epochs: int = 30
    patience: int = 4
    validation_listeners: int = 1_000
    buckets: int = 2**14
    longest: int = 32
    own_words: float = 1.0
    said: int = 4
    prior: float = 1.0
    seed: int = 1


@dataclass(frozen=True)
class Asked:
    """Items that were meant, by what was heard and said before.

    Attributes:
        heard: positions of items, oldest first, and places of words; a row an item that was meant.
        items: its position; shape (rows,).
    """

    heard: CsrRows
    words: CsrRows
    items: Positions


@dataclass(frozen=True)
class Known:
    """A catalogue, its listeners and their words, from which a decoder learns.

    Attributes:
        paths: ids of the catalogue; shape (items, codes of an id).
        sequences: positions of the items of each listener, oldest first.
        words: places of words of each item.
        asked: items that somebody asked for in words.
    """

    paths: Indexes
    sequences: CsrRows
    words: CsrRows
    asked: Asked

    @property
    def listens(self) -> Counts:
        """Of each item; shape (items,)."""
        return np.bincount(self.sequences.positions, minlength=len(self.paths))


@dataclass(frozen=True)
class Fitted:
    """A decoder and how its training went.

    Attributes:
        best: epoch that it is of, from 1.
        losses: mean loss of each epoch, natural logarithm.
        curve: NDCG@10 of the listeners of validation after each epoch, if there are any.
    """

    decoder: Decoder
    best: int
    losses: tuple[float, ...]
    curve: tuple[float, ...]


def fit(known: Known, recipe: Recipe, progress: Progress = lambda _epoch, _loss, _ndcg: None) -> Fitted:
    """Learn which item comes next, and which is meant by words.

    Raises:
        UsageError: there is nothing to learn from, or the loss is no number any more.
    """
    known, held_out = _hold_out(known, recipe)
    prior = Prior.of(Trie.of(known.paths), known.listens, recipe.prior)
    catalogue = Catalogue.of(known.paths, known.listens, recipe.prior)
    total = recipe.epochs * sum(1 for _ in _batches(known, recipe, 0))
    if not total:
        raise UsageError("there is nothing to learn a decoder from", expected="listeners of two listens, or words")
    steps, optimizer = _steps(recipe, total)
    codes = tuple((known.paths.max(axis=0) + 1).tolist())
    parameters = network.initial(recipe.shape, codes, len(known.paths), recipe.buckets, recipe.seed)
    state, best, number = optimizer.init(parameters), parameters, 0
    losses: list[float] = []
    curve: list[float] = []
    for done in range(recipe.epochs):
        sums = []
        for kind, batch in _batches(known, recipe, done):
            key = jax.random.key(recipe.seed * 2**24 + number, impl="unsafe_rbg")
            parameters, state, loss = steps[kind](parameters, state, catalogue, batch, key)
            sums.append(loss)
            number += 1
        losses.append(float(np.mean([float(loss) for loss in sums])))
        if not np.isfinite(losses[-1]):
            raise UsageError("the loss is no number any more", found=f"{losses[-1]} in epoch {done + 1}")
        curve.append(held_out.ndcg(_decoder(parameters, known, prior, recipe)) if len(held_out.items) else done)
        if curve[-1] >= max(curve):
            best = parameters
        progress(done + 1, losses[-1], curve[-1])
        if done - int(np.argmax(curve)) >= recipe.patience:
            break
    return Fitted(_decoder(best, known, prior, recipe), int(np.argmax(curve)) + 1, tuple(losses), tuple(curve))


@dataclass(frozen=True)
class _HeldOut:
    """Listeners of validation: what they heard, and the item after it."""

    heard: CsrRows
    items: Positions

    def ndcg(self, decoder: Decoder) -> float:
        listeners, items = len(self.items), len(decoder.paths)
        left_out = csr_matrix(
            (np.ones(len(self.heard.positions)), self.heard.positions, self.heard.offsets), (listeners, items)
        )
        lists, _ = decoder.recommend(self.heard, np.ones(items, np.bool_), left_out, _BEAM, _K)
        found, place = np.nonzero(lists == self.items[:, None])
        return float((1 / np.log2(place + 2)).sum() / max(1, listeners)) if len(found) else 0.0


def _hold_out(known: Known, recipe: Recipe) -> tuple[Known, _HeldOut]:
    """Split what is known into what is learned from and the listeners of validation."""
    learned, withheld = withhold_last(known.sequences, recipe.validation_listeners, recipe.seed)
    held_out = _HeldOut(learned.take(withheld.listeners), withheld.items)
    return Known(known.paths, learned, known.words, known.asked), held_out


def _batches(known: Known, recipe: Recipe, number: int) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The batches of an epoch: of sequences and of words, mixed."""
    rng = np.random.default_rng((recipe.seed, 2, number))
    of_words = list(_asked_batches(_asked(known, recipe, rng), recipe, rng))
    of_sequences: list[tuple[Any, ...]] = []
    if (known.sequences.lengths > 1).any():
        drawn = epoch(
            known.sequences,
            len(known.paths),
            recipe.shape.length,
            recipe.batch_listeners,
            1,
            (recipe.seed, 3 + number),
        )
        of_sequences = [(batch.windows, batch.targets) for batch in drawn]
    both = [("sequences", batch) for batch in of_sequences] + [("words", batch) for batch in of_words]
    for place in rng.permutation(len(both)).tolist():
        yield both[place]


def _asked(known: Known, recipe: Recipe, rng: np.random.Generator) -> Asked:
    """Items asked for in words, and some items by some of their own words."""
    items = np.flatnonzero((known.words.lengths > 0) & (rng.random(len(known.paths)) < recipe.own_words))
    own = known.words.take(items)
    share = rng.integers(1, recipe.said + 1, len(items)) / own.lengths
    chosen = rng.random(len(own.positions)) < np.repeat(share, own.lengths)
    chosen[own.offsets[:-1] + (rng.random(len(items)) * own.lengths).astype(np.int64)] = True
    own, asked = own.where(chosen), known.asked
    return Asked(
        _both(asked.heard, CsrRows.empty(len(items))),
        _both(asked.words, own),
        np.concatenate([asked.items, items]),
    )


def _both(first: CsrRows, second: CsrRows) -> CsrRows:
    """Rows, and others behind them."""
    return CsrRows(
        np.concatenate([first.offsets, first.offsets[-1] + second.offsets[1:]]),
        np.concatenate([first.positions, second.positions]),
    )


def _asked_batches(asked: Asked, recipe: Recipe, rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Batches of one shape, the last ones filled up with rows that count nothing; those of nothing heard apart."""
    without = asked.heard.lengths == 0
    for rows, length in ((np.flatnonzero(without), 2), (np.flatnonzero(~without), recipe.shape.length)):
        drawn = rng.permutation(rows)
        for first in range(0, len(drawn), _ASKED_BATCH):
            part = drawn[first : first + _ASKED_BATCH]
            heard, said = asked.heard.take(part), asked.words.take(part)
            windows = np.full((_ASKED_BATCH, length), NOTHING, np.int32)
            windows[: len(part)] = windows_of(heard, length)
            words = np.full((_ASKED_BATCH, recipe.longest), _NO_WORD, np.int32)
            words[: len(part)] = windows_of(said, recipe.longest)
            targets = np.full(_ASKED_BATCH, NOTHING, np.int32)
            targets[: len(part)] = asked.items[part]
            yield windows, words, targets


def _steps(recipe: Recipe, total: int) -> tuple[dict[str, Any], optax.GradientTransformation]:
    """A step of training for each kind of batch, and their optimizer."""
    optimizer = make_optimizer(recipe.learning_rate, recipe.weight_decay, total)

    def step_of(loss: Callable[..., jax.Array]) -> Any:
        def step(
            parameters: network.Parameters, state: Any, catalogue: Catalogue, batch: tuple[Any, ...], key: jax.Array
        ) -> tuple[network.Parameters, Any, jax.Array]:
            drop = Drop(key, recipe.dropout)
            value, gradient = jax.value_and_grad(loss)(parameters, recipe.shape, catalogue, *batch, drop)
            updates, state = optimizer.update(gradient, state, parameters)
            return optax.apply_updates(parameters, updates), state, value

        return jax.jit(step)

    return {"sequences": step_of(network.sequence_loss), "words": step_of(network.asked_loss)}, optimizer


def _decoder(parameters: network.Parameters, known: Known, prior: Prior, recipe: Recipe) -> Decoder:
    weights = {name: np.asarray(values) for name, values in parameters.items()}
    return Decoder(weights, recipe.shape, known.paths, prior)
