"""Evidence beside the cosine of factors that makes related items those that come next, measured.

    .venv/bin/python -m benchmarks.related_scores data/sets/seq-ml1m-gsasrec [--file NAME] [--set NAME=VALUE] [--json]

Published sequences (docs/evaluation.md): a model is trained on all items but the last of every listener, and the last
one is looked for among the related items of the one before it, all items ranked, what the listener heard left out.
Evidence is how often an item is heard after another, as it is kept, or as a share of what is so most often; or the
weight of the second stage's neighbours, as such a share.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from nocturne.core.console import print_rows
from nocturne.core.csr import CsrRows
from nocturne.core.settings import load_settings
from nocturne.evaluation.sequences import Sequences, read_sequences
from nocturne.evaluation.splits import fit
from nocturne.training.model import Model

DEPTH = 25
LISTENERS = 3_000
"""Asked at most, drawn by a seed."""


def evidence(positions: np.ndarray, weights: np.ndarray) -> csr_matrix:
    """Weight of each item beside each that it has as neighbour; rows are these."""
    after, place = np.nonzero((positions >= 0) & (weights > 0))
    shape = (len(positions), len(positions))
    return csr_matrix((weights[after, place].astype(np.float64), (positions[after, place], after)), shape)


def shares(weights: csr_matrix) -> csr_matrix:
    """Of the largest weight of every row."""
    largest = weights.max(axis=1).toarray().ravel()
    return csr_matrix(weights.multiply(1 / np.where(largest > 0, largest, 1)[:, None]))


def scores_of(model: Model, items: np.ndarray) -> Mapping[str, np.ndarray]:
    """Scores of every item for some, by name."""
    units = model.factors.astype(np.float64)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    cosine = units[items] @ units.T
    follows = evidence(model.predecessors, model.predecessor_weights)
    raw, share = (matrix[items].toarray() for matrix in (follows, shares(follows)))
    near = shares(evidence(model.neighbours, model.similarities))[items].toarray()
    return {
        "cosine": cosine,
        "cosine + succession": cosine + raw,
        "cosine + 0.3 x share of succession": cosine + 0.3 * share,
        "cosine + share of succession": cosine + share,
        "cosine + 3 x share of succession": cosine + 3 * share,
        "cosine + share of neighbours": cosine + near,
        "cosine + the larger share": cosine + np.maximum(share, near),
    }


def run(sequences: Sequences, overrides: list[str]) -> list[dict[str, object]]:
    """Hit rate and NDCG of each score."""
    known, target = sequences.without_last(1), sequences.last(1).indices
    order = CsrRows(known.offsets, known.heard.astype(np.int32))
    model = fit(known.plays(), load_settings(overrides=["als.recipe=settings", *overrides]), order)
    position = np.append(model.position, np.full(len(sequences.items) - len(model.position), -1, np.int32))
    last = known.heard[known.offsets[1:] - 1]
    asked = np.flatnonzero((position[last] >= 0) & (position[target] >= 0))
    asked = np.random.default_rng(0).permutation(asked)[:LISTENERS]
    items, wanted = position[last[asked]], position[target[asked]]
    heard = np.zeros((len(asked), len(model.item_indexes)), bool)
    row = np.repeat(np.arange(len(asked)), order.take(asked).lengths)
    heard[row, position[order.take(asked).positions]] = True
    heard[np.arange(len(asked)), wanted] = False
    rows = []
    for name, scores in scores_of(model, items).items():
        left = np.where(heard, -np.inf, scores)
        rank = (left > left[np.arange(len(asked)), wanted][:, None]).sum(axis=1)
        rows.append(
            {
                "score": name,
                "listeners": len(asked),
                "hit rate@10": round(float((rank < 10).mean()), 4),
                f"hit rate@{DEPTH}": round(float((rank < DEPTH).mean()), 4),
                f"ndcg@{DEPTH}": round(float(np.where(rank < DEPTH, 1 / np.log2(rank + 2), 0).mean()), 4),
            }
        )
    return rows


def main(argv: list[str] | None = None) -> None:
    """Print a row a score."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.related_scores", description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--file", default=None)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    rows = run(read_sequences(arguments.path, arguments.file), arguments.set)
    if arguments.json:
        for row in rows:
            sys.stdout.write(json.dumps(row) + "\n")
    else:
        print_rows(rows, "scores")


if __name__ == "__main__":
    main()
