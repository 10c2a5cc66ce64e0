"""A race of recipes: the settings' own against well-spread others, on what is withheld from some listeners.

Rounds follow one another, and each begins with the winner of the one before. Factors are learned anew for evidence,
confidences and lengths, on a sample that a quarter of the work of a training is enough for; neighbours, order and
scores are tried with the same factors. Nothing depends on how long anything takes.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from nocturne.core.arrays import Factors, Floats, Indexes
from nocturne.core.csr import CsrRows
from nocturne.core.sections import AlsSettings
from nocturne.kernel.autotune import KernelPlan, rank
from nocturne.kernel.blend import blend
from nocturne.kernel.layout import Eligible, lay_out_items
from nocturne.kernel.query import Query
from nocturne.kernel.solve import solve_users
from nocturne.training import als
from nocturne.training.confidences import columns_of, heard_items
from nocturne.training.hold_out import HoldOut, gather, share_asked, withhold
from nocturne.training.model import Model
from nocturne.training.sampling import doubled, levels

Recipe = Mapping[str, Any]

CONFIDENCES: tuple[Recipe, ...] = (
    {"alpha": 20.0, "popularity_exponent": 0.3, "regularization": 20.0},
    {"alpha": 5.0, "regularization": 5.0},
    {"alpha": 80.0, "popularity_exponent": 0.3, "regularization": 80.0},
    {"alpha": 80.0, "popularity_exponent": 0.5},
    {"alpha": 200.0, "popularity_exponent": 0.5, "regularization": 80.0},
    {"alpha": 200.0, "popularity_exponent": 0.4, "regularization": 200.0},
)
EVIDENCE: tuple[Recipe, ...] = ({"transform": "binary"},)
"""How often something was heard need not count: in a shop it is how many of a thing were bought."""

LONGER_FACTORS, SHORTER_FACTORS = (128, 256), (32, 16)
"""Lengths that are tried one after another, for as long as they win; the shorter ones where no longer one does."""

_OF_NEIGHBOURS = (
    *("neighbours", "neighbour_weights", "neighbour_exponent", "neighbour_ridge"),
    *("transform", "play_weight", "minute_weight", "popularity_exponent", "activity_exponent"),
)
"""Settings that decide on neighbours and their weights: their own, and those of confidences but for scale."""

_TRAINED = frozenset({"confidences", "evidence", "factors"})
"""Rounds whose recipes have factors of their own."""

NEIGHBOURS: tuple[Recipe, ...] = (
    {"neighbour_weight": 0.25},
    {"neighbour_weight": 1.0},
    {"neighbour_weight": 2.0},
    {"neighbour_weights": "similarity"},
    {"neighbour_weights": "regression"},
)
ORDER: tuple[Recipe, ...] = (
    {"recency": 1.0},
    {"recency": 0.95},
    {"recency": 0.8},
    *(
        {"neighbour_weights": "succession", "neighbour_exponent": 0.3, "neighbour_weight": weight, "recency": recency}
        for weight, recency in ((0.5, 0.95), (1.0, 0.8), (1.0, 0.6))
    ),
)
SCORES: tuple[Recipe, ...] = tuple({"score_exponent": exponent} for exponent in (0.0, 0.1, 0.2, 0.3, 0.5))

LEAST_GAIN = 0.01
"""Share of the metric that longer factors must gain: they make every night dearer."""

LIST_LENGTH = 20
FEWEST_ASKED = 200

ITERATIONS = 5
"""Of a training in the race on a sample; on everyone it has as many as the work allows, up to those of the training."""

WORK_SHARE = 0.25
"""Work of the trainings of a race, as a share of that of one training in full."""

FREE_WORK = 1e9
"""Entries x factors x iterations that are spent on however small a matrix: some seconds."""


@dataclass(frozen=True)
class Entrant:
    """A recipe in a round of the race, and how it did.

    Attributes:
        round: what it was about: evidence, confidences, neighbours, order, factors or scores.
        changes: from the recipe that the round began with; none: that recipe itself.
        listeners: who were asked.
        ndcg: mean of NDCG@20 on what was withheld.
        difference: to the recipe that the round began with.
        low, high: 95 % interval of the difference, of the paired normal approximation.
        chosen: whether the race went on with it.
    """

    round: str
    changes: Recipe
    listeners: int
    ndcg: float
    difference: float
    low: float
    high: float
    chosen: bool

    def to_row(self) -> dict[str, Any]:
        """As an element of the column `race`."""
        return vars(self) | {"changes": json.dumps(dict(self.changes), sort_keys=True)}


def shown_entrant(row: Mapping[str, Any]) -> dict[str, object]:
    """An element of the column `race` for people: the recipe, how it did, and by how much better than without."""
    changes = ", ".join(f"{name} {value}" for name, value in json.loads(row["changes"]).items())
    return {
        "round": row["round"],
        "recipe": changes or "as before",
        "ndcg@20": f"{row['ndcg']:.4f}",
        "difference": f"{row['low']:+.4f} to {row['high']:+.4f}" if changes else "",
        "chosen": "yes" if row["chosen"] else "",
    }


@dataclass(frozen=True)
class Race:
    """The outcome of a race.

    Attributes:
        settings: those that won.
        entrants: of all rounds.
        share: of listeners, by hash, among whom are all who were asked.
        remark: why there was none; empty otherwise.
    """

    settings: AlsSettings
    entrants: tuple[Entrant, ...] = ()
    share: float = 0.0
    remark: str = ""


@dataclass(frozen=True)
class _Course:
    """All that a race is run on.

    Attributes:
        hold_out, census: the sample, and everyone counted, without what is withheld.
        settings: those that the race begins with.
        share, iterations: of the trainings of the race.
        listeners, entries: of the training after it.
        neighbours: those of each recipe, once they were worked out.
    """

    hold_out: HoldOut
    census: als.Census
    share: float
    iterations: int
    listeners: int
    entries: int
    item_ids: pa.Array
    run_date: date
    half_life_days: float
    candidates: int
    settings: AlsSettings
    neighbours: dict[tuple[Any, ...], tuple[Indexes, Factors]] = field(default_factory=dict)

    @property
    def is_sampled(self) -> bool:
        """True if the trainings of the race are on fewer listeners than the one after it."""
        return self.share < self.settings.sample_share

    def has_room(self, factors: int) -> bool:
        """True if a training in full with factors of this length fits its memory."""
        longer = self.settings.model_copy(update={"factors": factors})
        return als.bytes_needed(self.listeners, self.entries, longer) <= longer.matrix_memory_mb << 20

    def train(self, settings: AlsSettings) -> Model:
        """A model of a recipe, on the sample, with no more iterations than the work allows and without neighbours."""
        brief = settings.model_copy(update={"iterations": self.iterations, "min_item_coverage": 0.0, "neighbours": 0})
        args = self.item_ids, self.run_date, self.half_life_days
        return als.train(self.hold_out.rows, *args, brief, census=self.census).model

    def finish(self, model: Model, settings: AlsSettings) -> Model:
        """The same factors under another recipe; neighbours are worked out once for as many as share them."""
        settings = settings.model_copy(update={"factors": model.settings.factors})
        key = (model.item_indexes.tobytes(), *(getattr(settings, name) for name in _OF_NEIGHBOURS))
        if key not in self.neighbours:
            self.neighbours[key] = als.neighbours_of(model, self.hold_out.rows, settings)
        neighbours, similarities = self.neighbours[key]
        scores = model.listeners.astype(np.float64) ** settings.score_exponent
        return replace(
            model, settings=settings, score_multipliers=scores, neighbours=neighbours, similarities=similarities
        )

    def judge(self, model: Model) -> Floats:
        """NDCG@20 of the lists that ranking gives by a model, whatever may be listed; shape (asked,)."""
        with threadpool_limits(limits=1, user_api="blas"):
            return self._judge(model)

    def _judge(self, model: Model) -> Floats:
        asked = self.hold_out.asked
        rows, settings = model.confidence_rows(asked), model.settings
        offsets, items = heard_items(asked)
        heard = CsrRows(offsets, columns_of(items, model.position))
        users = solve_users(
            model.factors, model.spectrum, settings.regularization, rows, settings.regularization_exponent
        )
        layout = lay_out_items(model.factors, model.score_multipliers, np.arange(len(model.factors)))
        everything = Eligible.of(np.ones((1, len(model.factors)), dtype=np.bool_), layout)
        depth, classes = max(LIST_LENGTH, self.candidates), np.zeros(len(users), np.int32)
        query = Query(users, layout, depth, heard.where(heard.positions >= 0), classes, everything)
        top = rank(query, KernelPlan(blocks_per_panel=16, warm_start=False))
        lists, scores = blend(
            top.lists, top.scores, rows, model.neighbours, model.similarities, settings.neighbour_weight
        )
        heads, _ = lists.heads(scores, LIST_LENGTH)
        return _ndcg(heads, self.hold_out.withheld, model)


def run_race(
    rows: Iterable[pa.RecordBatch],
    item_ids: pa.Array,
    run_date: date,
    half_life_days: float,
    settings: AlsSettings,
    candidates: int,
) -> Race:
    """Choose a recipe by what each of them would have listed.

    The settings stand with als.recipe = "settings", and where there is nothing to choose by.

    A recipe is left for another if that is better by more than the best of as many equal ones would seem to be.

    Args:
        rows: `hold_out.COLUMNS` of the night's `interactions`; can be iterated over again.
        item_ids: item id of each index, from 0 without gaps.
        settings: the recipe to begin with, and how training runs.
        candidates: items that a list is chosen from.
    """
    if settings.recipe == "settings":
        return Race(settings)
    prepared = _prepare(rows, len(item_ids), settings)
    if prepared is None:
        return Race(settings, remark=f"fewer than {FEWEST_ASKED} listeners to judge recipes by: the settings stand")
    course = _Course(*prepared, item_ids, run_date, half_life_days, candidates, settings)
    entrants: list[Entrant] = []
    model = course.finish(course.train(settings), settings)
    for name, recipes in _rounds(settings, ordered=_is_ordered(course.hold_out)):
        model = _run_round(name, recipes, model, course, entrants)
    model = _run_lengths(model, course, entrants)
    model = _run_round("scores", SCORES, model, course, entrants)
    return Race(model.settings, tuple(entrants), course.hold_out.share)


def _rounds(settings: AlsSettings, *, ordered: bool) -> Iterator[tuple[str, Sequence[Recipe]]]:
    yield "evidence", EVIDENCE
    yield "confidences", CONFIDENCES
    if settings.neighbours:
        yield "neighbours", NEIGHBOURS
    if ordered:
        yield "order", ORDER


def _run_lengths(model: Model, course: _Course, entrants: list[Entrant]) -> Model:
    """The winner among a model and those of longer factors, or, where none of them wins, of shorter ones.

    Shorter ones are not tried on a sample, whose few listeners an item would favour them.
    """
    begun = model.settings.factors
    longer = [length for length in LONGER_FACTORS if length > begun and course.has_room(length)]
    shorter = [length for length in SHORTER_FACTORS if length < begun and not course.is_sampled]
    for lengths in (longer, shorter):
        for factors in lengths:
            other = _run_round("factors", ({"factors": factors},), model, course, entrants)
            if other is model:
                break
            model = other
        if model.settings.factors != begun:
            break
    return model


def _run_round(name: str, recipes: Sequence[Recipe], model: Model, course: _Course, entrants: list[Entrant]) -> Model:
    """The winner among a model and its changes, which are trained anew where factors depend on them."""
    models = [model]
    recipes = [changes for changes in recipes if model.settings.with_recipe(changes) != model.settings]
    for changes in recipes:
        changed = model.settings.with_recipe(changes)
        factors = course.train(changed) if name in _TRAINED else model
        models.append(course.finish(factors, changed))
    return models[_judge_round(name, recipes, models, course, entrants)]


def _judge_round(
    name: str, recipes: Sequence[Recipe], models: Sequence[Model], course: _Course, entrants: list[Entrant]
) -> int:
    """Judge the models of a round, the first of which it began with; note how they did, and return the winner."""
    scores = np.array([course.judge(model) for model in models])
    if name == "order":
        scores = scores[:, course.hold_out.followed]
    difference = scores - scores[0]
    error = difference.std(axis=1, ddof=1) / np.sqrt(scores.shape[1])
    gain, means = difference.mean(axis=1), scores.mean(axis=1)
    enough = gain > np.array([0.0, *_margins(recipes, models[0].settings.factors, error[1:], float(means[0]))])
    winner = int(np.argmax(np.where(enough, gain, 0.0)))
    for index, changes in enumerate(({}, *recipes)):
        low, high = (float(gain[index] + side * 1.96 * error[index]) for side in (-1, 1))
        chosen = index == winner
        entrants.append(
            Entrant(name, changes, scores.shape[1], float(means[index]), float(gain[index]), low, high, chosen)
        )
    return winner


def _margins(recipes: Sequence[Recipe], factors: int, errors: Floats, mean: float) -> list[float]:
    """Gain that each recipe must exceed: more than chance; longer factors a share of the metric; shorter ones none."""
    chance = _chance(len(recipes)) * errors
    lengths = [changes.get("factors", factors) for changes in recipes]
    return [
        0.0 if length < factors else max(float(error), LEAST_GAIN * mean * (length > factors))
        for length, error in zip(lengths, chance, strict=True)
    ]


def _chance(recipes: int) -> float:
    """Standard errors that the best of so many equal recipes is ahead by at most, on average; one at least."""
    return max(1.0, float(np.sqrt(2 * np.log(max(1, recipes)))))


def _prepare(
    rows: Iterable[pa.RecordBatch], items: int, settings: AlsSettings
) -> tuple[HoldOut, als.Census, float, int, int, int] | None:
    """Withhold, draw the sample and count; None if too few listeners can be asked, or know too few items.

    Returns:
        The first attributes of a course, in order.
    """
    sizes = np.array([(batch.num_rows, len(heard_items(batch)[1])) for batch in rows]).reshape(-1, 2)
    listeners, entries = (int(size) for size in sizes.sum(axis=0))
    share = share_asked(listeners, items)
    if share * listeners < FEWEST_ASKED:
        return None
    sample_share, iterations = _brevity(entries, settings)
    sampled = settings.model_copy(update={"sample_share": sample_share})
    hold_out = _hold_out(rows, share, sampled)
    if hold_out is None:
        return None
    everyone = (batch for batch, *_ in withhold(rows, share))
    census = als.take_census(everyone, items, sampled)
    if not (census.listeners[0] >= settings.min_item_listeners).any():
        return None
    everyone_trained = round(listeners * settings.sample_share), round(entries * settings.sample_share)
    return hold_out, census, sample_share, iterations, *everyone_trained


def _hold_out(rows: Iterable[pa.RecordBatch], share: float, sampled: AlsSettings) -> HoldOut | None:
    """The sample with its questions; None if too few are asked."""
    shares = doubled(sampled.sample_share)
    in_sample = (levels(batch.column("user_id"), shares, sampled.seed) == 0 for batch in rows)
    hold_out = gather(withhold(rows, share), in_sample, share)
    return hold_out if hold_out.asked.num_rows >= FEWEST_ASKED else None


def _is_ordered(hold_out: HoldOut) -> bool:
    """True if enough listeners can judge order."""
    return int(hold_out.followed.sum()) >= FEWEST_ASKED


def _brevity(entries: int, settings: AlsSettings) -> tuple[float, int]:
    """Share of listeners and iterations that the work allows a training of the race: first the one, then the other."""
    lengths = [settings.factors] * (1 + len(CONFIDENCES) + len(EVIDENCE)) + [*LONGER_FACTORS]
    of_training = entries * settings.sample_share * settings.factors * settings.iterations
    per_iteration = entries * sum(lengths)
    budget = max(FREE_WORK, WORK_SHARE * of_training)
    share = min(settings.sample_share, budget / (per_iteration * ITERATIONS))
    iterations = int(min(settings.iterations, budget / (per_iteration * share) + 1e-9))
    return float(share), max(iterations, 1)


def _ndcg(lists: CsrRows, withheld: CsrRows, model: Model) -> Floats:
    """NDCG of each list against the item indexes that were withheld; 0 of an empty one."""
    listener = np.repeat(np.arange(len(lists.lengths)), lists.lengths)
    place = np.arange(len(listener)) - np.repeat(lists.offsets[:-1], lists.lengths)
    of = np.repeat(np.arange(len(withheld.lengths)), withheld.lengths)
    relevant = np.isin(listener << 32 | model.item_indexes[lists.positions], of << 32 | withheld.positions)
    gains = np.bincount(listener[relevant], 1 / np.log2(place[relevant] + 2), minlength=len(lists.lengths))
    ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(LIST_LENGTH) + 2))])
    return np.asarray(gains / ideal[np.minimum(withheld.lengths, LIST_LENGTH)])
