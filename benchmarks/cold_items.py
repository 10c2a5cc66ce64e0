"""Items that nobody has heard, by their text: beside a model that has heard them, and what one would try first.

    .venv/bin/python -m benchmarks.cold_items lastfm-2k data/sets/lastfm-2k [--seed 1] [--encoder hashed] [--json]
    .venv/bin/python -m benchmarks.cold_items bookcrossing data/sets/cold-bookcrossing
    .venv/bin/python -m benchmarks.cold_items simulated --listeners 10000 --items 5000

A fifth of the items is hidden, and a tenth of all other plays is withheld (seeded). Every system ranks the same hidden
items, and the whole catalogue, for the same listeners, and is scored on the same pairs: a listener and a hidden item
that they have heard. Listeners are in five folds. `warm ALS` was trained with the hidden items, but for the pairs of
the listeners who are asked, a fold at a time; `text` was trained without any of them, and has their texts. Tags that
the listeners of a fold gave are left out of the texts that these listeners are asked by.

hidden, whole: recall@20 among the hidden items, and in the whole catalogue. learned: recall@20 of the plays withheld
from other items, in the whole catalogue: what cold items cost. all: of both kinds. Intervals: bootstrap over listeners
of the difference to `text`. `warm, directions` is warm ALS with all items of one length, `most heard` what it knows
beside that. Recipe of all models: conf/default.toml, on lastfm-2k with alpha 5, as validation on another seed prefers.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix, diags

from benchmarks.cold_sets import TextSet, read_bookcrossing, read_lastfm, simulate_texts
from nocturne.core.arrays import Counts, Factors, Floats, Mask
from nocturne.core.console import print_rows
from nocturne.core.settings import load_settings
from nocturne.embedding.encoder import make_encoder
from nocturne.embedding.hashed import words
from nocturne.evaluation.significance import EVERYONE, differences, summary_rows
from nocturne.evaluation.splits import InteractionRows, fit
from nocturne.kernel.solve import solve_users
from nocturne.training.cold_items import LISTENERS
from nocturne.training.model import Model
from nocturne.training.text_factors import fit_text_map

K, FOLDS = 20, 5
TEXT = "text"
METRICS = ("hidden", "whole", "learned", "all")
RECIPES = {"lastfm-2k": ("als.alpha=5.0",), "bookcrossing": (), "simulated": ()}
"""Changes to conf/default.toml by which warm ALS is best on validation, one fold with seed 11."""

Scored = Callable[[int, Counts], Floats]
"""Scores of every item for the listeners of a fold; shape (listeners, items)."""


@dataclass(eq=False)
class Trial:
    """What is hidden and withheld, and the models.

    Attributes:
        seconds: processor time by what it was spent on.
    """

    texts: TextSet
    seed: int
    encoder: str
    recipe: Sequence[str] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Hide and withhold."""
        rng, heard = np.random.default_rng(self.seed), self.texts.heard
        listeners, items = heard.shape
        self.hidden: Mask = rng.permutation(items) < items // 5
        self.fold = rng.permutation(listeners) % FOLDS
        self._of_hidden = self.hidden[heard.indices]
        self._withheld = (rng.random(heard.nnz) < 0.1) & ~self._of_hidden
        self._row = np.repeat(np.arange(listeners), np.diff(heard.indptr))
        self.seen = self._only(~self._of_hidden & ~self._withheld)
        self.of_hidden, self.of_learned = self._only(self._of_hidden), self._only(self._withheld)
        self.settings = load_settings(overrides=["als.recipe=settings", *self.recipe])

    def _only(self, entries: Mask) -> csr_matrix:
        heard = self.texts.heard
        return csr_matrix((heard.data[entries], (self._row[entries], heard.indices[entries])), heard.shape)

    def asked(self, fold: int) -> Counts:
        """Listeners of a fold who have heard a hidden item and something else."""
        some = (np.diff(self.of_hidden.indptr) > 0) & (np.diff(self.seen.indptr) > 0) & (self.fold == fold)
        return np.flatnonzero(some)

    @cached_property
    def cold(self) -> Model:
        """The model of all that was seen."""
        return fit(self.seen, self.settings)

    def embeddings(self, fold: int) -> Factors:
        """Of every item, for the listeners of a fold."""
        started = time.process_time()
        texts = self.texts.texts_without(np.flatnonzero(self.fold == fold))
        embedded = make_encoder(self.encoder).encode(texts)
        self.seconds["encode"] = time.process_time() - started
        return embedded

    def warm(self, fold: int, asked: Counts) -> Floats:
        """Scores of a model that heard the hidden items from the listeners of other folds."""
        return self._scores(self._warm(fold), asked)

    @lru_cache(1)  # noqa: B019 - a process measures one trial
    def _warm(self, fold: int) -> Model:
        return fit(self._known(fold), self.settings)

    def _known(self, fold: int) -> csr_matrix:
        return self._only(~self._withheld & ~(self._of_hidden & (self.fold == fold)[self._row]))

    def text(self, fold: int, asked: Counts) -> Floats:
        """Scores of a model that heard none of them, and of their factors by text."""
        model, embeddings = self.cold, self.embeddings(fold)
        started = time.process_time()
        learned = model.item_indexes
        of_learned = (model.factors, model.listeners, model.similarities)
        text_map = fit_text_map(embeddings[learned], *of_learned)
        cold = np.flatnonzero(self.hidden)
        factors = text_map.factors(embeddings[cold])
        self.seconds["fit and map"] = time.process_time() - started
        scores = self._scores(model, asked)
        scores[:, cold] = self._listeners(model, asked) @ factors.T * LISTENERS**model.settings.score_exponent
        return scores

    def unweighted(self, fold: int, asked: Counts) -> Floats:
        """Scores of the warm model's directions alone: what it knows beside how much items are heard."""
        model = self._warm(fold)
        lengths = np.linalg.norm(model.factors, axis=1, keepdims=True)
        ones = np.ones(len(lengths))
        return self._scores(replace(model, factors=model.factors / lengths, score_multipliers=ones), asked, model)

    def heard(self, fold: int, asked: Counts) -> Floats:
        """Scores by the listeners of each item, of other folds."""
        return np.tile(np.bincount(self._known(fold).indices, minlength=len(self.hidden)), (len(asked), 1)).astype(
            float
        )

    def tagged(self, _fold: int, asked: Counts) -> Floats:
        """Scores by how often an item is tagged."""
        said = np.bincount(self.texts.taggings[:, 1], minlength=len(self.hidden)).astype(float)
        return np.tile(said, (len(asked), 1))

    def profile(self, fold: int, asked: Counts) -> Floats:
        """Cosines of tf-idf of words and tags, between an item and all that a listener has heard."""
        terms = self._terms(fold)
        rows = terms @ diags(np.log(terms.shape[0] / np.maximum(1, np.diff(terms.tocsc().indptr))))
        rows = diags(1 / np.maximum(1e-12, np.sqrt(rows.multiply(rows).sum(axis=1).A1))) @ rows
        heard = self.seen[asked].copy()
        heard.data = np.log1p(heard.data)
        return np.asarray((heard @ rows @ rows.T).todense())

    def bm25(self, fold: int, asked: Counts) -> Floats:
        """BM25 of an item's words and tags, asked by the 100 commonest of all that a listener has heard."""
        import bm25s

        terms = self._terms(fold)
        corpus = [[str(term) for term in terms.indices[a:b]] for a, b in _rows_of(terms)]
        index = bm25s.BM25()
        index.index(corpus, show_progress=False)
        profiles = (self.seen[asked] > 0).astype(float) @ (terms > 0).astype(float)
        scores = np.zeros((len(asked), terms.shape[0]))
        for row, (start, end) in enumerate(_rows_of(profiles)):
            best = profiles.indices[start:end][np.argsort(-profiles.data[start:end], kind="stable")[:100]]
            scores[row] = index.get_scores([str(term) for term in best])
        return scores

    @lru_cache(1)  # noqa: B019 - one trial a run
    def _terms(self, fold: int) -> csr_matrix:
        """How often each item's text has each word or tag; shape (items, terms)."""
        texts = self.texts.texts_without(np.flatnonzero(self.fold == fold))
        numbers: dict[str, int] = {}
        rows: list[int] = []
        columns: list[int] = []
        for item, row in enumerate(texts.to_pylist()):
            found = [word for name in ("title", "creator", "description") for word in words(row[name] or "")]
            for term in [*found, *(f"tag {' '.join(words(tag))}" for tag in row["tags"] or ())]:
                rows.append(item)
                columns.append(numbers.setdefault(term, len(numbers)))
        return csr_matrix((np.ones(len(rows)), (rows, columns)), (texts.num_rows, len(numbers)))

    def _listeners(self, model: Model, asked: Counts) -> Floats:
        recipe = model.settings
        parts = [
            solve_users(
                model.factors,
                model.spectrum,
                recipe.regularization,
                model.confidence_rows(batch),
                recipe.regularization_exponent,
            )
            for batch in InteractionRows(self.seen[asked])
        ]
        return np.concatenate(parts)

    def _scores(self, model: Model, asked: Counts, of_listeners: Model | None = None) -> Floats:
        scores = np.full((len(asked), len(self.hidden)), -np.inf)
        users = self._listeners(of_listeners or model, asked)
        scores[:, model.item_indexes] = users @ model.factors.T * model.score_multipliers
        return scores

    def judge(self, scores: Floats, asked: Counts) -> Floats:
        """METRICS of each listener; shape (listeners, metrics)."""
        seen = self.seen[asked]
        scores[np.repeat(np.arange(len(asked)), np.diff(seen.indptr)), seen.indices] = -np.inf
        among = np.where(self.hidden, scores, -np.inf)
        relevant, learned = (rows[asked].toarray() > 0 for rows in (self.of_hidden, self.of_learned))
        return np.column_stack(
            [
                _recall(among, relevant),
                *(_recall(scores, each) for each in (relevant, learned, relevant | learned)),
            ]
        )


def _rows_of(matrix: csr_matrix) -> Iterator[tuple[int, int]]:
    return zip(matrix.indptr[:-1].tolist(), matrix.indptr[1:].tolist(), strict=True)


def _recall(scores: Floats, relevant: Mask) -> Floats:
    """Share of the relevant items among the first K; NaN where nothing is relevant."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    hits = np.take_along_axis(relevant, best, axis=1) & np.isfinite(np.take_along_axis(scores, best, axis=1))
    count = relevant.sum(axis=1)
    shares: Floats = np.where(count > 0, hits.sum(axis=1) / np.maximum(1, count), np.nan)
    return shares


def measure(trial: Trial) -> dict[str, Floats]:
    """METRICS of every listener by every system."""
    systems: dict[str, Scored] = {"warm ALS": trial.warm, "warm, directions": trial.unweighted, TEXT: trial.text}
    systems |= {"most heard": trial.heard, "words and tags, cosine": trial.profile}
    systems["BM25"] = trial.bm25
    if len(trial.texts.taggings):
        systems["most tagged"] = trial.tagged
    results = {name: [] for name in systems}
    for fold in range(FOLDS):
        asked = trial.asked(fold)
        for name, scored in systems.items():
            results[name].append(trial.judge(scored(fold, asked), asked))
    return {name: np.concatenate(parts) for name, parts in results.items()}


def main() -> None:
    """Measure one set and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=["lastfm-2k", "bookcrossing", "simulated"])
    parser.add_argument("path", type=Path, nargs="?", help="folder or archive of the set")
    parser.add_argument("--encoder", choices=["hashed", "sentence"], default="hashed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--listeners", type=int, default=10_000)
    parser.add_argument("--items", type=int, default=5_000)
    parser.add_argument("--plays", type=int, default=50, help="of a simulated listener, on average")
    parser.add_argument("--json", action="store_true", help="a line a system to stdout")
    options = parser.parse_args()
    if options.set == "simulated":
        texts = simulate_texts(options.listeners, options.items, options.plays, options.seed)
    else:
        texts = {"lastfm-2k": read_lastfm, "bookcrossing": read_bookcrossing}[options.set](options.path)
    trial = Trial(texts, options.seed, options.encoder, RECIPES[options.set])
    results = measure(trial)
    means = {
        name: dict(zip(METRICS, np.nanmean(values, axis=0).tolist(), strict=True)) for name, values in results.items()
    }
    scores = {
        name: {metric: values[:, at] for at, metric in enumerate(METRICS[:2])} for name, values in results.items()
    }
    rows = [row for row in differences(scores, TEXT, {}) if row.segment == EVERYONE]
    shares = {
        system: {f"{metric} of warm": f"{of[metric] / means['warm ALS'][metric]:.1%}" for metric in METRICS}
        for system, of in means.items()
    }
    table = [row | shares[str(row["system"])] for row in summary_rows(means, rows)]
    if options.json:
        for row in table:
            print(json.dumps({"set": options.set, "seed": options.seed, "encoder": options.encoder} | row))
    beyond = {f"{metric} of warm" for metric in METRICS[2:]}
    print_rows(
        [{name: row[name] for name in row if name not in beyond} for row in table],
        f"{options.set}, seed {options.seed}",
        stream=sys.stderr,
    )
    per_thousand = 1000 * trial.seconds["encode"] / len(trial.hidden)
    encoder = make_encoder(options.encoder)
    print(
        f"{encoder.name}: {encoder.width * 4} bytes an embedding; {per_thousand:.2f} processor s per 1,000 items; "
        f"fit and map {trial.seconds['fit and map']:.1f} s; {len(results[TEXT])} listeners asked",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
