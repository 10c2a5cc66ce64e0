"""The application of one worker: routes under their guard, and all that starts and ends with it."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException

from nocturne.core.errors import NocturneError
from nocturne.core.service_sections import (
    CacheSettings,
    ServiceSettings,
    WordsSettings,
)
from nocturne.serving.http import problems
from nocturne.serving.http.cache_access import PATIENCE_SECONDS, CacheAccess, CacheServer, MappedCache
from nocturne.serving.http.document import Operations, complete_document
from nocturne.serving.http.exposures import Exposures
from nocturne.serving.http.guard import Guard
from nocturne.serving.http.metrics import Metrics
from nocturne.serving.http.night_pages import ROOT, NightPages
from nocturne.serving.http.page import page
from nocturne.serving.http.problems import Refused, problem
from nocturne.serving.http.queries import USUAL_ITEMS, Queries
from nocturne.serving.http.request_log import RequestLog
from nocturne.serving.http.responses import Encoded
from nocturne.serving.http.routes import CacheAway, ObeysPlans, Recommends, Routes
from nocturne.serving.http.steering import STEERS, Stands, Steering, Steers
from nocturne.serving.http.takedowns import PATH as TAKEDOWNS
from nocturne.serving.http.takedowns import TakesDown, TakingDown, take_down_in
from nocturne.serving.http.tokens import Tokens
from nocturne.steering.parsing import ParserOf, parser_of

TITLE = "Nocturne"
API_VERSION = "1"
"""Of the routes below /v1."""

ABOUT = (
    "The night's lists, and what comes next given what plays. Every answer is of one generation of the serving cache. "
    "Errors are problem details by RFC 9457."
)


class _Id(Convertor[str]):
    """An id in a path: anything but nothing, slashes and line ends too."""

    regex = "(?s:.+)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("id", _Id())


class DirectRoute(APIRoute):
    """A route whose handler checks its request itself: nothing is solved for it, and nothing of its answer encoded."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler."""
        return self.endpoint


class Standing(ObeysPlans, Stands, Protocol):
    """All that is done about plans that hold, as the module `nocturne.serving.standing` does it."""


@dataclass(frozen=True)
class Worker:
    """Makes the application of a worker, in whatever process that runs; can be pickled.

    Attributes:
        cache: its URL, with whatever password it came with: never printed.
        landing: the landing zone, for exposures; empty: none are kept.
        words: settings of what turns words into plans; None: the usual ones.
        reports: folder of the pages of nights; empty: none are shown.
        night_metrics: textfile of the newest night, shown among the metrics; empty: none is.
    """

    cache: str = field(repr=False)
    cache_settings: CacheSettings
    settings: ServiceSettings
    landing: str = ""
    words: WordsSettings | None = None
    reports: str = ""
    night_metrics: str = ""

    def __call__(self) -> Guard:
        """The application, with the cache open.

        Raises:
            UsageError: a file that the settings name cannot be read, or the URL is not understood.
        """
        from nocturne.serving import now_playing, standing, steered
        from nocturne.serving.cache import open_cache
        from nocturne.serving.http.warm_up import warm_up
        from nocturne.serving.reader import Reader

        cache, seconds = open_cache(self.cache, self.cache_settings, read_only=True), self.settings.check_seconds
        mapped = self.cache.startswith("lmdb:")
        reader = Reader(cache, seconds if mapped else 0)
        warm_up(reader)
        words = partial(parser_of, settings=self.words)
        access: CacheAccess
        if mapped:
            access = MappedCache(reader)
        else:
            from nocturne.serving.cache.redis.row_reader import RowReader

            rows = RowReader(self.cache, self.cache_settings, PATIENCE_SECONDS)
            access = CacheServer(reader, rows, seconds)
        return build_app(
            access,
            now_playing,
            steered,
            standing,
            self.settings,
            self.landing,
            words,
            self._takes_down,
            self.reports,
            self.night_metrics,
        )

    @property
    def _takes_down(self) -> TakesDown | None:
        if not (self.settings.takedown_token_file and self.landing):
            return None
        return partial(take_down_in, url=self.cache, settings=self.cache_settings, landing=self.landing)


def build_app(
    cache: CacheAccess,
    recommender: Recommends,
    steers: Steers,
    standing: Standing,
    settings: ServiceSettings,
    landing: str = "",
    words: ParserOf = parser_of,
    takes_down: TakesDown | None = None,
    reports: str = "",
    night_metrics: str = "",
) -> Guard:
    """The application of a worker.

    Args:
        cache: that is read.
        recommender: answers from what is read.
        steers: answers plans from it.
        standing: answers listeners whose plan holds.
        settings: of the service.
        landing: the landing zone, for exposures; empty: none are kept.
        words: makes the parser of a generation.
        takes_down: takes items down; None: nothing is.
        reports: folder of the pages of nights; empty: none are shown.
        night_metrics: textfile of the newest night; empty: none is shown.

    Raises:
        UsageError: a file that the settings name cannot be read.
    """
    tokens, of_takedowns, of_pages = (
        Tokens(Path(file)) if file else None
        for file in (settings.token_file, settings.takedown_token_file, settings.reports_token_file)
    )
    requests = RequestLog(settings.log_key_file) if settings.log_requests else None
    metrics = Metrics(night_metrics)
    queries = Queries(settings)
    exposures = (
        Exposures(Path(landing), settings.exposure_flush_seconds, settings.exposure_memory_mb * 2**20, metrics.exposed)
        if landing
        else None
    )
    kept = (
        Exposures(Path(landing), settings.exposure_flush_seconds, settings.exposure_memory_mb * 2**20, kind=STEERS)
        if landing
        else None
    )
    routes = Routes(cache, recommender, standing, queries, metrics, exposures, settings.max_body_bytes)
    limits = settings.max_items, settings.max_body_bytes
    steering = Steering(cache, steers, standing, words, queries, metrics, exposures, kept, *limits)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await cache.start()
        yield
        for lines in (exposures, kept):
            if lines:
                lines.close()
        await cache.close()

    app = FastAPI(
        title=TITLE,
        version=API_VERSION,
        description=ABOUT,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        exception_handlers=_error_handlers(settings),
    )
    taking_down = TakingDown(takes_down, queries, settings.max_body_bytes)
    _add_routes(app, routes, steering, taking_down, Operations(queries))
    _add_pages(app, queries, settings)
    if reports:
        _add_night_pages(app, NightPages(Path(reports)))
    return Guard(app, tokens, settings.max_target_bytes, metrics, requests, of_takedowns, of_pages)


def document(queries: Queries, app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document."""
    described = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    return complete_document(described, queries)


def _add_routes(
    app: FastAPI, routes: Routes, steering: Steering, taking_down: TakingDown, operations: Operations
) -> None:
    # in the order in which they are looked through
    for method, path, handler, operation in (
        ("GET", "/v1/listeners/{user_id:id}/list", routes.nightly_list, operations.nightly_list),
        ("POST", "/v1/now-playing", routes.now_playing, operations.now_playing),
        ("POST", "/v1/steer", steering.steer, operations.steer),
        ("POST", TAKEDOWNS, taking_down.takedown, operations.takedown),
        ("GET", "/v1/items/{item_id:id}/related", routes.related, operations.related),
        ("GET", "/v1/generations", routes.generations, operations.generations),
        ("GET", "/livez", routes.livez, operations.livez),
        ("GET", "/readyz", routes.readyz, operations.readyz),
        ("GET", "/metrics", routes.metrics, operations.metrics),
    ):
        app.router.add_api_route(
            path,
            handler,
            route_class_override=DirectRoute,
            methods=[method],
            operation_id=handler.__name__,
            description=handler.__doc__,
            response_class=Encoded,
            response_model=None,
            openapi_extra=operation(),
        )


def _add_pages(app: FastAPI, queries: Queries, settings: ServiceSettings) -> None:
    document_bytes = orjson.dumps(document(queries, app))
    usual = min(USUAL_ITEMS, settings.max_items)
    shown = page(usual, settings.max_items, needs_token=bool(settings.token_file))

    async def openapi(_request: Request) -> Encoded:
        return Encoded(document_bytes)

    async def front_page(_request: Request) -> Encoded:
        return shown

    app.add_api_route("/openapi.json", openapi, include_in_schema=False, response_model=None)
    app.add_api_route("/", front_page, include_in_schema=False, response_model=None)


def _add_night_pages(app: FastAPI, pages: NightPages) -> None:
    for path, handler in ((ROOT, pages.front), (f"{ROOT}/", pages.front), (f"{ROOT}/{{name}}", pages.page)):
        app.router.add_api_route(
            path, handler, route_class_override=DirectRoute, include_in_schema=False, response_model=None
        )


def _error_handlers(settings: ServiceSettings) -> dict[Any, Any]:
    async def refuse(_request: Request, refused: Refused) -> Encoded:
        return refused.response

    async def explain(_request: Request, error: HTTPException) -> Encoded:
        headers = tuple((name.lower().encode(), value.encode()) for name, value in (error.headers or {}).items())
        if error.status_code == problems.WRONG_METHOD.status:
            allowed = (error.headers or {}).get("Allow", "")
            return problem(problems.WRONG_METHOD, f"allowed: {allowed}", headers=headers)
        kind = problems.NO_SUCH_ROUTE if error.status_code == problems.NO_SUCH_ROUTE.status else problems.MALFORMED
        return problem(kind, kind.example, headers=headers)

    async def apologise(_request: Request, _error: Exception) -> Encoded:
        return problem(problems.UNFORESEEN, problems.UNFORESEEN.example)  # the guard logs it

    return {
        Refused: refuse,
        HTTPException: explain,
        NocturneError: CacheAway(settings.retry_after_seconds),
        Exception: apologise,
    }
