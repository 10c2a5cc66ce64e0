"""A race of recipes: what it chooses follows from what listeners heard, and from nothing else."""

from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from nocturne.core.sections import AlsSettings
from nocturne.core.settings import load_settings
from nocturne.ingestion.interactions import UNIT
from nocturne.kernel.layout import lay_out_items
from nocturne.ranking.eligibility import Markets
from nocturne.ranking.ranker import Ranker
from nocturne.ranking.spark_tasks import Aligned
from nocturne.ranking.stats import RankingStats
from nocturne.training import als
from nocturne.training.hold_out import withhold
from nocturne.training.race import (
    FEWEST_ASKED,
    ITERATIONS,
    LEAST_GAIN,
    LIST_LENGTH,
    Race,
    _brevity,
    _margins,
    _run_lengths,
    run_race,
)

NIGHT = date(2025, 3, 1)
ITEMS, LISTENERS, HEARD = 40, 600, 12
ITEM_IDS = pa.array([f"i{index:02d}" for index in range(ITEMS)])
DEFAULTS = load_settings().als.model_copy(update={"factors": 8})


def interactions(histories: list[list[int]]) -> pa.RecordBatch:
    """Rows of listeners who heard one item a day."""
    start = datetime(2025, 2, 1, tzinfo=UTC)
    plays = [sorted((item, history.count(item)) for item in set(history)) for history in histories]
    return pa.RecordBatch.from_pydict(
        {
            "user_id": pa.array([f"u{number:04d}" for number in range(len(histories))]),
            "market": pa.nulls(len(histories), pa.string()),
            "period": pa.repeat(pa.scalar(223, pa.int32()), len(histories)),
            "item_indexes": pa.array([[item for item, _ in row] for row in plays], pa.list_(pa.int32())),
            "play_sums": pa.array([[count * UNIT for _, count in row] for row in plays]),
            "second_sums": pa.array([[0 for _ in row] for row in plays]),
            "recent_items": pa.array(histories, pa.list_(pa.int32())),
            "recent_times": pa.array(
                [[start + timedelta(days=day) for day in range(len(history))] for history in histories],
                pa.list_(pa.timestamp("us", "UTC")),
            ),
        }
    )


def race(rows: list[pa.RecordBatch], settings: AlsSettings = DEFAULTS) -> Race:
    return run_race(rows, ITEM_IDS, NIGHT, 90.0, settings, candidates=ITEMS)


@pytest.fixture(scope="module")
def walks() -> list[pa.RecordBatch]:
    """Everyone hears items in one order, from an item of their own on, and now and then skips one."""
    rng = np.random.default_rng(1)
    steps = rng.choice([1, 2], (LISTENERS, HEARD), p=[0.9, 0.1])
    return [interactions((rng.integers(0, ITEMS, (LISTENERS, 1)) + steps.cumsum(axis=1)).__mod__(ITEMS).tolist())]


@pytest.fixture(scope="module")
def of_walks(walks: list[pa.RecordBatch]) -> Race:
    return race(walks)


def test_where_one_item_follows_another_order_wins(of_walks: Race) -> None:
    assert of_walks.settings.neighbour_weights == "succession"
    assert of_walks.settings.recency < 1
    (won,) = (entrant for entrant in of_walks.entrants if entrant.round == "order" and entrant.chosen)
    assert won.low > 0.1
    assert 0.4 < won.listeners / LISTENERS < 0.6
    assert of_walks.share == 0.5


def test_where_there_is_no_order_it_does_not_count() -> None:
    rng = np.random.default_rng(2)
    # A block of ten items each, of which everyone hears eight in any order.
    histories = [(10 * (user % 4) + rng.permutation(10)[:8]).tolist() for user in range(LISTENERS)]
    chosen = race([interactions(histories)])
    assert chosen.settings.recency == 1
    assert chosen.settings.neighbour_weights != "succession"


def test_how_much_of_a_thing_was_bought_is_no_evidence_where_it_is_drawn_by_lot() -> None:
    rng = np.random.default_rng(3)
    # Of a block of ten items everyone hears five, all on one day, each as often as a lot says.
    histories = [(10 * (user % 4) + rng.permutation(10)[:5]).tolist() for user in range(LISTENERS)]
    batch = interactions(histories)
    plays = [[int(UNIT * 10**amount) for amount in rng.uniform(0, 4, 5)] for _ in histories]
    columns = {name: batch.column(name) for name in batch.schema.names} | {"play_sums": pa.array(plays)}
    for name, type_ in (("recent_items", pa.int32()), ("recent_times", pa.timestamp("us", "UTC"))):
        columns[name] = pa.array([[] for _ in histories], pa.list_(type_))
    assert race([pa.RecordBatch.from_pydict(columns)]).settings.transform == "binary"


def test_the_more_recipes_are_tried_the_more_the_best_must_gain() -> None:
    errors = np.full(6, 0.01)
    assert _margins([{"alpha": 5.0}], 64, errors[:1], 0.5) == [0.01]
    np.testing.assert_allclose(_margins([{"alpha": 5.0}] * 6, 64, errors, 0.5), np.sqrt(2 * np.log(6)) * errors)


def test_longer_factors_must_gain_a_share_and_shorter_ones_need_only_be_no_worse() -> None:
    assert _margins([{"factors": 128}], 64, np.array([0.001]), 0.5) == [LEAST_GAIN * 0.5]
    assert _margins([{"factors": 32}], 64, np.array([0.001]), 0.5) == [0.0]


def test_lengths_are_tried_upwards_and_where_none_wins_downwards(monkeypatch: pytest.MonkeyPatch) -> None:
    def tried(best: int, *, sampled: bool = False) -> list[int]:
        lengths = []

        def run_round(_name: str, recipes: list[dict[str, int]], model: SimpleNamespace, *_: object) -> SimpleNamespace:
            lengths.append(recipes[0]["factors"])
            now = model.settings.factors
            return length(lengths[-1]) if abs(best - lengths[-1]) < abs(best - now) else model

        monkeypatch.setattr("nocturne.training.race._run_round", run_round)
        course = SimpleNamespace(has_room=lambda factors: factors < 256, is_sampled=sampled)
        _run_lengths(length(64), course, [])  # type: ignore[arg-type]
        return lengths

    def length(factors: int) -> SimpleNamespace:
        return SimpleNamespace(settings=SimpleNamespace(factors=factors))

    assert tried(128) == [128]
    assert tried(16) == [128, 32, 16]
    assert tried(64) == [128, 32]
    assert tried(16, sampled=True) == [128]


def test_a_training_of_the_race_is_as_long_as_the_work_allows() -> None:
    assert _brevity(1_000, DEFAULTS) == (1.0, DEFAULTS.iterations)
    share, iterations = _brevity(10**9, DEFAULTS)
    assert share < 0.1
    assert iterations == ITERATIONS


def test_what_follows_within_a_day_is_nothing_to_judge_by(walks: list[pa.RecordBatch]) -> None:
    start = datetime(2025, 2, 1, tzinfo=UTC)
    # The same walks, each within a day: some on one, some on another.
    times = [[start + timedelta(days=user % 2, minutes=step) for step in range(HEARD)] for user in range(LISTENERS)]
    columns = {name: walks[0].column(name) for name in walks[0].schema.names}
    columns["recent_times"] = pa.array(times, pa.list_(pa.timestamp("us", "UTC")))
    within_a_day = race([pa.RecordBatch.from_pydict(columns)])
    assert {entrant.round for entrant in within_a_day.entrants} >= {"confidences", "neighbours", "evidence", "scores"}
    assert "order" not in {entrant.round for entrant in within_a_day.entrants}


def test_every_round_has_one_winner_and_a_recipe_is_only_left_for_a_better_one(of_walks: Race) -> None:
    for name in {entrant.round for entrant in of_walks.entrants}:
        entrants = [entrant for entrant in of_walks.entrants if entrant.round == name]
        (won,) = (entrant for entrant in entrants if entrant.chosen)
        assert not entrants[0].changes
        assert entrants[0].difference == 0
        assert won is entrants[0] or won.difference > 0
        assert all(entrant.low <= entrant.difference <= entrant.high for entrant in entrants)


def test_the_settings_of_operation_and_of_the_training_stay(of_walks: Race) -> None:
    kept = ("recipe", "iterations", "seed", "threads", "neighbours", "sample_share", "min_item_coverage")
    assert {name: getattr(of_walks.settings, name) for name in kept} == {name: getattr(DEFAULTS, name) for name in kept}


def test_the_same_rows_have_the_same_race_however_they_are_cut(walks: list[pa.RecordBatch], of_walks: Race) -> None:
    cut = [walks[0].slice(start, 150) for start in range(0, LISTENERS, 150)]
    again = race(cut)
    assert again.settings == of_walks.settings
    assert [(entrant.round, entrant.changes, entrant.chosen) for entrant in again.entrants] == [
        (entrant.round, entrant.changes, entrant.chosen) for entrant in of_walks.entrants
    ]


def test_too_few_listeners_leave_the_settings_as_they_are(walks: list[pa.RecordBatch]) -> None:
    few = race([walks[0].slice(0, 2 * FEWEST_ASKED - 2)])
    assert few.settings == DEFAULTS
    assert not few.entrants
    assert "the settings stand" in few.remark


def test_recipes_are_judged_by_the_lists_that_ranking_gives(walks: list[pa.RecordBatch], of_walks: Race) -> None:
    ((left, withheld, _),) = withhold(walks, of_walks.share)
    model = als.train([left], ITEM_IDS, NIGHT, 90.0, DEFAULTS).model
    everything = Markets({None: 0}, 0, np.ones((1, ITEMS), dtype=np.bool_), ("",))
    ranking = load_settings().ranking.model_copy(update={"top_k": LIST_LENGTH, "candidates": ITEMS})
    laid_out = lay_out_items(model.factors, model.score_multipliers, np.arange(ITEMS))
    ranker = Ranker(model, laid_out, everything, None, NIGHT, ranking, audit_share=0.0).prepare()
    rows = left.append_column("last_heard", pa.array([[NIGHT] * len(row) for row in left["item_indexes"]]))
    rows = rows.append_column("digest", pa.repeat("", LISTENERS))
    lists = ranker.rank(rows, Aligned(iter(())).of(rows["user_id"]), RankingStats()).lists
    gains = [
        sum(
            1 / np.log2(place + 2)
            for place, item in enumerate(listed)
            if int(item["item_id"][1:]) in withheld.row(user)
        )
        / sum(1 / np.log2(place + 2) for place in range(withheld.lengths[user]))
        for user, listed in enumerate(lists["items"].to_pylist())
        if withheld.lengths[user]
    ]
    assert of_walks.entrants[0].listeners == len(gains)
    np.testing.assert_allclose(of_walks.entrants[0].ndcg, np.mean(gains), rtol=1e-9)


def test_a_training_on_a_sample_is_raced_on_no_more(
    walks: list[pa.RecordBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    listeners, plain = [], als.train

    def counted(*arguments: object, **options: object) -> als.Training:
        training = plain(*arguments, **options)  # type: ignore[arg-type]
        listeners.append(training.listeners)
        return training

    monkeypatch.setattr(als, "train", counted)
    race(walks, DEFAULTS.model_copy(update={"sample_share": 0.5}))
    assert 0.35 * LISTENERS < max(listeners) < 0.65 * LISTENERS


def test_a_large_matrix_is_raced_on_a_sample_by_a_share_of_the_work_of_a_training(
    walks: list[pa.RecordBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nocturne.training.race.FREE_WORK", 0.0)
    work, plain = [], als.train

    def counted(*arguments: object, **options: object) -> als.Training:
        training = plain(*arguments, **options)  # type: ignore[arg-type]
        settings = training.model.settings
        work.append(training.entries * settings.factors * settings.iterations)
        return training

    monkeypatch.setattr(als, "train", counted)
    race(walks)
    entries = len(walks[0].column("item_indexes").flatten())
    assert 0 < sum(work) < 1.3 * 0.25 * entries * DEFAULTS.factors * DEFAULTS.iterations
