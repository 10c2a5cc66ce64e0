"""`nocturne tune` from a shell, on a split: what it keeps, and what it refuses before any work."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nocturne.cli.main import app
from nocturne.core.settings import load_settings
from tests.fixtures.published_split import taste_blocks

SPACE = "[als]\nalpha = { low = 5.0, high = 50.0 }\nregularization = { low = 0.1, high = 1.0 }\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "split").mkdir()
    taste_blocks(tmp_path / "split")
    (tmp_path / "space.toml").write_text(SPACE, encoding="utf-8")
    conf = "[als]\nfactors = 2\niterations = 2\nwarm_start = true\n\n[cache]\ngenerations = 5\n"
    (tmp_path / "conf.toml").write_text(conf, encoding="utf-8")
    return tmp_path


def tune(folder: Path, *more: str, split: str = "split"):
    what = ("--split", str(folder / split), "--study", "ours", "--storage", str(folder / "search.log"), "--trials", "2")
    how = ("--space", str(folder / "space.toml"), "--conf", str(folder / "conf.toml"), "--set", "als.threads=1")
    return CliRunner().invoke(app, ["tune", *what, *how, *more])


def test_the_winner_is_what_the_search_ran_with_and_can_be_given_as_conf(folder: Path):
    winner = folder / "new" / "winner.toml"
    done = tune(folder, "--winner", str(winner), "--json")
    assert done.exit_code == 0, done.output
    best = max(json.loads(done.stdout), key=lambda row: row["value"])
    settings, base = load_settings(str(winner)), load_settings(str(folder / "conf.toml"), ["als.threads=1"])
    found = {"alpha": best["als.alpha"], "regularization": best["als.regularization"]}
    assert settings == base.model_copy(update={"als": base.als.model_copy(update=found | {"recipe": "settings"})})
    assert settings.als.warm_start


def test_a_study_under_another_metric_data_space_or_settings_is_refused(folder: Path):
    assert tune(folder).exit_code == 0
    (folder / "other").mkdir()
    train = taste_blocks(folder / "other") / "train.txt"
    train.write_text(train.read_text(encoding="utf-8").replace("100 ", "100 111 ", 1), encoding="utf-8")
    (folder / "space2.toml").write_text("[als]\nalpha = [5.0, 6.0]\n", encoding="utf-8")
    for more, split, named in (
        (("--metric", "recall@20"), "split", "metric: ndcg@20, now recall@20"),
        (("--set", "als.seed=2"), "split", "als.seed: 1, now 2"),
        (("--space", str(folder / "space2.toml")), "split", "space of als.alpha"),
        ((), "other", "data: "),
    ):
        done = tune(folder, *more, split=split)
        assert (done.exit_code, done.stdout) == (2, ""), more
        assert "begun under other terms" in done.stderr
        assert named in done.stderr
    again = tune(folder)
    assert again.exit_code == 0, again.output


def test_the_best_trials_and_what_moved_the_metric_are_printed(folder: Path):
    done = tune(folder)
    assert "ours: the best of 2 trials by ndcg@20" in done.stdout
    assert "what moved ndcg@20" in done.stdout


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--storage", "rubbish"), "cannot be stored"),
        (("--winner", "rubbish/winner.toml"), "cannot be written"),
        (("--report", "."), "cannot be written"),
        (("--space", "nowhere.toml"), "search space"),
        (("--metric", "clicks@4"), "no such metric"),
    ],
)
def test_what_cannot_work_is_told_before_the_data_are_read(
    folder: Path, monkeypatch, more: tuple[str, str], message: str
):
    monkeypatch.chdir(folder)
    Path("rubbish").write_text("hello\n", encoding="utf-8")
    done = tune(folder, *more, split="nowhere")
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr
    assert Path("rubbish").read_text(encoding="utf-8") == "hello\n"
