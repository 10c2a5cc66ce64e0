"""Generated lists beside ranked ones: what comes next, items that nobody has heard, and words.

    .venv/bin/python -m benchmarks.generative beauty data/sets/seq-beauty-lastfm [--part test] [--json]
    .venv/bin/python -m benchmarks.generative bookcrossing data/sets/cold-bookcrossing
    .venv/bin/python -m benchmarks.generative lastfm-2k data/sets/lastfm-2k
    .venv/bin/python -m benchmarks.generative prompts data/sets/lastfm-2k
    .venv/bin/python -m benchmarks.generative cpcd data/sets/steer-cpcd-train

beauty: the item after all others of each listener, all items ranked but those heard; HR@10 and NDCG@10, the share of
lists that hit an item of the tail, of those whose item is of it, and the share of the tail that is in anyone's list.
The tail: the least heard items, which together have a fifth of the listens. Semantic ids are of ALS factors and of the
text that comes with the set (words and attributes), hashed. With --part valid the item before it, nothing later known;
recipes were chosen there.

bookcrossing, lastfm-2k: `benchmarks.cold_items`, its first fold alone. Generated lists begin with hidden items allowed
or not as the column says; what was heard has no order there and is drawn.

prompts, cpcd: `benchmarks.prompts`, and generated items beside. Of tags the decoder has learned names and tags alone;
it is also given the wanted tags without the words around them, as a parser of wishes would;
of conversations, in four folds, titles, artists and albums, and what was liked after which words in other folds.

Seconds, of a training, and milliseconds, of a list, are of the processor. Tables go to stderr; with --json, a line a
row to stdout.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from benchmarks.cold_items import METRICS as COLD_METRICS
from benchmarks.cold_items import RECIPES, Trial
from benchmarks.cold_sets import read_bookcrossing, read_lastfm
from benchmarks.cpcd import Turn, read_cpcd
from benchmarks.prompts import (
    K,
    ScoredTurn,
    embed_tagged,
    measure_conversations,
    measure_tags,
    prompts_of,
    read_tagged_artists,
)
from nocturne.core.arrays import Counts, Factors, Floats, Indexes, Mask, Positions
from nocturne.core.console import print_rows
from nocturne.core.csr import CsrRows
from nocturne.core.list_arrays import Lists
from nocturne.core.settings import load_settings
from nocturne.embedding.hashed import HashedEncoder
from nocturne.evaluation import baselines
from nocturne.evaluation.baselines import Requests
from nocturne.evaluation.metrics import accuracy
from nocturne.evaluation.sequences import Sequences, read_sequences
from nocturne.evaluation.splits import fit as fit_als
from nocturne.evaluation.splits import fit_settings, rank_listeners
from nocturne.ingestion.importers.archive import open_source
from nocturne.kernel.encoder import Shape
from nocturne.training.generative.decoder import Decoder
from nocturne.training.generative.fit import Asked, Known, Recipe, fit
from nocturne.training.generative.semantic_ids import Part, Vectors, fit_ids
from nocturne.training.generative.words import bags, phrases_of
from nocturne.training.principal_axes import axes_of

Row = dict[str, Any]

OURS = "ALS, its recipe by a race"

TOP_K, BEAM = 10, 50
PARTS = {"valid": 2, "test": 1}
TAIL = 0.2
LEVELS, CODES, MARGIN = 3, 256, 0.05
TEXT_AXES = 64
FOLDS = 4
SHAPE = Shape(length=20, width=64, blocks=2, heads=2)
RECIPE = Recipe(SHAPE, dropout=0.5, learning_rate=0.002, batch_listeners=32, epochs=24, patience=6, prior=0.0)
BY_WORDS = replace(
    RECIPE, dropout=0.2, learning_rate=0.003, epochs=20, validation_listeners=0, buckets=2**17, said=2, prior=1.0
)
NOBODY = Asked(CsrRows.empty(0), CsrRows.empty(0), np.zeros(0, np.int64))


def ids_of(embeddings: Factors, factors: Factors | None = None, text_weight: float = 1.0) -> Indexes:
    """Semantic ids by text, and by factors of the items that have any; shape (items, codes of an id)."""
    texts = (embeddings @ axes_of(embeddings)[:, :TEXT_AXES]).astype(np.float32)
    parts = [Part(texts, np.abs(texts).sum(axis=1) > 0, text_weight)]
    if factors is not None:
        parts.append(Part(factors, np.abs(factors).sum(axis=1) > 0, 1.0))
    return fit_ids(Vectors.of(parts), LEVELS, CODES, RECIPE.seed, MARGIN).paths


def learn(known: Known, recipe: Recipe) -> tuple[Decoder, float]:
    """A decoder and the seconds of its training."""
    started = time.process_time()

    def tell(epoch: int, loss: float, ndcg: float) -> None:
        judged = f", NDCG@{TOP_K} of validation {ndcg:.4f}" if recipe.validation_listeners else ""
        print(f"epoch {epoch}: loss {loss:.3f}{judged}", file=sys.stderr, flush=True)

    fitted = fit(known, recipe, tell)
    return fitted.decoder, time.process_time() - started


def read_beauty(path: Path) -> tuple[Sequences, pa.Table]:
    """The sequences, and of each item its words and its attributes as tags."""
    with open_source(path, folders_below=4) as files:
        (numbered,) = files.folder.rglob("s3rec/Beauty.txt")
        folder = numbered.parents[1]
        sequences = read_sequences(numbered)
        named = (folder / "asin/Beauty/user_sequence.txt").read_text().split("\n")
        texts = dict(line.split(" ", 1) for line in (folder / "asin/Beauty/item_text_ids.txt").read_text().splitlines())
        attributes = json.loads((folder / "s3rec/Beauty_item2attributes.json").read_text())
        lines = zip(numbered.read_text().split("\n"), named, strict=False)
        both = ((ours.split()[1:], theirs.split()[1:]) for ours, theirs in lines)
        names = {item: name for ours, theirs in both for item, name in zip(ours, theirs, strict=True)}
    nothing = pa.nulls(len(sequences.items), pa.string())
    columns = {
        "title": pa.array([texts[names[item]].strip() for item in sequences.items]),
        "creator": nothing,
        "content_type": nothing,
        "tags": pa.array([[f"attribute{each}" for each in attributes.get(item, ())] for item in sequences.items]),
        "description": nothing,
    }
    return sequences, pa.table(columns)


def tail_of(plays: csr_matrix) -> Mask:
    """True for the least heard items, which together have a fifth of the listens."""
    listens = np.bincount(plays.indices, minlength=plays.shape[1])
    order = np.argsort(listens, kind="stable")
    tail = np.zeros(len(listens), np.bool_)
    tail[order[np.cumsum(listens[order]) <= TAIL * listens.sum()]] = True
    return tail


def measure_next(path: Path, part: str, text_weight: float, recipe: Recipe) -> list[Row]:
    """A row a system: what comes next on Beauty."""
    sequences, texts = read_beauty(path)
    known = sequences.without_last(PARTS[part])
    target = sequences.without_last(PARTS[part] - 1).last(1)
    plays, requests = known.plays(), Requests.for_everyone(known.plays())
    order = CsrRows(known.offsets, known.heard.astype(np.int32))
    trained: dict[str, float] = {}
    started = time.process_time()
    settings, _ = fit_settings(plays, load_settings(overrides=[f"ranking.top_k={TOP_K}"]), order)
    model = fit_als(plays, settings, order)
    trained[OURS] = time.process_time() - started
    factors = np.zeros((plays.shape[1], model.factors.shape[1]), np.float32)
    factors[model.item_indexes] = model.factors
    embeddings = HashedEncoder().encode(texts)
    started = time.process_time()
    paths = ids_of(embeddings, factors, text_weight)
    seconds = time.process_time() - started
    decoder, trained["generative"] = learn(Known(paths, order, bags(phrases_of(texts), recipe.buckets), NOBODY), recipe)
    trained["generative"] += seconds
    everything = np.ones(plays.shape[1], np.bool_)
    profile = _unit((plays @ embeddings).astype(np.float32))
    systems: dict[str, Callable[[], Lists]] = {
        "popular": lambda: baselines.popular(plays, requests, TOP_K),
        "item-knn, last 5": lambda: baselines.item_knn(plays, requests, TOP_K, evidence=known.last(5)),
        "item-knn, last item": lambda: baselines.item_knn(plays, requests, TOP_K, evidence=known.last(1)),
        "sequential rules": lambda: baselines.sequential_rules(plays, known.offsets, known.heard, requests, TOP_K),
        "text, all heard": lambda: baselines.best_lists(
            lambda some: profile[some] @ embeddings.T, plays, requests, TOP_K
        ),
        OURS: lambda: rank_listeners(model, plays, settings, order),
        "generative": lambda: decoder.recommend(order, everything, plays, BEAM, TOP_K)[0],
    }
    return [_next_row(name, lists, plays, target, trained.get(name, 0.0)) for name, lists in systems.items()]


def _next_row(name: str, ranked: Callable[[], Lists], plays: csr_matrix, target: csr_matrix, trained: float) -> Row:
    started = time.process_time()
    lists = ranked()
    seconds = time.process_time() - started
    found, tail = accuracy(lists, target), tail_of(plays)
    of_tail = tail[target.indices]
    return {
        "system": name,
        f"HR@{TOP_K}": f"{found[f'hit_rate@{TOP_K}'].mean():.4f}",
        f"NDCG@{TOP_K}": f"{found[f'ndcg@{TOP_K}'].mean():.4f}",
        f"HR@{TOP_K} of the tail": f"{found[f'hit_rate@{TOP_K}'][of_tail].mean():.4f}",
        "tail listed": f"{len(np.intersect1d(lists, np.flatnonzero(tail))) / tail.sum():.3f}",
        "training, s": round(trained),
        "a list, ms": f"{1000 * seconds / len(lists):.2f}",
    }


def measure_cold(name: str, path: Path, seed: int, text_weight: float, recipe: Recipe) -> list[Row]:
    """A row a system: hidden items of one fold's listeners, as `benchmarks.cold_items` has them."""
    texts = {"lastfm-2k": read_lastfm, "bookcrossing": read_bookcrossing}[name](path)
    trial, fold = Trial(texts, seed, "hashed", RECIPES[name]), 0
    asked = trial.asked(fold)
    embeddings, model = trial.embeddings(fold), trial.cold
    factors = np.zeros((len(trial.hidden), model.factors.shape[1]), np.float32)
    factors[model.item_indexes] = model.factors
    paths = ids_of(embeddings, factors, text_weight)
    said = texts.texts_without(np.flatnonzero(trial.fold == fold))
    order = _drawn_order(trial.seen, seed)
    decoder, seconds = learn(Known(paths, order, bags(phrases_of(said), recipe.buckets), NOBODY), recipe)
    systems = {"warm ALS": trial.warm, "text": trial.text, "words and tags, cosine": trial.profile,
               "BM25": trial.bm25, "most heard": trial.heard}  # fmt: skip
    results = {system: trial.judge(scored(fold, asked), asked) for system, scored in systems.items()}
    scores = np.full((len(asked), len(trial.hidden)), -np.inf)
    for mask in (trial.hidden, np.ones_like(trial.hidden)):
        lists, found = decoder.recommend(order.take(asked), mask, trial.seen[asked], 2 * BEAM, K)
        rows, places = np.nonzero(lists >= 0)
        scores[rows, lists[rows, places]] = found[rows, places]
    results["generative"] = trial.judge(scores, asked)
    return [
        {
            "system": system,
            **{metric: f"{value:.4f}" for metric, value in zip(COLD_METRICS, np.nanmean(of, axis=0), strict=True)},
            "training, s": round(seconds) if system == "generative" else "",
        }
        for system, of in results.items()
    ]


def _drawn_order(heard: csr_matrix, seed: int) -> CsrRows:
    """Items of each listener in an order that is drawn."""
    listener = np.repeat(np.arange(heard.shape[0]), np.diff(heard.indptr))
    order = np.lexsort((np.random.default_rng(seed).random(heard.nnz), listener))
    return CsrRows(heard.indptr.astype(np.int64), heard.indices[order].astype(np.int32))


def measure_prompts(path: Path, count: int, seed: int, recipe: Recipe) -> list[Row]:
    """A row a system and kind of prompt."""
    tagged = read_tagged_artists(path)
    words = bags(([name, *tags] for name, tags in zip(*tagged, strict=True)), recipe.buckets)
    paths = ids_of(embed_tagged(tagged.names, tagged.tags).astype(np.float32))
    decoder, seconds = learn(Known(paths, CsrRows.empty(0), words, NOBODY), recipe)
    everything, nothing = np.ones(len(paths), np.bool_), csr_matrix((1, len(paths)))

    def generated(phrases: Sequence[str]) -> Sequence[int]:
        bag = bags([phrases], recipe.buckets)
        found: Sequence[int] = decoder.recommend(CsrRows.empty(1), everything, nothing, BEAM, K, bag)[0][0].tolist()
        return found

    prompts = prompts_of(tagged, count, seed)
    wanted = {prompt.text: prompt.wanted for prompt in prompts}
    others = {
        "generative": lambda text: generated([text]),
        "generative, by the tags alone": lambda text: generated(wanted[text]),
    }
    rows = measure_tags(tagged, prompts, others)
    return [*rows, {"system": "generative", "training, s": round(seconds)}]


def measure_talk(path: Path, recipe: Recipe) -> list[Row]:
    """A row a system and turn of conversations."""
    conversations = read_cpcd(path)
    tracks = list(conversations.tracks.values())
    place = {track.id: at for at, track in enumerate(tracks)}
    embeddings = _embed_titles([(track.title, ", ".join(track.artists), track.album) for track in tracks])
    paths = ids_of(embeddings)
    own = bags(([track.title, *track.artists, track.album] for track in tracks), recipe.buckets)
    decoders = []
    for fold in range(FOLDS):
        others = [turns for number, turns in enumerate(conversations.turns) if number % FOLDS != fold]
        asked = _asked(others, place, recipe)
        decoders.append(learn(Known(paths, CsrRows.empty(0), own, asked), recipe)[0])

    def generated(conversation: int, number: int) -> Floats:
        turns, decoder = conversations.turns[conversation][:number], decoders[conversation % FOLDS]
        liked = [place[name] for turn in turns[:-1] for name in turn.liked if name in place]
        heard, said = _rows([liked]), bags([[turns[-1].said]], recipe.buckets)
        scores: Floats = decoder.score_all(decoder.contexts(heard, said))[0].astype(np.float64)
        return scores

    def dense(conversation: int, number: int) -> Floats:
        said = conversations.turns[conversation][number - 1].said
        scores: Floats = (embeddings @ _embed_titles([(said, None, None)])[0]).astype(np.float64)
        return scores

    scored: dict[str, ScoredTurn] = {"hashed embeddings, last turn": dense, "generative": generated}
    return measure_conversations(conversations, scored, fused_with="generative")


def _embed_titles(named: Sequence[tuple[str, str | None, str | None]]) -> Factors:
    """Hashed embeddings of titles, creators and descriptions."""
    titles, creators, descriptions = (pa.array(texts, pa.string()) for texts in zip(*named, strict=True))
    nothing = pa.nulls(len(titles), pa.string())
    columns = {"title": titles, "creator": creators, "content_type": nothing, "description": descriptions}
    return HashedEncoder().encode(pa.table(columns | {"tags": pa.nulls(len(titles), pa.list_(pa.string()))}))


def _asked(conversations: Sequence[Sequence[Turn]], place: dict[str, int], recipe: Recipe) -> Asked:
    """Every liked track, by what was liked before and said last."""
    heard, said, items = [], [], []
    for turns in conversations:
        liked: list[int] = []
        for turn in turns:
            here = [place[name] for name in turn.liked if name in place]
            for item in here:
                heard.append(list(liked))
                said.append([turn.said])
                items.append(item)
            liked += here
    return Asked(_rows(heard), bags(said, recipe.buckets), np.array(items, np.int64))


def _rows(lists: Sequence[Sequence[int]]) -> CsrRows:
    offsets: Counts = np.concatenate([[0], np.cumsum([len(each) for each in lists], dtype=np.int64)])
    positions: Positions = np.array([each for row in lists for each in row], np.int64)
    return CsrRows(offsets, positions.astype(np.int32))


def _unit(rows: Factors) -> Factors:
    unit: Factors = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit


def main() -> None:
    """Measure one set and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["beauty", "bookcrossing", "lastfm-2k", "prompts", "cpcd"])
    parser.add_argument("path", type=Path, help="folder or archive of the set")
    parser.add_argument("--part", choices=list(PARTS), default="test", help="of beauty")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--prompts", type=int, default=200, help="of each kind")
    parser.add_argument("--text-weight", type=float, default=1.0, help="beside factors, in semantic ids")
    parser.add_argument("--epochs", type=int, help="at most")
    parser.add_argument("--dropout", type=float)
    parser.add_argument("--prior", type=float, help="power of listens that scores begin with")
    parser.add_argument("--json", action="store_true", help="a line a row to stdout")
    options = parser.parse_args()
    given = {name: getattr(options, name) for name in ("epochs", "dropout", "prior")}
    changes = {name: value for name, value in given.items() if value is not None}
    recipe, by_words = replace(RECIPE, **changes), replace(BY_WORDS, **changes)
    measured: dict[str, Callable[[], list[Row]]] = {
        "beauty": partial(measure_next, options.path, options.part, options.text_weight, recipe),
        "prompts": partial(measure_prompts, options.path, options.prompts, options.seed, by_words),
        "cpcd": partial(measure_talk, options.path, by_words),
    }
    cold = partial(measure_cold, options.what, options.path, options.seed, options.text_weight, recipe)
    rows = measured.get(options.what, cold)()
    print_rows(rows, options.what, stream=sys.stderr)
    if options.json:
        for row in rows:
            print(json.dumps({"set": options.what, "part": options.part, "seed": options.seed} | row))


if __name__ == "__main__":
    main()
