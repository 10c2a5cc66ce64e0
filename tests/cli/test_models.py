"""Commands on models: decisions and figures that can be read, and one document each as JSON."""

import json
from datetime import date, timedelta

import pytest
from typer.testing import CliRunner

from nocturne.cli.main import app
from nocturne.core import console
from nocturne.core.settings import load_settings
from nocturne.evaluation import promotion
from nocturne.evaluation.backtest import Comparison
from nocturne.evaluation.listener_sample import SampleSize
from nocturne.evaluation.significance import Difference
from tests.fixtures import two_listeners

FIRST = date(2025, 3, 1)
RECIPE = load_settings().als


@pytest.fixture
def nocturne(night, monkeypatch):
    """`nocturne models ...` on four nights with two models: als-old, live, and als-new, found as good or as bad."""

    def on(offset):
        return night(FIRST + timedelta(days=offset), *two_listeners.SETTINGS)

    for offset in range(4):
        day = FIRST + timedelta(days=offset)
        two_listeners.write(on(offset), "interactions", two_listeners.interactions(day))
        two_listeners.write(on(offset), "listens", two_listeners.listens(day))
    (old,), (new,) = two_listeners.models(FIRST), two_listeners.models(FIRST + timedelta(days=1))
    settings = {"settings": RECIPE.model_dump_json()}
    two_listeners.write(on(0), "models", [old | settings | {"model_version": "als-old"}])
    unmoved = {"model_version": "als-new", "state": "candidate", "moves": []}
    two_listeners.write(on(1), "models", [new | settings | unmoved])

    def run(*arguments, better=0.0):
        def compare(_nights, version, against, _days):
            values = (0.5 + better, 0.5, better, better - 0.001, better + 0.001)
            differences = [
                Difference(version, against, segment, metric, 500, *values)
                for segment in ("all", "market SE")
                for metric in ("ndcg@20", "recall@20")
            ]
            return Comparison(differences, SampleSize(600, 1_000))

        monkeypatch.setattr(promotion, "compare_versions", compare)
        place = ("--warehouse", on(0).warehouse.path)
        return CliRunner().invoke(app, ["models", *map(str, arguments), *place])

    return run


PROMOTE = ("promote", "new", "--run-date", "2025-03-04", "--why", "fresher")


def test_a_promotion_is_a_sentence_and_a_table_of_its_figures(nocturne):
    answer = nocturne(*PROMOTE)
    assert answer.exit_code == 0, answer.output
    decision, title, _, head, _, *rows = answer.stdout.splitlines()
    assert decision == "als-new is live from 2025-03-04 on"
    assert title == "against als-old, on nights 2025-03-02; low and high: 95 % of the difference"
    assert head.split() == ["metric", "segment", "listeners", "value", "difference", "low", "high"]
    assert rows[0].split() == ["ndcg@20", "all", "500", "0.5", "0", "-0.001", "0.001"]
    assert max(map(len, answer.stdout.splitlines())) <= 80
    assert "evaluated: 600 of 1,000 listeners\n" in answer.stderr
    assert nocturne(*PROMOTE).stdout.startswith("als-new is live on 2025-03-04 already\n")


def test_decisions_on_a_model_as_json_hold_the_move_and_the_figures(nocturne):
    refused = nocturne(*PROMOTE, "--json", better=-0.1)
    decision = json.loads(refused.stdout)
    assert (refused.exit_code, decision["state"]) == (3, "refused")
    assert "als-new is not made live" in refused.stderr
    assert decision["why"].startswith("ndcg@20, all: 0.4000 against 0.5000")
    promoted = json.loads(nocturne(*PROMOTE, "--json").stdout)
    assert (promoted["model_version"], promoted["state"], promoted["since"]) == ("als-new", "live", "2025-03-04")
    assert {(row["sampled"], row["sampled_of"]) for row in promoted["comparison"]} == {(600, 1_000)}
    assert [row["difference"] for row in promoted["comparison"]] == [0.0] * 4
    rejected = nocturne("reject", "new", "--run-date", "2025-03-04", "--why", "podcasts", "--json")
    move = json.loads(rejected.stdout)
    assert (move["model_version"], move["state"], move["live"]) == ("als-new", "rejected", "als-old")


def test_a_model_is_shown_without_a_line_that_is_cut_or_in_pythons_own_notation(nocturne, monkeypatch):
    nocturne(*PROMOTE)
    monkeypatch.setattr(console, "terminal_width", lambda _stream: 80)
    answer = nocturne("show", "new")
    lines = answer.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    for sign in ("…", "{", "}", "datetime", "None", "'"):
        assert sign not in answer.stdout
    assert [line.split() for line in lines if line.startswith(("factors ", "popularity_exponent"))] == [
        ["factors", str(RECIPE.factors)],
        ["popularity_exponent", f"{RECIPE.popularity_exponent:g}"],
    ]
    assert "comparisons" in lines


@pytest.mark.parametrize("width", [60, 80])
def test_no_version_and_no_reason_is_cut_in_the_list_of_models(nocturne, monkeypatch, width):
    nocturne(*PROMOTE)
    monkeypatch.setattr(console, "terminal_width", lambda _stream: width)
    shown = nocturne("list").stdout
    assert max(map(len, shown.splitlines()[1:])) <= width
    for word in ("als-old", "als-new", "2025-03-04", "retired", "fresher"):
        assert word in shown
