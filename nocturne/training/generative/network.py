"""The network in JAX: the functions of `decoder` with dropout, and the loss of items that are known."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nocturne.core.arrays import Counts, Factors, Indexes
from nocturne.kernel.encoder import Shape
from nocturne.training.generative.decoder import ENCODER, Prior, encoder_of
from nocturne.training.generative.trie import Trie
from nocturne.training.sequence import network as encoder

Parameters = dict[str, jax.Array]

_EPSILON = 1e-6
_ABSENT = -1e9


class Catalogue(NamedTuple):
    """A catalogue as the loss needs it.

    Attributes:
        paths: codes of each item; shape (items, levels).
        parents: node above each code of each item; shape (items, levels).
        priors: by level, of each node above and each code, absent ones far below; shape (nodes above, codes).
        heard: the same, where what nobody has heard is absent too: nobody could choose it, so it is no lesson to
            listeners' sequences that nobody did.
    """

    paths: Indexes
    parents: Indexes
    priors: tuple[Factors, ...]
    heard: tuple[Factors, ...]

    @classmethod
    def of(cls, paths: Indexes, listens: Counts, weight: float = 1.0) -> "Catalogue":
        """Of ids and the listens of items, shape (items,), which count by a power of them."""
        trie = Trie.of(paths)
        nodes = trie.nodes_of(np.arange(len(paths)))
        parents = np.column_stack([np.zeros(len(paths), np.int64), nodes[:, :-1]]).astype(np.int32)
        below = trie.allowed_below(listens > 0)
        priors, heard = [], []
        for level, values in zip(trie.levels, Prior.of(trie, listens, weight).of_nodes, strict=True):
            table = np.full((len(level.children) - 1, int(level.codes.max()) + 1), _ABSENT, np.float32)
            table[level.parents, level.codes] = values
            priors.append(table)
            heard.append(table.copy())
            silent = below[level.leaves[1:]] == below[level.leaves[:-1]]
            heard[-1][level.parents[silent], level.codes[silent]] = _ABSENT
        return cls(paths, parents, tuple(priors), tuple(heard))

    def of_heard(self) -> "Catalogue":
        """The part of the catalogue that somebody has heard."""
        return self._replace(priors=self.heard)


@dataclass(frozen=True)
class Drop:
    """Values that are dropped in training, a share of them by a key; None: nothing is."""

    key: jax.Array | None = None
    share: float = 0.0

    def __call__(self, values: jax.Array, number: int) -> jax.Array:
        """The values, some of them as zero and the others larger by as much."""
        return encoder.drop_some(self.key, self.share, values, number)


def initial(shape: Shape, codes: tuple[int, ...], items: int, buckets: int, seed: int) -> Parameters:
    """Parameters before the first step.

    Args:
        codes: values of the code of each level.
        buckets: places of words.
    """
    of_encoder = encoder.initial(shape, 1, seed)
    parameters = {f"{ENCODER}{name}": values for name, values in of_encoder.items() if name != "items"}
    width = shape.width
    keys = iter(jax.random.split(jax.random.key(seed + 1), 4 * len(codes)))
    for level, count in enumerate(codes):
        parameters[f"{level}/codes"] = 0.02 * jax.random.normal(next(keys), (count, width))
        for name in ("ask", "after", "mix"):
            parameters[f"{level}/{name}"] = width**-0.5 * jax.random.normal(next(keys), (width, width))
    parameters["items"] = jnp.zeros((items, width))
    return parameters | {"words": jnp.zeros((buckets, width)), "words/scale": jnp.ones(width)}


def contexts(
    parameters: Parameters, shape: Shape, catalogue: Catalogue, windows: jax.Array, drop: Drop = Drop()
) -> jax.Array:
    """Vectors of what is asked for after each item of windows; shape (listeners, places, width)."""
    levels = range(len(catalogue.priors))
    embeddings = jnp.stack([parameters[f"{level}/codes"][catalogue.paths[:, level]] for level in levels]).sum(axis=0)
    of_encoder = encoder_of(parameters) | {"items": embeddings + parameters["items"]}
    return encoder.encode_all(of_encoder, shape, windows, drop.key, drop.share)


def of_words(parameters: Parameters, words: jax.Array) -> jax.Array:
    """Vectors of what words ask for; shape (listeners, width).

    Args:
        words: places of words, -1 behind the last; shape (listeners, most words).
    """
    said = (words >= 0)[:, :, None]
    sums = jnp.where(said, parameters["words"][jnp.maximum(words, 0)], 0).sum(axis=1)
    mean = sums / jnp.maximum(said.sum(axis=1), 1)
    size = jax.lax.rsqrt(jnp.mean(jnp.square(mean), axis=1, keepdims=True) + _EPSILON)
    return mean * size * parameters["words/scale"]


def log_probabilities(
    parameters: Parameters, catalogue: Catalogue, asked: jax.Array, items: jax.Array, drop: Drop = Drop()
) -> jax.Array:
    """Log probability of an item for each vector of what is asked for; shape (vectors,).

    Args:
        asked: shape (vectors, width).
        items: position of an item each; shape (vectors,).
    """
    codes, parents = jnp.asarray(catalogue.paths)[items], jnp.asarray(catalogue.parents)[items]
    total, chosen = jnp.zeros(len(items)), jnp.zeros_like(asked)
    for level, prior in enumerate(catalogue.priors):
        table = parameters[f"{level}/codes"]
        hidden = asked @ parameters[f"{level}/ask"] + chosen @ parameters[f"{level}/after"]
        turned = asked + drop(jax.nn.silu(hidden), 100 + level) @ parameters[f"{level}/mix"]
        scores = jax.nn.log_softmax(turned @ table.T + jnp.asarray(prior)[parents[:, level]], axis=-1)
        total += jnp.take_along_axis(scores, codes[:, level, None], axis=1)[:, 0]
        chosen += table[codes[:, level]]
    return total


def sequence_loss(
    parameters: Parameters, shape: Shape, catalogue: Catalogue, windows: jax.Array, targets: jax.Array, drop: Drop
) -> jax.Array:
    """Mean over places of the negative log probability of the item after each; -1 where there is none."""
    asked = contexts(parameters, shape, catalogue, windows, drop).reshape(-1, shape.width)
    flat = targets.reshape(-1)
    found = log_probabilities(parameters, catalogue.of_heard(), asked, jnp.maximum(flat, 0), drop)
    return -jnp.sum(found * (flat >= 0)) / jnp.maximum((flat >= 0).sum(), 1)


def asked_loss(
    parameters: Parameters,
    shape: Shape,
    catalogue: Catalogue,
    windows: jax.Array,
    words: jax.Array,
    targets: jax.Array,
    drop: Drop,
) -> jax.Array:
    """Mean negative log probability of the item that was meant by words, after a window; -1 where there is none."""
    asked = contexts(parameters, shape, catalogue, windows, drop)[:, -1] + of_words(parameters, words)
    found = log_probabilities(parameters, catalogue, asked, jnp.maximum(targets, 0), drop)
    return -jnp.sum(found * (targets >= 0)) / jnp.maximum((targets >= 0).sum(), 1)
