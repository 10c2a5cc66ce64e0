"""Tools on nights that were really run: a spoilt table is found with its rows, a list leads back to what landed."""

import json

import pyarrow as pa
import pytest

from nocturne.agents.server import build_server
from nocturne.agents.service import Service
from nocturne.core.errors import GateClosed
from nocturne.pipeline.runner import run_validation
from nocturne.storage import tables, writing
from nocturne.storage.warehouse import with_stored_settings
from tests.agents.conftest import calling
from tests.fixtures.simulated_service import NIGHTS

pytestmark = pytest.mark.slow
LAST = NIGHTS - 1


@pytest.fixture
def ask_copied(copied):
    service = Service(with_stored_settings(copied.night(LAST).warehouse), copied.cache, copied.night(LAST).landing)
    with calling(build_server(service)) as caller:
        yield caller
    service.close()


def test_a_listener_with_two_lists_closes_the_gate_and_is_named(spark, copied, ask_copied):
    night = copied.night(LAST)
    rows = tables.night_rows(night, "ranked_lists")
    twice = rows["user_id"][0].as_py()
    writing.replace_night(pa.concat_tables([rows, rows.slice(0, 1)]), "ranked_lists", night)
    with pytest.raises(GateClosed):
        run_validation(spark, night, ["ranked_lists"], close=True)
    told = ask_copied("nights", last=3)
    assert [each["state"] for each in told["nights"]] == ["gate closed", "published", "published"]
    assert told["gate"]["run_date"] == str(night.run_date)
    duplicate = next(each for each in told["gate"]["failed"] if each["expectation"] == "duplicate_keys")
    assert [row["user_id"] for row in duplicate["rows"]] == [f"⟦{twice}⟧"]
    compared = ask_copied("compare", first=str(copied.night(LAST - 1).run_date), second=str(night.run_date))["nights"]
    assert compared["second"]["state"] == "gate_closed"
    assert "listens" in compared["tables_that_differ"]


def test_a_list_leads_back_to_every_row_that_landed(copied, ask_copied):
    night = copied.night(LAST)
    listens = tables.night_rows(night, "listens", ["user_id", "event_id"]).to_pylist()
    user = listens[0]["user_id"]
    listed = ask_copied("listen_list", user_id=user, limit=20)
    told = ask_copied("lineage", user_id=user, events=20, last_nights=1)
    assert told["ranked_list"]["served"]
    assert told["ranked_list"]["head"][0]["item_id"] == listed["items"][0]["item_id"]
    assert told["interactions"]["is_what_the_pool_was_computed_from"]
    assert told["gaps"] == []
    expected = {row["event_id"] for row in listens if row["user_id"] == user}
    assert told["listens"] == [{"run_date": str(night.run_date), "listens": len(expected)}]
    assert {each["event_id"].strip("⟦⟧") for each in told["events"]} == expected
    for each in told["events"]:
        assert each["file"]
        if "raw" in each and each["raw"].endswith("}⟧"):
            assert json.loads(each["raw"].strip("⟦⟧"))["event_id"] == each["event_id"].strip("⟦⟧")


def test_models_are_scored_anew_on_nights_that_were_heard(copied, ask_copied):
    models = sorted(tables.rows(copied.night(LAST).warehouse, "models").to_pylist(), key=lambda row: row["run_date"])
    first, second = models[0]["model_version"], models[1]["model_version"]
    assert "never compared" in ask_copied("compare", first=first, second=second)["next_step"]
    steps = []

    async def note(done, of, message):
        steps.append((done, of, message))

    async def score():
        arguments = {"first": first, "second": second, "since": str(copied.night(0).run_date)}
        return await ask_copied.client.call_tool("compare", arguments, progress_callback=note)

    figures = ask_copied.portal.call(score).structured_content["models"]["figures"]
    assert {each["metric"] for each in figures} >= {"ndcg@20", "recall@20"}
    assert all(each["low"] <= each["difference"] <= each["high"] for each in figures)
    assert steps[0][0] == 0
    assert steps[0][2].startswith("lists of ")
