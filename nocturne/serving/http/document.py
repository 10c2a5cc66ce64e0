"""The OpenAPI document: every route with its parameters, answers and errors, each with an example."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from nocturne.serving.http import problems
from nocturne.serving.http.problems import KINDS, PROBLEM_JSON, ProblemKind, Violation, members
from nocturne.serving.http.queries import LONGEST_ID, Queries, TakedownQuery
from nocturne.serving.http.responses import JSON
from nocturne.serving.http.schema import (
    GENERATION_EXAMPLE,
    GENERATIONS_EXAMPLE,
    LIST_EXAMPLE,
    NOW_PLAYING_EXAMPLE,
    RELATED_EXAMPLE,
    STEER_EXAMPLE,
    TAKEDOWNS_EXAMPLE,
    Alive,
    AnswerShown,
    GenerationsShown,
    ProblemShown,
    Ready,
    SteeredShown,
    TakedownsShown,
)

Json = dict[str, Any]

EVERYWHERE = (
    problems.FOREIGN_HOST,
    problems.WRONG_METHOD,
    problems.TARGET_TOO_LONG,
    problems.HEADERS_TOO_LARGE,
    problems.UNFORESEEN,
)
"""Problems that any route may answer with."""

_REF = "#/components/schemas/{model}"
_RETRY = {"Retry-After": {"description": "Seconds after which to ask again", "schema": {"type": "integer"}}}
_CHALLENGE = {"WWW-Authenticate": {"description": "The scheme of the token", "schema": {"type": "string"}}}
_ALLOW = {"Allow": {"description": "The methods of the route", "schema": {"type": "string"}}}
_HEADERS = {problems.CACHE_AWAY: _RETRY, problems.TOKEN_NEEDED: _CHALLENGE, problems.WRONG_METHOD: _ALLOW}
_VIOLATIONS = {
    problems.INVALID: Violation("query.limit", "Input should be less than or equal to 100"),
    problems.IMPOSSIBLE_PLAN: Violation("body.plan.only.0", "contradicts plan.never.1"),
}
_PREVIEW = {
    "name": "Nocturne-Preview",
    "in": "header",
    "required": False,
    "description": "Whatever its value: the answer is for nobody who listens, is no exposure, and no plan is kept",
    "schema": {"type": "string"},
}


class Operations:
    """The description of each route, as FastAPI takes it in."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    def nightly_list(self) -> Json:
        """Of the night's list."""
        return self._operation(
            "The night's list of a listener",
            {JSON: {"schema": _reference(AnswerShown), "example": LIST_EXAMPLE}},
            (problems.MALFORMED, problems.UNKNOWN_LISTENER, problems.INVALID, problems.CACHE_AWAY),
            [_path("user_id", "The listener, as in their events", "u00000007"), *self._filters(), _PREVIEW],
        )

    def now_playing(self) -> Json:
        """Of what comes next."""
        return self._operation(
            "What comes next for a listener, given what plays",
            {JSON: {"schema": _reference(AnswerShown), "example": NOW_PLAYING_EXAMPLE}},
            (
                *(problems.MALFORMED, problems.BODY_TOO_LARGE, problems.NO_JSON),
                *(problems.INVALID, problems.CACHE_AWAY),
            ),
            [_PREVIEW],
        ) | {
            "requestBody": {
                "required": True,
                "content": {
                    JSON: {
                        "schema": _reference(self._queries.of_now_playing),
                        "example": {"user_id": "u00000007", "playing": "t0000697", "recent": ["t0000542"], "limit": 10},
                    }
                },
            }
        }

    def steer(self) -> Json:
        """Of lists by plans."""
        of_bodies = (problems.MALFORMED, problems.BODY_TOO_LARGE, problems.NO_JSON, problems.INVALID)
        plan = {"never": [{"tags": ["christmas"]}], "more": [{"about": "tag", "value": "jazz"}]}
        operation = self._operation(
            "A list by a plan, or by words that become one, with a receipt",
            {JSON: {"schema": _reference(SteeredShown), "example": STEER_EXAMPLE}},
            (*of_bodies, problems.IMPOSSIBLE_PLAN, problems.CACHE_AWAY),
            [_PREVIEW],
        )
        operation["requestBody"] = {
            "required": True,
            "content": {
                JSON: {
                    "schema": _reference(self._queries.of_steering),
                    "example": {"user_id": "u00000007", "text": "ten songs", "plan": plan},
                }
            },
        }
        return operation

    def takedown(self) -> Json:
        """Of takedowns."""
        of_bodies = (problems.MALFORMED, problems.BODY_TOO_LARGE, problems.NO_JSON, problems.INVALID)
        operation = self._operation(
            "Items that may not be shown any more, from this moment on, or may be again",
            {JSON: {"schema": _reference(TakedownsShown), "example": TAKEDOWNS_EXAMPLE}},
            (*of_bodies, problems.NO_TAKEDOWNS, problems.CACHE_AWAY),
        )
        operation["security"] = [{"takedown_token": []}]
        operation["requestBody"] = {
            "required": True,
            "content": {
                JSON: {
                    "schema": _reference(TakedownQuery),
                    "example": {"item_ids": ["t0000542"], "why": "court order 17/25"},
                }
            },
        }
        return operation

    def related(self) -> Json:
        """Of related items."""
        return self._operation(
            "Items that belong with an item",
            {JSON: {"schema": _reference(AnswerShown), "example": RELATED_EXAMPLE}},
            (problems.MALFORMED, problems.UNKNOWN_ITEM, problems.INVALID, problems.CACHE_AWAY),
            [_path("item_id", "The item, as in the catalogue", "t0000697"), *self._filters()],
        )

    def generations(self) -> Json:
        """Of the history of nights."""
        return self._operation(
            "The generation that is served, and those that a rollback could serve",
            {JSON: {"schema": _reference(GenerationsShown), "example": GENERATIONS_EXAMPLE}},
            (problems.CACHE_AWAY,),
        )

    def livez(self) -> Json:
        """Of liveness."""
        content = {JSON: {"schema": _reference(Alive), "example": {"status": "alive"}}}
        return self._operation("Whether the process runs", content, open_to_all=True)

    def readyz(self) -> Json:
        """Of readiness."""
        example = {"status": "ready"} | GENERATION_EXAMPLE
        content = {JSON: {"schema": _reference(Ready), "example": example}}
        return self._operation("Whether it can serve", content, (problems.CACHE_AWAY,), open_to_all=True)

    def metrics(self) -> Json:
        """Of the metrics."""
        content = {"text/plain": {"schema": {"type": "string"}, "example": "nocturne_ready 1.0\n"}}
        return self._operation("Metrics for Prometheus, of all workers", content)

    def _operation(
        self,
        summary: str,
        content: Json,
        kinds: Sequence[ProblemKind] = (),
        parameters: Sequence[Json] = (),
        *,
        open_to_all: bool = False,
    ) -> Json:
        kinds = [*kinds, *EVERYWHERE, *(() if open_to_all else (problems.TOKEN_NEEDED,))]
        failures = {
            str(kind.status): {"$ref": f"#/components/responses/{kind.name}"}
            for kind in sorted(kinds, key=lambda kind: kind.status)
        }
        operation: Json = {
            "summary": summary,
            "responses": {"200": {"description": summary, "content": content}} | failures,
            "security": [{}] if open_to_all else [{"token": []}, {}],
        }
        return operation | ({"parameters": list(parameters)} if parameters else {})

    def _filters(self) -> list[Json]:
        """The parameters of the query string."""
        properties: Mapping[str, Json] = self._queries.of_lists.model_json_schema()["properties"]
        parameters = []
        for name, schema in properties.items():
            schema.pop("title", None)
            present: Json = next((each for each in schema.pop("anyOf", ()) if each.get("type") != "null"), {})
            if present:  # a parameter that is not given has no value; null is none
                schema.pop("default", None)
            parameters.append(
                {
                    "name": name,
                    "in": "query",
                    "required": False,
                    "description": schema.pop("description"),
                    "schema": schema | present,
                }
            )
        return parameters


def complete_document(document: Json, queries: Queries) -> Json:
    """The document with the schemas and the problems that routes refer to, and the scheme of the tokens."""
    models: list[tuple[type[BaseModel], Any]] = [
        (model, "serialization") for model in (AnswerShown, SteeredShown, GenerationsShown, Alive, Ready, ProblemShown)
    ]
    models += [(queries.of_now_playing, "validation"), (queries.of_steering, "validation")]
    models += [(TakedownsShown, "serialization"), (TakedownQuery, "validation")]
    _, definitions = models_json_schema(models, ref_template=_REF)
    return document | {
        "components": {
            "schemas": dict(sorted(definitions["$defs"].items())),
            "responses": {kind.name: _response(kind) for kind in KINDS},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of `service.token_file`; without such a file none is asked for",
                },
                "takedown_token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of `service.takedown_token_file`; without one nothing is taken down",
                },
            },
        }
    }


def _reference(model: type[BaseModel]) -> Json:
    return {"$ref": _REF.format(model=model.__name__)}


def _response(kind: ProblemKind) -> Json:
    example = members(kind, kind.example, [_VIOLATIONS[kind]] if kind in _VIOLATIONS else ())
    content = {PROBLEM_JSON: {"schema": _reference(ProblemShown), "example": example}}
    headers = _HEADERS.get(kind)
    return {"description": kind.title, "content": content} | ({"headers": headers} if headers else {})


def _path(name: str, description: str, example: str) -> Json:
    """An id in the path; its slashes may be percent-encoded or not."""
    schema = {"type": "string", "minLength": 1, "maxLength": LONGEST_ID}
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": schema,
        "example": example,
    }
