"""Log of requests, without the id of anybody: a listener is told apart by a hash that only the key's owner can make."""

import logging

from nocturne.core.pseudonyms import pseudonym, read_key

_log = logging.getLogger(__name__)


class RequestLog:
    """A line a request: route, status, milliseconds, and with a key the listener as HMAC-SHA256 of their id."""

    def __init__(self, key_file: str) -> None:
        """Read the key.

        Raises:
            UsageError: it cannot be read, or is too short.
        """
        self._key = read_key(key_file)

    def write(self, route: str, status: int, seconds: float, user_id: str | None) -> None:
        """Log a request."""
        listener = f" listener={pseudonym(user_id, self._key)}" if user_id is not None and self._key else ""
        _log.info("%s %d %.1f ms%s", route, status, seconds * 1000, listener)
