"""Definitions of experiments: the file that is right, and what people are told of one that is not."""

from datetime import date
from pathlib import Path

import pytest

from nocturne.core.errors import UsageError
from nocturne.core.experiment import arm_settings, experiments_of, load_experiments, parse_experiment
from nocturne.core.settings import load_settings

ARMS = {"control": {"weight": 1}, "bold": {"weight": 3, "settings": {"reranking.diversity": 0.2}}}
METRICS = {"plays": {"role": "success", "measure": "plays", "minimum_effect": 0.02}}
VALUES = {
    "hypothesis": "Bold lists are played more.",
    "start": date(2025, 3, 1),
    "end": date(2025, 3, 14),
    "salt": "bold",
    "first_slot": 100,
    "slots": 200,
    "looks": [7, 14],
    "arms": ARMS,
    "metrics": METRICS,
}
FILE = """
hypothesis = "Bold lists are played more."
start = 2025-03-01
end = 2025-03-14
salt = "{salt}"
first_slot = {first_slot}
slots = 200
looks = [7, 14]
[arms.control]
weight = 1
[arms.bold]
weight = 3
settings = {{ "reranking.diversity" = 0.2 }}
[metrics.plays]
role = "success"
measure = "plays"
minimum_effect = 0.02
"""
LIST_PLAYS = {"plays": METRICS["plays"] | {"measure": "list_plays"}}
INTERLEAVING = {"kind": "interleaving", "metrics": LIST_PLAYS}


def detail(refused, name):
    """A line of what people are told."""
    (line,) = [line for line in str(refused.value).splitlines() if line.startswith(f"  {name}: ")]
    return line.removeprefix(f"  {name}: ")


def test_a_definition_says_when_it_runs_and_what_is_compared():
    bold = parse_experiment("bold", VALUES)
    assert (bold.nights, bold.treatments) == (14, ("bold",))
    nights = (date(2025, 2, 28), date(2025, 3, 1), date(2025, 3, 14), date(2025, 3, 15))
    assert [bold.runs_on(night) for night in nights] == [False, True, True, False]
    assert (bold.kind, bold.alpha, bold.power, bold.spending) == ("ab", 0.05, 0.8, "obrien_fleming")


@pytest.mark.parametrize(
    ("arm", "ranks_alike", "plays_on_alike"),
    [
        ({}, True, True),
        ({"model": "als-1"}, False, True),
        ({"recipe": {"factors": 8}}, False, True),
        ({"settings": {"ranking.let_back_after_days": 3}}, False, True),
        ({"settings": {"now_playing.session_weight": 0.5}}, True, False),
        ({"settings": {"now_playing.session_weight": 0.5, "reranking.diversity": 0.2}}, False, False),
    ],
)
def test_an_arm_tells_where_its_answers_may_differ(arm, ranks_alike, plays_on_alike):
    bold = parse_experiment("bold", VALUES | {"arms": ARMS | {"bold": {"weight": 1} | arm}}).arms["bold"]
    assert (bold.ranks_alike, bold.plays_on_alike) == (ranks_alike, plays_on_alike)


def arm(**changes):
    return {"arms": ARMS | {"bold": {"weight": 1} | changes}}


def metric(**changes):
    return {"metrics": {"plays": METRICS["plays"] | changes}}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (arm(model="als-1", recipe={"factors": 8}), "arms.bold: an arm has a model or a recipe, not both"),
        (arm(recipe={"factors": 8, "layers": 2, "depth": 1}), "arms.bold: [als] has no depth, layers"),
        (
            arm(settings={"als.factors": 8}),
            "arms.bold: an arm cannot change als.factors: only what lists hold, in ranking, reranking, now_playing",
        ),
        (arm(settings={"ranking.carry_over": False}), "arms.bold: an arm cannot change ranking.carry_over"),
        (arm(settings={"ranking.audit_share": 1.0}), "arms.bold: an arm cannot change ranking.audit_share"),
        (arm(settings={"ranking.audit_at_least": 0}), "arms.bold: an arm cannot change ranking.audit_at_least"),
        (arm(weight=0), "arms.bold.weight: Input should be greater than 0"),
        (arm(wait=1), "arms.bold.wait: Extra inputs are not permitted"),
        (metric(minimum_effect=0), "metrics.plays: a success metric needs minimum_effect"),
        (metric(role="guardrail", margin=0), "metrics.plays: a guardrail needs margin"),
        (metric(role="hope"), "metrics.plays.role: Input should be 'success', 'guardrail' or 'deterioration'"),
        (metric(measure="joy"), "metrics.plays.measure: Input should be 'plays', "),
        ({"arms": {"calm": {"weight": 1}, "bold": {"weight": 1}}}, "one arm is control"),
        (
            {"arms": ARMS | {"control": {"weight": 1, "model": "als-1"}}},
            "arm control has what everyone has: no model, recipe or settings",
        ),
        ({"arms": {"control": {"weight": 1}}}, "arms: Dictionary should have at least 2 items"),
        ({"arms": ARMS | {"Bold one": {"weight": 1}}}, "arms.Bold one.[key]: String should match pattern"),
        ({"end": date(2025, 2, 28)}, "end lies before start"),
        ({"first_slot": 801}, "slots reach beyond the layer: 801 + 200 > 1000"),
        ({"first_slot": 1000}, "first_slot: Input should be less than 1000"),
        ({"looks": [7]}, "looks ascend, and the last one is the experiment's last day, 14"),
        ({"looks": [14, 7]}, "looks ascend, and the last one is the experiment's last day, 14"),
        ({"looks": [7, 7, 14]}, "looks ascend, and the last one is the experiment's last day, 14"),
        ({"looks": []}, "looks ascend, and the last one is the experiment's last day, 14"),
        ({"looks": [0, 14]}, "looks.0: Input should be greater than or equal to 1"),
        (metric(role="deterioration"), "no metric has the role success"),
        ({"metrics": {}}, "metrics: Dictionary should have at least 1 item"),
        (INTERLEAVING | {"arms": ARMS | {"calm": {"weight": 1}}}, "interleaving compares two arms"),
        (INTERLEAVING | {"metrics": METRICS}, "interleaving has one metric, list_plays"),
        (
            INTERLEAVING | {"metrics": LIST_PLAYS | {"more": LIST_PLAYS["plays"]}},
            "interleaving has one metric, list_plays",
        ),
        (
            INTERLEAVING | arm(settings={"now_playing.session_weight": 0.5}),
            "interleaving drafts nightly lists: arms cannot change [now_playing]",
        ),
        ({"kind": "bandit"}, "kind: Input should be 'ab' or 'interleaving'"),
        ({"unit": "session"}, "unit: Input should be 'listener'"),
        ({"hypothesis": ""}, "hypothesis: String should have at least 1 character"),
        ({"alpha": 0.3}, "alpha: Input should be less than or equal to 0.2"),
        ({"power": 0.4}, "power: Input should be greater than or equal to 0.5"),
        ({"salt": ""}, "salt: String should have at least 1 character"),
    ],
)
def test_a_value_that_is_wrong_is_named_with_what_is_wrong_about_it(changes, told):
    with pytest.raises(UsageError, match="the experiment is not valid") as refused:
        parse_experiment("bold", VALUES | changes, "experiments/bold.toml")
    assert told in detail(refused, "found")
    assert detail(refused, "where") == "experiments/bold.toml"


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(UsageError) as refused:
        parse_experiment("Bold", VALUES | {"slots": 0, "alpha": 1})
    assert [problem.partition(":")[0] for problem in detail(refused, "found").split("; ")] == ["name", "slots", "alpha"]


def test_an_arm_has_the_settings_of_the_night_but_for_what_it_changes():
    settings = load_settings()
    changed = arm_settings(settings, parse_experiment("bold", VALUES).arms["bold"])
    assert changed.reranking.diversity == 0.2
    assert changed.ranking == settings.ranking


def write(folder: Path, **files: tuple[str, int]) -> str:
    for name, (salt, first_slot) in files.items():
        (folder / f"{name}.toml").write_text(FILE.format(salt=salt, first_slot=first_slot))
    return str(folder)


def test_experiments_are_the_files_of_a_folder_in_the_order_of_their_names(tmp_path):
    folder = write(tmp_path, calm=("calm", 300), bold=("bold", 100))
    assert [each.name for each in load_experiments(folder)] == ["bold", "calm"]
    assert load_experiments(folder)[0] == parse_experiment("bold", VALUES)
    assert load_experiments(str(tmp_path / "none")) == ()


def test_two_experiments_on_the_same_slots_at_once_are_refused(tmp_path):
    folder = write(tmp_path, bold=("bold", 100), calm=("calm", 299))
    with pytest.raises(UsageError, match="two experiments have the same listeners") as refused:
        load_experiments(folder)
    assert detail(refused, "found") == "bold: slots 100-299 until 2025-03-14; calm: slots 299-498 from 2025-03-01"
    later = FILE.format(salt="calm", first_slot=299).replace("2025-03-14", "2025-03-28").replace("03-01", "03-15")
    (tmp_path / "calm.toml").write_text(later)
    assert len(load_experiments(folder)) == 2


@pytest.mark.parametrize("content", [b"hypothesis = ", b"\xff"], ids=["no TOML", "no text"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    (tmp_path / "bold.toml").write_bytes(content)
    with pytest.raises(UsageError, match="an experiment cannot be read") as refused:
        load_experiments(str(tmp_path))
    assert detail(refused, "where") == str(tmp_path / "bold.toml")


def test_a_file_that_is_not_valid_is_named(tmp_path):
    (tmp_path / "bold.toml").write_text("slots = 1")
    with pytest.raises(UsageError, match="the experiment is not valid") as refused:
        load_experiments(str(tmp_path))
    assert detail(refused, "where") == str(tmp_path / "bold.toml")


@pytest.mark.parametrize(("name", "arms"), [("holdback", ARMS), ("bold", ARMS | {"interleaved": ARMS["bold"]})])
def test_names_that_mean_something_else_are_refused(name, arms):
    with pytest.raises(UsageError, match="no experiment is called holdback, and no arm interleaved"):
        parse_experiment(name, VALUES | {"arms": arms})


def test_an_arm_whose_values_are_out_of_range_is_named_before_a_night_begins(tmp_path):
    file = FILE.format(salt="s", first_slot=0).replace('"reranking.diversity" = 0.2', '"reranking.diversity" = 2.0')
    (tmp_path / "bold.toml").write_text(file, encoding="utf-8")
    with pytest.raises(UsageError, match="an arm of an experiment is not valid") as refused:
        experiments_of(load_settings(overrides=[f'experiments.folder="{tmp_path}"']))
    assert detail(refused, "where").endswith("bold.toml, arm bold")


def test_a_recipe_changes_what_is_learned():
    with pytest.raises(UsageError, match="threads decides nothing that is learned"):
        parse_experiment("bold", VALUES | {"arms": ARMS | {"bold": {"weight": 1, "recipe": {"threads": 1}}}})


def test_the_digest_is_of_all_that_must_stay():
    layer, bold = load_settings().experiments, parse_experiment("bold", VALUES)
    turned = VALUES | {"arms": dict(reversed(ARMS.items()))}
    assert parse_experiment("bold", turned).digest(layer) == bold.digest(layer)
    assert parse_experiment("bold", VALUES | {"salt": "other"}).digest(layer) != bold.digest(layer)
    assert bold.digest(layer.model_copy(update={"salt": "other"})) != bold.digest(layer)
