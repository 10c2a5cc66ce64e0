"""Pseudonyms: what stands for the id of a listener where people read, the same in logs and on pages."""

import hmac
from hashlib import sha256
from pathlib import Path

from nocturne.core.errors import UsageError

SHORTEST_KEY = 16


def pseudonym(user_id: str, key: bytes) -> str:
    """First 16 digits of HMAC-SHA256 of an id: only who has the key can tell whose it is."""
    return hmac.new(key, user_id.encode("utf-8", "surrogatepass"), sha256).hexdigest()[:16]


def read_key(file: str) -> bytes | None:
    """The key in the file that `service.log_key_file` names; None if it names none.

    Raises:
        UsageError: it cannot be read, or is too short.
    """
    if not file:
        return None
    path = Path(file)
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
