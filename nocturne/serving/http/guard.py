"""The outermost layer, plain ASGI: lets a request in or not, times it, and answers what nobody foresaw."""

import logging
from functools import lru_cache
from ipaddress import ip_address
from time import perf_counter
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nocturne.core.errors import place_of
from nocturne.serving.http import problems
from nocturne.serving.http.metrics import NO_ROUTE, Metrics
from nocturne.serving.http.night_pages import is_page
from nocturne.serving.http.problems import problem
from nocturne.serving.http.request_log import RequestLog
from nocturne.serving.http.responses import Encoded
from nocturne.serving.http.routes import LISTENER
from nocturne.serving.http.takedowns import PATH as TAKEDOWNS
from nocturne.serving.http.tokens import Tokens

_log = logging.getLogger(__name__)

OPEN_TO_ALL = frozenset({"/", "/livez", "/readyz", "/openapi.json"})
"""Paths that need no token: none of them tells anything of a listener."""


class Guard:
    """The service behind its checks."""

    def __init__(
        self,
        app: ASGIApp,
        tokens: Tokens | None,
        max_target_bytes: int,
        metrics: Metrics,
        requests: RequestLog | None,
        takedown_tokens: Tokens | None = None,
        page_tokens: Tokens | None = None,
    ) -> None:
        """The service behind its checks.

        Args:
            tokens: of those who are let in; None: whoever asks for this machine by a name of its own.
            takedown_tokens: of those who may take items down, where anybody may: no other token is good for that.
            page_tokens: of people who may see the pages of nights, and nothing else; None: who is let in may.
        """
        self.app = app
        self._tokens = tokens
        self._takedown_tokens = takedown_tokens
        self._page_tokens = page_tokens
        self._max_target_bytes = max_target_bytes
        self._metrics = metrics
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status = perf_counter(), 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await (self._refusal(scope) or self.app)(scope, receive, noted)
        except ClientDisconnect:
            pass
        except Exception as error:  # noqa: BLE001 - the last place that can answer
            _log.error("an error that nobody foresaw: %s", place_of(error))
            if not status:
                await problem(problems.UNFORESEEN, problems.UNFORESEEN.example)(scope, receive, noted)
        finally:
            if status:
                self._note(scope, status, perf_counter() - begun)

    def _refusal(self, scope: Scope) -> Encoded | None:
        """The problem of a request that is not let in; None if it is."""
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > self._max_target_bytes:
            return problem(problems.TARGET_TOO_LONG, f"at most {self._max_target_bytes:,} bytes")
        hosts = (value for name, value in scope["headers"] if name == b"host")
        if self._tokens is None and not all(map(_is_this_machine, hosts)):
            return problem(problems.FOREIGN_HOST, problems.FOREIGN_HOST.example)
        sent = next((value for name, value in scope["headers"] if name == b"authorization"), None)
        if self._page_tokens and is_page(scope["path"]):
            if not self._page_tokens.admit_person(sent):
                headers = ((b"www-authenticate", b'Basic realm="nights", charset="UTF-8"'),)
                return problem(problems.TOKEN_NEEDED, "the token of these pages is the password", headers=headers)
            return None
        of_takedowns = self._takedown_tokens is not None and scope["path"] == TAKEDOWNS
        tokens = self._takedown_tokens if of_takedowns else self._tokens
        if tokens and scope["path"] not in OPEN_TO_ALL and not tokens.admit(sent):
            challenge = b"Bearer" if sent is None else b'Bearer error="invalid_token"'
            headers = ((b"www-authenticate", challenge),)
            return problem(problems.TOKEN_NEEDED, problems.TOKEN_NEEDED.example, headers=headers)
        return None

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route: Any = scope.get("route")
        path = route.path_format if route is not None else NO_ROUTE
        self._metrics.observe(path, status, seconds)
        if self._requests is not None:
            self._requests.write(path, status, seconds, scope.get(LISTENER))


@lru_cache(maxsize=256)
def _is_this_machine(host: bytes) -> bool:
    """True for names and addresses of this machine only: a page elsewhere cannot have its own name lead here."""
    name = host.decode("latin-1").lower()
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False
