"""Weights of the arms of experiments on what comes next, as a generation takes them."""

import tomllib
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from nocturne.core.errors import UsageError
from nocturne.core.experiment import Experiment, parse_experiment
from nocturne.core.night import Night
from nocturne.core.settings import load_settings, with_values
from nocturne.serving.cache.served_items import Aside, ServedItems, write_items
from nocturne.serving.items_table import items_table, weights_of_arms
from nocturne.steering.conditions import Rule
from nocturne.steering.plan import Plan
from tests.fixtures import two_listeners
from tests.fixtures.served_world import WEIGHTS

SETTINGS = with_values(load_settings(), {f"now_playing.{name}": value for name, value in WEIGHTS.items()})
TONIGHT = two_listeners.TONIGHT


def text_of(night: date = TONIGHT, **arms: str) -> str:
    """The file of an experiment of one night, with the settings that each of its arms changes."""
    head = f"""
        hypothesis = "Something is played more."
        start = {night}
        end = {night}
        salt = "salt"
        first_slot = 0
        slots = 100
        looks = [1]
        metrics.plays = {{ role = "success", measure = "plays", minimum_effect = 0.05 }}
        arms.control = {{ weight = 1 }}
    """
    return head + "\n".join(
        f"arms.{name} = {{ weight = 1, settings = {{ {changed} }} }}" for name, changed in arms.items()
    )


def experiment(name: str, **arms: str) -> Experiment:
    return parse_experiment(name, tomllib.loads(text_of(**arms)))


BOLD = '"now_playing.popularity_weight" = 1.0'
CALM = '"now_playing.recent_decay" = 0.0'
LONGER = '"ranking.top_k" = 7'


def test_every_arm_has_the_nights_weights_but_for_what_it_changes():
    mix = experiment("mix", bold=BOLD, calm=CALM)
    weights, counterparts = weights_of_arms(SETTINGS, [mix])
    assert weights == {
        "mix/control": WEIGHTS,
        "mix/bold": WEIGHTS | {"popularity_weight": 1.0},
        "mix/calm": WEIGHTS | {"recent_decay": 0.0},
    }
    assert counterparts == {
        "mix/control": {"bold": "mix/bold", "calm": "mix/calm"},
        "mix/bold": {"bold": "mix/control"},
        "mix/calm": {"calm": "mix/control"},
    }


def test_arms_that_change_nightly_lists_alone_are_answered_as_everyone_is():
    lists = experiment("lists", longer=LONGER)
    both = experiment("both", longer=LONGER, bold=BOLD)
    assert weights_of_arms(SETTINGS, []) == weights_of_arms(SETTINGS, [lists]) == ({}, {})
    weights, counterparts = weights_of_arms(SETTINGS, [lists, both])
    assert list(weights) == ["both/control", "both/bold"]
    assert counterparts == {"both/control": {"bold": "both/bold"}, "both/bold": {"bold": "both/control"}}


def test_a_weight_out_of_range_is_told():
    with pytest.raises(UsageError, match="the settings are not valid"):
        weights_of_arms(SETTINGS, [experiment("mix", bold='"now_playing.recent_decay" = 2.0')])


def test_a_generation_carries_the_arms_of_the_experiments_that_run_on_its_night(
    night: Callable[..., Night], tmp_path: Path
):
    folder = tmp_path / "experiments"
    folder.mkdir()
    (folder / "mix.toml").write_text(text_of(bold=BOLD))
    tonight = night(TONIGHT, *two_listeners.SETTINGS, f"experiments.folder={folder}")
    two_listeners.write(tonight, "items", two_listeners.items())
    arms = served_items(tonight, tmp_path).arms
    everyone = tonight.settings.now_playing.model_dump()
    assert {label: arm.own._asdict() for label, arm in arms.items()} == {
        "mix/control": everyone,
        "mix/bold": everyone | {"popularity_weight": 1.0},
    }
    assert arms["mix/control"].others == {"bold": arms["mix/bold"].own}
    assert arms["mix/bold"].others == {"bold": arms["mix/control"].own}
    (folder / "mix.toml").write_text(text_of(TONIGHT + timedelta(days=1), bold=BOLD))
    assert served_items(tonight, tmp_path).arms == {}


def served_items(night: Night, folder: Path) -> ServedItems:
    """The items of a night as a reader has them."""
    path = folder / f"items-{len(list(folder.iterdir()))}"
    write_items(items_table(night), str(path))
    return ServedItems(path)


def test_a_generation_tells_which_listens_can_still_be_taken_out_and_which_are(
    night: Callable[..., Night], tmp_path: Path
):
    tonight = night(TONIGHT, *two_listeners.SETTINGS, "retention.nights.listens=2")
    two_listeners.write(tonight, "items", two_listeners.items())
    two_listeners.write(tonight, "ingests", two_listeners.ingests())
    (row,) = [row for row in two_listeners.interactions() if row["user_id"] == "ana"]
    told = {"not_taste": "[]", "asked_on": TONIGHT, "listens": 3, "older": True}
    two_listeners.write(tonight, "set_aside", [{name: row[name] for name in row if name != "bucket"} | told])
    items = served_items(tonight, tmp_path)
    assert items.set_aside("ana") == Aside("[]", TONIGHT, 3, older=True)
    assert items.set_aside("ben") is None
    assert items.on_record_since is None
    two_listeners.write(tonight.on(two_listeners.YESTERDAY), "ingests", two_listeners.ingests(two_listeners.YESTERDAY))
    assert served_items(tonight, tmp_path).on_record_since == TONIGHT


def test_a_generation_carries_what_rules_read_and_the_plans_that_hold(night: Callable[..., Night], tmp_path: Path):
    tonight = night(TONIGHT, *two_listeners.SETTINGS)
    rows = [row | {"tags": None, "creator": None, "explicit": None} for row in two_listeners.items()]
    rows[0] |= {"tags": ["Jazz", "calm"], "creator": "Oak", "explicit": False, "duration_ms": 90_000, "year": 1999}
    rows[1] |= {"tags": ["jazz"], "language": "sv"}
    two_listeners.write(tonight, "items", rows)
    plan = Plan(never=(Rule(explicit=True),), holds="always")
    steers = [
        {"run_date": TONIGHT, "user_id": user, "steer_id": user, "asked_at": datetime(2026, 1, 1, tzinfo=UTC)}
        | {"plan": asked.to_json(), "digest": asked.digest(), "holds_until": None}
        for user, asked in (("ann", plan), ("bob", Plan(holds="always")), ("cec", plan))
    ]
    two_listeners.write(tonight, "steers", steers)
    items = served_items(tonight, tmp_path)
    fields, first, second = items.fields, *(items.number(row["item_id"]) for row in rows[:2])
    assert {"tags", "genres", "creators", "explicit", "duration", "years", "languages"} <= fields.available
    assert "energy" not in fields.available
    assert set(fields.matching("tags", "JAZZ").nonzero()[0]) == {first, second}
    told, other = fields.facts([first, second])
    assert (told.creator, told.tags, told.year, told.explicit, told.seconds) == (
        "Oak",
        ("Jazz", "calm"),
        1999,
        False,
        90,
    )
    assert (other.creator, other.language, other.explicit, other.seconds) == (None, "sv", None, None)
    assert not items.explicit[second]
    assert [items.plan_of(user) for user in ("ann", "bob", "cec", "dan")] == [plan, None, plan, None]
    assert len(items.info.plans) == 1
