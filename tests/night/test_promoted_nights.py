"""Models on real nights: a worse one is refused, a better one serves from its night on, a rejected one gives way."""

import json
from datetime import timedelta

import pytest
from click.testing import Result
from pyspark.sql import SparkSession
from typer.testing import CliRunner

from nocturne.cli.main import app
from nocturne.flow import stage
from nocturne.pipeline.runner import run_nights, run_stage, run_validation
from nocturne.serving.cache import open_cache
from nocturne.storage import tables
from nocturne.storage.model_transitions import ModelRecord
from nocturne.training import registry
from tests.fixtures.simulated_service import FIRST, NIGHTS, Service

NET = "als.retrain_every_nights=9"
POOR = ("als.factors=1", "als.neighbours=0")
WORST = ("als.factors=1", "als.score_exponent=-2.0", "als.popularity_exponent=2.0", "als.neighbours=0")
BETTER = ("als.factors=16",)
SERVED_FROM = 2


def nocturne(service: Service, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["models", *arguments, "--warehouse", service.warehouse])


def settings(*overrides: str) -> list[str]:
    return [text for override in overrides for text in ("--set", override)]


def day(offset: int) -> str:
    return str(FIRST + timedelta(days=offset))


def known(service: Service) -> dict[str, ModelRecord]:
    return {model.version: model for model in registry.models(service.night(0).warehouse)}


def models_of_lists(service: Service, offset: int) -> set[str]:
    """The models that the lists of a night, and of its pools, depend on."""
    night = service.night(offset)
    return {
        version
        for table in ("ranked_lists", "pools")
        for version in tables.night_rows(night, table, ["model_version"])["model_version"].to_pylist()
    }


def served_model(service: Service) -> str:
    with open_cache(service.cache, read_only=True) as cache:
        served = cache.get("u00000003")
    assert served
    return served.model_version


@pytest.fixture
def poor(spark: SparkSession, copied: Service) -> tuple[Service, str]:
    """The three nights, of which only the first trained a model, and a poor one; and its version."""
    for offset in range(NIGHTS):
        night = copied.night(offset, *POOR, *([NET] if offset else []))
        run_stage(spark, night, stage("train_als"))
        run_validation(spark, night, ["item_factors", "cold_factors", "bridges", "bridge_factors"])
    (version,) = known(copied)
    return copied, version


def train(service: Service, *recipe: str) -> str:
    result = nocturne(service, "train", "--run-date", day(0), *settings(*recipe))
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def test_a_worse_model_is_refused_a_better_one_serves_from_its_night_on_and_a_rejected_one_gives_way(
    spark: SparkSession, poor: tuple[Service, str]
) -> None:
    service, live = poor
    worst, better = train(service, *WORST), train(service, *BETTER)
    assert {name: model.state for name, model in known(service).items()} == {
        live: "live",
        worst: "candidate",
        better: "candidate",
    }

    refused = nocturne(service, "promote", worst, "--run-date", day(SERVED_FROM), "--why", "a try")
    assert refused.exit_code == 3
    assert "recall@20, all: " in refused.stderr
    assert known(service)[worst].transitions[-1].state == "refused"
    assert "recall@20, all: " in known(service)[worst].transitions[-1].reason

    between = nocturne(service, "compare", worst, better[-8:], "--from", day(0), "--to", day(1), "--json")
    assert between.exit_code == 0, between.output
    assert {row["difference"] < 0 for row in json.loads(between.stdout) if row["segment"] == "all"} == {True}
    shown = json.loads(nocturne(service, "show", worst, "--json").stdout)
    assert {(row["against"], row["nights"]) for row in shown["metrics"]} == {
        (live, day(0)),
        (better, f"{day(0)} to {day(1)}"),
    }

    made_live = nocturne(service, "promote", better, "--run-date", day(SERVED_FROM), "--why", "better", "--by", "ana")
    assert made_live.exit_code == 0, made_live.output
    assert f"lists of {day(SERVED_FROM)} to {day(SERVED_FROM)} were made before this" in made_live.stderr
    assert {name: model.state for name, model in known(service).items()} == {
        live: "retired",
        worst: "candidate",
        better: "live",
    }
    figures = [row for row in known(service)[better].metrics if (row["metric"], row["segment"]) == ("ndcg@20", "all")]
    assert [(row["against"], row["nights"]) for row in figures] == [(live, day(0))]
    assert figures[0]["low"] > 0

    run_nights([service.night(SERVED_FROM, NET)])
    assert models_of_lists(service, SERVED_FROM) == {better}
    assert served_model(service) == better

    rejected = nocturne(service, "reject", better, "--run-date", day(NIGHTS), "--why", "only podcasts")
    assert rejected.exit_code == 0, rejected.output
    empty = service.folder / "landing" / "events" / f"date={day(NIGHTS)}"
    empty.mkdir()
    (empty / "_SUCCESS").touch()
    run_nights([service.night(NIGHTS, NET)])
    assert models_of_lists(service, NIGHTS) == {live}
    assert served_model(service) == live

    for offset, expected in ((SERVED_FROM, better), (1, live)):
        run_stage(spark, service.night(offset, NET), stage("rank_users"))
        assert models_of_lists(service, offset) == {expected}

    shown = json.loads(nocturne(service, "list", "--json").stdout)
    assert {row["model_version"]: (row["state"], row["why"]) for row in shown if row["model_version"] != worst} == {
        live: ("live", "no model was live"),
        better: ("rejected", "only podcasts"),
    }
