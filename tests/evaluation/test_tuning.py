"""A search over settings: what is proposed, remembered, and taken up again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest

from nocturne import ROOT
from nocturne.core.errors import UsageError
from nocturne.core.settings import Settings, load_settings, with_values
from nocturne.evaluation.studies import open_study
from nocturne.evaluation.tuning import (
    GROUPS,
    Report,
    Search,
    best_trial,
    contenders,
    ended_trials,
    intervals,
    read_space,
    read_starts,
    run_search,
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


NOISE = np.random.default_rng(1).normal(size=GROUPS)


def near_five(settings: Settings, report: Report) -> float:
    value = -abs(settings.als.alpha - 5)
    report(value + NOISE[:2], True)
    return value


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


def test_trials_that_are_worse_for_certain_are_pruned_and_others_are_not(tmp_path: Path):
    reported: list[float] = []

    def falling(settings: Settings, report: Report) -> float:
        # Every other trial falls far behind in every group; the rest differ from the first in some groups only.
        behind = 1.0 if len(reported) % 2 else 0.0
        noise = np.random.default_rng(len(reported)).normal(scale=0.1, size=GROUPS)
        reported.append(behind)
        report(NOISE - behind + noise - noise.mean(), False)
        return -behind

    states = [row["state"] for row in trial_rows(run_search(a_search(tmp_path), load_settings(), falling, 6, silent))]
    assert states == ["complete", "pruned"] * 3


def test_recipes_to_start_from_follow_the_settings_and_are_moved_into_the_space(tmp_path: Path):
    starts = {
        "far": {"als.alpha": 400.0, "als.iterations": 3, "als.transform": "sqrt"},
        "the same": {"als.alpha": 9.0, "als.iterations": 3, "als.transform": "sqrt"},
        "a part": {"als.alpha": 2.0},
    }
    search = replace(a_search(tmp_path), starts=starts)
    settings = load_settings(overrides=["als.alpha=4.0", "als.iterations=5"])
    study = run_search(search, settings, near_five, 4, silent)
    tried = [(row["als.alpha"], row["als.iterations"], row["als.transform"]) for row in trial_rows(study)]
    assert tried[:3] == [(4.0, 5, "log1p"), (9.0, 3, "sqrt"), (2.0, 5, "log1p")]
    assert [trial.user_attrs.get("from") for trial in study.trials] == ["the settings", "far", "a part", None]


def test_every_recipe_that_a_search_starts_from_is_one():
    starts = read_starts(Path(str(ROOT / "conf" / "starts.toml")))
    assert len({with_values(load_settings(), values).als.model_dump_json() for values in starts.values()}) == len(
        starts
    )


def test_settings_that_belong_together_are_changed_together(tmp_path: Path):
    names = ["als.factors", "als.alpha", "als.neighbours", "als.neighbour_weight", "als.popularity_exponent"]
    (tmp_path / "space.toml").write_text(
        "[als]\nfactors = [8, 16, 32]\nalpha = { low = 1.0, high = 9.0 }\nneighbours = [0, 5, 10]\n"
        "neighbour_weight = { low = 0.1, high = 1.0 }\npopularity_exponent = { low = 0.0, high = 1.0 }\n",
        encoding="utf-8",
    )
    search = Search("ours", tmp_path / "search.log", read_space(tmp_path / "space.toml"), 1)
    study = run_search(search, load_settings(overrides=["als.factors=16"]), near_five, 13, silent)
    together = ({"als.factors", "als.alpha"}, {"als.neighbours", "als.neighbour_weight"}, {"als.popularity_exponent"})
    turned = set()
    for trial in study.trials[1:]:
        changes = [
            {name for name in names if trial.params[name] != earlier.params[name]}
            for earlier in study.trials[: trial.number]
        ]
        assert any(each <= group for each in changes for group in together)
        turned |= {place for place, group in enumerate(together) for each in changes if each and each <= group}
    assert turned == {0, 1, 2}


def test_trials_that_the_best_is_not_better_than_for_certain_stay_in_the_race(tmp_path: Path):
    def noisy(settings: Settings, report: Report) -> float:
        number = trials.pop()
        values = [NOISE, NOISE + np.random.default_rng(2).normal(0, 0.5, GROUPS)][number]
        report(values, True)
        return float(values.mean())

    trials = [1, 0]
    study = run_search(a_search(tmp_path), load_settings(), noisy, 2, silent)
    found = intervals(study)
    assert len(found) == 2
    assert {trial.number for trial in contenders(study)} == {0, 1}
    top = contenders(study)[0].number
    assert found[top] == (0.0, 0.0)
    assert found[1 - top][0] < 0 <= found[1 - top][1]


def test_a_study_goes_on_under_its_own_terms_only(tmp_path: Path):
    search, settings = replace(a_search(tmp_path), terms={"metric": "ndcg@20", "data": "d1"}), load_settings()
    run_search(search, settings, near_five, 2, silent)
    other_space = {name: each for name, each in search.space.items() if name != "als.iterations"}
    for other, base, named in (
        (replace(search, terms={"metric": "recall@20", "data": "d1"}), settings, "metric: ndcg@20, now recall@20"),
        (replace(search, terms={"metric": "ndcg@20", "data": "d2"}), settings, "data: d1, now d2"),
        (search, load_settings(overrides=["als.factors=65"]), "als.factors: 64, now 65"),
        (search, load_settings(overrides=["ranking.candidates=70"]), "ranking.candidates"),
        (replace(search, space=other_space), settings, "space of als.iterations"),
    ):
        with pytest.raises(UsageError, match="begun under other terms") as refused:
            run_search(other, base, near_five, 3, silent)
        assert named in str(refused.value)
    assert len(ended_trials(run_search(search, settings, near_five, 3, silent))) == 3
    unlike = load_settings(overrides=["als.threads=1", "ranking.top_k=9", 'spark.master="local[1]"'])
    assert len(ended_trials(run_search(search, unlike, near_five, 4, silent))) == 4, "these change no value"


def test_a_study_of_a_release_that_kept_no_terms_does_not_go_on(tmp_path: Path):
    search = a_search(tmp_path)
    study = open_study(search.storage, search.name)
    study.tell(study.ask(dict(search.space)), 1.0)
    with pytest.raises(UsageError, match="did not keep"):
        run_search(search, load_settings(), near_five, 2, silent)


@pytest.mark.parametrize(
    "content",
    [
        b"hello",
        b"hello\nworld\n",
        b'{"a": 1}\n',
        b"SQLite format 3\0",
        b"\xff\n",
        b"[]\n",
        b'{"op_code":0,"worker_id":"x"}\n{"op_code":99}\n',
    ],
)
def test_a_storage_that_is_none_is_refused_and_stays_as_it_is(tmp_path: Path, content: bytes):
    search = a_search(tmp_path)
    search.storage.write_bytes(content)
    with pytest.raises(UsageError, match="cannot be stored"):
        run_search(search, load_settings(), near_five, 2, silent)
    assert search.storage.read_bytes() == content


def test_a_search_that_was_killed_while_it_wrote_goes_on(tmp_path: Path):
    search = a_search(tmp_path)
    run_search(search, load_settings(), near_five, 2, silent)
    with search.storage.open("ab") as file:
        file.write(b'{"op_code":5,"worker_id":"torn')
    assert len(ended_trials(run_search(search, load_settings(), near_five, 3, silent))) == 3
    assert len(ended_trials(run_search(search, load_settings(), near_five, 4, silent))) == 4


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


@pytest.mark.parametrize("text", ["[als]\nalpha = 3", "[als]\nalpha = { low = 1 }", "alpha = 3", "[als", "als = [1]"])
def test_a_space_that_is_none_is_refused(tmp_path: Path, text: str):
    (tmp_path / "space.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="search space"):
        read_space(tmp_path / "space.toml")
