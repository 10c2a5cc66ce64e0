"""The decoder: NumPy gives what JAX learned, lists hold what exists, and words and what was heard count."""

import jax
import numpy as np
import pytest
from scipy.sparse import csr_matrix

from nocturne.core.csr import CsrRows
from nocturne.core.errors import UsageError
from nocturne.kernel.encoder import Shape, windows_of
from nocturne.training.generative import network
from nocturne.training.generative.decoder import Decoder, Prior
from nocturne.training.generative.fit import Asked, Known, Recipe, fit
from nocturne.training.generative.network import Catalogue
from nocturne.training.generative.semantic_ids import Part, Vectors, fit_ids
from nocturne.training.generative.trie import Trie
from nocturne.training.generative.words import bags

TOLERANCE = 1e-4
ITEMS, KINDS = 24, 4
SHAPE = Shape(length=4, width=16, blocks=1, heads=2)
RECIPE = Recipe(SHAPE, dropout=0.0, batch_listeners=16, epochs=30, patience=30, validation_listeners=20, buckets=64)
NAMES = ("jazz", "rock", "folk", "noise")
NOBODY = Asked(CsrRows.empty(0), CsrRows.empty(0), np.zeros(0, np.int64))


def rows(lists: list[list[int]]) -> CsrRows:
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in lists], dtype=np.int64)])
    return CsrRows(offsets, np.array([each for row in lists for each in row], np.int32))


def known(listeners: int = 120) -> Known:
    """Items of four kinds, item i of kind i % 4; everyone hears one kind alone. Words name the kind."""
    values = np.eye(KINDS)[np.arange(ITEMS) % KINDS] + np.random.default_rng(1).normal(scale=0.05, size=(ITEMS, KINDS))
    ids = fit_ids(Vectors.of([Part(values, np.ones(ITEMS, np.bool_), 1.0)]), 2, 4, 0, 0.05)
    rng = np.random.default_rng(2)
    heard = [(rng.permutation(ITEMS // KINDS)[:5] * KINDS + listener % KINDS).tolist() for listener in range(listeners)]
    words = bags([[NAMES[item % KINDS]] for item in range(ITEMS)], RECIPE.buckets)
    return Known(ids.paths, rows(heard), words, NOBODY)


COMPILES = pytest.mark.slow
"""Of what compiles programs of JAX for many seconds."""


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return fit(known(), RECIPE).decoder


def recommend(decoder: Decoder, heard: CsrRows, words: CsrRows | None = None, top_k: int = 4) -> np.ndarray:
    nothing = csr_matrix((len(heard.lengths), ITEMS))
    return decoder.recommend(heard, np.ones(ITEMS, np.bool_), nothing, 8, top_k, words)[0]


def test_numpy_gives_the_log_probabilities_of_jax() -> None:
    """Within 1e-4, of a network of random numbers: single precision, sums in another order."""
    paths = known().paths
    trie = Trie.of(paths)
    prior = Prior.of(trie, np.arange(ITEMS))
    codes = tuple((paths.max(axis=0) + 1).tolist())
    parameters = network.initial(SHAPE, codes, ITEMS, 64, 3)
    drawn = np.random.default_rng(5)
    parameters = {name: values + 0.3 * drawn.normal(size=values.shape) for name, values in parameters.items()}
    parameters = {name: jax.numpy.asarray(values, np.float32) for name, values in parameters.items()}
    heard, words = rows([[3], [1, 2, 3, 4, 5, 6], [7, 7]]), bags([["jazz trio"], ["rock"], ["noise", "folk"]], 64)
    decoder = Decoder({name: np.asarray(values) for name, values in parameters.items()}, SHAPE, paths, prior)
    scores = decoder.score_all(decoder.contexts(heard, words))

    @jax.jit
    def learned(parameters: network.Parameters, catalogue: Catalogue) -> jax.Array:
        asked = network.contexts(parameters, SHAPE, catalogue, windows_of(heard, SHAPE.length))[:, -1]
        everything = jax.numpy.repeat(asked + network.of_words(parameters, windows_of(words, 4)), ITEMS, axis=0)
        return network.log_probabilities(parameters, catalogue, everything, np.tile(np.arange(ITEMS), 3))

    expected = learned(parameters, Catalogue.of(paths, np.arange(ITEMS)))
    np.testing.assert_allclose(scores, expected.reshape(3, ITEMS), atol=TOLERANCE)
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1, atol=TOLERANCE)


@COMPILES
def test_whoever_hears_one_kind_is_given_that_kind(decoder: Decoder) -> None:
    lists = recommend(decoder, rows([[0, 4], [1, 5], [2, 6], [3, 7]]))
    assert (lists % KINDS == np.arange(KINDS)[:, None]).all()


@COMPILES
def test_words_alone_bring_the_items_that_have_them(decoder: Decoder) -> None:
    lists = recommend(decoder, CsrRows.empty(4), bags([[f"some {name} please"] for name in NAMES], RECIPE.buckets))
    assert (lists % KINDS == np.arange(KINDS)[:, None]).all()


@COMPILES
def test_a_wide_beam_finds_what_scoring_everything_finds(decoder: Decoder) -> None:
    heard = rows([[0, 4], [9], []])
    scores = decoder.score_all(decoder.contexts(heard))
    _, found = decoder.recommend(heard, np.ones(ITEMS, np.bool_), csr_matrix((3, ITEMS)), ITEMS, 6)
    np.testing.assert_allclose(found, -np.sort(-scores, axis=1)[:, :6], atol=TOLERANCE)


def test_a_listener_who_heard_and_says_nothing_gets_what_is_popular() -> None:
    """Before training: the network of nobody adds nothing to the prior."""
    paths = known().paths
    listens = np.arange(ITEMS) ** 2
    parameters = network.initial(SHAPE, tuple((paths.max(axis=0) + 1).tolist()), ITEMS, 64, 3)
    weights = {name: np.asarray(values) for name, values in parameters.items()}
    decoder = Decoder(weights, SHAPE, paths, Prior.of(Trie.of(paths), listens))
    scores = np.exp(decoder.score_all(decoder.contexts(CsrRows.empty(1))))[0]
    assert scores == pytest.approx((listens + 1) / (listens + 1).sum(), rel=0.05)


@COMPILES
def test_a_training_again_gives_the_same_bytes(decoder: Decoder) -> None:
    again = fit(known(), RECIPE).decoder
    assert {name: values.tobytes() for name, values in again.weights.items()} == {
        name: values.tobytes() for name, values in decoder.weights.items()
    }


@COMPILES
def test_what_somebody_asked_for_is_learned_from() -> None:
    """After item 0 the word `surprise` means item 3."""
    asked = Asked(rows([[0]] * 40), bags([["surprise"]] * 40, RECIPE.buckets), np.full(40, 3))
    from_asked = Known(known().paths, CsrRows.empty(0), CsrRows.empty(ITEMS), asked)
    decoder = fit(from_asked, RECIPE).decoder
    assert recommend(decoder, rows([[0]]), bags([["surprise"]], RECIPE.buckets), 1).tolist() == [[3]]


def test_nothing_to_learn_from_is_told() -> None:
    with pytest.raises(UsageError, match="nothing to learn"):
        fit(Known(known().paths, CsrRows.empty(2), CsrRows.empty(ITEMS), NOBODY), RECIPE)


def test_pairs_of_words_do_not_reach_from_one_phrase_into_the_next() -> None:
    assert bags([["hip hop", "old"]], 2**30).lengths.tolist() == [4]
    assert bags([["Hip  HOP"]], 2**30).positions.tolist() == bags([["hip hop"]], 2**30).positions.tolist()


@COMPILES
def test_what_nobody_has_heard_is_no_lesson_to_sequences() -> None:
    """Item 0 was never heard: no gradient of a sequence reaches the embedding of a code that it alone has."""
    paths = np.array([[0, 0], [1, 0], [2, 0], [2, 1]], np.int32)
    catalogue = Catalogue.of(paths, np.array([0, 3, 1, 2]))
    parameters = network.initial(SHAPE, (3, 2), 4, 8, 3)
    windows, targets = np.array([[-1, -1, 1, 2]]), np.array([[-1, -1, 2, 3]])

    @jax.jit
    def gradient(parameters: network.Parameters) -> network.Parameters:
        return jax.grad(network.sequence_loss)(parameters, SHAPE, catalogue, windows, targets, network.Drop())

    of_codes = np.abs(np.asarray(gradient(parameters)["0/codes"])).max(axis=1)
    assert of_codes[0] == 0
    assert (of_codes[1:] > 0).all()
