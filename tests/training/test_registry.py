"""Models that are put into the registry, made live by their night, and moved: on a warehouse written literally."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from nocturne.core.errors import InputError, SettingsError
from nocturne.core.night import Night
from nocturne.flow import stage
from nocturne.pipeline.stages import STAGES
from nocturne.storage import fingerprints, model_transitions, tables
from nocturne.training import registry
from nocturne.training.registry import add, add_live, code_version, find, keep, load_model, models, reject, train
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
    return {row["model_version"]: row["state"] for row in models(night)}


def rows_of_factors(night: Night) -> set[str]:
    return set(tables.rows(night, "item_factors", columns=["model_version"])["model_version"].to_pylist())


def test_a_candidate_is_kept_whole_and_no_night_has_it(tonight: Night) -> None:
    trained = train(tonight, tonight.settings.als)
    version = add(tonight, trained, origin="tune", by="ana", why="a search")
    (row,) = models(tonight)
    assert (row["model_version"], row["run_date"], row["state"]) == (version, two_listeners.TONIGHT, "candidate")
    assert (row["origin"], row["code_version"], row["metrics"]) == ("tune", code_version(), [])
    assert row["moves"] == [
        {"number": 1, "state": "candidate", "since": two_listeners.TONIGHT, "by": "ana", "why": "a search"}
    ]
    assert {each["table"]: each["version"] for each in row["inputs"]} == {
        table: tables.version(tonight, table) for table in ("interactions", "item_index")
    }
    assert load_model(tonight, version).factors.tobytes() == trained.training.model.factors.tobytes()
    assert registry.live_model(tonight) is None
    assert tables.night_rows(tonight, "item_factors").num_rows == 0


def test_candidates_of_one_night_stand_beside_its_live_model(tonight: Night) -> None:
    add_live(tonight, train(tonight, tonight.settings.als), "the first")
    version = add(tonight, train(tonight, recipe(tonight, seed=2)), origin="retrain", by="ana", why="a try")
    live = next(name for name in states(tonight) if name != version)
    assert states(tonight) == {live: "live", version: "candidate"}
    assert rows_of_factors(tonight) == {live, version}
    assert set(tables.night_rows(tonight, "item_factors")["model_version"].to_pylist()) == {live}
    assert add(tonight, train(tonight, tonight.settings.als), origin="retrain", by="ana", why="again") == live
    assert states(tonight)[live] == "live"


def test_a_night_run_again_leaves_the_rows_as_they_were_and_what_people_decided_since(tonight: Night) -> None:
    add_live(tonight, train(tonight, tonight.settings.als), "the first")
    once = models(tonight)
    add_live(tonight, train(tonight, tonight.settings.als), "the first")
    volatile = {"seconds": 0.0, "inputs": []}
    assert [row | volatile for row in models(tonight)] == [row | volatile for row in once]
    version = once[0]["model_version"]
    reject(tonight, version, by="ana", why="so")
    add_live(tonight, train(tonight, tonight.settings.als), "the first")
    assert states(tonight) == {version: "rejected"}
    assert [move["number"] for move in models(tonight)[0]["moves"]] == [1, 2]


def test_a_night_that_trains_another_model_when_it_runs_again_replaces_its_own_and_nobody_elses(tonight: Night) -> None:
    add_live(tonight, train(tonight, tonight.settings.als), "the first")
    candidate = add(tonight, train(tonight, recipe(tonight, seed=2)), origin="retrain", by="ana", why="a try")
    add_live(tonight, train(tonight, recipe(tonight, seed=3)), "the first")
    live = next(name for name in states(tonight) if name != candidate)
    assert states(tonight) == {live: "live", candidate: "candidate"}
    assert rows_of_factors(tonight) == {live, candidate}
    keep(tonight)
    assert states(tonight) == {candidate: "candidate"}
    assert rows_of_factors(tonight) == {candidate}


def test_a_move_writes_no_factors(tonight: Night) -> None:
    add_live(tonight, train(tonight, tonight.settings.als), "the first")
    version = add(tonight, train(tonight, recipe(tonight, seed=2)), origin="retrain", by="ana", why="a try")
    before = tables.version(tonight, "item_factors"), fingerprints.fingerprint(tonight, "models")
    written = tables.version(tonight, "models")
    tomorrow = replace(tonight, run_date=two_listeners.TONIGHT + timedelta(days=1))
    rows = models(tonight)
    registry.write(
        tomorrow,
        rows,
        model_transitions.moved(rows, version, model_transitions.LIVE, since=tomorrow.run_date, by="ana", why="better"),
    )
    assert (tables.version(tonight, "item_factors"), fingerprints.fingerprint(tonight, "models")) == before
    assert tables.version(tonight, "models") == written + 1
    assert tables.partitions(tonight, "models")[1] != tables.partitions(tomorrow, "models")[1] == [version]


def test_a_model_is_found_by_the_end_of_its_version_if_no_other_has_it() -> None:
    rows = [{"model_version": name} for name in ("als-2025-03-01-0000aaaa", "als-2025-03-02-1111aaaa")]
    assert find(rows, "1111aaaa") is rows[1]
    with pytest.raises(SettingsError, match="more than one"):
        find(rows, "aaaa")
    with pytest.raises(SettingsError, match="no such model"):
        find(rows, "")


def test_a_night_without_interactions_has_nobody_to_learn_from(tonight: Night) -> None:
    with pytest.raises(InputError, match="nobody to learn from"):
        train(replace(tonight, run_date=two_listeners.YESTERDAY), tonight.settings.als)


def test_the_stage_keeps_the_live_model_says_so_and_tells_of_another_recipe(tonight: Night) -> None:
    add_live(tonight, train(tonight, tonight.settings.als), "the first")
    (version,) = states(tonight)
    tomorrow = replace(tonight, run_date=two_listeners.TONIGHT + timedelta(days=1))
    two_listeners.write(tomorrow, "interactions", two_listeners.interactions(tomorrow.run_date))
    said = STAGES[stage("train_als").name](None, tomorrow, lambda *_: None)
    assert (said.read, said.remark) == (0, f"keeps {version}")
    als = tonight.settings.als.model_copy(update={"alpha": 2.0})
    changed = replace(tomorrow, settings=tomorrow.settings.model_copy(update={"als": als}))
    said = STAGES["train_als"](None, changed, lambda *_: None)
    assert said.remark == (
        f"keeps {version}; the settings have another recipe: `nocturne models train` with them makes a candidate of it"
    )


def test_the_version_of_the_code_is_a_release_and_a_hash() -> None:
    release, _, digest = code_version().partition("+")
    assert release[0].isdigit()
    assert len(digest) == 12
