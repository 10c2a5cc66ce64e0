"""Log of requests, without the id of anybody: a listener is told apart by a hash that only the key's owner can make."""

import hmac
import logging
from hashlib import sha256
from pathlib import Path

from nocturne.core.errors import UsageError

_log = logging.getLogger(__name__)

SHORTEST_KEY = 16


class RequestLog:
    """A line a request: route, status, milliseconds, and with a key the listener as HMAC-SHA256 of their id."""

    def __init__(self, key_file: str) -> None:
        """Read the key.

        Raises:
            UsageError: it cannot be read, or is too short.
        """
        self._key = _read_key(Path(key_file)) if key_file else None

    def write(self, route: str, status: int, seconds: float, user_id: str | None) -> None:
        """Log a request."""
        listener = f" listener={self.pseudonym(user_id)}" if user_id is not None and self._key else ""
        _log.info("%s %d %.1f ms%s", route, status, seconds * 1000, listener)

    def pseudonym(self, user_id: str) -> str:
        """First 16 digits of the keyed hash of an id; the same for the same id and key."""
        return hmac.new(self._key or b"", user_id.encode("utf-8", "surrogatepass"), sha256).hexdigest()[:16]


def _read_key(path: Path) -> bytes:
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise UsageError(
            "the key of the request log cannot be read",
            where=f"service.log_key_file = {path}",
            found=str(error.strerror),
            fix="name a file that this user may read",
        ) from None
    if len(key) < SHORTEST_KEY:
        raise UsageError(
            "the key of the request log is too short",
            where=f"service.log_key_file = {path}",
            found=f"{len(key)} bytes",
            expected=f"at least {SHORTEST_KEY}, such as `openssl rand -hex 32` makes",
        )
    return key
