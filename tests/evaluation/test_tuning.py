"""A search over settings: what is proposed, remembered, and taken up again."""

from pathlib import Path

import optuna
import pytest

from nocturne.core.errors import UsageError
from nocturne.core.settings import Settings, load_settings
from nocturne.evaluation.tuning import (
    Report,
    Search,
    best_trial,
    ended_trials,
    read_space,
    run_search,
    settings_toml,
    trial_rows,
)

SPACE = """
[als]
alpha = { low = 1.0, high = 9.0 }
iterations = { low = 1, high = 5 }
transform = ["sqrt", "log1p"]
"""


def a_search(folder: Path, seed: int = 1) -> Search:
    (folder / "space.toml").write_text(SPACE, encoding="utf-8")
    return Search("ours", folder / "search.log", read_space(folder / "space.toml"), seed)


def near_five(settings: Settings, report: Report) -> float:
    report(0.0)
    return -abs(settings.als.alpha - 5)


def silent(study: optuna.Study) -> None:
    pass


def test_every_trial_lies_in_the_space_and_the_best_is_the_highest(tmp_path: Path):
    study = run_search(a_search(tmp_path), load_settings(), near_five, 12, silent)
    rows = trial_rows(study)
    assert len(rows) == 12
    assert all(1 <= row["als.alpha"] <= 9 and 1 <= row["als.iterations"] <= 5 for row in rows)
    assert {row["als.transform"] for row in rows} <= {"sqrt", "log1p"}
    top = best_trial(study)
    assert top is not None
    assert top.value == max(row["value"] for row in rows)


def test_the_settings_as_they_are_come_first_where_they_lie_in_the_space(tmp_path: Path):
    settings = load_settings(overrides=["als.alpha=4.5", "als.iterations=5", 'als.transform="binary"'])
    first = trial_rows(run_search(a_search(tmp_path), settings, near_five, 1, silent))[0]
    assert (first["als.alpha"], first["als.iterations"]) == (4.5, 5)
    assert first["als.transform"] in {"sqrt", "log1p"}, "binary is not in the space"


def test_the_same_search_proposes_the_same_trials(tmp_path: Path):
    runs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        runs.append(trial_rows(run_search(a_search(tmp_path / name), load_settings(), near_five, 10, silent)))
    assert runs[0] == runs[1]


def test_a_killed_search_goes_on_where_it_was_and_tries_again_what_was_being_tried(tmp_path: Path):
    tried: list[Settings] = []

    def killed_at_the_third(settings: Settings, report: Report) -> float:
        tried.append(settings)
        if len(tried) == 3:
            raise KeyboardInterrupt
        return near_five(settings, report)

    with pytest.raises(KeyboardInterrupt):
        run_search(a_search(tmp_path), load_settings(), killed_at_the_third, 5, silent)
    study = run_search(a_search(tmp_path), load_settings(), killed_at_the_third, 5, silent)
    assert len(tried) == 6
    assert tried[3].als == tried[2].als
    assert len(ended_trials(study)) == 5
    assert len({settings.als.alpha for settings in tried}) == 5, "nothing else is proposed twice"


def test_a_finished_search_is_not_run_again(tmp_path: Path):
    first = trial_rows(run_search(a_search(tmp_path), load_settings(), near_five, 3, silent))

    def never(settings: Settings, report: Report) -> float:
        pytest.fail("nothing was left to try")

    assert trial_rows(run_search(a_search(tmp_path), load_settings(), never, 3, silent)) == first


def test_hopeless_trials_are_pruned(tmp_path: Path):
    # The median pruner wants eight whole trials first; then whoever starts below their median is stopped.
    whole = 0

    def falling(settings: Settings, report: Report) -> float:
        nonlocal whole
        report(-float(whole))
        whole += 1
        return -float(whole)

    states = [row["state"] for row in trial_rows(run_search(a_search(tmp_path), load_settings(), falling, 12, silent))]
    assert states == ["complete"] * 8 + ["pruned"] * 4


def test_settings_that_are_refused_do_not_end_a_search(tmp_path: Path):
    def picky(settings: Settings, report: Report) -> float:
        if settings.als.transform == "sqrt":
            raise UsageError("no square roots here")
        return near_five(settings, report)

    rows = trial_rows(run_search(a_search(tmp_path), load_settings(), picky, 4, silent))
    assert [row["als.transform"] for row in rows] == ["log1p"] * 4


def test_a_search_in_which_nothing_works_says_so(tmp_path: Path):
    def never(settings: Settings, report: Report) -> float:
        raise UsageError("the matrix is too large")

    with pytest.raises(UsageError, match="no trial of the search could run"):
        run_search(a_search(tmp_path), load_settings(), never, 4, silent)


def test_the_winner_is_a_file_of_settings(tmp_path: Path):
    file = tmp_path / "winner.toml"
    file.write_text(settings_toml({"als.alpha": 3.5, "als.transform": "sqrt", "ranking.top_k": 7}, "best"), "utf-8")
    settings = load_settings(str(file))
    assert (settings.als.alpha, settings.als.transform, settings.ranking.top_k) == (3.5, "sqrt", 7)


@pytest.mark.parametrize("text", ["[als]\nalpha = 3", "[als]\nalpha = { low = 1 }", "alpha = 3", "[als", "als = [1]"])
def test_a_space_that_is_none_is_refused(tmp_path: Path, text: str):
    (tmp_path / "space.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="search space"):
        read_space(tmp_path / "space.toml")
