"""Tools of listening, on both caches: one generation an answer, whatever the pointer does, and reasons for people."""

from dataclasses import replace
from datetime import date

import pytest

from nocturne.agents import listening
from nocturne.agents.service import Service
from nocturne.agents.steering import Steerer, explain_item
from nocturne.core.errors import UsageError
from nocturne.serving.cache import Generation
from nocturne.steering.conditions import Rule
from nocturne.steering.plan import Plan
from tests.fixtures.served_world import GENERATION, LISTENERS, MODEL, serve_world

pytestmark = pytest.mark.slow

TODAY = date(2026, 3, 4)
NEXT = Generation("2026-03-03-bbbbbbbb", date(2026, 3, 3))


@pytest.fixture
def service(cache, cache_url):
    serve_world(cache)
    made = Service(None, cache_url)
    yield made
    made.close()


def ids(answer):
    return [item.item_id for item in answer.items]


def test_a_list_is_the_one_that_is_served_and_goes_on_where_more_is_asked_for(service):
    told = listening.listen_list(service, "ann", 2, TODAY)
    assert ids(told) == ["bay", "fir"]
    assert [(each.title, each.creator, each.why) for each in told.items] == [
        ("Bay", "Oak", "for you"),
        ("Fir", "Yew", "for you"),
    ]
    assert (told.source, told.arm, told.model_version, told.age_days) == ("als", "control", MODEL, 2)
    assert (told.receipt.generation, told.receipt.run_date) == (GENERATION.name, GENERATION.run_date)
    longer = listening.listen_list(service, "ann", 20, TODAY)
    assert ids(longer)[:3] == ["bay", "fir", "cob"]
    assert "ash" not in ids(longer)


def test_a_list_without_factors_says_where_it_is_popular(service):
    told = listening.listen_list(service, "cec", 2, TODAY)
    assert (told.source, [each.why for each in told.items]) == ("market_popular", ["popular in SE", "popular in SE"])


def test_ids_of_any_characters_are_taken_with_their_marks_and_without(service):
    for user_id in ("ö/é 1", "⟦ö/é 1⟧"):
        assert listening.listen_list(service, user_id, 1, TODAY).user_id == "ö/é 1"


def test_what_comes_next_goes_with_what_plays(service):
    told = listening.now_playing(service, "ann", "dew", ["⟦ash⟧"], 3, TODAY)
    assert not {"dew", "ash"} & set(ids(told))
    assert "goes with Dew" in [each.why for each in told.items]
    assert "listen_list" in told.next_step


@pytest.fixture
def planned(service):
    """Ann's plan that holds: nothing by Yew."""
    items, plan = service.served().items, Plan(never=(Rule(creators=("Yew",)),), holds="always")
    items.info = replace(items.info, plans=[plan.to_json()], planned={"ann": 0})
    return service


def test_a_plan_that_holds_is_obeyed_and_told(planned):
    listed = listening.listen_list(planned, "ann", 3, TODAY)
    assert ids(listed)[:2] == ["bay", "cob"]
    assert "Yew" in listed.plan
    played = listening.now_playing(planned, "ann", "ash", [], 5, TODAY)
    assert not {"elm", "fir", "gum", "hop"} & set(ids(played))
    assert listening.listen_list(planned, "bob", 1, TODAY).plan is None
    steered = Steerer(planned).steer("ann", None, {"never": [{"item_ids": ["bay"]}]}, None, [], 5)
    assert not {"bay", "elm", "fir", "gum", "hop"} & set(ids(steered))
    assert explain_item(planned, "ann", "elm").bars == ["the listener's plan bars it"]


def test_a_plan_that_is_to_hold_is_not_kept_and_that_is_told(service):
    told = Steerer(service).steer("bob", None, {"never": [{"creators": ["Yew"]}], "holds": "always"}, None, [], 5)
    assert told.next_step.startswith("nothing of it is kept")


def test_a_stranger_is_answered_and_unknown_items_are_told(service):
    told = listening.now_playing(service, "zoe", "nowhere", ["ash"], 3, TODAY)
    assert told.items
    assert told.next_step.startswith("1 of the items that were named are unknown")


def test_the_next_generation_is_followed_at_once(service, cache):
    assert listening.listen_list(service, "ann", 1, TODAY).receipt.generation == GENERATION.name
    serve_world(cache, NEXT)
    assert listening.listen_list(service, "ann", 1, TODAY).receipt.generation == NEXT.name


def test_a_listener_without_a_list_and_an_empty_cache_are_told_apart(service, tmp_path):
    with pytest.raises(UsageError, match="no list is served to this listener"):
        listening.listen_list(service, "zoe", 1, TODAY)
    assert "zoe" not in LISTENERS
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="the cache is empty"):
        listening.listen_list(Service(None, f"lmdb:{tmp_path / 'empty'}"), "ann", 1, TODAY)
