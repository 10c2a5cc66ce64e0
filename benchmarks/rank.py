"""The speed of finding every listener's exact list on Gowalla, against implicit, NumPy and the processor itself.

    .venv/bin/python -m benchmarks.rank [--gowalla data/sets/gowalla] [--factors 64 128 256]
                              [--top-k 20 100] [--repeats 3] [--sample 1000] [--json]

implicit trains factors on train.txt and valid.txt, with confidences damped by popularity and by activity, seeded;
everyone is then ranked against every item but those they have. On one core, one BLAS thread, best of the rounds, in
each of which every system runs once, so that a busy machine disturbs all alike:

nocturne: `kernel.top_k`, by the plan that `kernel.autotune` finds fastest on a sample. The layout of the catalogue,
    which every process of a night shares, is timed apart: layout_seconds.
nocturne warm: the same after the night before, whose model had one iteration less; finding the thresholds counts.
implicit: `recommend(filter_already_liked_items=True)`.
numpy: a product, `argpartition` and a sort for 256 listeners at a time, on the sample, scaled to all.
sgemm: no system but the bound, 2 * listeners * items * factors over the best rate that a product of two square
    matrices of 2,000 reaches between the other runs. Nocturne can pass it where it leaves blocks of items out.
nocturne (two processes), sgemm (two processes): half of the work in each of two processes, a core each, the
    catalogue mapped from one file, against all of it in one.

seconds: the processor's, which are the clock's where nothing else runs; of two processes, the clock's. gemm_share:
part of them inside the product, from one more run that times the calls; of implicit, where no call can be timed, the
bound's part. selection_seconds: what is not in the product. ratio_to_implicit: how many times faster. ratio_to_bound:
the bound over seconds. identical: every list of the sample is that of a full sort in float64 and, of nocturne, the
scores are too, to the last bit. same_as_nocturne: share of all of implicit's lists. Those that differ hold items that
float32, in which implicit compares, cannot tell apart; unexplained counts those of which that is not so. speed_up: of
two processes. load: of the machine, a minute's mean.

The table goes to stderr; with --json, a line per system to stdout.
"""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from benchmarks import gowalla
from benchmarks.load import tell_load
from nocturne.core.console import print_rows
from nocturne.core.csr import CsrRows
from nocturne.kernel.audit import audit
from nocturne.kernel.autotune import KernelPlan, autotune, rank
from nocturne.kernel.layout import Eligible, ItemLayout, lay_out_items
from nocturne.kernel.query import Query
from nocturne.kernel.top_k import Top, exact_scores, top_k
from nocturne.ranking import mapped_file

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

ITERATIONS = 6
SIDE = 2000
COLUMNS = (
    *("system", "factors", "top_k", "seconds", "gemm_share", "selection_seconds"),
    *("ratio_to_implicit", "ratio_to_bound", "identical", "speed_up", "load"),
)
Line = dict[str, object]


@dataclass(frozen=True)
class Night:
    """Factors and rows to rank."""

    model: AlternatingLeastSquares
    heard: csr_matrix
    items: ItemLayout
    already_heard: CsrRows
    eligible: Eligible
    k: int

    @classmethod
    def of(cls, model: AlternatingLeastSquares, heard: csr_matrix, items: ItemLayout, k: int) -> "Night":
        """Everyone may get everything they have not heard."""
        everything = np.ones((1, heard.shape[1]), dtype=np.bool_)
        already_heard = CsrRows(heard.indptr.astype(np.int64), heard.indices)
        return cls(model, heard, items, already_heard, Eligible.of(everything, items), k)

    def part(self, listeners: np.ndarray) -> Query:
        """The query for some listeners."""
        users = self.model.user_factors[listeners].astype(np.float64)
        classes = np.zeros(len(listeners), dtype=np.int32)
        return Query(users, self.items, self.k, self.already_heard.take(listeners), classes, self.eligible)


def train(heard: csr_matrix, factors: int) -> tuple[AlternatingLeastSquares, np.ndarray, np.ndarray]:
    """A model, and its factors of listeners and items before the last iteration."""
    popularity, activity = np.bincount(heard.indices, minlength=heard.shape[1]), np.diff(heard.indptr)
    damping = np.maximum(popularity, 1.0)[heard.indices] ** -0.3 * np.repeat(activity, activity) ** -0.1
    confidences = csr_matrix(((14 * damping).astype(np.float32), heard.indices, heard.indptr), heard.shape)
    model = AlternatingLeastSquares(
        factors=factors, regularization=20, alpha=1, iterations=ITERATIONS - 1, random_state=1, num_threads=2
    )
    model.fit(confidences, show_progress=False)
    earlier = model.user_factors.copy(), model.item_factors.copy()
    model.iterations = 1
    model.fit(confidences, show_progress=False)
    model.num_threads = 1
    return model, *earlier


def by_numpy(night: Night, listeners: np.ndarray) -> np.ndarray:
    """Lists by scoring everything in float32; shape (listeners, k)."""
    lists = []
    for first in range(0, len(listeners), 256):
        batch = listeners[first : first + 256]
        scores = np.dot(night.model.user_factors[batch], night.model.item_factors.T)
        heard = night.heard[batch]
        scores[np.repeat(np.arange(len(batch)), np.diff(heard.indptr)), heard.indices] = -np.inf
        best = np.argpartition(scores, -night.k, axis=1)[:, -night.k :]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
        lists.append(np.take_along_axis(best, order, axis=1))
    return np.concatenate(lists)


def by_implicit(night: Night) -> np.ndarray:
    """Lists of implicit; shape (listeners, k)."""
    everyone = np.arange(night.heard.shape[0])
    return night.model.recommend(everyone, night.heard, N=night.k, filter_already_liked_items=True)[0]


def timed(function: Callable[[], object], clock: Callable[[], float] = process_time) -> float:
    """Seconds that one call takes."""
    start = clock()
    function()
    return clock() - start


def in_products(function: Callable[[], object]) -> float:
    """Share of a call's seconds that it spends in `np.dot`."""
    seconds, product = 0.0, np.dot

    def measured(*arrays: np.ndarray, **options: np.ndarray) -> np.ndarray:
        nonlocal seconds
        start = process_time()
        result = product(*arrays, **options)
        seconds += process_time() - start
        return result

    with patch.object(np, "dot", measured):
        whole = timed(function)
    return seconds / whole


def sgemm_seconds(products: int = 3) -> float:
    """Least seconds that a product of two square matrices takes."""
    matrix = np.random.default_rng(0).random((SIDE, SIDE), dtype=np.float32)
    return min(timed(partial(np.dot, matrix, matrix)) for _ in range(products))


def unexplained(night: Night, ours: Top, theirs: np.ndarray) -> int:
    """Number of lists that differ from ours by more than float32's rounding of the scores."""
    users = night.model.user_factors.astype(np.float64)
    offsets = np.arange(len(users) + 1) * night.k
    scores = exact_scores(users, night.items, CsrRows(offsets, theirs.astype(np.int32).ravel())).reshape(theirs.shape)
    rounding = 2 * night.items.rounding * night.items.scale * np.linalg.norm(users, axis=1)
    return int((np.abs(scores - ours.scores.reshape(theirs.shape)).max(axis=1) > rounding).sum())


def measure(night: Night, previous: CsrRows, repeats: int, sample: np.ndarray) -> Iterator[Line]:
    """All systems on one core."""
    listeners = night.heard.shape[0]
    everyone = np.arange(listeners)
    part, of_sample = night.part(everyone), night.part(sample)
    cold = autotune(of_sample, None)
    warm = KernelPlan(autotune(of_sample, previous.take(sample)).blocks_per_panel, warm_start=True)
    systems: dict[str, Callable[[], object]] = {
        "nocturne": partial(rank, part, cold),
        "nocturne warm": partial(rank, part, warm, previous),
        "implicit": partial(by_implicit, night),
        "numpy": partial(by_numpy, night, sample),
    }
    seconds = dict.fromkeys(systems, np.inf)
    square = np.inf
    for _ in range(repeats):
        for system, run in systems.items():
            square = min(square, sgemm_seconds())
            seconds[system] = min(seconds[system], timed(run))
    seconds["numpy"] *= listeners / len(sample)
    width = night.items.factors.shape[1]
    seconds["sgemm"] = square * listeners * len(night.items.order) * width / SIDE**3
    ours, theirs = rank(part, cold), by_implicit(night)
    lists = ours.lists.positions.reshape(theirs.shape)
    again = rank(part, warm, previous)
    same_bits = again.lists.positions.tobytes() + again.scores.tobytes() == lists.tobytes() + ours.scores.tobytes()
    scores = ours.scores.reshape(theirs.shape)[sample].ravel()
    sampled = Top(ours.lists.take(sample), scores, ours.bounds[sample])
    proved = bool(audit(of_sample, sampled).all())
    shares = {name: in_products(systems[name]) for name in ("nocturne", "nocturne warm", "numpy")}
    more: dict[str, Line] = {
        "nocturne": {"identical": proved, "panel": cold.blocks_per_panel},
        "nocturne warm": {"identical": proved and same_bits, "panel": warm.blocks_per_panel},
        "implicit": {
            "identical": proved and bool((theirs[sample] == lists[sample]).all()),
            "same_as_nocturne": (theirs == lists).all(axis=1).mean(),
            "unexplained": unexplained(night, ours, theirs),
        },
        "numpy": {
            "identical": proved and bool((by_numpy(night, sample) == lists[sample]).all()),
            "sample": len(sample),
        },
        "sgemm": {"identical": None, "gflops": 2e-9 * SIDE**3 / square},
    }
    for system, took in seconds.items():
        share = shares.get(system, seconds["sgemm"] / took)
        yield {
            "system": system,
            "factors": width,
            "top_k": night.k,
            "seconds": took,
            "users_per_second": listeners / took,
            "gemm_share": share,
            "selection_seconds": took * (1 - share),
            "ratio_to_implicit": seconds["implicit"] / took,
            "ratio_to_bound": seconds["sgemm"] / took,
            **more[system],
        }


class Worker:
    """State of a process in the comparison of two with one."""

    part: Query
    plan: KernelPlan
    together: Barrier

    @classmethod
    def start(cls, folder: Path, k: int, plan: KernelPlan, cores: "Queue[int]", together: Barrier) -> None:
        """Take a core, and map the catalogue."""
        os.sched_setaffinity(0, {cores.get()})
        threadpool_limits(1, user_api="blas")
        items = mapped_file.load(folder / "items")
        users, offsets, positions = (np.load(folder / f"{name}.npy") for name in ("users", "offsets", "positions"))
        eligible = Eligible.of(np.ones((1, len(items.order)), dtype=np.bool_), items)
        cls.part = Query(users, items, k, CsrRows(offsets, positions), np.zeros(len(users), np.int32), eligible)
        cls.plan, cls.together = plan, together

    @classmethod
    def seconds(cls, system: str, half: int | None) -> float:
        """Of a half of the work, begun with the other process, or of all of it, alone."""
        users, already_heard, classes = cls.part.users, cls.part.already_heard, cls.part.classes
        chosen = np.arange(len(users)) if half is None else np.arange(half, len(users), 2)
        part = replace(cls.part, users=users[chosen], already_heard=already_heard.take(chosen), classes=classes[chosen])
        matrix = np.random.default_rng(0).random((SIDE, SIDE), dtype=np.float32)
        products = 40 if half is None else 20
        work: dict[str, Callable[[], object]] = {
            "nocturne": partial(rank, part, cls.plan),
            "sgemm": lambda: [np.dot(matrix, matrix) for _ in range(products)],
        }
        if half is not None:
            cls.together.wait()
        return timed(work[system], perf_counter)


def measure_two(night: Night, cores: tuple[int, int], repeats: int, plan: KernelPlan) -> Iterator[Line]:
    """Two processes against one."""
    listeners = night.heard.shape[0]
    context = multiprocessing.get_context("spawn")
    free, together = context.Queue(), context.Barrier(2)
    for core in cores:
        free.put(core)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mapped_file.save(night.items, folder / "items")
        np.save(folder / "users.npy", night.model.user_factors.astype(np.float64))
        np.save(folder / "offsets.npy", night.already_heard.offsets)
        np.save(folder / "positions.npy", night.already_heard.positions)
        arguments = (folder, night.k, plan, free, together)
        with ProcessPoolExecutor(2, context, initializer=Worker.start, initargs=arguments) as pool:
            one, two = dict.fromkeys(("sgemm", "nocturne"), np.inf), dict.fromkeys(("sgemm", "nocturne"), np.inf)
            for _ in range(repeats + 1):  # in the first, code is loaded
                for system in one:
                    one[system] = min(one[system], pool.submit(Worker.seconds, system, None).result())
                    halves = [pool.submit(Worker.seconds, system, half) for half in (0, 1)]
                    two[system] = min(two[system], max(half.result() for half in halves))
    for system, took in two.items():
        yield {
            "system": f"{system} (two processes)",
            "factors": night.items.factors.shape[1],
            "top_k": night.k,
            "seconds": took if system == "nocturne" else None,
            "users_per_second": listeners / took if system == "nocturne" else None,
            "speed_up": one[system] / took,
            "speed_up_to_sgemm": one[system] / took / (one["sgemm"] / two["sgemm"]),
        }


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gowalla", type=Path, default=gowalla.ARCHIVE)
    parser.add_argument("--factors", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--top-k", type=int, nargs="+", default=[20, 100])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sample", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    tell_load()
    cores = sorted(os.sched_getaffinity(0))
    lines: list[Line] = []
    with threadpool_limits(1, user_api="blas"):
        heard = sum(gowalla.read(options.gowalla)[:2])
        sample = np.sort(np.random.default_rng(1).choice(heard.shape[0], options.sample, replace=False))
        for factors in options.factors:
            for line in measure_factors(heard, factors, options, cores, sample):
                line["load"] = round(os.getloadavg()[0], 2)
                lines.append(line)
                if options.json:
                    print(json.dumps(line), flush=True)
    rows = [{name: line.get(name) for name in COLUMNS} for line in lines]
    print_rows(rows, f"Gowalla, {heard.shape[0]} x {heard.shape[1]}, best of {options.repeats}", stream=sys.stderr)


def measure_factors(
    heard: csr_matrix, factors: int, options: argparse.Namespace, cores: list[int], sample: np.ndarray
) -> Iterator[Line]:
    """All lines of one width."""
    model, *earlier = train(heard, factors)
    no_preference = np.ones(heard.shape[1]), np.arange(heard.shape[1])
    layout_seconds = timed(lambda: lay_out_items(model.item_factors, *no_preference))
    items, items_before = (lay_out_items(of_items, *no_preference) for of_items in (model.item_factors, earlier[1]))
    for k in options.top_k:
        os.sched_setaffinity(0, {cores[-1]})
        night = Night.of(model, heard, items, k)
        users_before, eligible_before = earlier[0].astype(np.float64), Eligible.of(night.eligible.masks, items_before)
        everyone = night.part(np.arange(heard.shape[0]))
        last_night = replace(everyone, users=users_before, items=items_before, eligible=eligible_before)
        previous = top_k(last_night).lists
        for line in measure(night, previous, options.repeats, sample):
            rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in line.items()}
            yield rounded | ({"layout_seconds": round(layout_seconds, 3)} if line["system"] == "nocturne" else {})
            if line["system"] == "nocturne":
                plan = KernelPlan(line["panel"], warm_start=False)
        os.sched_setaffinity(0, cores)
        if len(cores) > 1:
            for line in measure_two(night, (cores[0], cores[1]), options.repeats, plan):
                yield {name: round(value, 4) if isinstance(value, float) else value for name, value in line.items()}


if __name__ == "__main__":
    main()
