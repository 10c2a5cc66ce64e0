"""HTTP on a connection: uvicorn's protocol, with a limit on heads and with problem details for what is no HTTP."""

import asyncio
from typing import cast

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from nocturne.serving.http.problems import HEADERS_TOO_LARGE, MALFORMED, PROBLEM_JSON, ProblemKind, members
from nocturne.serving.joined_writes import JoinedWrites

MOST_HEAD_BYTES = 65_536
"""Of a request's first line and headers; uvicorn and its parser have no limit."""


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; head and body of an answer are written as one."""
        super().connection_made(cast("asyncio.Transport", JoinedWrites(transport)))

    def data_received(self, data: bytes) -> None:
        """Take bytes in; a head that does not end is not gathered for ever."""
        if self._head_bytes > MOST_HEAD_BYTES:
            self._unset_keepalive_if_required()
            self._refuse(HEADERS_TOO_LARGE, f"at most {MOST_HEAD_BYTES:,} bytes")
            return
        self._head_bytes += len(data)
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """Begin to answer: the head is whole."""
        self._head_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body in, which has a limit of its own."""
        self._head_bytes = 0
        super().on_body(body)

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: the request is answered as if it asked for no upgrade, and whoever asks could fill the log."""

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._refuse(MALFORMED, msg)

    def _refuse(self, kind: ProblemKind, detail: str) -> None:
        """Answer with a problem, and hang up."""
        if self.transport.is_closing():
            return
        body = orjson.dumps(members(kind, detail))
        head = [
            STATUS_LINE[kind.status],
            b"content-type: %s\r\n" % PROBLEM_JSON.encode(),
            b"content-length: %d\r\n" % len(body),
            b"connection: close\r\n\r\n",
        ]
        self.transport.write(b"".join([*head, body]))
        self.transport.close()
