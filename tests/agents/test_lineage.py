"""Lineage where steps are missing or other ones are taken: arms, fallbacks, landing zones that are gone."""

import json
from datetime import UTC, datetime

import pytest

from nocturne.agents.lineage import lineage
from nocturne.agents.service import Service
from nocturne.core.errors import UsageError
from tests.fixtures import two_listeners
from tests.fixtures.landed_files import write_file
from tests.fixtures.two_listeners import MODEL, TONIGHT, YESTERDAY

pytestmark = pytest.mark.slow


@pytest.fixture
def tonight(night):
    made = night(TONIGHT, *two_listeners.SETTINGS)
    two_listeners.write_sound_nights(made)
    return made


def trace(night, user_id="ana", landing="", **asked):
    service = Service(night.warehouse, landing=landing)
    asked = {"run_date": TONIGHT, "last_nights": 7, "most_events": 5} | asked
    return lineage(service, user_id, asked["run_date"], asked["last_nights"], asked["most_events"], lambda *_: None)


def test_without_cache_and_landing_zone_the_tables_are_told_and_what_is_missing(tonight):
    told = trace(tonight)
    assert (told.ranked_list.served, told.pool.table, told.model.model_version) == (None, "pools", MODEL)
    assert [(each.event_id, each.file) for each in told.events] == [(f"{TONIGHT}/2", None), (f"{TONIGHT}/1", None)]
    assert told.gaps == ["landing files: this server was started without --landing"]


def test_the_pool_of_a_listener_in_an_arm_is_that_of_the_arm(tonight):
    (ana, ben), (pool, _) = two_listeners.ranked_lists(), two_listeners.pools()
    two_listeners.write(tonight, "ranked_lists", [ana | {"arm": "bold/deep"}, ben])
    of_arm = pool | {"experiment": "bold", "arm": "deep", "computed_on": YESTERDAY, "model_version": "als-deep"}
    two_listeners.write(tonight, "arm_pools", [of_arm])
    told = trace(tonight)
    assert (told.pool.table, told.pool.computed_on, told.model) == ("arm_pools", YESTERDAY, None)
    assert trace(tonight, "ben").pool.table == "pools"


def test_a_fallback_has_neither_pool_nor_ties_to_it(tonight):
    (ana, ben) = two_listeners.ranked_lists()
    two_listeners.write(tonight, "ranked_lists", [ana | {"source": "market_popular"}, ben])
    two_listeners.write(tonight, "pools", [])
    told = trace(tonight)
    assert (told.ranked_list.source, told.pool) == ("market_popular", None)
    assert told.interactions.is_what_the_pool_was_computed_from is None


def test_a_row_that_changed_since_the_pool_was_computed_is_told(tonight):
    two_listeners.write(tonight, "pools", [row | {"row_digest": "other"} for row in two_listeners.pools()])
    assert trace(tonight).interactions.is_what_the_pool_was_computed_from is False


def test_events_that_the_landing_zone_lost_are_gaps(tonight, tmp_path):
    line = '{"event_id": "2025-03-02/1", "user_id": "ana", "item_id": "a", "listened_at": "2025-03-02T12:00:00Z"}\n'
    write_file(tmp_path / "landing", "part.jsonl.gz", line)
    told = trace(tonight, landing=str(tmp_path / "landing"))
    assert [(each.event_id[-1], each.file) for each in told.events] == [("2", None), ("1", "part.jsonl.gz")]
    assert told.gaps == ["1 events are not in the landing zone any more"]
    write_file(tmp_path / "landing", "part.jsonl.gz", b"no gzip")
    told = trace(tonight, landing=str(tmp_path / "landing"))
    assert told.gaps[0] == f"landing files of {TONIGHT}: a landed file cannot be read"


def test_rows_of_parquet_have_a_file_and_no_line(tonight, tmp_path):
    import pyarrow as pa

    row = {"event_id": ["2025-03-02/2"], "user_id": ["ana"], "item_id": ["b"], "listened_at": ["2025-03-02T12:00:00Z"]}
    write_file(tmp_path / "landing", "part.parquet", pa.table(row))
    told = trace(tonight, landing=str(tmp_path / "landing"), most_events=1)
    assert [(each.file, each.raw) for each in told.events] == [("part.parquet", None)]


def test_the_night_has_to_be_known_where_nothing_is_served(tonight):
    with pytest.raises(UsageError, match="the night has to be named"):
        trace(tonight, run_date=None)


ASKED = {"not_taste": [{"tags": ["sleep"]}], "never": [{"tags": ["christmas"]}], "holds": "always"}


def ask_for(tonight, tmp_path, day, **changes):
    """Ana's plan stands on both nights, and landed on a day."""
    line = {"steer_id": "asked", "user_id": "ana", "asked_at": f"{day}T10:00:00Z", "plan": ASKED} | changes
    folder = tmp_path / "landing" / "steers" / f"date={day}" / "web"
    folder.mkdir(parents=True)
    other = line | {"steer_id": "other", "asked_at": f"{day}T09:00:00Z"}
    (folder / "part-000000.jsonl").write_text("{\n" + "".join(json.dumps(each) + "\n" for each in (other, line)))
    row = {"user_id": "ana", "steer_id": "asked", "asked_at": datetime(2025, 3, 1, 10, tzinfo=UTC), "digest": "d"}
    for night in (YESTERDAY, TONIGHT):
        two_listeners.write(
            tonight.on(night), "steers", [row | {"run_date": night, "plan": json.dumps(ASKED), "holds_until": None}]
        )
    (ana, _) = two_listeners.interactions()
    told = {"not_taste": "[]", "asked_on": YESTERDAY, "listens": 3, "older": True}
    two_listeners.write(tonight, "set_aside", [{name: ana[name] for name in ana if name != "bucket"} | told])
    return json.dumps(line)


def test_a_plan_that_holds_leads_back_to_its_line(tonight, tmp_path):
    line = ask_for(tonight, tmp_path, YESTERDAY)
    told = trace(tonight, landing=str(tmp_path / "landing"))
    plan = told.plan
    assert (plan.digest, plan.steer_id, plan.taken_in, plan.holds_until) == ("d", "asked", YESTERDAY, None)
    assert (plan.file, plan.raw) == ("web/part-000000.jsonl", line)
    assert told.plan.in_words.startswith("Never items tagged christmas.")
    assert told.pool.rankable == two_listeners.pools()[0]["rankable"]
    assert told.set_aside.model_dump() == {"asked_on": YESTERDAY, "listens": 3, "older": True}
    without = trace(tonight, "ben", landing=str(tmp_path / "landing"))
    assert (without.plan, without.set_aside) == (None, None)


def test_a_plan_that_the_landing_zone_lost_is_a_gap(tonight, tmp_path):
    ask_for(tonight, tmp_path, YESTERDAY, steer_id="yet another")
    told = trace(tonight, landing=str(tmp_path / "landing"))
    assert (told.plan.steer_id, told.plan.file) == ("asked", None)
    assert "the plan is not in the landing zone any more" in told.gaps
    assert trace(tonight).plan.raw is None
