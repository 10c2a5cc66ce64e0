"""The route of takedowns: items that may not be shown any more, at once; whoever sends one needs a token of its own."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import Request

from nocturne.core.errors import UsageError
from nocturne.core.service_sections import CacheSettings
from nocturne.serving.http import problems
from nocturne.serving.http.problems import Violation, problem
from nocturne.serving.http.queries import Queries
from nocturne.serving.http.responses import Encoded
from nocturne.serving.http.routes import read_json

if TYPE_CHECKING:
    from nocturne.core.takedowns import Takedown
    from nocturne.serving.takedowns import Obeyed, TakedownRequest

PATH = "/v1/takedowns"

TakesDown = Callable[["TakedownRequest"], "Obeyed"]
"""Takes items down, in whatever cache and landing zone; waits for both."""


def take_down_in(request: "TakedownRequest", url: str, settings: CacheSettings, landing: str) -> "Obeyed":
    """Take items down in the cache of a URL, which is opened for writing for as long as that takes."""
    from nocturne.serving.cache import open_cache
    from nocturne.serving.takedowns import take_down

    with open_cache(url, settings) as cache:
        return take_down(cache, Path(landing), request)


class TakingDown:
    """The handler of `POST /v1/takedowns` of one worker."""

    def __init__(self, take_down: TakesDown | None, queries: Queries, max_body_bytes: int) -> None:
        """Args: take_down: None: this service takes nothing down."""
        self._take_down = take_down
        self._queries = queries
        self._max_body_bytes = max_body_bytes

    async def takedown(self, request: Request) -> Encoded:
        """Take items down, or lift that."""
        from nocturne.serving.takedowns import TakedownRequest

        if self._take_down is None:
            return problem(problems.NO_TAKEDOWNS, problems.NO_TAKEDOWNS.example)
        query = self._queries.takedown(await read_json(request, self._max_body_bytes))
        asked = TakedownRequest(query.item_ids, query.why, query.market, query.lift, query.unseen)
        try:
            obeyed = await asyncio.to_thread(self._take_down, asked)
        except UsageError as error:
            return problem(problems.INVALID, violations=[Violation("body", str(error).partition("\n")[0])])
        return Encoded(orjson.dumps({"version": obeyed.overlay.version, "takedowns": _shown(obeyed.words)}))


def _shown(words: "Sequence[Takedown]") -> list[dict[str, Any]]:
    return [word._asdict() for word in words]
