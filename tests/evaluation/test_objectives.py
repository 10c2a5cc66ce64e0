"""The score of a search on rolling nights, and its winner as a candidate."""

import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from nocturne.cli.main import app
from nocturne.core.errors import UsageError
from nocturne.core.night import Night
from nocturne.core.settings import load_settings, with_values
from nocturne.evaluation.objectives import digest_of_nights, held_out_after, night_to_train_on, nights_objective
from nocturne.evaluation.promotion import evaluable_nights
from nocturne.evaluation.tuning import Objective
from nocturne.training import registry
from tests.fixtures import two_listeners, two_tastes

pytestmark = pytest.mark.slow

SPACE = "[als]\nalpha = { low = 5.0, high = 50.0 }\nneighbours = [0, 5]\n"


@pytest.fixture
def nights(night) -> list[Night]:
    return two_tastes.write(night)


def objective(nights: list[Night]) -> Objective:
    return nights_objective(held_out_after(nights, 1), "recall@4")


def test_a_trial_says_its_mean_after_every_night_and_ends_on_the_last_one(nights: list[Night]):
    means: list[float] = []
    value = objective(nights[:3])(nights[0].settings, lambda values, _: means.append(float(np.mean(values))))
    assert len(means) == 3
    assert np.mean(means) == pytest.approx(value)
    first: list[float] = []
    objective(nights[:1])(nights[0].settings, lambda values, _: first.append(float(np.mean(values))))
    assert first == means[:1]


def test_a_recipe_that_cannot_tell_tastes_apart_scores_less(nights: list[Night]):
    score = objective(nights[1:4])
    sound = score(with_values(nights[0].settings, {"als.regularization": 0.1}), lambda *_: None)
    popular = {"als.factors": 1, "als.regularization": 1e6, "als.score_exponent": 2.0, "als.neighbours": 0}
    assert sound > score(with_values(nights[0].settings, popular), lambda *_: None)


def test_nights_after_which_nothing_new_was_heard_cannot_be_searched_on(nights: list[Night]):
    # On the fifth night everyone has heard all of their taste.
    with pytest.raises(UsageError, match="no night can be searched on"):
        held_out_after(nights[4:5], 1)


def test_a_search_on_nights_is_one_on_their_rows_and_what_followed(nights: list[Night]):
    digests = {
        digest_of_nights(held_out_after(some, days))
        for some, days in ((nights[:2], 1), (nights[:2], 2), (nights[:3], 1))
    }
    assert len(digests) == 3
    assert digest_of_nights(held_out_after(nights[:2], 1)) in digests


def search_from_a_shell(nights: list[Night], folder: Path, *more: str):
    (folder / "space.toml").write_text(SPACE, encoding="utf-8")
    (folder / "conf.toml").write_text("[als]\nfactors = 4\nthreads = 1\niterations = 3\n", encoding="utf-8")
    dates = ("--from", str(nights[1].run_date), "--to", str(nights[3].run_date))
    where = ("--warehouse", nights[0].warehouse.path, *dates, "--storage", str(folder / "search.log"))
    how = ("--space", str(folder / "space.toml"), "--conf", str(folder / "conf.toml"), "--metric", "recall@4")
    return CliRunner().invoke(app, ["tune", *where, *how, "--study", "ours", "--trials", "3", *more])


def test_the_winner_of_a_search_on_nights_is_a_candidate_and_nothing_more(nights: list[Night], tmp_path: Path):
    winner = tmp_path / "winner.toml"
    done = search_from_a_shell(nights, tmp_path, "--winner", str(winner))
    assert done.exit_code == 0, done.output
    (model,) = registry.models(nights[3].warehouse)
    assert (model.state, model.origin, model.run_date) == ("candidate", "tune", nights[4].run_date)
    assert load_settings(str(winner)).als.recipe_settings == model.recipe
    assert registry.live_model(nights[3]) is None

    again = search_from_a_shell(nights, tmp_path, "--json")
    assert again.exit_code == 0, again.output
    assert {(row["sampled"], row["sampled_of"]) for row in json.loads(again.stdout)} == {(40, 40)}
    assert [each.version for each in registry.models(nights[3].warehouse)] == [model.version]


def test_the_winner_of_a_search_is_trained_after_the_days_that_it_was_chosen_by(nights: list[Night]):
    assert night_to_train_on(nights[2], 1).run_date == nights[3].run_date
    assert night_to_train_on(nights[2], 2).run_date == nights[4].run_date
    failed = {"expectation": "rows", "severity": "critical", "outcome": "failed", "limit": ">= 1", "table": "listens"}
    measured = {"run_date": nights[3].run_date, "observed": 0.0, "seconds": 0.1, "content": "c", "files": "f"}
    two_listeners.write(nights[3], "validations", [failed | measured])
    assert night_to_train_on(nights[2], 1).run_date == nights[4].run_date
    with pytest.raises(UsageError, match="no night that the winner can be trained on"):
        night_to_train_on(nights[5], 1)


def test_a_candidate_of_a_search_is_not_promoted_by_the_nights_that_it_was_chosen_by(
    nights: list[Night], tmp_path: Path
):
    done = search_from_a_shell(nights, tmp_path)
    assert done.exit_code == 0, done.output
    (model,) = registry.models(nights[3].warehouse)
    later = nights[5].on(nights[5].run_date + timedelta(days=30))
    scored_on = {night.run_date + timedelta(days=1) for night in evaluable_nights(later, [model.run_date], 1)}
    chosen_by = {night.run_date for night in nights[2:5]}
    assert scored_on == {nights[5].run_date}
    assert not scored_on & chosen_by


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--split", "nowhere"), "name what to search on"),
        (("--metric", "clicks@4"), "no such metric"),
        (("--from", "2025-03-09", "--to", "2025-03-10"), "no night in this range"),
    ],
)
def test_what_cannot_be_searched_is_status_2_and_says_why(
    nights: list[Night], tmp_path: Path, options: tuple[str, ...], message: str
):
    done = search_from_a_shell(nights, tmp_path, *options)
    assert done.exit_code == 2
    assert message in done.output
