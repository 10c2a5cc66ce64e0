"""Errors of the service as clients get them: problem details by RFC 9457. Nothing that was sent is quoted."""

from collections.abc import Sequence
from typing import NamedTuple

import orjson

from nocturne.serving.http.responses import Encoded, Headers

PROBLEM_JSON = "application/problem+json"


class ProblemKind(NamedTuple):
    """An error that a client would handle differently from all others.

    Attributes:
        name: ends the URI that tells it apart.
        status: of the response.
        title: the same for every problem of the kind.
        example: of a detail, for the documentation.
    """

    name: str
    status: int
    title: str
    example: str

    @property
    def type(self) -> str:
        """The URI that tells it apart."""
        return f"urn:problem-type:nocturne:{self.name}"


MALFORMED = ProblemKind("malformed-request", 400, "The request cannot be read", "the body is no JSON")
TOKEN_NEEDED = ProblemKind("token-needed", 401, "A valid bearer token is needed", "send Authorization: Bearer TOKEN")
FOREIGN_HOST = ProblemKind(
    "foreign-host", 403, "Without tokens only this machine is answered", "ask for localhost or 127.0.0.1"
)
UNKNOWN_LISTENER = ProblemKind(
    "unknown-listener", 404, "No list is served to this listener", "POST /v1/now-playing answers every listener"
)
UNKNOWN_ITEM = ProblemKind("unknown-item", 404, "The generation that is served has no such item", "check the id")
NO_SUCH_ROUTE = ProblemKind("no-such-route", 404, "There is no such route", "/openapi.json has all routes")
WRONG_METHOD = ProblemKind("method-not-allowed", 405, "The route has another method", "allowed: POST")
IMPOSSIBLE_PLAN = ProblemKind(
    "plan-cannot-be-obeyed", 409, "No list can obey the plan", "drop the rules and wishes in errors"
)
BODY_TOO_LARGE = ProblemKind("body-too-large", 413, "The body is too large", "at most 65,536 bytes")
TARGET_TOO_LONG = ProblemKind("target-too-long", 414, "Path and query are too long", "at most 8,192 bytes")
NO_JSON = ProblemKind("unsupported-media-type", 415, "The body must be JSON", "send Content-Type: application/json")
INVALID = ProblemKind("invalid-request", 422, "The request is not valid", "one of its parts is, see errors")
HEADERS_TOO_LARGE = ProblemKind("headers-too-large", 431, "The headers are too large", "at most 65,536 bytes")
UNFORESEEN = ProblemKind("unforeseen", 500, "An error that nobody foresaw", "the service's log has its place")
NO_TAKEDOWNS = ProblemKind(
    "no-takedowns", 501, "This service takes nothing down", "start it with --takedown-token-file and --landing"
)
CACHE_AWAY = ProblemKind("cache-away", 503, "The serving cache does not serve now", "the cache serves nothing")


KINDS = (
    *(MALFORMED, TOKEN_NEEDED, FOREIGN_HOST, UNKNOWN_LISTENER, UNKNOWN_ITEM, NO_SUCH_ROUTE, WRONG_METHOD),
    *(IMPOSSIBLE_PLAN, BODY_TOO_LARGE, TARGET_TOO_LONG, NO_JSON, INVALID, HEADERS_TOO_LARGE, UNFORESEEN),
    *(NO_TAKEDOWNS, CACHE_AWAY),
)
"""All of them, by status."""


class Violation(NamedTuple):
    """A part of a request that is not valid: `query.limit`, `must be at most 100`."""

    where: str
    message: str


class Refused(Exception):  # noqa: N818 - an answer like others
    """A request that is answered with a problem, from wherever that was noticed."""

    def __init__(self, response: Encoded) -> None:
        super().__init__()
        self.response = response


def problem(
    kind: ProblemKind, detail: str = "", violations: Sequence[Violation] = (), headers: Headers = ()
) -> Encoded:
    """The response that tells of an error."""
    body = orjson.dumps(members(kind, detail, violations))
    return Encoded(body, kind.status, PROBLEM_JSON, headers)


def members(kind: ProblemKind, detail: str = "", violations: Sequence[Violation] = ()) -> dict[str, object]:
    """The members of a problem."""
    body: dict[str, object] = {"type": kind.type, "title": kind.title, "status": kind.status}
    if detail:
        body["detail"] = detail
    if violations:
        body["errors"] = [violation._asdict() for violation in violations]
    return body
