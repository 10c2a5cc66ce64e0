"""Plans: what is a plan, what it says in words, what comes of one behind another, and its schema."""

import json
from datetime import date

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from nocturne.ingestion.not_taste import NotTaste
from nocturne.steering.conditions import Duration, Match, Rule, Years
from nocturne.steering.plan import ContradictionError, Leanings, Plan, PlanError, Size, Wish, plan_schema, read_plan
from tests.docs.pages import ROOT
from tests.fixtures.random_generations import PLANS

RAP_BY_OAK = Rule(tags=("rap",), unless=(Match(creators=("Oak",)),))


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (Plan(), "The night's list."),
        (Plan(holds="always"), "From now on."),
        (Plan(only=(Rule(content_types=("track", "audiobook")),)), "Only tracks or audiobooks."),
        (Plan(never=(RAP_BY_OAK,)), "Never items tagged rap, except items by Oak."),
        (
            Plan(only=(Rule(moods=("calm",), genres=("jazz", "soul"), languages=("sv",), explicit=False),)),
            "Only clean calm jazz or soul items in sv.",
        ),
        (Plan(never=(Rule(explicit=True, content_types=("track",)),)), "Never explicit tracks."),
        (
            Plan(
                only=(
                    Rule(
                        years=(Years(first=1980, last=1989), Years(first=2020)),
                    ),
                )
            ),
            "Only items of 1980 to 1989 or of 2020 or later.",
        ),
        (Plan(only=(Rule(duration=Duration(at_most=210)),)), "Only items of at most 3.5 minutes."),
        (Plan(only=(Rule(duration=Duration(at_least=1, at_most=59)),)), "Only items of 1 second to 59 seconds."),
        (Plan(only=(Rule(heard=False),)), "Only items that are new to the listener."),
        (Plan(more=(Wish(about="tag", value="jazz", strength=1.0),)), "More jazz, much."),
        (Plan(less=(Wish(about="creator", value="Oak", strength=0.2),)), "Less items by Oak, a little."),
        (Plan(more=(Wish(about="item", value="t1"),)), "More items like t1."),
        (
            Plan(leanings=Leanings(familiarity=-0.5, energy=1.0)),
            "Rather what is new to the listener. Rather what is energetic.",
        ),
        (
            Plan(size=Size(items=1, minutes=45), max_per_creator=2),
            "At most 2 by the same creator. At most 1 item and 45 minutes.",
        ),
        (Plan(holds=date(2026, 12, 24), diversity=0.4), "With variety. Until 2026-12-24."),
    ],
)
def test_a_plan_is_said_in_words(plan: Plan, words: str):
    assert plan.in_words() == words


@given(plan=PLANS)
def test_a_plan_comes_back_from_its_json_and_keeps_to_the_schema(plan: Plan):
    assert Plan.model_validate_json(plan.to_json()) == plan
    Draft202012Validator(plan_schema()).validate(json.loads(plan.to_json()))
    assert plan.in_words()


@given(plan=PLANS)
def test_equal_plans_have_one_digest_and_others_another(plan: Plan):
    assert Plan.model_validate_json(plan.to_json()).digest() == plan.digest()
    changed = plan.model_copy(update={"size": Size(items=99)})
    assert changed.digest() != plan.digest()


def test_listens_that_are_not_taste_leave_lists_as_at_night_and_hold_longer_than_a_session():
    sleep, caves = (NotTaste(tags=(tag,)) for tag in ("sleep", "cave"))
    plan = Plan(not_taste=(sleep,), holds="always")
    assert plan.as_at_night
    assert not plan.empty
    assert plan.of_lists() == Plan(holds="always")
    assert plan.refine(Plan(not_taste=(caves, sleep))).not_taste == (sleep, caves)
    assert plan.in_words() == (
        "Nothing is learned from listens to items tagged sleep that are still on record. From now on."
    )
    assert Plan(not_taste=(sleep,)).fields() == {"tags"}
    assert read_plan(plan.to_json()) == plan
    with pytest.raises(ContradictionError, match="for a session"):
        read_plan('{"not_taste": [{"tags": ["sleep"]}]}')


def test_the_schema_in_docs_is_that_of_plans():
    published = (ROOT / "docs" / "plan.schema.json").read_text(encoding="utf-8")
    assert published == json.dumps(plan_schema(), indent=2, ensure_ascii=False) + "\n", "make docs"
    Draft202012Validator.check_schema(plan_schema())


def test_what_refines_a_plan_adds_rules_and_changes_wishes_and_size():
    jazz, rock = Wish(about="tag", value="jazz"), Wish(about="tag", value="rock")
    plan = Plan(never=(RAP_BY_OAK,), more=(jazz, rock), size=Size(items=20, minutes=60), leanings=Leanings(energy=0.5))
    later = Plan(
        never=(Rule(item_ids=("t1",)), RAP_BY_OAK),
        less=(Wish(about="tag", value="JAZZ"),),
        size=Size(items=5),
        holds="always",
    )
    assert plan.refine(later) == Plan(
        never=(RAP_BY_OAK, Rule(item_ids=("t1",))),
        more=(rock,),
        less=(Wish(about="tag", value="JAZZ"),),
        size=Size(items=5, minutes=60),
        leanings=Leanings(energy=0.5),
        holds="always",
    )


@given(plan=PLANS)
def test_a_plan_that_asks_nothing_refines_to_what_it_refines(plan: Plan):
    try:
        assert plan.refine(Plan()) == plan.model_copy(
            update={name: tuple(dict.fromkeys(getattr(plan, name))) for name in ("only", "never")}
        )
    except ContradictionError:
        with pytest.raises(ContradictionError):
            plan.check()


def test_too_much_is_refused():
    many = Plan(never=tuple(Rule(item_ids=(f"t{number}",)) for number in range(30)))
    with pytest.raises(PlanError, match="never"):
        many.refine(Plan(never=tuple(Rule(item_ids=(f"u{number}",)) for number in range(30))))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{", "Invalid JSON"),
        ('{"only": [{}]}', "a condition names a field"),
        ('{"only": [{"years": [{}]}]}', "a range has an end"),
        ('{"only": [{"duration": {"at_least": 9, "at_most": 3}}]}', "9 is above 3"),
        ('{"more": [{"about": "content_type", "value": "song"}]}', "a content type is one of"),
        ('{"more": [{"about": "tag", "value": "x", "strength": 0}]}', "greater than 0"),
        ('{"leanings": {"energy": "0.5"}}', "valid number"),
        ('{"holds": "forever"}', "holds"),
        ('{"sql": "drop"}', "Extra inputs"),
    ],
)
def test_what_is_no_plan_is_told_with_its_place_and_without_what_was_sent(text: str, found: str):
    with pytest.raises(PlanError, match=found) as raised:
        read_plan(text, "plan.json")
    assert "forever" not in str(raised.value)
    assert "what to do" in str(raised.value)


def test_what_a_plan_needs_of_a_catalogue_is_known_beforehand():
    plan = Plan(
        only=(RAP_BY_OAK,),
        more=(Wish(about="language", value="sv"),),
        leanings=Leanings(familiarity=1.0, length=-0.5, energy=0.0),
        size=Size(minutes=30),
    )
    assert plan.fields() == {"tags", "creators", "languages", "heard", "duration"}
    assert Plan().fields() == set()
