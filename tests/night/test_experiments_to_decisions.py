"""Eight nights whose listeners react to their lists, and three experiments side by side: each comes to its decision."""

import json
from typing import Any

import pytest
from click.testing import Result
from pyspark.sql import SparkSession
from typer.testing import CliRunner

from nocturne.cli.main import app
from nocturne.core.night import Night
from nocturne.ingestion.simulator.reacted_day import published_lists, react
from nocturne.ingestion.simulator.simulate import simulate
from nocturne.pipeline.runner import run_nights
from nocturne.serving.cache import open_cache
from nocturne.storage import tables
from tests.fixtures.simulated_service import FIRST, Service

LISTENERS, ITEMS, NIGHTS = 3_000, 400, 8
POOR = (
    *('als.recipe="settings"', "als.factors=2", "als.neighbours=0", "als.retrain_every_nights=30"),
    *("ranking.top_k=30", "tables.buckets=2"),
)
"""What everyone gets: two factors know little of anybody's taste."""

CONCLUDED_FOR = 6
"""Offset of the first night without the experiment that won."""

EXPERIMENTS = {
    "taste": """
hypothesis = "Lists by more factors are played more."
first_slot = 0
slots = 450
looks = [2, 4, 6]
[arms.factors]
weight = 1
recipe = { factors = 16, neighbours = 20 }
""",
    "familiar": """
hypothesis = "Familiar lists are played more, and podcasts, which are dear, no more than now."
first_slot = 500
slots = 300
looks = [2, 4, 6]
[arms.familiar]
weight = 1
settings = { "ranking.let_back_after_days" = 1 }
[metrics.podcasts]
role = "guardrail"
measure = "list_plays"
content_type = "podcast_episode"
direction = "decrease"
margin = 0.05
""",
    "creators": """
hypothesis = "Lists of more creators are played more."
first_slot = 800
slots = 200
looks = [2, 4, 6]
[arms.varied]
weight = 1
settings = { "reranking.max_per_creator" = 1 }
""",
}
DATES = """
start = 2025-03-02
end = 2025-03-07
"""
CONTROL = """
[arms.control]
weight = 1
[metrics.played]
role = "success"
measure = "list_plays"
minimum_effect = 0.05
"""
STEPS = ("assignment", "list", "trigger", "exposure", "before")
LOST = {"creators/varied": 0.5}
"""Exposures that a broken client loses."""


class World(Service):
    """A service with a folder of experiments."""

    @property
    def settings(self) -> tuple[str, ...]:
        return (*POOR, f'experiments.folder="{self.folder / "experiments"}"')

    def night(self, offset: int, *overrides: str) -> Night:
        return super().night(offset, *self.settings, *overrides)

    def run(self, first: int, last: int) -> None:
        """Run nights; before each, listeners react to the lists of the one before."""
        for offset in range(first, last + 1):
            if offset:
                before = self.night(offset - 1)
                lost = LOST if offset > 1 else None  # the first lists of arms are those of night 1
                react(self.folder / "landing", published_lists(before.warehouse, before.run_date), lost)
            run_nights([self.night(offset)])

    def nocturne(self, *arguments: str) -> Result:
        """`nocturne experiments ...`, with the settings of the nights."""
        options = [text for setting in self.settings for text in ("--set", setting)]
        answer = CliRunner().invoke(app, ["experiments", *arguments, "--warehouse", self.warehouse, *options])
        assert answer.exit_code == 0, answer.output
        return answer

    def listed(self, offset: int, column: str) -> dict[str, str]:
        """A column of `nocturne experiments list` on a night, by experiment."""
        answer = self.nocturne("list", "--run-date", str(self.night(offset).run_date), "--json")
        return {row["experiment"]: row[column] for row in json.loads(answer.stdout)}

    def results(self, name: str, kind: str, day: int) -> dict[str, dict[str, Any]]:
        """Rows of results of all listeners at a look, by what they are of."""
        rows = json.loads(self.nocturne("show", name, "--json").stdout)
        found = [row for row in rows if (row["kind"], row["day"]) == (kind, day)]
        return {row["name"]: row for row in found if kind == "check" or not row["segment"]}

    def models_of_lists(self, offset: int, label: str) -> set[str]:
        """Models of the personal lists under a label."""
        rows = tables.night_rows(self.night(offset), "ranked_lists", ["arm", "source", "model_version"]).to_pylist()
        return {row["model_version"] for row in rows if (row["arm"], row["source"]) == (label, "als")}


@pytest.fixture(scope="module")
def world(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Eight nights; the experiment on taste is concluded through the command line, after the look that says ship."""
    world = World(tmp_path_factory.mktemp("decisions"))
    (world.folder / "experiments").mkdir()
    for name, definition in EXPERIMENTS.items():
        text = f'salt = "{name}"{DATES}{definition}{CONTROL}'
        (world.folder / "experiments" / f"{name}.toml").write_text(text, encoding="utf-8")
    simulate(world.folder / "landing", LISTENERS, ITEMS, NIGHTS, seed=5, start=FIRST)
    world.run(0, CONCLUDED_FOR - 1)
    night = str(world.night(CONCLUDED_FOR).run_date)
    world.nocturne("conclude", "taste", "--arm", "factors", "--run-date", night, "--why", "it ships", "--by", "ana")
    world.run(CONCLUDED_FOR, NIGHTS - 1)
    return world


def test_an_arm_with_a_true_effect_ships_and_its_model_is_live_the_next_night(world: World) -> None:
    assert world.listed(CONCLUDED_FOR - 1, "decision")["taste"] == "factors: ship"
    played = world.results("taste", "metric", 4)["played"]
    assert played["outcome"] == "proved"
    assert played["low"] > 0.05
    checks = world.results("taste", "check", 4)
    assert {name: row["outcome"] for name, row in checks.items()} == dict.fromkeys(STEPS, "holds")

    (poor,), (won,) = (world.models_of_lists(CONCLUDED_FOR - 1, f"taste/{arm}") for arm in ("control", "factors"))
    assert poor != won
    for label in ("control", "familiar/control", "creators/control"):
        assert world.models_of_lists(CONCLUDED_FOR - 1, label) == {poor}
        assert world.models_of_lists(CONCLUDED_FOR, label) == {won}
    with open_cache(world.cache, read_only=True) as cache:
        served = [cache.get(row["user_id"]) for row in tables.night_rows(world.night(0), "ranked_lists").to_pylist()]
    assert {each.model_version for each in served if each and each.source == "als"} == {won}


def test_the_experiment_that_was_concluded_has_no_more_rows_and_the_others_go_on(world: World) -> None:
    assert world.listed(CONCLUDED_FOR, "state") == {
        "creators": "running",
        "familiar": "running",
        "taste": "concluded: factors",
    }
    named = [
        {row["experiment"] for row in tables.night_rows(world.night(offset), "assignments").to_pylist()}
        for offset in (0, 1, CONCLUDED_FOR - 1, CONCLUDED_FOR, NIGHTS - 2, NIGHTS - 1)
    ]
    everything, others = set(EXPERIMENTS), {"creators", "familiar"}
    assert named == [set(), everything, everything, others, others, set()]
    looks = tables.rows(world.night(0).warehouse, "experiment_looks", columns=["experiment", "day"]).to_pylist()
    days = {(row["experiment"], row["day"]) for row in looks}
    assert days == {(name, day) for name in others for day in (2, 4, 6)} | {("taste", 2), ("taste", 4)}


def test_an_arm_that_is_played_more_and_breaks_a_guardrail_does_not_ship(world: World) -> None:
    assert world.listed(NIGHTS - 1, "decision")["familiar"] == "familiar: stop: harm"
    metrics = world.results("familiar", "metric", 6)
    assert (metrics["played"]["outcome"], metrics["podcasts"]["outcome"]) == ("proved", "harmed")
    assert metrics["played"]["low"] > 0.05
    assert metrics["podcasts"]["low"] > 0.05
    (decision,) = world.results("familiar", "decision", 6).values()
    assert [reason.partition(":")[0] for reason in decision["reasons"]] == ["podcasts got worse"]


def test_an_arm_whose_exposures_are_lost_is_invalid_and_the_client_is_named(world: World) -> None:
    for day in (2, 4, 6):
        (decision,) = world.results("creators", "decision", day).values()
        assert (decision["name"], decision["outcome"]) == ("invalid", "invalid: an arm's exposures are missing")
        checks = world.results("creators", "check", day)
        failed = {name: row["role"] for name, row in checks.items() if row["outcome"] == "failed"}
        assert failed == {"exposure": "client"}
    assert world.listed(NIGHTS - 1, "decision")["creators"] == "varied: invalid: an arm's exposures are missing"
