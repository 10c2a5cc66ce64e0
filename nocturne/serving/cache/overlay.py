"""The overlay of a cache: takedowns that lie over whatever generation is served, under a version of their own. Pure.

Beside the takedowns a store keeps their stamp, a few bytes, which it reads in the round trip that reads the pointer:
whoever sees another stamp than they know reads the takedowns again.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any

from nocturne.core.errors import InputError
from nocturne.core.takedowns import NONE, Takedown, Takedowns


@dataclass(frozen=True)
class Overlay:
    """Takedowns that a cache obeys.

    Attributes:
        version: how many changes made them these.
    """

    version: int = 0
    takedowns: Takedowns = NONE

    @cached_property
    def content(self) -> bytes:
        """The overlay as the stores keep it; equal overlays have equal bytes."""
        fields = {"version": self.version, "takedowns": [_fields(word) for word in self.takedowns.words]}
        return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()

    @cached_property
    def stamp(self) -> bytes:
        """Bytes that no other overlay has, also of a cache that was emptied since; empty without takedowns ever."""
        return (
            b"%d-%s" % (self.version, hashlib.sha256(self.content).hexdigest()[:16].encode()) if self.version else b""
        )

    def with_words(self, words: Iterable[Takedown]) -> "Overlay":
        """The next version; the same overlay if they change nothing."""
        takedowns = self.takedowns.with_words(words)
        return self if takedowns == self.takedowns else Overlay(self.version + 1, takedowns)


NO_OVERLAY = Overlay()


def read_overlay(content: bytes | None) -> Overlay:
    """The overlay of some content; that of a cache that has none is empty.

    Raises:
        InputError: it is none, or that of another release.
    """
    if not content:
        return NO_OVERLAY
    try:
        fields = json.loads(content)
        return Overlay(fields["version"], Takedowns.of(_takedown(each) for each in fields["takedowns"]))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            "the takedowns of the serving cache cannot be read",
            found=f"{type(error).__name__}: {error}",
            expected="what this release writes",
            fix="name an empty cache, and run refresh_cache for the last night: it puts them there again",
        ) from error


def _fields(word: Takedown) -> dict[str, Any]:
    return word._asdict() | {"asked_at": word.asked_at.isoformat(), "from_night": str(word.from_night)}


def _takedown(fields: dict[str, Any]) -> Takedown:
    asked_at, from_night = datetime.fromisoformat(fields["asked_at"]), date.fromisoformat(fields["from_night"])
    return Takedown(**fields | {"asked_at": asked_at, "from_night": from_night})
