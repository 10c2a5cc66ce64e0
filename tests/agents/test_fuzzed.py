"""Calls of any kind: a tool answers, or says what is wrong with them; nothing that nobody foresaw happens."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nocturne.agents.confirmation import Confirmations
from nocturne.agents.server import build_server
from nocturne.agents.service import Service
from tests.agents.conftest import calling

pytestmark = pytest.mark.slow

TEXTS = st.text(st.characters() | st.sampled_from("⟦⟧\\\0/'\"\n\ud800"), max_size=30) | st.sampled_from(
    [
        "ana",
        "⟦ana⟧",
        "ben",
        "2025-03-04",
        "2025-02-30",
        "bold",
        "control",
        "a" * 600,
        "⟦" + "\\u0000" * 90 + "⟧",
        "..",
        "{}",
    ]
)
DAYS = st.dates().map(str) | st.sampled_from(["2025-03-02", "2025-03-03", "2025-03-04", "yesterday", "9999-12-31"])
NUMBERS = st.integers(-5, 200)
VALUES = TEXTS | DAYS | NUMBERS | st.none() | st.booleans() | st.lists(TEXTS, max_size=3) | st.floats()
NAMED = {
    "user_id": TEXTS,
    "item_id": TEXTS,
    "playing": TEXTS,
    "recent": st.lists(TEXTS, max_size=4),
    "limit": NUMBERS,
    "run_date": DAYS,
    "last": NUMBERS,
    "rows": NUMBERS,
    "first": TEXTS,
    "second": TEXTS,
    "since": DAYS,
    "until": DAYS,
    "name": TEXTS,
    "arm": TEXTS,
    "why": TEXTS,
    "to": TEXTS,
    "confirmation": TEXTS,
    "events": NUMBERS,
    "last_nights": NUMBERS,
    "text": TEXTS,
}


@pytest.fixture(scope="module")
def asked(world):
    service = Service(world.warehouse, world.cache, world.landing)
    with calling(build_server(service, Confirmations(b"k" * 32, lambda: 0.0))) as caller:
        yield caller
    service.close()


@st.composite
def calls(draw, tools):
    tool = draw(st.sampled_from(tools))
    named = draw(
        st.fixed_dictionaries({}, optional={name: NAMED.get(name, VALUES) for name in tool.input_schema["properties"]})
    )
    for name in tool.input_schema.get("required", ()):
        named.setdefault(name, draw(NAMED.get(name, VALUES)))
    if draw(st.integers(0, 9)) == 0:
        named[draw(st.sampled_from(sorted(NAMED)))] = draw(VALUES)
    return tool.name, named


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_call_does_what_nobody_foresaw(asked, data):
    tools = asked.portal.call(asked.client.list_tools).tools
    name, arguments = data.draw(calls(tools))
    result = asked.result(name, **arguments)
    text = result.content[0].text
    assert "nobody foresaw" not in text
    assert not result.is_error or (text.isprintable() and not text.startswith("Error executing")), text
    text.encode()


@pytest.mark.parametrize("user_id", ["\0", "a" * 4096, "ana\x00", "ä" * 300])
def test_ids_that_nothing_can_have_are_answered_over_the_wire_too(ask, user_id):
    assert "no list is served to this listener" in ask.error("listen_list", user_id=user_id)
