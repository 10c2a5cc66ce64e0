"""Commands on experiments: what they print, one document each as JSON, and what is refused."""

import json
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from nocturne.cli.main import app
from nocturne.core.experiment import load_experiments
from nocturne.core.settings import load_settings
from nocturne.evaluation import promotion
from nocturne.evaluation.backtest import Comparison
from nocturne.evaluation.listener_sample import SampleSize
from nocturne.evaluation.significance import Difference
from nocturne.experiments.analyse_experiment import result_rows
from nocturne.experiments.analysis import Arm, Look, analyse
from nocturne.experiments.columns import columns_of, pairs_of
from nocturne.experiments.moments import Moments, aggregates_of
from nocturne.storage import tables, writing
from nocturne.storage.contracts import contract
from tests.fixtures import two_listeners
from tests.fixtures.simulated_service import FIRST as FIRST_PUBLISHED
from tests.fixtures.simulated_service import NIGHTS, SMALL

FIRST = date(2025, 3, 1)
BOLD = """
hypothesis = "Bold lists are played more."
start = 2025-03-02
end = 2025-03-05
salt = "bold"
first_slot = 0
slots = 600
looks = [1, 2, 4]
[arms.control]
weight = 1
[arms.bold]
weight = 1
model = "als-new"
settings = { "reranking.diversity" = 0.2 }
[metrics.plays]
role = "success"
measure = "plays"
minimum_effect = 0.02
[metrics.minutes]
role = "guardrail"
measure = "minutes"
margin = 0.05
"""
CALM = """
hypothesis = "Calm lists are played more."
start = 2025-03-04
end = 2025-03-05
salt = "calm"
first_slot = 900
slots = 100
looks = [2]
[arms.control]
weight = 1
[arms.calm]
weight = 1
recipe = { factors = 3 }
[metrics.plays]
role = "success"
measure = "plays"
minimum_effect = 0.05
"""


def day(offset):
    return FIRST + timedelta(days=offset)


def look(experiment, number, gain):
    """A look at 4,000 listeners an arm, who play 10 a day, give or take 3, and the treatment so much more."""
    names, draw, arms = columns_of(experiment), np.random.default_rng(number), {}
    for arm, more in (("control", 0.0), ("bold", gain)):
        means = {name: 280 if name.startswith("before:") else (10 + more) * number for name in names}
        means |= {name: 0 for name in names if name.startswith("last:")}
        spread = [3 * bool(mean) for mean in means.values()]
        values = draw.normal(list(means.values()), spread, (4_000, len(names)))
        row = Moments.of(values).to_row(names, pairs_of(experiment))
        arms[arm] = Arm(4_000, 4_000, 3_000, aggregates_of(row))
    return Look(number, arms)


@pytest.fixture
def nocturne(night, tmp_path, monkeypatch):
    """`nocturne experiments ...` on a warehouse with two models and two experiments, looks written by hand."""
    folder = tmp_path / "experiments"
    folder.mkdir()
    (folder / "bold.toml").write_text(BOLD)
    (folder / "calm.toml").write_text(CALM)
    overrides = (*two_listeners.SETTINGS, f'experiments.folder="{folder}"')

    def on(offset):
        return night(day(offset), *overrides)

    for offset in range(4):
        two_listeners.write(on(offset), "interactions", two_listeners.interactions(day(offset)))
        two_listeners.write(on(offset), "listens", two_listeners.listens(day(offset)))
    recipe = {"settings": load_settings(overrides=two_listeners.SETTINGS).als.model_dump_json()}
    (old,), (new,) = two_listeners.models(day(0)), two_listeners.models(day(1))
    two_listeners.write(on(0), "models", [old | recipe | {"model_version": "als-old"}])
    unmoved = {"model_version": "als-new", "state": "candidate", "moves": []}
    two_listeners.write(on(1), "models", [new | recipe | unmoved])

    def run(*arguments, better=0.1):
        def compare(_nights, version, against, _days):
            values = (0.5 + better, 0.5, better, better - 0.001, better + 0.001)
            metrics = ("ndcg@20", "recall@20")
            rows = [Difference(version, against, "all", metric, 500, *values) for metric in metrics]
            return Comparison(rows, SampleSize(600, 1_000))

        monkeypatch.setattr(promotion, "compare_versions", compare)
        place = ("--warehouse", on(0).warehouse.path, "--set", f'experiments.folder="{folder}"')
        return CliRunner().invoke(app, ["experiments", *map(str, arguments), *place])

    run.on, run.folder = on, folder
    return run


def write_looks(nocturne, *looks):
    """Results of looks at bold, each on its night."""
    bold, calm = load_experiments(str(nocturne.folder))
    assert calm.name == "calm"
    for count, each in enumerate(looks, 1):
        night = nocturne.on(1 + each.day)
        rows = list(result_rows(night, bold, analyse(bold, looks[:count])))
        content = pa.Table.from_pylist(rows, schema=contract("experiment_results").arrow_schema)
        writing.replace_night(content, "experiment_results", night)


def write_a_winner(nocturne):
    bold, _ = load_experiments(str(nocturne.folder))
    write_looks(nocturne, look(bold, 1, 0.15), look(bold, 2, 1.5))


def test_experiments_are_listed_as_they_stand_on_a_night(nocturne):
    write_a_winner(nocturne)
    answer = nocturne("list", "--run-date", day(2), "--json")
    assert answer.exit_code == 0, answer.output
    bold, calm = json.loads(answer.stdout)
    assert (bold["experiment"], bold["state"], bold["slots"]) == ("bold", "running", "0-599")
    assert (bold["arms"], bold["start"], bold["end"]) == ("control, bold", "2025-03-02", "2025-03-05")
    assert bold["decision"].startswith("bold: continue until 2025-03-04")
    assert (calm["state"], calm["slots"], calm["decision"]) == ("planned", "900-999", "")
    assert "slots of 1,000 that no experiment has on that night: 600-999\n" in answer.stderr
    states = {}
    for offset in (0, 1, 4, 5):
        rows = json.loads(nocturne("list", "--run-date", day(offset), "--json").stdout)
        states[offset] = [(row["state"], row["decision"]) for row in rows]
    assert states == {
        0: [("planned", ""), ("planned", "")],
        1: [("running", ""), ("planned", "")],
        4: [("running", "bold: ship"), ("running", "")],
        5: [("ended", "bold: ship"), ("ended", "")],
    }
    taken = nocturne("list", "--run-date", day(4)).stderr
    assert "no experiment has on that night: 600-899\n" in taken
    text = nocturne("list", "--run-date", day(3)).stdout
    assert "bold: ship" in text


def test_what_the_looks_say_is_shown_with_its_reasons(nocturne):
    assert "bold, bold: nobody has looked yet; the first look is on 2025-03-03" in nocturne("show", "bold").stderr
    write_a_winner(nocturne)
    answer = nocturne("show", "bold")
    assert answer.exit_code == 0, answer.output
    first, second, third, *_ = answer.stdout.splitlines()
    assert first == "bold, day 2: ship"
    assert second.startswith("  plays improved: +14.")
    assert third.startswith("  minutes is within its margin of 5.00%: +1")
    assert "proved" in answer.stdout
    rows = json.loads(nocturne("show", "bold", "--json").stdout, parse_constant=pytest.fail)
    assert {row["day"] for row in rows} == {1, 2}
    assert [row["outcome"] for row in rows if row["kind"] == "decision"] == ["continue until 2025-03-04", "ship"]
    assert {row["kind"] for row in rows} == {"metric", "check", "decision"}


def test_a_check_that_failed_is_named(nocturne):
    bold, _ = load_experiments(str(nocturne.folder))
    lost = look(bold, 1, 0.0)
    treated = lost.arms["bold"]
    arms = dict(lost.arms) | {"bold": Arm(4_000, 4_000, 2_000, treated.listeners)}
    write_looks(nocturne, Look(1, arms))
    answer = nocturne("show", "bold")
    assert answer.stdout.startswith("bold, day 1: invalid: an arm's exposures are missing\n"), answer.stdout
    assert "failed: exposure, p " in answer.stderr


def test_a_page_is_written_that_tells_the_decision_and_fetches_nothing(nocturne, tmp_path):
    write_a_winner(nocturne)
    page = tmp_path / "pages" / "bold.html"
    answer = nocturne("show", "bold", "--html", page)
    assert answer.exit_code == 0, answer.output
    assert f"{page} is written" in answer.stderr
    text = page.read_text()
    for told in ("Bold lists are played more.", "<svg", '<p class="verdict">ship</p>', "plays improved: +14.", "day 2"):
        assert told in text, told
    assert "src=" not in text
    assert "<link" not in text
    nocturne("show", "bold", "--html", page)
    assert page.read_text() == text


@pytest.mark.parametrize("arm", ["bold", "control"])
def test_a_page_tells_the_conclusion_beside_the_last_look(nocturne, tmp_path, arm):
    write_a_winner(nocturne)
    concluded = nocturne("conclude", "bold", "--arm", arm, "--run-date", day(4), "--why", "it won", "--by", "ana")
    assert concluded.exit_code == 0, concluded.output
    page = tmp_path / "bold.html"
    nocturne("show", "bold", "--html", page)
    assert f"Concluded: {arm} is for everyone from 2025-03-05 on. it won (ana)" in page.read_text()
    assert '<p class="verdict">ship</p>' in page.read_text()
    assert nocturne("show", "bold").stdout.startswith("bold, day 2: ship\n")


def test_a_file_that_cannot_be_written_is_refused_before_any_work(nocturne, tmp_path):
    (tmp_path / "taken").write_text("")
    answer = nocturne("show", "bold", "--html", tmp_path / "taken" / "bold.html")
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "a file cannot be written" in answer.stderr


CONCLUDE = ("conclude", "bold", "--run-date", day(3), "--why", "it won", "--by", "ana")


def test_an_experiment_ends_and_the_model_of_its_winner_is_live(nocturne):
    write_a_winner(nocturne)
    answer = nocturne(*CONCLUDE, "--arm", "bold")
    assert answer.exit_code == 0, answer.output
    assert answer.stdout == "als-new is live from 2025-03-04 on\n"
    assert "put into the settings file of the nights: reranking.diversity = 0.2" in answer.stderr
    rows = tables.rows(nocturne.on(3).warehouse, "experiment_results").to_pylist()
    (conclusion,) = [row for row in rows if row["kind"] == "conclusion"]
    assert (conclusion["run_date"], conclusion["treatment"], conclusion["reasons"]) == (
        day(3),
        "bold",
        ["it won (ana)"],
    )
    moves = {row["model_version"]: row for row in tables.rows(nocturne.on(3).warehouse, "models").to_pylist()}
    assert moves["als-new"]["state"] == "live"
    assert moves["als-new"]["moves"][-1]["why"] == "experiment bold: it won"
    rows = [json.loads(nocturne("list", "--run-date", day(offset), "--json").stdout)[0] for offset in (2, 3)]
    assert [row["state"] for row in rows] == ["running", "concluded: bold"]
    free = nocturne("list", "--run-date", day(2)).stderr, nocturne("list", "--run-date", day(3)).stderr
    assert ["600-999" in free[0], "0-899" in free[1]] == [True, True]


def test_control_is_what_everyone_has_and_the_last_conclusion_stands(nocturne):
    nocturne(*CONCLUDE, "--arm", "bold")
    answer = nocturne(*CONCLUDE, "--arm", "control", "--json")
    assert json.loads(answer.stdout) == {
        "experiment": "bold",
        "arm": "control",
        "run_date": "2025-03-04",
        "settings": {},
    }
    rows = tables.rows(nocturne.on(3).warehouse, "experiment_results").to_pylist()
    assert [(row["kind"], row["name"]) for row in rows] == [("conclusion", "control")]
    text = nocturne(*CONCLUDE, "--arm", "control").stdout
    assert text == "bold ends: control is for everyone from 2025-03-04 on\n"


def test_an_experiment_goes_on_if_the_gate_of_models_refuses_its_winner(nocturne):
    answer = nocturne(*CONCLUDE, "--arm", "bold", better=-0.1)
    assert (answer.exit_code, answer.stdout) == (3, "")
    assert "als-new is not made live" in answer.stderr
    assert tables.rows(nocturne.on(3).warehouse, "experiment_results").num_rows == 0
    assert json.loads(nocturne("list", "--run-date", day(3), "--json").stdout)[0]["state"] == "running"


@pytest.mark.parametrize(
    ("arguments", "told", "found"),
    [
        (("conclude", "bolder", "--arm", "bold"), "there is no such experiment", "bolder"),
        (("conclude", "bold", "--arm", "calm"), "the experiment has no such arm", "calm"),
        (("conclude", "calm", "--arm", "calm"), "the model of an arm is not there", "no model of its recipe"),
        (("show", "bolder"), "there is no such experiment", "bolder"),
        (("check", "bolder"), "there is no such experiment", "bolder"),
    ],
)
def test_what_there_is_not_is_told_with_what_there_is(nocturne, arguments, told, found):
    night = () if arguments[0] == "show" else ("--run-date", day(3))
    why = ("--why", "so") if arguments[0] == "conclude" else ()
    answer = nocturne(*arguments, *night, *why)
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert told in answer.stderr
    assert f"found: {found}\n" in answer.stderr


@pytest.mark.parametrize("command", ["list", "check", "show"])
def test_a_file_that_is_not_valid_is_status_2(nocturne, command):
    (nocturne.folder / "bold.toml").write_text(BOLD.replace("slots = 600", "slots = 6000"))
    name, night = () if command == "list" else ("bold",), () if command == "show" else ("--run-date", day(1))
    answer = nocturne(command, *name, *night)
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "the experiment is not valid" in answer.stderr
    assert "slots: Input should be less than or equal to 1000" in answer.stderr


def test_an_experiment_cannot_be_tried_without_a_model_or_days(nocturne):
    answer = nocturne("check", "bold", "--run-date", date(2025, 2, 1))
    assert answer.exit_code == 4
    assert "there is nothing to try an experiment on" in answer.stderr


@pytest.fixture
def checked(published, tmp_path):
    """`nocturne experiments check` on a published service of 300 listeners, three nights old."""
    folder = tmp_path / "experiments"
    folder.mkdir()
    text = BOLD.replace('model = "als-new"\n', "").replace('measure = "minutes"', 'measure = "active_days"')
    (folder / "bold.toml").write_text(text.replace('"reranking.diversity" = 0.2', '"reranking.max_per_creator" = 1'))
    (folder / "calm.toml").write_text(CALM)
    night = str(FIRST_PUBLISHED + timedelta(days=NIGHTS - 1))

    def run(name, *arguments, on=night):
        options = [*SMALL, f'experiments.folder="{folder}"']
        place = ("--warehouse", published.warehouse, "--run-date", on)
        words = ["experiments", "check", name, *place, *(word for text in options for word in ("--set", text))]
        return CliRunner().invoke(app, [*words, *arguments])

    return run


def test_a_check_tells_whom_an_experiment_touches_what_it_finds_and_what_it_costs(checked):
    answer = checked("bold", "--json")
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    assert 100 < told["members"] < 220  # 600 of 1,000 slots of 300 listeners
    assert told["days"] == NIGHTS
    trial, plan = told["trials"]["bold"], told["plans"]["bold"]
    assert trial["listeners"] == told["members"]
    assert 0.5 < trial["triggered"] <= 1
    assert trial["seconds"] > 0
    assert trial["bytes"] > 100
    everyone = trial["preview"]["groups"][0]
    assert (everyone["by"], everyone["listeners"]) == ("all", trial["listeners"])
    assert everyone["differing"] == trial["triggered"]
    assert [(each["metric"], each["role"], each["tolerance"]) for each in plan["metrics"]] == [
        ("plays", "success", 0.02),
        ("minutes", "guardrail", 0.05),
    ]
    assert 0 <= plan["power_at_least"] <= plan["power"] <= 1
    assert 1 <= plan["expected_day"] <= 4
    for each in plan["metrics"]:
        # power and listeners needed tell the same: enough of them where it is 1 - beta
        assert (each["power"] >= 1 - each["beta"]) == (told["members"] >= each["listeners"])

    text = checked("bold")
    assert text.exit_code == 0, text.output
    assert f"bold: {told['members']:,} listeners on" in text.stderr
    assert f"{trial['triggered']:.1%} get another list" in text.stderr
    assert "bold: what it can find by 2025-03-06" in text.stdout
    assert f"bold: ships with {plan['power']:.1%}" in text.stderr
    for title in ("bold: who gains and who loses", "bold: whose lists differ"):
        assert title in text.stdout


def test_a_recipe_without_a_model_is_planned_but_not_tried(checked):
    answer = checked("calm")
    assert answer.exit_code == 0, answer.output
    assert "calm: lists cannot be tried, for there is no model of its recipe yet" in answer.stderr
    assert "calm: what it can find by" in answer.stdout


def test_one_night_is_too_few_to_plan_with(checked):
    answer = checked("bold", on=str(FIRST_PUBLISHED))
    assert (answer.exit_code, answer.stdout) == (4, "")
    assert "there are too few days to plan an experiment with" in answer.stderr
