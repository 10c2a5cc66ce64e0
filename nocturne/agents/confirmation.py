"""Confirmations: short-lived tokens by which a person lets an agent make one change, bound to all that it is about.

A token is `<who>.<until>.<mac>`: the person, the second until which it is good, and HMAC-SHA256 over both, the action
and its arguments. Who has no key can make none, and of another action, another argument or a later time it is refused.
"""

import hmac
import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

from nocturne.core.errors import UsageError

SECONDS = 600
"""That a token is good for."""

SHORTEST_KEY = 16
_WHO = re.compile(r"[A-Za-z0-9._@-]{1,64}")

Arguments = Mapping[str, str]


class Confirmations:
    """Tokens of one key, each of which is taken once."""

    def __init__(self, key: bytes, clock: Callable[[], float]) -> None:
        """Args: clock: seconds since 1970."""
        self._key = key
        self._clock = clock
        self._spent: set[str] = set()

    def issue(self, action: str, arguments: Arguments, who: str) -> tuple[str, int]:
        """A token of a person, and the second since 1970 until which it is good.

        Raises:
            UsageError: the person has no plain name.
        """
        if not _WHO.fullmatch(who):
            raise UsageError(
                "a name of letters, digits or . _ @ - is needed", found=who, fix="name who decides with --by"
            )
        until = int(self._clock()) + SECONDS
        return f"{who}.{until}.{self._mac(action, arguments, who, str(until))}", until

    def spend(self, token: str, action: str, arguments: Arguments) -> str:
        """Take a token for what it is about, once; returns the person.

        Raises:
            UsageError: it is none, is for something else, too late, or was taken already.
        """
        named, _, mac = token.rpartition(".")
        who, _, until = named.rpartition(".")
        if not hmac.compare_digest(self._mac(action, arguments, who, until).encode(), mac.encode()):
            raise _refused("it is not for this action with these arguments")
        if int(until) < self._clock():
            raise _refused("its time is over")
        if token in self._spent:
            raise _refused("it was used already")
        self._spent.add(token)
        return who

    def _mac(self, action: str, arguments: Arguments, who: str, until: str) -> str:
        text = json.dumps([action, sorted(arguments.items()), who, until], separators=(",", ":"))
        return hmac.new(self._key, text.encode("utf-8", "surrogatepass"), sha256).hexdigest()


def make_key(path: Path) -> None:
    """A new key, in a file that is not there yet and that its owner alone may read.

    Raises:
        UsageError: the file is there, or cannot be written.
    """
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32) + "\n")
    except OSError as error:
        raise UsageError(
            "the key of confirmations cannot be written",
            where=str(path),
            found=str(error.strerror),
            fix="name a file that is not there yet, in a folder that this user may write",
        ) from error


def read_key(path: Path) -> bytes:
    """The key in a file that nobody else may read.

    Raises:
        UsageError: it cannot be read, others may read it, or it is too short.
    """
    try:
        mode, key = path.stat().st_mode, path.read_bytes().strip()
    except OSError as error:
        raise UsageError(
            "the key of confirmations cannot be read",
            where=str(path),
            found=str(error.strerror),
            fix="`nocturne mcp confirm key FILE` makes one",
        ) from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(
            "others may read the key of confirmations",
            where=str(path),
            found=f"mode {stat.S_IMODE(mode):03o}",
            expected="mode 600",
            fix="make a new key: this one may be known",
        )
    if len(key) < SHORTEST_KEY:
        raise UsageError(
            "the key of confirmations is too short",
            where=str(path),
            found=f"{len(key)} bytes",
            expected=f"at least {SHORTEST_KEY}, as `nocturne mcp confirm key FILE` makes them",
        )
    return key


def _refused(why: str) -> UsageError:
    return UsageError(
        "the confirmation is refused",
        found=why,
        fix="call the tool without one: it has the command by which a person gets another",
    )
