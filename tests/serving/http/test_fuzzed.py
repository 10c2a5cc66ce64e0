"""The service fuzzed through its own OpenAPI document: no request makes it fail, every answer is as documented."""

import pytest
import schemathesis
from hypothesis import given, settings
from schemathesis import GenerationMode

from nocturne.serving import now_playing, standing, steered
from nocturne.serving.cache import open_cache
from nocturne.serving.http.app import build_app
from nocturne.serving.http.cache_access import MappedCache
from nocturne.serving.http.takedowns import PATH
from nocturne.serving.reader import Reader
from tests.fixtures.fake_service import fake_app, service_settings
from tests.fixtures.served_world import serve_world

HERE = {"Host": "localhost"}
REFUSED = ["400", "404", "405", "409", "413", "414", "415", "422"]
"""Statuses of a request that breaks the document; of one that keeps to it, 404 alone, for an id that nobody has."""

PLANS = ["409", "422"]
"""Of a plan that keeps to its schema, and that nothing can obey, or that holds a range without an end."""

CONFIG = schemathesis.Config.from_dict(
    {
        "checks": {
            "negative_data_rejection": {"expected-statuses": REFUSED},
            "positive_data_acceptance": {"expected-statuses": ["2xx", "404", *PLANS]},
        }
    }
)
document = schemathesis.openapi.from_asgi("/openapi.json", fake_app(), headers=HERE, config=CONFIG)
schema = document.exclude(path=PATH)
"""All routes but that of takedowns, which a service without their tokens answers by 501 alone."""


@schema.parametrize()
@settings(max_examples=60)
def test_no_request_makes_it_fail_and_every_answer_is_as_documented(case):
    case.call_and_validate(headers=HERE)


@pytest.fixture(scope="module")
def over_a_cache(tmp_path_factory):
    """The document of a service over a real cache."""
    url = f"lmdb:{tmp_path_factory.mktemp('fuzzed') / 'cache'}"
    with open_cache(url) as cache:
        serve_world(cache)
        app = build_app(MappedCache(Reader(cache)), now_playing, steered, standing, service_settings())
        yield schemathesis.openapi.from_asgi("/openapi.json", app, headers=HERE, config=CONFIG)


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/v1/listeners/{user_id}/list", "GET"),
        ("/v1/now-playing", "POST"),
        ("/v1/steer", "POST"),
        ("/v1/items/{item_id}/related", "GET"),
    ],
)
def test_no_valid_request_makes_answers_from_a_cache_fail(over_a_cache, path, method):
    @given(case=over_a_cache[path][method].as_strategy(generation_mode=GenerationMode.POSITIVE))
    @settings(max_examples=60)
    def answer(case):
        case.call_and_validate(headers=HERE)

    answer()
