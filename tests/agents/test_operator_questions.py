"""Questions of operators and their answers, each within three calls, over both transports."""

import pytest

from tests.fixtures.agents_world import CANDIDATE, MODEL, MONDAY, SUNDAY, TUESDAY

pytestmark = pytest.mark.slow

MOST_CALLS = 3


@pytest.fixture
def tell(ask):
    """`ask`, at most three times a question."""
    ask.calls.clear()
    yield ask
    assert len(ask.calls) <= MOST_CALLS


def test_which_expectation_closed_tuesdays_gate_and_what_is_served(tell):
    told = tell("nights")
    tuesday = next(night for night in told["nights"] if night["weekday"] == "Tuesday")
    assert (tuesday["run_date"], tuesday["state"]) == (str(TUESDAY), "gate closed")
    assert told["gate"]["run_date"] == str(TUESDAY)
    assert [(each["table"], each["expectation"]) for each in told["gate"]["failed"]] == [
        ("listens", "listens_vs_recent"),
        ("ingests", "share_unusable"),
        ("ranked_lists", "share_short"),
    ]
    assert [each["run_date"] for each in told["serving"]] == [str(MONDAY)]


def test_whose_list_was_too_short(tell):
    gate = tell("nights", run_date=str(TUESDAY))["gate"]
    short = gate["failed"][2]
    assert short["has_rows"]
    assert [row["user_id"] for row in short["rows"]] == ["⟦ben⟧"]
    assert '"item_id": "c"' in short["rows"][0]["items"]


def test_what_the_rejected_lines_look_like(tell):
    unusable = tell("nights", run_date=str(TUESDAY), rows=1)["gate"]["failed"][1]
    assert unusable["rows"] == [{"reason": "⟦unparsable⟧", "file": "⟦events.jsonl⟧", "raw": "⟦{⟧"}]


def test_what_a_metric_was_on_the_nights_before(tell):
    failed = tell("nights", run_date=str(TUESDAY))["gate"]["failed"][0]
    assert (failed["observed"], failed["limit"], failed["has_rows"]) == (0.1, ">= 0.12", False)
    assert failed["before"] == [{"run_date": str(MONDAY), "observed": 1.0}, {"run_date": str(SUNDAY), "observed": 1.0}]
    assert "most of the day is missing" in failed["meaning"]


def test_whether_mondays_gate_was_open(tell):
    gate = tell("nights", run_date=str(MONDAY))["gate"]
    assert (gate["open"], gate.get("reasons", []), gate["failed"]) == (True, [], [])


def test_what_came_of_a_night_that_was_never_made(tell):
    assert "the night is not on record; found: ⟦2025-02-01⟧; expected: ⟦2025-03-02 to 2025-03-04⟧" in tell.error(
        "nights", run_date="2025-02-01"
    )


def test_what_ana_gets_and_why(tell):
    told = tell("listen_list", user_id="ana")
    assert [(each["item_id"], each["title"]) for each in told["items"][:2]] == [
        ("⟦c⟧", "⟦Window & Wave⟧"),
        ("⟦e⟧", "⟦Your Hidden Ocean⟧"),
    ]
    assert (told["source"], told["arm"], told["model_version"]) == ("als", "control", MODEL)
    assert told["receipt"] == {"run_date": str(MONDAY), "generation": "2025-03-03-20250303", "tables": {}}


def test_what_comes_next_when_c_plays(tell):
    told = tell("now_playing", user_id="⟦ana⟧", playing="⟦c⟧")
    assert "⟦c⟧" not in [each["item_id"] for each in told["items"]]
    assert told["items"][0]["item_id"] == "⟦e⟧"
    assert told["receipt"]["run_date"] == str(MONDAY)


def test_what_changed_between_monday_and_tuesday(tell):
    nights = tell("compare", first=str(MONDAY), second=str(TUESDAY))["nights"]
    assert (nights["first"]["state"], nights["second"]["state"]) == ("published", "gate_closed")
    assert nights["tables_that_differ"] == ["ranked_lists"]
    assert nights["same_settings"]
    changed = {each["name"]: (each["first"], each["second"]) for each in nights["metrics"]}
    assert changed == {
        "⟦listens.listens_vs_recent⟧": (1.0, 0.1),
        "⟦ingests.share_unusable⟧": (1.0, 0.96),
        "⟦ranked_lists.share_short⟧": (1.0, 0.5),
    }


def test_whether_the_candidate_is_better_than_the_live_model(tell):
    models = tell("compare", first=CANDIDATE[-8:], second=MODEL[-8:])["models"]
    assert (models["first"]["state"], models["second"]["state"]) == ("candidate", "live")
    ndcg = models["figures"][0]
    assert (ndcg["metric"], ndcg["difference"], ndcg["low"], ndcg["high"]) == ("ndcg@20", 0.04, 0.03, 0.05)
    turned = tell("compare", first=MODEL, second=CANDIDATE)["models"]["figures"][0]
    assert (turned["difference"], turned["low"], turned["high"]) == (-0.04, -0.05, -0.03)
    assert turned["first"] == pytest.approx(0.20)


def test_what_was_decided_on_the_experiment(tell):
    (bold,) = tell("experiments", run_date=str(TUESDAY))["experiments"]
    assert (bold["experiment"], bold["state"], bold["decision"]) == ("bold", "running", "bold: ship")


def test_why_the_rule_says_ship(tell):
    details = tell("experiments", name="bold", run_date=str(TUESDAY))["details"]
    (treatment,) = details["treatments"]
    assert (treatment["decision"], treatment["reasons"]) == ("ship", ["⟦plays improved: +14.0%⟧"])
    assert [(each["metric"], each["outcome"], each["relative"]) for each in treatment["metrics"]] == [
        ("plays", "proved", 0.14)
    ]
    assert details["hypothesis"] == "⟦Bold lists are played more.⟧"


def test_where_anas_list_comes_from_back_to_the_landing_rows(tell):
    told = tell("lineage", user_id="ana", events=2)
    assert (told["ranked_list"]["run_date"], told["ranked_list"]["served"]) == (str(MONDAY), True)
    assert told["pool"] | {"length": 2} == told["pool"]
    assert [told["pool"][name] for name in ("table", "computed_on", "row_digest")] == ["pools", str(SUNDAY), "ana"]
    assert (told["model"]["model_version"], told["model"]["live_since"]) == (MODEL, str(SUNDAY))
    assert told["interactions"]["is_what_the_pool_was_computed_from"]
    assert told["listens"] == [{"run_date": str(MONDAY), "listens": 2}, {"run_date": str(SUNDAY), "listens": 2}]
    assert [(each["event_id"], each["file"]) for each in told["events"]] == [
        (f"⟦{MONDAY}/2⟧", "⟦part-1.jsonl⟧"),
        (f"⟦{MONDAY}/1⟧", "⟦part-0.jsonl⟧"),
    ]
    assert '"item_id": "b"' in told["events"][0]["raw"]
    assert told["gaps"] == []
    assert set(told["receipt"]["tables"]) >= {"ranked_lists", "pools", "interactions", "listens", "models", "nights"}


def test_which_list_ben_would_have_had_on_tuesday(tell):
    told = tell("lineage", user_id="ben", run_date=str(TUESDAY), events=0)
    assert told["ranked_list"]["length"] == 1
    assert "served" not in told["ranked_list"]
    assert [each["listens"] for each in told["listens"]] == [1, 1, 1]


def test_whom_nobody_knows(tell):
    assert "no list is served to this listener; found: ⟦zoe⟧; what to do: check the id" in tell.error(
        "listen_list", user_id="zoe"
    )
    assert "⟦zoe⟧" in tell.error("lineage", user_id="zoe")


def test_every_answer_says_what_was_read_and_what_comes_next(tell):
    for tool, arguments in (("nights", {}), ("listen_list", {"user_id": "ben"}), ("experiments", {})):
        told = tell(tool, **arguments)
        assert told["next_step"]
        assert told["receipt"]
