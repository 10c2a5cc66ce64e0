"""The OpenAPI document: the one in docs is that of the service, and its examples are what the service would say."""

import json

import pytest
from jsonschema import Draft202012Validator

from docs.tools.document_service import openapi_document
from nocturne.serving.http import problems
from tests.docs.pages import ROOT
from tests.fixtures.fake_service import ask, fake_app

DOCUMENT = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))
OPERATIONS = {
    f"{method} {path}": operation for path, of in DOCUMENT["paths"].items() for method, operation in of.items()
}


def resolved(schema):
    """A schema with everything that it refers to."""
    return {**schema, "components": DOCUMENT["components"]}


def response_of(response):
    return DOCUMENT["components"]["responses"][response["$ref"].rpartition("/")[2]] if "$ref" in response else response


def test_the_document_in_docs_is_that_of_the_service():
    assert (ROOT / "docs" / "openapi.json").read_text(encoding="utf-8") == openapi_document() + "\n", "make docs"
    assert ask(fake_app(), "GET", "/openapi.json").json() == DOCUMENT


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_every_answer_has_an_example_that_keeps_to_its_schema(operation):
    for status, response in operation["responses"].items():
        for content in response_of(response)["content"].values():
            Draft202012Validator(resolved(content["schema"])).validate(content["example"])
            assert status == "200" or content["example"]["status"] == int(status)


def test_the_example_of_a_body_keeps_to_its_schema():
    content = OPERATIONS["post /v1/now-playing"]["requestBody"]["content"]["application/json"]
    Draft202012Validator(resolved(content["schema"])).validate(content["example"])


def test_every_problem_is_documented_once():
    documented = set(DOCUMENT["components"]["responses"])
    assert documented == {kind.name for kind in problems.KINDS}
    assert len({kind.type for kind in problems.KINDS}) == len(problems.KINDS)


def test_every_problem_but_of_an_unknown_route_belongs_to_a_route():
    used = {
        response["$ref"].rpartition("/")[2]
        for operation in OPERATIONS.values()
        for response in operation["responses"].values()
        if "$ref" in response
    }
    assert {kind.name for kind in problems.KINDS} - used == {problems.NO_SUCH_ROUTE.name}


def test_a_description_of_every_route_and_parameter_is_given():
    for operation in OPERATIONS.values():
        assert operation["summary"]
        assert operation["description"]
        assert all(parameter["description"] for parameter in operation.get("parameters", ()))
