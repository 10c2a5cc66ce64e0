"""Responses of bytes that are encoded already."""

from collections.abc import Sequence

from starlette.responses import Response

Headers = Sequence[tuple[bytes, bytes]]

JSON = "application/json"

_ALWAYS: Headers = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


class Encoded(Response):
    """A response whose body and headers need neither encoding nor checks."""

    def __init__(self, body: bytes, status_code: int = 200, media_type: str = JSON, headers: Headers = ()) -> None:
        # not super(): it takes longer than a list takes to encode
        self.status_code = status_code
        self.background = None
        self.body = body
        self.raw_headers = [
            (b"content-type", media_type.encode()),
            (b"content-length", b"%d" % len(body)),
            *_ALWAYS,
            *headers,
        ]
