"""Evaluation of next items given what plays: sessions after a night, asked of its generation and of other systems.

A question is a listen that another one follows in the same session; the answer is the item of that one. Everything up
to the night is known to every system, nothing after it but the session so far. Nobody offers what was played in the
session. A listener's questions are averaged first, so that listeners are the independent units of every interval.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from nocturne.core.arrays import Floats, Mask
from nocturne.core.errors import UsageError
from nocturne.core.list_arrays import Lists
from nocturne.core.night import Night
from nocturne.evaluation.metrics import accuracy
from nocturne.evaluation.now_playing_systems import OURS, Asked, systems_of
from nocturne.evaluation.session_truth import read_truth
from nocturne.evaluation.sessions import Questions, questions_of, read_sessions
from nocturne.evaluation.significance import Difference, differences
from nocturne.serving import publications
from nocturne.serving.cache import Generation, open_cache
from nocturne.serving.cache.served_items import ServedItems
from nocturne.serving.generation import generation_of
from nocturne.serving.reader import Served

METRICS = ("hit_rate", "ndcg")
NEW, ALL = "new to the listener", "heard before or not"
LONGEST_CONTEXT = 100
"""Items of a session that a question names, as many as a request may."""

_QUESTIONS_AT_ONCE = 1_000

Progress = Callable[[int, int, str], None]
"""Called with how many answers are done, of how many, and what comes next."""


@dataclass(frozen=True)
class Block:
    """The systems' metrics on some questions.

    Attributes:
        name: NEW, of next items that their listener had not heard, where heard items are in no list; or ALL of them,
            where heard items may be.
        unreachable: questions whose next item was played in the session already, or may not be listed in the market:
            nobody offers it.
        means: by system and metric; `captured` is the share of the true probability of all that may be offered.
        differences: of every other system to ours.
        seconds: that each system took.
    """

    name: str
    questions: int
    listeners: int
    unreachable: int
    means: dict[str, dict[str, float]]
    differences: list[Difference]
    seconds: dict[str, float]


def evaluate_now_playing(
    night: Night,
    days: int,
    top_k: int,
    truth: Path | None = None,
    listeners: int | None = None,
    progress: Progress = lambda _done, _of, _next: None,
) -> list[Block]:
    """Ask every system for what came next in the sessions of the days after a night.

    Args:
        truth: folder of a simulation's truth; None of real sessions.
        listeners: most listeners asked; all by default.

    Raises:
        UsageError: the night was not published, or nobody heard two items in a row after it.
    """
    with TemporaryDirectory(prefix="nocturne-now-playing-") as folder, served_night(night, Path(folder)) as served:
        return ask_systems(read_asked(night, served, days, truth, listeners), top_k, progress)


def ask_systems(asked: Asked, top_k: int, progress: Progress = lambda _done, _of, _next: None) -> list[Block]:
    """Every system's lists for the questions, and their metrics; a block without questions is left out."""
    systems = systems_of(asked)
    parts = {name: part for name, part in ((NEW, asked.new()), (ALL, asked.questions)) if len(part)}
    lists: dict[str, dict[str, Lists]] = {name: {} for name in parts}
    seconds: dict[str, dict[str, float]] = {name: {} for name in parts}
    for done, (name, system) in enumerate(product(parts, systems)):
        progress(done, len(parts) * len(systems), f"{system}, {name}")
        started = time.monotonic()
        lists[name][system] = systems[system](parts[name], top_k, allow_heard=name == ALL)
        seconds[name][system] = round(time.monotonic() - started, 1)
    return [_block(asked, name, part, lists[name], seconds[name]) for name, part in parts.items()]


@contextmanager
def served_night(night: Night, folder: Path) -> Iterator[Served]:
    """The generation of a published night as readers have it, in a cache of its own.

    Raises:
        UsageError: the night was not published.
    """
    records = [each for each in publications.all_records(night.warehouse) if each.run_date == night.run_date]
    if not records or records[-1].generation is None:
        raise UsageError(
            "the night was not published",
            where=night.warehouse.path,
            found=f"{night.run_date}: {records[-1].state}" if records else f"no night {night.run_date}",
            expected="a night that `nocturne nights` calls published",
            fix="choose another with --run-date",
        )
    info, rows = generation_of(night, records[-1])
    generation = Generation(str(records[-1].generation), night.run_date)
    with open_cache(f"lmdb:{folder}") as cache:
        cache.load(generation.name, info, rows)
        with cache.snapshot_of(generation) as snapshot:
            file = snapshot.items_file()
            assert file
            yield Served(snapshot, ServedItems(file))


def read_asked(night: Night, served: Served, days: int, truth: Path | None, listeners: int | None) -> Asked:
    """Sessions known on a night, and questions of so many days after it.

    Raises:
        UsageError: nobody heard two items in a row after it, or the truth is not there.
    """
    item_ids = pa.array([served.items.describe(number).item_id for number in range(len(served.items))], pa.string())
    questions = questions_of(read_sessions(night, item_ids, days), LONGEST_CONTEXT)
    if not len(questions):
        raise UsageError(
            "there is no session after the night",
            where=night.warehouse.path,
            found=f"nobody heard two items in a row in the {days} days after {night.run_date}",
            expected="listens of those days",
            fix="choose an earlier night with --run-date, or more --days",
        )
    if listeners is not None:
        questions = questions.of_listeners(listeners)
    asked = np.zeros(len(questions.user_ids), np.bool_)
    asked[questions.listener] = True
    users = questions.user_ids.to_pylist()
    return Asked(
        served=served,
        items=len(item_ids),
        known=read_sessions(night, item_ids),
        questions=questions,
        rows=tuple(served.row(user) if among else None for user, among in zip(users, asked.tolist(), strict=True)),
        truth=read_truth(truth, questions.user_ids, item_ids) if truth else None,
    )


def _block(asked: Asked, name: str, questions: Questions, lists: dict[str, Lists], seconds: dict[str, float]) -> Block:
    requests = asked.requests(questions, allow_heard=name == ALL)
    listeners, place = np.unique(questions.listener, return_inverse=True)
    counts = np.bincount(place)
    shape = requests.heard.shape
    target = csr_matrix((np.ones(len(questions)), (np.arange(len(questions)), questions.next_item)), shape)
    captured = _captured(asked, questions, lists, allow_heard=name == ALL)
    scores: dict[str, dict[str, Floats]] = {}
    for system, of_system in lists.items():
        found = accuracy(of_system, target)
        values = {f"{metric}@{of_system.shape[1]}": found[f"{metric}@{of_system.shape[1]}"] for metric in METRICS}
        if system in captured:
            values["captured"] = captured[system]
        scores[system] = {metric: np.bincount(place, each) / counts for metric, each in values.items()}
    barred = np.asarray(requests.heard[np.arange(len(questions)), questions.next_item]).ravel() > 0
    listable = requests.masks[requests.classes, questions.next_item]
    return Block(
        name=name,
        questions=len(questions),
        listeners=len(listeners),
        unreachable=int((barred | ~listable).sum()),
        means={system: {metric: float(each.mean()) for metric, each in of.items()} for system, of in scores.items()},
        differences=differences(scores, OURS, {}),
        seconds=seconds,
    )


def _captured(asked: Asked, questions: Questions, lists: dict[str, Lists], *, allow_heard: bool) -> dict[str, Floats]:
    """Share of the true probability of everything that may be offered which each list holds; none without a truth."""
    if asked.truth is None:
        return {}
    captured = {system: np.zeros(len(questions)) for system in lists}
    for start in range(0, len(questions), _QUESTIONS_AT_ONCE):
        some = np.arange(start, min(start + _QUESTIONS_AT_ONCE, len(questions)))
        law = asked.law(questions.take(some), allow_heard=allow_heard)
        law /= np.maximum(law.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
        for system, of_system in lists.items():
            listed: Mask = of_system[some] >= 0
            captured[system][some] = (np.take_along_axis(law, np.maximum(of_system[some], 0), 1) * listed).sum(axis=1)
    return captured
