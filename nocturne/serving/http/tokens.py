"""Bearer tokens: a file that may change while the service runs."""

import logging
import re
import time
from base64 import b64decode
from hashlib import sha256
from pathlib import Path

from nocturne.core.errors import UsageError

_log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{16,}")
"""Characters by RFC 6750; so many that nobody guesses them."""


class Tokens:
    """The tokens of a file, one a line; read again within a second of a change. An unreadable file lets nobody in."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            UsageError: it cannot be read, or a line is no token.
        """
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self._digests: frozenset[bytes] = frozenset()
        self._look_at = 0.0
        self._read()

    def admit(self, authorization: bytes | None) -> bool:
        """True if the header `Authorization` has a token of the file."""
        self._look_if_due()
        if authorization is None or authorization[:7].lower() != b"bearer ":
            return False
        # of a digest no time tells how much of a token was right
        return sha256(authorization[7:].strip()).digest() in self._digests

    def admit_person(self, authorization: bytes | None) -> bool:
        """The same, or a token as the password of a browser, which asks its user for one; the name may be any."""
        if authorization is None or authorization[:6].lower() != b"basic ":
            return self.admit(authorization)
        try:
            given = b64decode(authorization[6:].strip(), validate=True)
        except ValueError:
            return False
        return self.admit(b"bearer " + given.partition(b":")[2])

    def _look_if_due(self) -> None:
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._look()

    def _look(self) -> None:
        try:
            if self._state() != self._seen:
                self._read()
                _log.info("%s has changed: %d tokens are good now", self._path, len(self._digests))
        except UsageError as error:
            _log.error("nobody is let in: %s", error)
            self._digests = frozenset()

    def _read(self) -> None:
        try:
            self._seen = self._state()
            lines = self._path.read_text(encoding="ascii").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            cause = error.strerror if isinstance(error, OSError) else "not ASCII"  # which quotes what it read
            raise UsageError(
                "the tokens cannot be read",
                where=str(self._path),
                found=str(cause),
                fix="name a file that this user may read, with a token a line",
            ) from None
        tokens = [line.strip() for line in lines if line.strip()]
        odd = [
            number for number, line in enumerate(lines, start=1) if line.strip() and not _TOKEN.fullmatch(line.strip())
        ]
        if odd or not tokens:
            raise UsageError(
                "the file of tokens has a line that is no token" if odd else "the file of tokens has none",
                where=str(self._path),
                found=f"line {odd[0]}" if odd else "",
                expected="16 or more letters, digits or . _ ~ + / = - a line, as `openssl rand -hex 32` makes them",
            )
        self._digests = frozenset(sha256(token.encode()).digest() for token in tokens)

    def _state(self) -> tuple[int, ...] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ctime_ns, status.st_ino
