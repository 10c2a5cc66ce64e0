"""The network in JAX: the function of `encoder.encode` at every place of a window, with dropout, and its loss."""

from functools import partial

import jax
import jax.numpy as jnp

from nocturne.kernel.encoder import Shape

Parameters = dict[str, jax.Array]

_MATRICES = ("query", "key", "value", "mix", "attend/gate", "feed/up", "feed/down", "feed/gate")
"""Square matrices of a block, by name."""

_EPSILON = 1e-6
_HIDDEN = -1e9


def initial(shape: Shape, items: int, seed: int) -> Parameters:
    """Parameters before the first step: the weights of an encoder, and `items`, the embeddings."""
    keys = iter(jax.random.split(jax.random.key(seed), 1 + len(_MATRICES) * shape.blocks))
    width = shape.width
    parameters = {"items": 0.02 * jax.random.normal(next(keys), (items, width)), "end/scale": jnp.ones(width)}
    for block in range(shape.blocks):
        for name in _MATRICES:
            parameters[f"{block}/{name}"] = width**-0.5 * jax.random.normal(next(keys), (width, width))
        parameters[f"{block}/attend/scale"] = jnp.ones(width)
        parameters[f"{block}/feed/scale"] = jnp.ones(width)
        parameters[f"{block}/distance"] = jnp.zeros((shape.heads, shape.length))
    return parameters


def encode_all(
    parameters: Parameters, shape: Shape, windows: jax.Array, key: jax.Array | None = None, dropout: float = 0.0
) -> jax.Array:
    """Vectors of listeners after each item of their windows; shape (listeners, places, width).

    Args:
        windows: positions of items, -1 before the first; shape (listeners, places), no more places than `length`.
        key: of the random numbers of dropout; None: nothing is dropped.
    """
    drop = partial(drop_some, key, dropout)
    present = (windows >= 0)[:, :, None]
    hidden = jnp.where(present, parameters["items"][jnp.maximum(windows, 0)], 0) * shape.width**0.5
    hidden = drop(hidden, 0)
    for block in range(shape.blocks):
        of = {name.removeprefix(f"{block}/"): value for name, value in parameters.items()}
        inner = _normalised(hidden, of["attend/scale"])
        attended = _attend(of, shape, inner, windows)
        hidden = hidden + drop(attended * jax.nn.sigmoid(inner @ of["attend/gate"]), 2 * block + 1)
        inner = _normalised(hidden, of["feed/scale"])
        fed = jax.nn.silu(inner @ of["feed/up"]) @ of["feed/down"]
        hidden = hidden + drop(fed * jax.nn.sigmoid(inner @ of["feed/gate"]), 2 * block + 2)
    return _normalised(hidden, parameters["end/scale"])


def loss(
    parameters: Parameters,
    shape: Shape,
    windows: jax.Array,
    targets: jax.Array,
    negatives: jax.Array,
    key: jax.Array,
    dropout: float,
) -> jax.Array:
    """Sampled softmax: the mean over places of the cross entropy of the next item against itself and the negatives.

    Args:
        targets: the item after each place, -1 where there is none; shape of windows.
        negatives: positions of items drawn uniformly, shared by all places; shape (negatives,).

    Source: Jean et al. (2015), On Using Very Large Target Vocabulary, section 3.2, with uniform draws.
    """
    vectors = encode_all(parameters, shape, windows, key, dropout)
    items = parameters["items"]
    wanted = jnp.sum(vectors * items[jnp.maximum(targets, 0)], axis=-1)
    drawn = jnp.log(items.shape[0] / negatives.shape[0]) + vectors @ items[negatives].T
    drawn = jnp.where(targets[:, :, None] == negatives, _HIDDEN, drawn)
    top = jnp.maximum(wanted, drawn.max(axis=-1))
    top = jax.lax.stop_gradient(top)
    total = top + jnp.log(jnp.exp(wanted - top) + jnp.exp(drawn - top[:, :, None]).sum(axis=-1))
    counted = targets >= 0
    return jnp.sum((total - wanted) * counted) / jnp.maximum(counted.sum(), 1)


def _attend(of: Parameters, shape: Shape, inner: jax.Array, windows: jax.Array) -> jax.Array:
    listeners, places, _ = inner.shape
    split = (listeners, places, shape.heads, shape.width // shape.heads)
    query, key, value = ((inner @ of[name]).reshape(split).transpose(0, 2, 1, 3) for name in ("query", "key", "value"))
    place = jnp.arange(places)
    distance = place[:, None] - place[None, :]
    scores = query @ key.transpose(0, 1, 3, 2) / split[-1] ** 0.5 + of["distance"][:, jnp.maximum(distance, 0)]
    seen = (distance >= 0)[None, None] & (windows >= 0)[:, None, None, :]
    scores = jnp.where(seen, scores, _HIDDEN)
    scores = jnp.exp(scores - jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True))) * seen
    scores = scores / jnp.maximum(scores.sum(axis=-1, keepdims=True), _EPSILON)
    return (scores @ value).transpose(0, 2, 1, 3).reshape(inner.shape) @ of["mix"]


def _normalised(values: jax.Array, scale: jax.Array) -> jax.Array:
    mean = jnp.mean(jnp.square(values), axis=-1, keepdims=True)
    return values * jax.lax.rsqrt(mean + _EPSILON) * scale


def drop_some(key: jax.Array | None, share: float, values: jax.Array, number: int) -> jax.Array:
    """The values, a share of them as zero and the others larger by as much; all as they are without a key.

    Args:
        number: of the place in the network, so that others are dropped there than elsewhere.
    """
    if key is None or not share:
        return values
    kept = jax.random.bernoulli(jax.random.fold_in(key, number), 1 - share, values.shape)
    return jnp.where(kept, values / (1 - share), 0)
