"""The page of a search."""

import re
from pathlib import Path

import numpy as np
import optuna
import pytest

from nocturne.core.errors import UsageError
from nocturne.core.settings import Settings, load_settings
from nocturne.evaluation.search_report import search_page
from nocturne.evaluation.tuning import Report, Search, read_space, run_search

pytestmark = pytest.mark.slow
NOISE = np.random.default_rng(1).normal(scale=0.01, size=2)


def searched(folder: Path, trials: int) -> optuna.Study:
    folder.mkdir()
    (folder / "space.toml").write_text(
        '[als]\nalpha = { low = 1.0, high = 9.0 }\ntransform = ["sqrt", "log1p"]\n', encoding="utf-8"
    )

    def objective(settings: Settings, report: Report) -> float:
        if settings.als.alpha > 8:
            raise UsageError("<b>too much</b>")
        report(settings.als.alpha / 10 + NOISE, True)
        return settings.als.alpha / 10

    search = Search("ours & theirs", folder / "search.log", read_space(folder / "space.toml"), seed=1)
    return run_search(search, load_settings(), objective, trials, lambda _: None)


def test_the_page_names_the_best_trial_and_weighs_settings_of_enough_trials(tmp_path: Path):
    study = searched(tmp_path / "a", 14)
    html = search_page(study, "ndcg@20")
    assert f"Best ndcg@20: <b>{study.best_value:.5f}</b>, trial {study.best_trial.number}." in html
    assert html.count("<svg") == 2
    share = re.search(r"<td>als.alpha</td><td class=\"number\">([\d.]+)</td>", html)
    assert share is not None
    assert float(share[1]) > 0.5, "alpha alone decides"


def test_the_page_fetches_nothing_and_escapes_what_it_shows(tmp_path: Path):
    html = search_page(searched(tmp_path / "a", 14), "ndcg@20")
    assert "<title>Search ours &amp; theirs</title>" in html
    assert "<b>too much</b>" not in html
    assert not re.search(r'(src|href)="(?!#)', html.replace('xlink:href="#', ""))


def test_the_same_trials_give_the_same_bytes(tmp_path: Path):
    assert search_page(searched(tmp_path / "a", 6), "ndcg@20") == search_page(searched(tmp_path / "b", 6), "ndcg@20")
