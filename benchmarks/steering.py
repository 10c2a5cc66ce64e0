"""Time of a list by a plan over the whole catalogue, beside brute force in NumPy that gives the same list.

    OPENBLAS_NUM_THREADS=1 .venv/bin/python -m benchmarks.steering [--items 100000] [--requests 200] [--seed 4] [--json]

A generation is invented: factors on principal axes with norms as a catalogue's are, tags of a long-tailed distribution,
creators, lengths, explicit items, and listeners who have heard some. Each request is a listener with a plan of one of
the kinds below. Ours is all of `steered.steer`: bitmaps, receipt, exact candidates, second stage, wishes, reasons and
the second reading of the rules. Brute force scores every item in single precision, has NumPy find the best under the
same mask, and no more: no receipt, no second stage, no reason. Of every plan without wishes the list is compared with
the one from scores of all items in double precision and the second stage in NumPy, and has to be equal to it. Time of
the processor is told beside, which other programs on the machine change less. The first tenth of the requests is not
counted. The table goes to stderr; with --json, a line per row to stdout.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from nocturne.core.console import print_rows
from nocturne.serving.cache import ListKind
from nocturne.serving.cache.items_info import ItemsInfo, with_info
from nocturne.serving.cache.listable import EVERYWHERE
from nocturne.serving.cache.rows import ServedRow
from nocturne.serving.cache.served_items import ServedItems, write_items
from nocturne.serving.now_playing import not_let_back
from nocturne.serving.steered import Steered, SteerRequest, steer
from nocturne.steering.bitmaps import obeying
from nocturne.steering.conditions import Duration, Match, Rule
from nocturne.steering.plan import Leanings, Plan, Size, Wish

Result = TypeVar("Result")

FACTORS, NEIGHBOURS, HEARD, LISTENERS, LIMIT = 64, 20, 100, 200, 20
TYPES = ("track", "podcast_episode", "audiobook")
PLANS = {
    "never two tags": Plan(never=(Rule(tags=("tag-3", "tag-7")),)),
    "only a common tag": Plan(only=(Rule(tags=("tag-1",)),)),
    "only a rare tag": Plan(only=(Rule(tags=("tag-150",)),)),
    "only one creator": Plan(only=(Rule(creators=("Creator 17",)),)),
    "five rules, with an exception": Plan(
        only=(Rule(content_types=("track",)), Rule(duration=Duration(at_most=400))),
        never=(Rule(explicit=True), Rule(tags=("tag-2",), unless=(Match(creators=("Creator 5",)),)), Rule(heard=True)),
    ),
    "rules, wishes and leanings": Plan(
        never=(Rule(tags=("tag-3",)),),
        more=(Wish(about="tag", value="tag-9"), Wish(about="creator", value="Creator 8")),
        less=(Wish(about="tag", value="tag-1"),),
        leanings=Leanings(popularity=-0.5),
        size=Size(items=LIMIT),
        max_per_creator=2,
    ),
}


def invent(folder: Path, items: int, seed: int) -> ServedItems:
    """A generation of so many items, mapped from a file."""
    random = np.random.default_rng(seed)
    scales = np.linspace(1, 0.2, FACTORS)
    factors = (random.normal(size=(items, FACTORS)) * scales * random.lognormal(0, 0.4, (items, 1))).astype(np.float32)
    spectrum = np.einsum("if,if->f", factors, factors, dtype=np.float64)
    tags = np.minimum(random.zipf(1.3, (items, 3)), 400)
    neighbours = random.integers(0, items, items * NEIGHBOURS).astype(np.int32)
    offsets = pa.array(np.arange(items + 1, dtype=np.int32) * 3)
    nothing = pa.ListArray.from_arrays(pa.array(np.zeros(items + 1, np.int32)), pa.array([], pa.int32()))
    names = pa.DictionaryArray.from_arrays(
        pa.array((tags.ravel() - 1).astype(np.int32)), pa.array([f"tag-{number}" for number in range(1, 401)])
    )
    creators = items // 20
    table = pa.table(
        {
            "item_id": [f"t{number:07d}" for number in range(items)],
            "order": pa.array(np.arange(items, dtype=np.int32)),
            "title": [f"Title of {number}" for number in range(items)],
            "creator": pa.array(
                [f"Creator {number}" for number in random.integers(0, creators, items)]
            ).dictionary_encode(),
            "content_type": [TYPES[number] for number in random.choice(3, items, p=(0.85, 0.1, 0.05))],
            "duration_ms": pa.array(random.integers(60_000, 600_000, items)),
            "explicit": random.random(items) < 0.1,
            "explicit_known": random.random(items) < 0.9,
            "tags": pa.ListArray.from_arrays(offsets, names),
            "listeners": pa.array(random.zipf(1.5, items).clip(0, 10**6).astype(np.int32)),
            "confidence_weight": np.ones(items),
            "score_multiplier": np.ones(items),
            "factors": pa.FixedSizeListArray.from_arrays(pa.array(factors.ravel()), FACTORS),
            "neighbours": pa.FixedSizeListArray.from_arrays(pa.array(neighbours), NEIGHBOURS),
            "similarities": pa.FixedSizeListArray.from_arrays(
                pa.array(random.random(len(neighbours)).astype(np.float32)), NEIGHBOURS
            ),
            "related": nothing,
            "related_scores": nothing.cast(pa.list_(pa.float32())),
            "related_sources": nothing.cast(pa.list_(pa.uint8())),
            "class_0": random.random(items) < 0.95,
        }
    )
    weights = dict.fromkeys(("personal_weight", "session_weight", "related_weight", "creator_weight"), 0.1)
    info = ItemsInfo(
        model_version="als",
        spectrum=tuple(spectrum.tolist()),
        ridge=10.0,
        ridge_exponent=0.0,
        neighbour_weight=0.5,
        candidates=200,
        let_back_after_days=0,
        classes={EVERYWHERE: 0},
        no_market=0,
        popular={EVERYWHERE: list(range(100))},
        now_playing=weights | {"popularity_weight": 0.05, "recent_decay": 0.6},
    )
    write_items(with_info(table, info), str(folder / "items"))
    return ServedItems(folder / "items")


def listeners(items: ServedItems, seed: int) -> list[ServedRow]:
    """Rows of listeners with factors along those of what they heard."""
    random = np.random.default_rng([seed, 1])
    rows = []
    for _ in range(LISTENERS):
        heard = np.unique(random.integers(0, len(items), HEARD)).astype(np.int32)
        taste = items.factors[heard[: random.integers(3, 20)]].mean(axis=0)
        rows.append(
            ServedRow(
                ListKind("control", "als", "als"), None, heard[:0], np.zeros(0, np.float32), None, taste, heard,
                np.ones(len(heard), np.float32), None,
            )
        )  # fmt: skip
    return rows


def brute_force(items: ServedItems, row: ServedRow, allowed: np.ndarray, k: int) -> np.ndarray:
    """The best allowed items by a product in single precision and NumPy's partition."""
    assert row.factors is not None
    scores = np.where(allowed, items.factors @ row.factors, -np.inf)
    best = np.argpartition(-scores, min(k, len(scores) - 1))[:k]
    return best[np.argsort(-scores[best])]


def exact_list(items: ServedItems, row: ServedRow, allowed: np.ndarray) -> list[int]:
    """The list in double precision: every allowed item scored, then the second stage over the best of them."""
    assert row.factors is not None
    factors = row.factors.astype(np.float64)
    numbers = np.flatnonzero(allowed)
    scores = np.concatenate(
        [
            items.factors[part].astype(np.float64) @ factors
            for part in np.array_split(numbers, 1 + len(numbers) // 50_000)
        ]
    )
    order = np.lexsort((numbers, -scores))[: items.info.candidates]
    numbers, scores = numbers[order], scores[order]
    neighbours, similarities = items.neighbours
    heard = np.zeros(len(items))
    heard[row.heard] = row.weights
    near = (similarities[numbers].astype(np.float64) * heard[neighbours[numbers]]).sum(axis=1)
    scores = scores / max(scores.max(initial=0), 1e-300)
    if np.abs(near).max(initial=0) > 0:
        scores = scores + items.info.neighbour_weight * near / np.abs(near).max()
    best: list[int] = numbers[np.argsort(-scores, kind="stable")][:LIMIT].tolist()
    return best


def measure(items: ServedItems, requests: int, seed: int) -> list[dict[str, object]]:
    """Milliseconds of an answer by kind of plan, ours and brute force in an order that alternates."""
    rows, found = listeners(items, seed), []
    for name, plan in PLANS.items():
        ours, busy, brute, unequal, compared = [], [], [], 0, 0
        for number in range(requests):
            row = rows[number % len(rows)]
            listed = items.may_list(None).copy()
            listed[not_let_back(items, row)] = False
            allowed = obeying(plan, items.fields, row.heard, items.may_list, listed).allowed
            begun = time.thread_time()
            answer, milliseconds = _timed(lambda row=row, plan=plan: steer(items, row, SteerRequest(plan, limit=LIMIT)))
            ours.append(milliseconds)
            busy.append(1e3 * (time.thread_time() - begun))
            brute.append(_timed(lambda row=row, allowed=allowed: brute_force(items, row, allowed, 200))[1])
            if not plan.asks_softly and number % 10 == 0:
                compared += 1
                unequal += numbers_of(answer) != exact_list(items, row, allowed)
        warm = requests // 10
        found.append(
            {
                "plan": name,
                "ours p50 ms": round(float(np.percentile(ours[warm:], 50)), 2),
                "ours p99 ms": round(float(np.percentile(ours[warm:], 99)), 2),
                "of the processor p99 ms": round(float(np.percentile(busy[warm:], 99)), 2),
                "NumPy p50 ms": round(float(np.percentile(brute[warm:], 50)), 2),
                "NumPy p99 ms": round(float(np.percentile(brute[warm:], 99)), 2),
                "lists compared": compared,
                "unequal": unequal,
            }
        )
    return found


def numbers_of(steered: Steered) -> list[int]:
    """Numbers of the items of an answer."""
    return [suggestion.number for suggestion in steered.answer.suggestions]


def _timed(call: Callable[[], Result]) -> tuple[Result, float]:
    begun = time.perf_counter()
    result = call()
    return result, 1e3 * (time.perf_counter() - begun)


def main() -> None:
    """Invent a generation, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        items = invent(Path(folder), options.items, options.seed)
        begun = time.perf_counter()
        steer(items, listeners(items, options.seed)[0], SteerRequest(PLANS["rules, wishes and leanings"]))
        first = time.perf_counter() - begun
        found = measure(items, options.requests, options.seed)
    title = f"{options.items:,} items, {FACTORS} factors, one thread; the first answer took {first:.1f} s"
    print_rows(found, title, stream=sys.stderr)
    if options.json:
        for row in found:
            print(json.dumps({"items": options.items} | row))
    if any(row["unequal"] for row in found):
        raise SystemExit("a list differs from brute force")


if __name__ == "__main__":
    main()
