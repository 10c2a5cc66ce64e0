"""Cost of training, and its return: time, samples and warm starts, on Gowalla.

    .venv/bin/python -m benchmarks.train [--gowalla data/sets/gowalla] [--factors 64]
                               [--parts time sample warm] [--json]

Models are trained on train.txt by `als.train`, from batches as `interactions` stores them; then every listener is
solved exactly and gets the 20 best items they have not heard, which are scored on valid.txt.

time: this and MLlib's ALS (implicit feedback) on the same confidences with the same rank, in one session local[2];
    MLlib weighs its ridge term by a listener's items, so its regularization is its own. For each time that MLlib
    takes, the quality of the longest training of ours that takes no longer.
sample: trained on samples of the listeners. Intervals: bootstrap over listeners of the paired difference to all.
warm: a model of 95 % of the pairs (seeded) is the start of a training on all of them. How many iterations reach
    the quality of a whole training from scratch, from scratch and from there.

The tables go to stderr; with --json, a line per measurement to stdout.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix
from scipy.stats import bootstrap

from benchmarks import gowalla
from benchmarks.load import tell_load
from nocturne.core.console import print_rows
from nocturne.core.sections import AlsSettings
from nocturne.core.settings import load_settings
from nocturne.ingestion.interactions import EPOCH, UNIT
from nocturne.kernel.solve import solve_users
from nocturne.training import als
from nocturne.training.confidences import confidence_rows
from nocturne.training.model import Model

K = 20
HALF_LIFE = 90.0
SHARES = (1.0, 0.3, 0.1)
FIRST_PART = 0.95
Line = dict[str, object]
Quality = dict[str, np.ndarray]


def rows(heard: csr_matrix) -> list[pa.RecordBatch]:
    """The matrix as rows of `interactions`: a play of each item, on the day the model is trained."""
    listeners = heard.shape[0]
    offsets = pa.array(heard.indptr.astype(np.int32))
    plays = pa.ListArray.from_arrays(offsets, pa.array(heard.data.astype(np.int64) * UNIT))
    table = pa.table(
        {
            "user_id": pa.array(np.arange(listeners)).cast(pa.string()),
            "market": pa.nulls(listeners, pa.string()),
            "period": pa.repeat(pa.scalar(0, pa.int32()), listeners),
            "item_indexes": pa.ListArray.from_arrays(offsets, pa.array(heard.indices)),
            "play_sums": plays,
            "second_sums": plays,
            "recent_items": pa.array([[]] * listeners, pa.list_(pa.int32())),
        }
    )
    return table.to_batches(max_chunksize=4096)


def train(heard: csr_matrix, settings: AlsSettings, parent: Model | None = None) -> tuple[als.Training, float]:
    """A training and the seconds it took, from the first batch to the frozen model."""
    batches, ids = rows(heard), pa.array(np.arange(heard.shape[1])).cast(pa.string())
    started = time.perf_counter()
    training = als.train(batches, ids, EPOCH, HALF_LIFE, settings, parent)
    return training, time.perf_counter() - started


def judge(model: Model, heard: csr_matrix, held_out: csr_matrix) -> Quality:
    """Solve every listener exactly, and score the best items they have not heard."""
    solved = [
        solve_users(model.factors, model.spectrum, model.settings.regularization, row)
        for row in map(model.confidence_rows, rows(heard))
    ]
    items = model.factors * model.score_multipliers[:, None]
    return judge_factors(np.vstack(solved), items, model.item_indexes, heard, held_out)


def judge_factors(
    users: np.ndarray, items: np.ndarray, item_indexes: np.ndarray, heard: csr_matrix, held_out: csr_matrix
) -> Quality:
    """Score the best unheard of the given items."""
    lists = gowalla.top_lists(users, items, heard[:, item_indexes], K)
    return gowalla.quality(item_indexes[lists], held_out)


def means(each: Quality) -> Line:
    """Mean of every metric over listeners."""
    return {name: round(float(values.mean()), 4) for name, values in each.items()}


def differences(ours: Quality, theirs: Quality, name: str) -> Line:
    """95 % interval of the paired difference of every metric."""
    intervals: Line = {}
    for metric, values in ours.items():
        found = bootstrap((values - theirs[metric],), np.mean, n_resamples=1000, rng=np.random.default_rng(1))
        low, high = found.confidence_interval
        intervals[f"{metric} minus {name}"] = [round(float(low), 4), round(float(high), 4)]
    return intervals


def measure_time(
    heard: csr_matrix,
    held_out: csr_matrix,
    settings: AlsSettings,
    ours: Sequence[int],
    theirs: Sequence[int],
    ridge: float,
) -> Iterator[Line]:
    """Seconds and quality of trainings of so many iterations, ours and MLlib's."""
    trained: list[tuple[float, int, Quality]] = []
    for iterations in ours:
        training, seconds = train(heard, settings.model_copy(update={"iterations": iterations}))
        quality = judge(training.model, heard, held_out)
        trained.append((seconds, iterations, quality))
        yield timed("nocturne", iterations, seconds, quality)
    for iterations, seconds, quality in mllib(heard, held_out, settings, theirs, ridge) if theirs else ():
        yield timed("mllib", iterations, seconds, quality)
        in_time = [each for each in trained if each[0] <= seconds]
        if in_time:
            taken, best, mine = max(in_time, key=lambda each: each[0])
            yield {**timed("nocturne in mllib's time", best, taken, mine), **differences(mine, quality, "mllib")}


def timed(system: str, iterations: int, seconds: float, quality: Quality) -> Line:
    """A measurement of a training."""
    return {
        "part": "time",
        "system": system,
        "iterations": iterations,
        "seconds": round(seconds, 2),
        "seconds_per_iteration": round(seconds / iterations, 3),
        **means(quality),
    }


def mllib(
    heard: csr_matrix, held_out: csr_matrix, settings: AlsSettings, iterations: Sequence[int], ridge: float
) -> Iterator[tuple[int, float, Quality]]:
    """Iterations, seconds and quality of MLlib's trainings, on the confidences that ours has, beyond 1."""
    from pyspark.ml.recommendation import ALS

    from nocturne.core.spark.session import spark_session

    counts = np.bincount(heard.indices, minlength=heard.shape[1]).astype(np.float64)
    weights = np.maximum(counts, 1) ** -settings.popularity_exponent
    place = np.arange(heard.shape[1], dtype=np.int32)
    parts = [confidence_rows(batch, place, weights, EPOCH, HALF_LIFE, settings) for batch in rows(heard)]
    listener = np.repeat(np.arange(heard.shape[0], dtype=np.int32), np.diff(heard.indptr))
    ratings = np.maximum(np.concatenate([part.confidences for part in parts]) - 1, 1e-3).astype(np.float32)
    table = pa.table({"user": listener, "item": heard.indices, "rating": ratings})
    with spark_session(load_settings().spark, "training benchmark") as spark:
        frame = spark.createDataFrame(table).repartition(2).cache()
        frame.count()
        for count in iterations:
            recipe = ALS(rank=settings.factors, maxIter=count, regParam=ridge, implicitPrefs=True, alpha=1.0, seed=1)
            started = time.perf_counter()
            model = recipe.fit(frame)
            seconds = time.perf_counter() - started
            users = np.zeros((heard.shape[0], settings.factors))
            ids, factors = factors_of(model.userFactors.toArrow())
            users[ids] = factors
            indexes, items = factors_of(model.itemFactors.toArrow())
            yield count, seconds, judge_factors(users, items, indexes, heard, held_out)


def factors_of(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Ids and factors of one side of MLlib's model."""
    ids = table["id"].to_numpy()
    return ids, table["features"].combine_chunks().flatten().to_numpy().reshape(len(ids), -1)


def measure_samples(heard: csr_matrix, held_out: csr_matrix, settings: AlsSettings) -> Iterator[Line]:
    """Quality of models trained on samples of the listeners."""
    everyone: Quality | None = None
    for share in SHARES:
        changes = {"sample_share": share, "min_item_coverage": 0.0}
        training, seconds = train(heard, settings.model_copy(update=changes))
        quality = judge(training.model, heard, held_out)
        everyone = everyone or quality
        yield {
            "part": "sample",
            "share": share,
            "listeners": training.listeners,
            "item_coverage": round(training.item_coverage, 4),
            "seconds": round(seconds, 2),
            **means(quality),
            **(differences(quality, everyone, "all") if share < 1 else {}),
        }


def measure_warm_start(heard: csr_matrix, held_out: csr_matrix, settings: AlsSettings) -> Iterator[Line]:
    """Quality after each number of iterations, from scratch and from a model of most of the pairs."""
    first_part = heard.copy()
    first_part.data[np.random.default_rng(settings.seed).random(heard.nnz) >= FIRST_PART] = 0
    first_part.eliminate_zeros()
    parent = train(first_part, settings)[0].model
    reached: dict[str, list[float]] = {}
    for start, model in (("scratch", None), ("warm", parent)):
        for iterations in range(1, settings.iterations + 1):
            training, seconds = train(heard, settings.model_copy(update={"iterations": iterations}), model)
            found = means(judge(training.model, heard, held_out))
            reached.setdefault(start, []).append(float(str(found[f"recall@{K}"])))
            line: Line = {"part": "warm", "start": start, "iterations": iterations, "seconds": round(seconds, 2)}
            yield {**line, "loss": training.losses[-1], **found}
    wanted = reached["scratch"][-1]
    for start, recalls in reached.items():
        needed = next((count for count, recall in enumerate(recalls, 1) if recall >= wanted), None)
        yield {"part": "warm", "start": f"{start}: reaches {wanted}", "iterations": needed}


def show(lines: list[Line], title: str) -> None:
    """Print a part's measurements for people."""
    rows = [{name: value for name, value in line.items() if name != "part"} for line in lines]
    print_rows(rows, title, stream=sys.stderr)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gowalla", type=Path, default=gowalla.ARCHIVE)
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--parts", nargs="+", choices=("time", "sample", "warm"), default=("time", "sample", "warm"))
    parser.add_argument("--iterations", type=int, nargs="+", default=(1, 2, 5, 10, 20, 50), help="ours, for time")
    parser.add_argument("--mllib-iterations", type=int, nargs="*", default=(1, 3, 5), help="MLlib's, for time")
    parser.add_argument("--mllib-regularization", type=float, default=1.0)
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="section.key=value")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    tell_load()
    heard, held_out, _ = gowalla.read(options.gowalla)
    settings = load_settings(overrides=[f"als.factors={options.factors}", *options.overrides]).als
    parts = {
        "time": lambda: measure_time(
            heard, held_out, settings, options.iterations, options.mllib_iterations, options.mllib_regularization
        ),
        "sample": lambda: measure_samples(heard, held_out, settings),
        "warm": lambda: measure_warm_start(heard, held_out, settings),
    }
    for part in options.parts:
        lines = []
        for line in parts[part]():
            lines.append({"factors": settings.factors, **line})
            if options.json:
                print(json.dumps(lines[-1]), flush=True)
        show(lines, f"Gowalla, train -> valid: {part}")


if __name__ == "__main__":
    main()
