"""The route of lists by plans: words become a plan, the plan a list, and the receipt says what became of it."""

import asyncio
from typing import TYPE_CHECKING, Protocol

import orjson
from starlette.requests import Request

from nocturne.serving.http import problems
from nocturne.serving.http.answers import steered_members
from nocturne.serving.http.cache_access import CacheAccess
from nocturne.serving.http.exposures import Exposures, Surface, exposure, new_id, steer_line
from nocturne.serving.http.metrics import Metrics
from nocturne.serving.http.problems import Violation, problem
from nocturne.serving.http.queries import Queries, SteerQuery
from nocturne.serving.http.responses import Encoded
from nocturne.serving.http.routes import LISTENER, PREVIEW, read_json
from nocturne.steering.bitmaps import MissingFieldError
from nocturne.steering.contradictions import contradictions
from nocturne.steering.parsing import Parser, ParserOf, Understanding
from nocturne.steering.plan import ContradictionError, Plan, PlanError

if TYPE_CHECKING:
    from nocturne.serving.cache.rows import ServedRow
    from nocturne.serving.cache.served_items import ServedItems
    from nocturne.serving.now_playing import Answer
    from nocturne.serving.reader import Served
    from nocturne.serving.steered import Steered, SteerRequest

SURFACE: Surface = "steer"
STEERS = "steers"


class Steers(Protocol):
    """Answers plans from one generation, as the module `nocturne.serving.steered` does."""

    def steer(self, items: "ServedItems", row: "ServedRow | None", request: "SteerRequest") -> "Steered":
        """The list of a plan, and its receipt."""


class Stands(Protocol):
    """Puts a request on top of what holds, as the module `nocturne.serving.standing` does."""

    def on_top(self, standing: Plan | None, asked: Plan) -> Plan:
        """The plan of a request."""


class Steering:
    """The handler of `POST /v1/steer` of one worker."""

    def __init__(
        self,
        cache: CacheAccess,
        answers: Steers,
        standing: Stands,
        parser_of: ParserOf,
        queries: Queries,
        metrics: Metrics,
        exposures: Exposures | None,
        steers: Exposures | None,
        max_items: int,
        max_body_bytes: int,
    ) -> None:
        """Keep what is needed.

        Args:
            parser_of: makes the parser of a generation, once for each.
            exposures: where answers are kept.
            steers: where plans that hold are kept.
        """
        self._cache = cache
        self._answers = answers
        self._standing = standing
        self._exposures = exposures
        self._steers = steers
        self._parser_of = parser_of
        self._queries = queries
        self._metrics = metrics
        self._max_items = max_items
        self._max_body_bytes = max_body_bytes
        self._parser: tuple[str, Parser] | None = None

    async def steer(self, request: Request) -> Encoded:
        """Answer with the list of a plan."""
        query = self._queries.steering(await read_json(request, self._max_body_bytes))
        request.scope[LISTENER] = query.user_id
        served = await self._cache.current()
        row = await self._cache.row(served, query.user_id)
        shown = not any(name == PREVIEW for name, _ in request.scope["headers"])
        # a large catalogue takes tens of milliseconds, which no other request should wait for
        return await asyncio.to_thread(self._answer, served, row, query, shown)

    def _answer(self, served: "Served", row: "ServedRow | None", query: SteerQuery, shown: bool) -> Encoded:
        from nocturne.serving.taste import taste_receipt

        plan, words = query.plan or Plan(), None
        try:
            if query.text is not None:
                words = self._understand(served, query.text, query.plan, query.playing)
                plan = plan.refine(words.plan)
            plan = self._standing.on_top(served.items.plan_of(query.user_id), plan)
            steered = self._answers.steer(served.items, row, self._request(query, plan))
        except ContradictionError:
            return problem(problems.IMPOSSIBLE_PLAN, violations=_contradictions(plan))
        except PlanError:
            return problem(problems.INVALID, "the plan and the text together ask for too much")
        except MissingFieldError as error:
            violation = Violation("body", f"the catalogue has no field for {error.lacking}")
            return problem(problems.IMPOSSIBLE_PLAN, violations=[violation])
        self._metrics.answered(SURFACE, steered.answer.source)
        if shown:
            self._keep(served, steered.answer, query, plan)
        taste = taste_receipt(served.items, query.user_id, plan)
        return Encoded(orjson.dumps(steered_members(served, steered, plan, words, taste)))

    def _keep(self, served: "Served", answer: "Answer", query: SteerQuery, plan: Plan) -> None:
        """Land an answer as an exposure, and with the same id the plan, if it holds longer than the session."""
        asked = new_id()
        if self._exposures is not None:
            line = exposure(served, answer, SURFACE, query.user_id, query.playing, query.market, exposure_id=asked)
            self._exposures.record(line)
        if self._steers is not None and plan.lasts:
            self._steers.record(steer_line(query.user_id, plan, asked))

    def _understand(self, served: "Served", text: str, before: Plan | None, playing: str | None) -> Understanding:
        name = served.generation.name
        if self._parser is None or self._parser[0] != name:
            self._parser = (name, self._parser_of(served.items.fields))
        number = served.items.number(playing) if playing is not None else None
        return self._parser[1].parse(text, before, None if number is None else served.items.describe(number))

    def _request(self, query: SteerQuery, plan: Plan) -> "SteerRequest":
        from nocturne.serving.steered import SteerRequest

        return SteerRequest(plan, query.playing, query.recent, query.limit, self._max_items, query.market)


def _contradictions(plan: Plan) -> list[Violation]:
    """The parts of a plan that contradict each other; nothing of them is quoted."""
    found = [Violation(f"body.plan.{each.one}", f"contradicts plan.{each.other}") for each in contradictions(plan)]
    return found or [Violation("body", "contradicts itself, the plan that it refines, or the one that holds")]
