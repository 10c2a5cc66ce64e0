"""Tools of steering, by the SDK's client over both transports: plans are obeyed and told, places have reasons."""

import json

import pytest

from tests.fixtures.agents_world import MONDAY

pytestmark = pytest.mark.slow

WITHOUT_TOWER = {"never": [{"tags": ["Parade Tower"]}]}


def ids(told):
    return [item["item_id"] for item in told["items"]]


def test_a_plan_is_obeyed_and_its_account_says_what_each_rule_did(ask):
    told = ask("steer", user_id="ana", plan=WITHOUT_TOWER)
    assert "⟦c⟧" not in ids(told)
    assert ids(told)[0] == "⟦e⟧"
    (rule,) = told["rules"]
    assert (rule["kind"], rule["removed"]) == ("never", 1)
    assert "Parade Tower" in rule["rule"]
    assert "Parade Tower" in told["in_words"]
    assert told["might_be_listed"] - told["obey"] == 1
    assert told["receipt"]["run_date"] == str(MONDAY)


def test_a_plan_of_an_answer_is_handed_back_as_it_stands(ask):
    first = ask("steer", user_id="ana", plan=WITHOUT_TOWER)
    again = ask("steer", user_id="ana", plan=first["plan"])
    assert (again["items"], again["plan"]) == (first["items"], first["plan"])
    assert json.loads(first["plan"].strip("⟦⟧")) == WITHOUT_TOWER


def test_a_plan_may_name_what_another_answer_marked(ask):
    listed = ask("listen_list", user_id="ana")
    creator = listed["items"][0]["creator"]
    assert creator == "⟦Parade Tower⟧"
    told = ask("steer", user_id="⟦ana⟧", plan={"never": [{"creators": [creator]}, {"item_ids": ["⟦e⟧"]}]})
    assert not {"⟦c⟧", "⟦e⟧"} & set(ids(told))


def test_words_are_told_with_what_they_stand_for_and_what_plays_is_pointed_at(ask):
    told = ask("steer", user_id="ana", text="no parade towr, without that one", playing="e")
    assert not {"⟦c⟧", "⟦e⟧"} & set(ids(told))
    assert told["intent"] == "steer"
    assert [(each["text"], each["means"]) for each in told["understood"]] == [
        ("⟦parade towr⟧", "⟦creator Parade Tower⟧"),
        ("⟦that one⟧", "⟦what plays⟧"),
    ]
    assert told["taken"] == ["⟦“parade towr” was read as Parade Tower⟧"]


def test_without_a_plan_it_is_the_nights_list(ask):
    told = ask("steer", user_id="ana")
    assert ids(told) == ids(ask("listen_list", user_id="ana"))
    assert (told["in_words"], told["rules"]) == ("⟦The night's list.⟧", [])


def test_a_plan_that_contradicts_itself_or_is_none_is_told(ask):
    contradiction = {"only": [{"content_types": ["track"]}], "never": [{"content_types": ["track"]}]}
    assert "the plan contradicts itself; " in ask.error("steer", user_id="ana", plan=contradiction)
    assert "the plan is not valid" in ask.error("steer", user_id="ana", plan={"nevr": []})
    assert "the plan is not valid" in ask.error("steer", user_id="ana", plan="⟦no plan⟧")


def test_why_an_item_is_in_a_list(ask):
    told = ask("explain_item", user_id="ana", item_id="c")
    assert (told["rank"], told["title"], told["heard"], told["may_be_listed"]) == (1, "⟦Window & Wave⟧", False, True)
    assert [each["item_id"] for each in told["because"]] == ["⟦a⟧"]
    assert told["because"][0]["share"] == pytest.approx(1, abs=0.01)
    assert told["bars"] == []


@pytest.mark.parametrize(
    ("user", "item", "bars"),
    [
        ("ana", "a", ["the listener has heard it, and it is not let back yet"]),
        ("ben", "b", ["the catalogue bars it in the listener's market"]),
    ],
)
def test_why_an_item_is_in_no_list(ask, user, item, bars):
    told = ask("explain_item", user_id=user, item_id=item)
    assert "rank" not in told
    assert told["bars"] == bars


def test_an_item_or_a_listener_that_nobody_knows_is_told(ask):
    assert "the generation has no such item; found: ⟦nowhere⟧" in ask.error(
        "explain_item", user_id="ana", item_id="nowhere"
    )
    assert "no list is served to this listener" in ask.error("explain_item", user_id="zoe", item_id="a")
