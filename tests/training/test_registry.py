"""Models that are put into the registry, made live by their night, and moved: on a warehouse written literally."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from nocturne.core.errors import InputError, UsageError
from nocturne.core.night import Night
from nocturne.flow import stage
from nocturne.pipeline.stages import STAGES
from nocturne.storage import fingerprints, tables
from nocturne.storage.model_transitions import LIVE, ModelRecord, Transition, with_transition
from nocturne.training import registry
from nocturne.training.registry import add, add_live, code_version, find, load_model, models, reject, take_back, train
from tests.fixtures import two_listeners


@pytest.fixture
def tonight(night: Callable[..., Night]) -> Night:
    """A night on which two listeners have heard two items, and no model is there."""
    made = night(two_listeners.TONIGHT, *two_listeners.SETTINGS)
    two_listeners.write(made, "item_index", two_listeners.item_index())
    two_listeners.write(made, "interactions", two_listeners.interactions())
    return made


def recipe(night: Night, **changes: object):
    return night.settings.als.model_copy(update=changes)


def states(night: Night) -> dict[str, str]:
    return {model.version: model.state for model in models(night.warehouse)}


def rows_of_factors(night: Night) -> set[str]:
    return set(tables.rows(night.warehouse, "item_factors", columns=["model_version"])["model_version"].to_pylist())


def test_a_candidate_is_kept_whole_and_no_night_has_it(tonight: Night) -> None:
    trained = train(tonight, tonight.settings.als)
    version = add(tonight.warehouse, trained, origin="tune", actor="ana", reason="a search")
    (model,) = models(tonight.warehouse)
    assert (model.version, model.run_date, model.state) == (version, two_listeners.TONIGHT, "candidate")
    assert (model.origin, model.code_version, model.metrics) == ("tune", code_version(), ())
    assert model.transitions == (Transition(1, "candidate", two_listeners.TONIGHT, "ana", "a search"),)
    (row,) = tables.rows(tonight.warehouse, "models").to_pylist()
    assert row["moves"] == [
        {"number": 1, "state": "candidate", "since": two_listeners.TONIGHT, "by": "ana", "why": "a search"}
    ]
    assert model.inputs == {table: tables.version(tonight.warehouse, table) for table in ("interactions", "item_index")}
    assert load_model(tonight.warehouse, version).factors.tobytes() == trained.training.model.factors.tobytes()
    assert registry.live_model(tonight) is None
    assert tables.night_rows(tonight, "item_factors").num_rows == 0


def test_candidates_of_one_night_stand_beside_its_live_model(tonight: Night) -> None:
    add_live(tonight, train(tonight, tonight.settings.als), "the first")
    version = add(
        tonight.warehouse, train(tonight, recipe(tonight, seed=2)), origin="retrain", actor="ana", reason="a try"
    )
    live = next(name for name in states(tonight) if name != version)
    assert states(tonight) == {live: "live", version: "candidate"}
    assert rows_of_factors(tonight) == {live, version}
    assert set(tables.night_rows(tonight, "item_factors")["model_version"].to_pylist()) == {live}
    assert (
        add(tonight.warehouse, train(tonight, tonight.settings.als), origin="retrain", actor="ana", reason="again")
        == live
    )
    assert states(tonight)[live] == "live"


def test_a_night_run_again_leaves_the_rows_as_they_were_and_what_people_decided_since(tonight: Night) -> None:
    add_live(tonight, train(tonight, tonight.settings.als), "the first")
    once = models(tonight.warehouse)
    add_live(tonight, train(tonight, tonight.settings.als), "the first")
    again = models(tonight.warehouse)
    assert [replace(each, seconds=0, inputs={}) for each in again] == [
        replace(each, seconds=0, inputs={}) for each in once
    ]
    version = once[0].version
    reject(tonight, version, actor="ana", reason="so")
    add_live(tonight, train(tonight, tonight.settings.als), "the first")
    assert states(tonight) == {version: "rejected"}
    assert [step.sequence for step in models(tonight.warehouse)[0].transitions] == [1, 2]


def test_a_night_that_trains_another_model_when_it_runs_again_replaces_its_own_and_nobody_elses(tonight: Night) -> None:
    add_live(tonight, train(tonight, tonight.settings.als), "the first")
    candidate = add(
        tonight.warehouse, train(tonight, recipe(tonight, seed=2)), origin="retrain", actor="ana", reason="a try"
    )
    add_live(tonight, train(tonight, recipe(tonight, seed=3)), "the first")
    live = next(name for name in states(tonight) if name != candidate)
    assert states(tonight) == {live: "live", candidate: "candidate"}
    assert rows_of_factors(tonight) == {live, candidate}
    take_back(tonight)
    assert states(tonight) == {candidate: "candidate"}
    assert rows_of_factors(tonight) == {candidate}


def test_a_move_writes_no_factors(tonight: Night) -> None:
    add_live(tonight, train(tonight, tonight.settings.als), "the first")
    version = add(
        tonight.warehouse, train(tonight, recipe(tonight, seed=2)), origin="retrain", actor="ana", reason="a try"
    )
    before = tables.version(tonight.warehouse, "item_factors"), fingerprints.file_hashes(tonight, "models")
    written = tables.version(tonight.warehouse, "models")
    tomorrow = replace(tonight, run_date=two_listeners.TONIGHT + timedelta(days=1))
    before_it = models(tonight.warehouse)
    after = with_transition(before_it, version, LIVE, since=tomorrow.run_date, actor="ana", reason="better")
    registry.write(tonight.warehouse, before_it, after)
    assert (tables.version(tonight.warehouse, "item_factors"), fingerprints.file_hashes(tonight, "models")) == before
    assert tables.version(tonight.warehouse, "models") == written + 1
    assert tables.partitions(tonight, "models")[1] != tables.partitions(tomorrow, "models")[1] == [version]


def test_a_model_is_found_by_the_end_of_its_version_if_no_other_has_it() -> None:
    (row,) = two_listeners.models()
    names = ("als-2025-03-01-0000aaaa", "als-2025-03-02-1111aaaa")
    rows = [ModelRecord.from_row(row | {"model_version": name}) for name in names]
    assert find(rows, "1111aaaa") is rows[1]
    with pytest.raises(UsageError, match="more than one"):
        find(rows, "aaaa")
    with pytest.raises(UsageError, match="no such model"):
        find(rows, "")


def test_a_night_without_interactions_has_nobody_to_learn_from(tonight: Night) -> None:
    with pytest.raises(InputError, match="nobody to learn from"):
        train(tonight.on(two_listeners.YESTERDAY), tonight.settings.als)


def test_the_stage_keeps_the_live_model_says_so_and_tells_of_another_recipe(tonight: Night) -> None:
    add_live(tonight, train(tonight, tonight.settings.als), "the first")
    (version,) = states(tonight)
    tomorrow = replace(tonight, run_date=two_listeners.TONIGHT + timedelta(days=1))
    two_listeners.write(tomorrow, "interactions", two_listeners.interactions(tomorrow.run_date))
    said = STAGES[stage("train_als").name](None, tomorrow, lambda *_: None)
    assert (said.read, said.remark) == (0, f"keeps {version}")
    als = tonight.settings.als.model_copy(update={"alpha": 2.0, "recipe": "settings"})
    changed = tomorrow.with_settings(tomorrow.settings.model_copy(update={"als": als}))
    said = STAGES["train_als"](None, changed, lambda *_: None)
    assert said.remark == (
        f"keeps {version}; the settings have another recipe: `nocturne models train` with them makes a candidate of it"
    )


def test_the_version_of_the_code_is_a_release_and_a_hash() -> None:
    release, _, digest = code_version().partition("+")
    assert release[0].isdigit()
    assert len(digest) == 12
