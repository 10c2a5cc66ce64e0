"""The gate of a candidate: what differences it objects to, and which nights it looks at; promotions that it decides."""

from collections.abc import Callable
from datetime import date, timedelta

import pytest

from nocturne.core.errors import GateClosed, UsageError
from nocturne.core.night import Night
from nocturne.core.settings import load_settings
from nocturne.evaluation import promotion
from nocturne.evaluation.backtest import Comparison
from nocturne.evaluation.listener_sample import SampleSize
from nocturne.evaluation.promotion import Objection, evaluable_nights, objections, promote
from nocturne.evaluation.significance import Difference
from nocturne.serving.publications import record_closed_gate
from nocturne.storage import tables
from nocturne.storage.model_transitions import Transition
from nocturne.training import registry
from tests.fixtures import two_listeners

pytestmark = pytest.mark.slow

GATE = ("promotion.margin=0.1", "promotion.segment_margin=0.2", "promotion.min_listeners=100")
SETTINGS = load_settings(overrides=GATE).promotion
FIRST = date(2025, 3, 1)


def day(offset: int) -> date:
    return FIRST + timedelta(days=offset)


def difference(
    low: float = 0.0, middle: float = 0.0, segment: str = "all", listeners: int = 500, metric: str = "recall@20"
) -> Difference:
    """Of the candidate `new` to the live model `old`, whose mean is 0.5."""
    high = 2 * middle - low
    return Difference("new", "old", segment, metric, listeners, 0.5 + middle, 0.5, middle, low, high)


SOUND = [difference(metric="ndcg@20"), difference()]


def comparison(differences: list[Difference]) -> Comparison:
    return Comparison(differences, SampleSize(600, 1_000))


@pytest.mark.parametrize(("low", "objects"), [(0.01, False), (-0.05, False), (-0.051, True), (float("nan"), True)])
def test_the_interval_over_all_listeners_may_reach_a_share_of_the_live_models_mean_below_0(
    low: float, objects: bool
) -> None:
    against = objections([SOUND[0], difference(low)], SETTINGS)
    assert bool(against) is objects


def test_an_objection_holds_every_figure() -> None:
    (objection,) = objections([SOUND[0], difference(-0.08, -0.06)], SETTINGS)
    assert objection.text == (
        "recall@20, all: 0.4400 against 0.5000, -0.0600 (-0.0800 to -0.0400) for 500 listeners; allowed -0.0500"
    )


@pytest.mark.parametrize(("middle", "worse"), [(-0.06, True), (-0.02, False)])
def test_a_candidate_is_worse_where_all_of_its_interval_lies_below_0(middle: float, worse: bool) -> None:
    (objection,) = objections([SOUND[0], difference(-0.08, middle)], SETTINGS)
    assert objection.worse is worse


@pytest.mark.parametrize(
    ("middle", "listeners", "objects"), [(-0.1, 100, False), (-0.101, 100, True), (-0.4, 99, False)]
)
def test_a_segment_with_enough_listeners_may_not_lose_more_than_its_share(
    middle: float, listeners: int, objects: bool
) -> None:
    against = objections([*SOUND, difference(-0.5, middle, "market SE", listeners)], SETTINGS)
    assert bool(against) is objects


def test_metrics_that_do_not_decide_are_passed_over_and_those_that_do_must_be_there() -> None:
    assert objections([*SOUND, difference(-0.4, metric="map@20")], SETTINGS) == []
    assert objections([SOUND[0]], SETTINGS) == [Objection("recall@20: nobody to score it on")]


@pytest.fixture
def warehouse(night: Callable[..., Night]) -> Callable[[int], Night]:
    """Nights 0 to 4 with interactions, listens and two models: `old`, live, of night 0, and `new`, of night 1."""

    def on(offset: int) -> Night:
        return night(day(offset), *two_listeners.SETTINGS, *GATE)

    for offset in range(5):
        two_listeners.write(on(offset), "interactions", two_listeners.interactions(day(offset)))
        two_listeners.write(on(offset), "listens", two_listeners.listens(day(offset)))
    old, new = two_listeners.models(day(0)) + two_listeners.models(day(1))
    two_listeners.write(on(0), "models", [old | {"model_version": "old"}])
    two_listeners.write(on(1), "models", [new | {"model_version": "new", "state": "candidate", "moves": []}])
    return on


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[date]:
    """Every comparison finds `new` no worse; returns the nights it was asked for."""
    nights_compared: list[date] = []

    def compare_versions(nights, version, against, days):
        nights_compared.extend(night.run_date for night in nights)
        return comparison(SOUND)

    monkeypatch.setattr(promotion, "compare_versions", compare_versions)
    return nights_compared


def states(night: Night) -> dict[str, str]:
    return {model.version: model.state for model in registry.models(night.warehouse)}


@pytest.mark.parametrize(
    ("decided", "days", "nights", "expected"),
    [
        (5, 1, 1, [3]),
        (5, 1, 9, [1, 2, 3]),
        (5, 3, 9, [1]),
        (5, 4, 9, []),
        (3, 1, 1, [1]),
        (2, 1, 1, []),
        (7, 1, 1, [3]),
    ],
)
def test_nights_are_compared_that_both_models_know_and_that_were_listened_to_after(
    warehouse: Callable[[int], Night], decided: int, days: int, nights: int, expected: list[int]
) -> None:
    night = warehouse(decided)
    sections = night.settings.promotion.model_copy(update={"nights": nights})
    night = night.with_settings(night.settings.model_copy(update={"promotion": sections}))
    compared = evaluable_nights(night, (day(0), day(1)), days)
    assert [each.run_date for each in compared] == [day(offset) for offset in expected]


def test_a_promoted_model_is_live_from_its_night_on_and_its_figures_stay_with_it(
    warehouse: Callable[[int], Night], compared: list[date]
) -> None:
    night = warehouse(4)
    assert promote(night, "new", actor="ana", reason="fresher") == "new is live from 2025-03-05 on"
    assert compared == [day(2)]
    assert states(night) == {"old": "retired", "new": "live"}
    rows = {model.version: model for model in registry.models(night.warehouse)}
    assert rows["new"].transitions == (Transition(2, "live", day(4), "ana", "fresher"),)
    assert [(row["metric"], row["against"], row["nights"]) for row in rows["new"].metrics] == [
        ("ndcg@20", "old", "2025-03-03"),
        ("recall@20", "old", "2025-03-03"),
    ]
    live = {offset: tables.partitions(warehouse(offset), "models")[1] for offset in (0, 3, 4)}
    assert live == {0: ["old"], 3: ["old"], 4: ["new"]}
    assert promote(night, "new", actor="ben", reason="again") == "new is live on 2025-03-05 already"


@pytest.mark.parametrize(
    ("decided", "spoil", "reason"),
    [
        (1, None, "trained on 2025-03-02, not before 2025-03-02"),
        (2, None, "nothing to compare it on"),
        (4, "gate", "a night whose gate closed"),
        (4, "rejected", "new was rejected"),
    ],
)
def test_what_may_not_be_live_is_refused_and_the_refusal_is_on_record(
    warehouse: Callable[[int], Night], compared: list[date], decided: int, spoil: str | None, reason: str
) -> None:
    night = warehouse(decided)
    if spoil == "gate":
        record_closed_gate(warehouse(1), ["so"])
    if spoil == "rejected":
        registry.reject(night, "new", actor="ana", reason="so")
    before = states(night)
    for _ in range(2):
        with pytest.raises(GateClosed, match=reason):
            promote(night, "new", actor="ana", reason="a try")
    assert states(night) == before
    (new,) = [model for model in registry.models(night.warehouse) if model.version == "new"]
    refusals = [step for step in new.transitions if step.state == "undecided"]
    assert [(step.since, reason in step.reason) for step in refusals] == [(day(decided), True)]
    assert compared == []


def test_a_worse_model_is_refused_with_its_figures_and_a_retired_one_comes_back_by_the_same_gate(
    warehouse: Callable[[int], Night], monkeypatch: pytest.MonkeyPatch
) -> None:
    night = warehouse(4)
    monkeypatch.setattr(promotion, "compare_versions", lambda *_: comparison([SOUND[0], difference(-0.4, -0.3)]))
    with pytest.raises(GateClosed, match=r"recall@20, all: 0\.2000 against 0\.5000"):
        promote(night, "new", actor="ana", reason="a try")
    (new,) = [model for model in registry.models(night.warehouse) if model.version == "new"]
    assert [step.state for step in new.transitions] == ["refused"]
    assert [row["difference"] for row in new.metrics] == [0.0, -0.3]
    monkeypatch.setattr(promotion, "compare_versions", lambda *_: comparison(SOUND))
    promote(night, "new", actor="ana", reason="another look")
    promote(warehouse(5), "old", actor="ana", reason="back again")
    assert states(night) == {"old": "live", "new": "retired"}
    live = {offset: tables.partitions(warehouse(offset), "models")[1] for offset in (3, 4, 5)}
    assert live == {3: ["old"], 4: ["new"], 5: ["old"]}


def test_where_no_model_is_live_there_is_nothing_to_be_worse_than(
    warehouse: Callable[[int], Night], compared: list[date]
) -> None:
    night = warehouse(4)
    assert registry.reject(night, "old", actor="ana", reason="so") is None
    assert promote(night, "new", actor="ana", reason="so").endswith("no other model was")
    assert compared == []


def test_a_move_needs_a_reason_and_a_model_that_is_there(warehouse: Callable[[int], Night]) -> None:
    with pytest.raises(UsageError, match="needs a reason"):
        promote(warehouse(4), "new", actor="ana", reason=" ")
    with pytest.raises(UsageError, match="one of old, new"):
        registry.reject(warehouse(4), "newer", actor="ana", reason="so")
