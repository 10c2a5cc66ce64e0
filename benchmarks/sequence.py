"""The sequence model on published leave-one-out splits, all items ranked, beside this project's ALS and simple peers.

    .venv/bin/python -m benchmarks.sequence ml-1m|beauty [--folder data/sets] [--part valid|test] [--set NAME=VALUE ...]
                                            [--checkpoint FILE] [--alone] [--json]

`valid` finds the item before the last one, from what was heard before it: recipes are chosen by it. `test` finds the
last one, from all the others, once. Which epoch is taken is decided by the last known item of 2,000 listeners, who are
not learned from with it. Lists are the exact top of the project's own kernel, without what was heard. The table goes
to stderr; with --json, a line a system to stdout. --alone leaves out the peers.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.load import tell_load
from nocturne.core.console import print_rows, say
from nocturne.core.csr import CsrRows
from nocturne.core.list_arrays import Lists, empty_lists
from nocturne.core.sections import SequenceSettings
from nocturne.core.settings import load_settings
from nocturne.evaluation.metrics import accuracy
from nocturne.evaluation.next_item import PARTS, evaluate_next_item
from nocturne.evaluation.sequences import Sequences, read_sequences
from nocturne.kernel.autotune import KernelPlan, rank
from nocturne.kernel.encoder import Encoder, Shape
from nocturne.kernel.layout import Eligible, lay_out_items
from nocturne.kernel.query import Query
from nocturne.training.principal_axes import axes_of, principal_axes
from nocturne.training.sequence.fit import Fitted, fit

TOP = 10
OURS = "sequence model"

SETS = {
    "ml-1m": ("seq-ml1m-gsasrec", None),
    "beauty": ("seq-beauty-lastfm", "s3rec/Beauty.txt"),
}
"""Archive or folder, and the file in it."""

RECIPES = {
    "ml-1m": {"length": 200, "epochs": 60, "patience": 12, "validation_listeners": 1_000},
    "beauty": {"length": 50, "dropout": 0.5, "batch_listeners": 16, "epochs": 30},
}
"""Chosen on valid."""

PUBLISHED = {
    "ml-1m": {
        "SASRec": (0.2392, 0.1259),
        "SASRec, sampled softmax": (0.2853, 0.1603),
        "gSASRec": (0.3003, 0.1726),
        "HSTU": (0.3097, 0.1720),
        "eSASRec": (0.3133, 0.1772),
    },
    "beauty": {
        "TIGER": (0.0648, 0.0384),
        "SASRec, sampled softmax": (0.0921, 0.0531),
        "eSASRec": (0.0928, 0.0523),
    },
}
"""Hit rate and NDCG at 10 on test, as others report them."""


@dataclass(frozen=True)
class Trained:
    """A training, and what it took."""

    fitted: Fitted
    seconds: float
    core_seconds: float


def train(known: Sequences, settings: SequenceSettings, checkpoint: Path | None) -> Trained:
    """Train on sequences, with a line an epoch."""
    started, used = time.monotonic(), time.process_time()

    def tell(epoch: int, loss: float, ndcg: float) -> None:
        took = f"{time.monotonic() - started:,.0f} s, {time.process_time() - used:,.0f} of a core"
        say(f"epoch {epoch} of {settings.epochs}: loss {loss:.4f}, NDCG@{TOP} {ndcg:.4f}; {took}")

    rows = CsrRows(known.offsets, known.heard.astype(np.int32))
    fitted = fit(rows, len(known.items), settings, checkpoint, tell)
    return Trained(fitted, time.monotonic() - started, time.process_time() - used)


def top_lists(known: Sequences, fitted: Fitted, settings: SequenceSettings) -> tuple[Lists, float]:
    """The exact top for every listener, without what they heard, (listeners, TOP), and milliseconds to encode one."""
    factors, _ = principal_axes(fitted.embeddings)
    encoder = Encoder(Shape.of(settings), fitted.weights, axes_of(fitted.embeddings).astype(np.float32))
    rows = CsrRows(known.offsets, known.heard.astype(np.int32))
    with threadpool_limits(1, user_api="blas"):
        used = time.process_time()
        users = encoder.vectors(encoder.embeddings(factors), rows)
        milliseconds = 1e3 * (time.process_time() - used) / len(users)
        items = lay_out_items(factors, np.ones(len(factors)), np.arange(len(factors)))
        eligible = Eligible.of(np.ones((1, len(factors)), bool), items)
        query = Query(users, items, TOP, rows, np.zeros(len(users), np.int32), eligible)
        top = rank(query, KernelPlan(blocks_per_panel=16, warm_start=False), rows)
    lists = empty_lists(len(users), TOP)
    lengths = top.lists.lengths
    lists[np.arange(TOP) < lengths[:, None]] = top.lists.positions
    return lists, milliseconds


def main(argv: list[str] | None = None) -> None:
    """Train, rank, score, and print our figures beside the others'."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("--folder", type=Path, default=Path("data/sets"))
    parser.add_argument("--part", choices=PARTS, default="test")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    tell_load()
    archive, file = SETS[options.set]
    found = sorted(options.folder.glob(f"{archive}*"))
    sequences = read_sequences(found[0] if found else options.folder / archive, file)
    changes = {name: json.loads(value) for name, _, value in (each.partition("=") for each in options.changes)}
    defaults = load_settings().als.sequence.model_dump()
    settings = SequenceSettings.model_validate(defaults | RECIPES[options.set] | changes)
    known = sequences.without_last(PARTS[options.part])
    target = sequences.without_last(PARTS[options.part] - 1).last(1)
    trained = train(known, settings, options.checkpoint)
    lists, milliseconds = top_lists(known, trained.fitted, settings)
    metrics = accuracy(lists, target)
    names = {f"HR@{TOP}": f"hit_rate@{TOP}", f"NDCG@{TOP}": f"ndcg@{TOP}"}
    rows: list[dict[str, object]] = [
        {
            "system": OURS,
            **{name: float(metrics[metric].mean()) for name, metric in names.items()},
            "epochs": f"{trained.fitted.best} of {len(trained.fitted.losses)}",
            "seconds": round(trained.seconds),
            "core seconds": round(trained.core_seconds),
        }
    ]
    say(f"encoded in {milliseconds:.2f} ms of a core a listener, in NumPy")
    if not options.alone:
        with threadpool_limits(1, user_api="blas"):
            peers = evaluate_next_item(sequences, load_settings(), options.part, TOP)
        for system, means in peers.means.items():
            name = "ALS, its recipe by a race" if system == "nocturne" else system
            told = {shown: means[metric] for shown, metric in names.items()}
            rows.append(
                {"system": name, **told, "epochs": None, "seconds": peers.seconds[system], "core seconds": None}
            )
    if options.part == "test":
        for system, values in PUBLISHED[options.set].items():
            told = dict(zip(names, values, strict=True))
            rows.append(
                {"system": f"{system} (published)", **told, "epochs": None, "seconds": None, "core seconds": None}
            )
    if options.json:
        for row in rows:
            print(json.dumps({"set": options.set, "part": options.part} | row))
    else:
        print_rows(rows, f"{options.set}, {options.part}: {len(sequences.users):,} listeners", stream=sys.stderr)


if __name__ == "__main__":
    main()
