"""Quality on withheld items of real data sets: the recipe that fits itself, beside what else one would tune or try.

    .venv/bin/python -m benchmarks.splits data/sets/gowalla data/sets/lastfm-2k ... [--seed 1] [--only SYSTEM ...]
                                [--trials 24] [--json]

A data set is a folder with train.txt, valid.txt and test.txt in LightGCN's form, or one of those that FORMS names, by
its folder or file, which is split here: of every listener with at least five items a tenth, one at least, is withheld
for test and as much for valid, by a seed. Race and training get train and valid; what is tuned (EASE's ridge,
neighbours and listeners' weights of item-kNN, with --trials a search) is tuned on valid, trained on train.
Test is scored once. Intervals: bootstrap over listeners of the paired difference to ours (95 %). A table per data set
goes to stderr; with --json, a line per system to stdout.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from nocturne.core.arrays import Floats
from nocturne.core.console import print_rows
from nocturne.core.list_arrays import Lists
from nocturne.core.settings import Settings, load_settings, with_values
from nocturne.evaluation import baselines, tuning
from nocturne.evaluation.baselines import Requests
from nocturne.evaluation.metrics import accuracy
from nocturne.evaluation.objectives import split_objective
from nocturne.evaluation.sequences import read_sequences
from nocturne.evaluation.significance import differences, summary_rows
from nocturne.evaluation.splits import TRAIN, Split, fit, fit_settings, rank_listeners, read_split, sort_ids

OURS = "nocturne"
TOP_K = 20
METRICS = (f"recall@{TOP_K}", f"ndcg@{TOP_K}")
GOWALLA_RECIPE = "conf/recipes/gowalla.toml"
SPACE, STARTS = Path("conf/search.toml"), Path("conf/starts.toml")

EASE_RIDGES = (10.0, 30.0, 100.0, 300.0, 1000.0)
EASE_ITEMS = 20_000
"""Of a larger catalogue the 8,000 most popular items, which are all that EASE learns here, are too small a part."""

KNN_NEIGHBOURS = (20, 100, 1000)
KNN_ACTIVITY_EXPONENTS = (0.0, 0.5)

FEWEST_ITEMS = 5
WITHHELD = 10
"""One item in so many is withheld for each of valid and test."""

Pairs = Iterable[tuple[str, str, int]]


def _lastfm(folder: Path) -> Pairs:
    """Listener, artist and plays."""
    lines = (folder / "user_artists.dat").read_text(encoding="utf-8").splitlines()[1:]
    return ((user, item, int(plays)) for user, item, plays in (line.split("\t") for line in lines))


def _rated(path: Path) -> Pairs:
    """User and item of a line that begins with both; whatever else it says is not looked at."""
    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return ((user, item, 1) for user, item, *_ in lines if user.isdecimal())


def _sequences(folder: Path) -> Pairs:
    """User and item of sequences, whose order is not looked at."""
    heard = read_sequences(folder).plays().tocoo()
    return ((str(user), str(item), 1) for user, item in zip(heard.row.tolist(), heard.col.tolist(), strict=True))


FORMS: dict[str, Callable[[Path], Pairs]] = {
    "lastfm-2k": _lastfm,
    "douban_music": lambda folder: _rated(folder / "ratings.dat"),
    "douban_book": lambda folder: _rated(folder / "ratings.dat"),
    "cold-bookcrossing": lambda folder: _rated(folder / "book_history.dat"),
    "seq-ml1m-gsasrec": _sequences,
}
"""Readers of data sets that no one has split, by the name of their folder."""


def read(path: Path, seed: int) -> Split:
    """A data set with its own split, or with one by a seed."""
    if (path / TRAIN).is_file() or path.name not in FORMS:
        return read_split(path)
    return split_pairs(FORMS[path.name](path), seed)


def split_pairs(pairs: Pairs, seed: int) -> Split:
    """Pairs of listener, item and plays as a split; its train part keeps the plays."""
    plays = {(user, item): count for user, item, count in pairs}
    users, items = (sort_ids({pair[side] for pair in plays}) for side in (0, 1))
    user_place, item_place = ({id_: place for place, id_ in enumerate(ids)} for ids in (users, items))
    rows = [user_place[user] for user, _ in plays]
    columns = [item_place[item] for _, item in plays]
    everything = csr_matrix((list(plays.values()), (rows, columns)), (len(users), len(items)), dtype=np.float32)
    everything.sort_indices()
    rng = np.random.default_rng(seed)
    part = np.zeros(everything.nnz, np.int64)
    for start, end in zip(everything.indptr, everything.indptr[1:], strict=False):
        length = int(end - start)
        count = max(1, length // WITHHELD) if length >= FEWEST_ITEMS else 0
        drawn = start + rng.permutation(length)
        part[drawn[:count]], part[drawn[count : 2 * count]] = 2, 1
    return Split(users, items, *(_kept(everything, part == number) for number in range(3)))


def _kept(matrix: csr_matrix, entries: np.ndarray) -> csr_matrix:
    listener = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))[entries]
    return csr_matrix((matrix.data[entries], (listener, matrix.indices[entries])), matrix.shape)


def values(lists: Lists, held_out: csr_matrix) -> dict[str, Floats]:
    """Metrics of every listener from whom something was withheld."""
    asked = np.flatnonzero(np.diff(held_out.indptr))
    found = accuracy(lists[asked], held_out[asked])
    return {metric: found[metric] for metric in METRICS}


def best(recipes: Iterable[Any], rank: Callable[[Any], Lists], valid: csr_matrix) -> Any:
    """The recipe of most NDCG on valid."""
    return max(recipes, key=lambda recipe: values(rank(recipe), valid)[METRICS[1]].mean())


Ranked = tuple[Lists, dict[str, Any]]
"""Every listener's list for test, and what was chosen on valid or by the race."""


def nocturne(heard: csr_matrix, settings: Settings) -> Ranked:
    """Lists as a night makes them, by the recipe of a race or, if they say so, of the settings."""
    raced, race = fit_settings(heard, settings)
    chosen: dict[str, Any] = {}
    for entrant in race.entrants:
        chosen |= entrant.changes if entrant.chosen else {}
    return rank_listeners(fit(heard, raced), heard, raced), chosen


def searched(split: Split, heard: csr_matrix, trials: int, seed: int) -> Ranked:
    """Lists by the best of so many trials of `nocturne tune` on valid, by its own space and starts."""
    base = load_settings(None, [f"ranking.top_k={TOP_K}"])
    base = with_values(fit_settings(split.train, base)[0], {"als.recipe": "settings"})
    with TemporaryDirectory() as folder:
        space, starts = tuning.read_space(SPACE), tuning.read_starts(STARTS)
        search = tuning.Search("search", Path(folder) / "search.log", space, seed, starts)
        objective = split_objective(split, METRICS[1])
        top = tuning.best_trial(tuning.run_search(search, base, objective, trials, lambda _study: None))
    assert top
    return nocturne(heard, with_values(base, top.params))[0], top.params


def ease(split: Split, heard: csr_matrix) -> Ranked | None:
    """EASE of the 8,000 most popular items with the best ridge; None if there are far more."""
    if heard.shape[1] > EASE_ITEMS:
        return None

    def rank(plays: csr_matrix, ridge: float) -> Lists:
        return baselines.ease(plays, Requests.for_everyone(plays), TOP_K, regularization=ridge)

    ridge = best(EASE_RIDGES, partial(rank, split.train), split.valid)
    return rank(heard, ridge), {"regularization": ridge}


def item_knn(split: Split, heard: csr_matrix) -> Ranked:
    """Item-kNN with the best number of neighbours and weight of active listeners."""
    names = "neighbours", "activity_exponent"

    def rank(plays: csr_matrix, recipe: tuple[Any, ...]) -> Lists:
        settings = dict(zip(names, recipe, strict=True))
        return baselines.item_knn(plays, Requests.for_everyone(plays), TOP_K, **settings)

    grid = product(KNN_NEIGHBOURS, KNN_ACTIVITY_EXPONENTS)
    recipe = best(grid, partial(rank, split.train), split.valid)
    return rank(heard, recipe), dict(zip(names, recipe, strict=True))


def systems(split: Split, trials: int, seed: int) -> Mapping[str, Callable[[csr_matrix], Ranked | None]]:
    """Makers of lists from train and valid, by name, ours first."""

    def ours(conf: str | None, *overrides: str) -> Callable[[csr_matrix], Ranked]:
        settings = load_settings(conf, [f"ranking.top_k={TOP_K}", *overrides])
        return lambda heard: nocturne(heard, settings)

    makers: dict[str, Callable[[csr_matrix], Ranked | None]] = {
        OURS: ours(None),
        "conf/default.toml, no race": ours(None, "als.recipe=settings"),
        "the recipe of Gowalla": ours(GOWALLA_RECIPE),
        "EASE": lambda heard: ease(split, heard),
        "item-kNN": lambda heard: item_knn(split, heard),
        "popular": lambda heard: (baselines.popular(heard, Requests.for_everyone(heard), TOP_K), {}),
    }
    if trials:
        makers[f"tune, {trials} trials"] = lambda heard: searched(split, heard, trials, seed)
    return makers


def measure(split: Split, trials: int, seed: int, only: Iterable[str]) -> list[dict[str, object]]:
    """A row a system: its metrics, the intervals of their differences to ours, and what was chosen."""
    heard = (split.train + split.valid).tocsr()
    heard.sort_indices()
    scores: dict[str, dict[str, Floats]] = {}
    remarks: dict[str, dict[str, object]] = {}
    for name, make in systems(split, trials, seed).items():
        if name != OURS and not any(word in name for word in only):
            continue
        started = time.monotonic()
        if (ranked := make(heard)) is None:
            continue
        lists, chosen = ranked
        scores[name] = values(lists, split.test)
        remarks[name] = {"seconds": round(time.monotonic() - started), "chosen": chosen}
        means = {metric: round(float(each.mean()), 4) for metric, each in scores[name].items()}
        print(name, means, remarks[name], file=sys.stderr, flush=True)
    means = {name: {metric: float(each.mean()) for metric, each in of.items()} for name, of in scores.items()}
    return [row | remarks[str(row["system"])] for row in summary_rows(means, differences(scores, OURS, {}))]


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", type=Path, nargs="+")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trials", type=int, default=0, help="of a search that is compared too; 0: none")
    parser.add_argument("--only", nargs="*", default=[""], help="parts of the names of what ours is compared with")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for source in options.sources:
        split = read(source, options.seed)
        counts = f"{len(split.users):,} listeners, {len(split.items):,} items, {split.train_and_valid.nnz:,} pairs"
        rows = measure(split, options.trials, options.seed, options.only)
        for row in rows if options.json else ():
            print(json.dumps({"data": source.name} | row), flush=True)
        shown = [{name: value for name, value in row.items() if name != "chosen"} for row in rows]
        print_rows(shown, f"{source.name}: {counts}; differences to {OURS}, 95 %", stream=sys.stderr)


if __name__ == "__main__":
    main()
