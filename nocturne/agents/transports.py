"""Transports of the server: stdio, for the program that starts it, and HTTP on this machine, with tokens."""

import logging
import signal
import socket
import sys
from typing import NoReturn

from mcp.server.mcpserver import MCPServer
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn import Config, Server

from nocturne.core.errors import ServiceError
from nocturne.serving.http.tokens import Tokens

HOST = "127.0.0.1"
PATH = "/mcp"
MOST_BODY_BYTES = 64 * 1024


class TokenGate:
    """The application behind its tokens: without one nothing is answered."""

    def __init__(self, app: ASGIApp, tokens: Tokens) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] not in {"http", "lifespan"}:
            return
        if scope["type"] == "http":
            sent = [value for name, value in scope["headers"] if name == b"authorization"]
            if not self._tokens.admit(sent[0] if sent else None):
                await _refuse(send)
                return
        await self._app(scope, receive, send)


def http_app(server: MCPServer, tokens: Tokens) -> ASGIApp:
    """The server as an application: streamable HTTP at PATH, for requests by a name of this machine with a token."""
    app = server.streamable_http_app(streamable_http_path=PATH, host=HOST, max_request_body_size=MOST_BODY_BYTES)
    return TokenGate(app, tokens)


def listen(port: int) -> socket.socket:
    """A socket on this machine's own address.

    Args:
        port: 0: any that is free.

    Raises:
        ServiceError: somebody else listens there.
    """
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise ServiceError(
            "the server cannot listen",
            where=f"{HOST}:{port}",
            found=str(error.strerror),
            fix="end what listens there, or choose another --port",
        ) from error


def serve_http(app: ASGIApp, listening: socket.socket) -> None:
    """Answer until SIGTERM or Ctrl-C."""
    config = Config(
        app,
        lifespan="on",
        ws="none",
        log_level=logging.WARNING,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, _end)  # the server sends itself the signal again when it is done
    Server(config).run([listening])


def serve_stdio(server: MCPServer) -> None:
    """Answer whoever started this process, over its stdin and stdout, until stdin ends."""
    server.run("stdio")


def _end(_signal: int, _frame: object) -> NoReturn:
    sys.exit(0)


async def _refuse(send: Send) -> None:
    body = b'{"error":"token needed: send Authorization: Bearer TOKEN"}'
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"www-authenticate", b"Bearer"),
    ]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": body})
