"""Routes: each checks its request, asks one generation of the cache, and answers with all from that one."""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import orjson
from starlette.requests import ClientDisconnect, Request

from nocturne.core.errors import NocturneError
from nocturne.serving.http import problems
from nocturne.serving.http.answers import encode_answer, generation_members
from nocturne.serving.http.cache_access import CacheAccess
from nocturne.serving.http.exposures import Exposures, Surface, exposure
from nocturne.serving.http.metrics import Metrics
from nocturne.serving.http.problems import Refused, problem
from nocturne.serving.http.queries import Queries, check_id
from nocturne.serving.http.responses import JSON, Encoded

if TYPE_CHECKING:
    from nocturne.core.arrays import Mask
    from nocturne.serving.because import Reason
    from nocturne.serving.cache.rows import ServedRow
    from nocturne.serving.cache.served_items import ServedItems
    from nocturne.serving.now_playing import Answer, Filters
    from nocturne.serving.reader import Served
    from nocturne.steering.plan import Plan

_log = logging.getLogger(__name__)

LISTENER = "nocturne.listener"
"""Key of a request's scope: the listener it was about, for the log, which hashes them."""

PREVIEW = b"nocturne-preview"
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
WARNING_SECONDS = 60.0


class Recommends(Protocol):
    """Answers from one generation, as the module `nocturne.serving.now_playing` does."""

    def nightly_list(self, items: "ServedItems", row: "ServedRow", filters: "Filters") -> "Answer":
        """The night's list of the listener of a row."""

    def now_playing(
        self,
        items: "ServedItems",
        row: "ServedRow | None",
        playing: str | None,
        recent: Sequence[str],
        filters: "Filters",
    ) -> "Answer":
        """The items that come next."""

    def explain(
        self,
        items: "ServedItems",
        row: "ServedRow | None",
        answer: "Answer",
        filters: "Filters",
        speakable: "Mask | None" = None,
    ) -> "Mapping[int, tuple[Reason, ...]]":
        """The heard items that carry the score of each item of an answer, by its number."""

    def related(self, items: "ServedItems", item_id: str, filters: "Filters") -> "Answer | None":
        """The items that belong with an item; None if it is unknown."""


class ObeysPlans(Protocol):
    """Answers listeners whose plan holds, as the module `nocturne.serving.standing` does."""

    def nightly_list(self, items: "ServedItems", row: "ServedRow", plan: "Plan", filters: "Filters") -> "Answer":
        """The night's list by the plan."""

    def now_playing(
        self,
        items: "ServedItems",
        row: "ServedRow | None",
        plan: "Plan",
        playing: str | None,
        recent: Sequence[str],
        filters: "Filters",
    ) -> "Answer":
        """The items that come next, by the plan."""

    def speakable(self, items: "ServedItems", plan: "Plan") -> "Mask":
        """True for items that may be named to a listener."""


class Routes:
    """Handlers of all routes of one worker."""

    def __init__(
        self,
        cache: CacheAccess,
        recommender: Recommends,
        standing: ObeysPlans,
        queries: Queries,
        metrics: Metrics,
        exposures: Exposures | None,
        max_body_bytes: int,
    ) -> None:
        self._cache = cache
        self._recommender = recommender
        self._standing = standing
        self._queries = queries
        self._metrics = metrics
        self._exposures = exposures
        self._max_body_bytes = max_body_bytes

    async def nightly_list(self, request: Request) -> Encoded:
        """Answer with the night's list of a listener."""
        scope = request.scope
        user_id = scope[LISTENER] = check_id("user_id", scope["path_params"]["user_id"])
        filters = self._queries.filters(scope["query_string"])
        served = await self._cache.current()
        row = await self._cache.row(served, user_id)
        if row is None:
            return problem(problems.UNKNOWN_LISTENER, problems.UNKNOWN_LISTENER.example)
        plan = served.items.plan_of(user_id)
        if plan is None:
            answer = self._recommender.nightly_list(served.items, row, filters)
        else:
            answer = self._standing.nightly_list(served.items, row, plan, filters)
        return self._shown(request, served, row, answer, "list", user_id, None, filters)

    async def now_playing(self, request: Request) -> Encoded:
        """Answer with what comes next."""
        body = await read_json(request, self._max_body_bytes)
        user_id, playing, recent, filters = self._queries.listening(body)
        request.scope[LISTENER] = user_id
        served = await self._cache.current()
        row = await self._cache.row(served, user_id)
        plan = served.items.plan_of(user_id)
        if plan is None:
            answer = self._recommender.now_playing(served.items, row, playing, recent, filters)
        else:
            answer = self._standing.now_playing(served.items, row, plan, playing, recent, filters)
        return self._shown(request, served, row, answer, "now_playing", user_id, playing, filters)

    async def related(self, request: Request) -> Encoded:
        """Answer with what belongs with an item."""
        item_id = check_id("item_id", request.scope["path_params"]["item_id"])
        filters = self._queries.filters(request.scope["query_string"])
        served = await self._cache.current()
        answer = self._recommender.related(served.items, item_id, filters)
        if answer is None:
            return problem(problems.UNKNOWN_ITEM, problems.UNKNOWN_ITEM.example)
        return Encoded(encode_answer(served, answer))

    async def generations(self, _request: Request) -> Encoded:
        """Answer with the history of nights."""
        served, *earlier = await self._cache.history() or (self._cache.served().generation,)
        body = {"served": generation_members(served), "earlier": [generation_members(each) for each in earlier]}
        return Encoded(orjson.dumps(body))

    async def livez(self, _request: Request) -> Encoded:
        """Answer that the process runs."""
        return Encoded(b'{"status":"alive"}')

    async def readyz(self, _request: Request) -> Encoded:
        """Answer that the cache can be read; whatever it raises is the reason why it cannot."""
        return Encoded(orjson.dumps({"status": "ready"} | generation_members(self._cache.served().generation)))

    async def metrics(self, _request: Request) -> Encoded:
        """Answer with the metrics of all workers."""
        try:
            generation = self._cache.served().generation
        except NocturneError:
            generation = None
        return Encoded(self._metrics.exposition(generation), media_type=METRICS_TYPE)

    def _shown(
        self,
        request: Request,
        served: "Served",
        row: "ServedRow | None",
        answer: "Answer",
        surface: Surface,
        user_id: str,
        playing: str | None,
        filters: "Filters",
    ) -> Encoded:
        """The response of what is shown to a listener, which is an exposure."""
        self._metrics.answered(surface, answer.source)
        because = self._because(served, row, answer, user_id, filters) if filters.because else None
        response = Encoded(encode_answer(served, answer, because))
        if self._exposures is not None and not any(name == PREVIEW for name, _ in request.scope["headers"]):
            self._exposures.record(exposure(served, answer, surface, user_id, playing, filters.market))
        return response

    def _because(
        self, served: "Served", row: "ServedRow | None", answer: "Answer", user_id: str, filters: "Filters"
    ) -> "Mapping[int, tuple[Reason, ...]]":
        plan = served.items.plan_of(user_id)
        speakable = None if plan is None else self._standing.speakable(served.items, plan)
        return self._recommender.explain(served.items, row, answer, filters, speakable)


class CacheAway:
    """Answers while the cache is away: says why, and when to ask again; logs it once a minute."""

    def __init__(self, retry_after_seconds: int) -> None:
        self._headers = ((b"retry-after", b"%d" % retry_after_seconds),)
        self._warned_at = -WARNING_SECONDS

    async def __call__(self, _request: Request, error: Exception) -> Encoded:
        """The problem, without the place of the cache."""
        if time.monotonic() - self._warned_at >= WARNING_SECONDS:
            self._warned_at = time.monotonic()
            _log.warning("requests are answered with 503: %s", error)
        return problem(problems.CACHE_AWAY, str(error).partition("\n")[0], headers=self._headers)


async def read_json(request: Request, limit: int) -> bytes:
    """The body of a request.

    Raises:
        Refused: it is not said to be JSON, or is too large.
    """
    headers = dict(request.scope["headers"])
    if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != JSON.encode():
        raise Refused(problem(problems.NO_JSON, problems.NO_JSON.example))
    too_large = f"at most {limit:,} bytes"
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length) > limit:
        raise Refused(problem(problems.BODY_TOO_LARGE, too_large))
    body, more = b"", True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > limit:
            raise Refused(problem(problems.BODY_TOO_LARGE, too_large))
    return body
