"""Tombstones: keyed hashes that know an erased listener again, and the key that makes them.

Whoever has the hashes and not the key cannot try ids. The key is in no table, message or log.
"""

import hmac
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from nocturne.core.arrays import Mask
from nocturne.core.errors import UsageError
from nocturne.core.sections import Section

KEY_VARIABLE = "NOCTURNE_ERASURE_KEY"
SHORTEST_KEY = 32
_PROBE = b"nocturne: the key of erasures"
_TOKEN = re.compile(r"[\w@.+:/=~-]+")
_EDGES = ".:/=-~+@"


class ErasureSettings(Section):
    """The erasure of listeners."""

    key_file: Annotated[
        str,
        Field(
            description="file whose content is the key of tombstones, at least 32 bytes; empty: the environment "
            "variable NOCTURNE_ERASURE_KEY is the key. The same for the life of a warehouse"
        ),
    ]


@dataclass(frozen=True)
class ErasureKey:
    """The key of tombstones; it prints as nothing."""

    secret: bytes = field(repr=False)

    @classmethod
    def of(cls, settings: ErasureSettings) -> "ErasureKey":
        """The key that settings or the environment name.

        Raises:
            UsageError: there is none, it cannot be read, or it is too short.
        """
        named = f"erasure.key_file = {settings.key_file}" if settings.key_file else KEY_VARIABLE
        try:
            content = Path(settings.key_file).read_bytes() if settings.key_file else os.environb.get(_VARIABLE, b"")
        except OSError as error:
            raise UsageError("the key of erasures cannot be read", where=named, found=str(error.strerror)) from None
        secret = content.strip()
        if len(secret) < SHORTEST_KEY:
            raise UsageError(
                "the key of erasures is too short" if secret else "there is no key of erasures",
                where=named,
                found=f"{len(secret)} bytes",
                expected=f"at least {SHORTEST_KEY}, such as `openssl rand -hex 32` makes",
                fix=f"name its file in erasure.key_file, or set {KEY_VARIABLE}; keep it as long as the warehouse",
            )
        return cls(secret)

    @property
    def key_id(self) -> str:
        """Digits that tell the key from another one, and nothing else of it."""
        return hmac.digest(self.secret, _PROBE, sha256).hex()[:8]

    def tombstone(self, user_id: str) -> str:
        """HMAC-SHA256 of an id, in hexadecimal digits."""
        return hmac.digest(self.secret, user_id.encode("utf-8", "surrogatepass"), sha256).hex()


_VARIABLE = KEY_VARIABLE.encode()


@dataclass(frozen=True)
class Tombstones:
    """Listeners who were erased, and since when.

    Attributes:
        key: None if nobody was.
        instants: by keyed hash, the last time that the listener was erased: what is of before may not come back.
    """

    key: ErasureKey | None = None
    instants: Mapping[str, datetime] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """True if anybody was erased."""
        return bool(self.instants)

    def instant(self, user_id: str | None) -> datetime | None:
        """The time up to which nothing of a listener is taken in; None for who was never erased."""
        return self.instants.get(self.key.tombstone(user_id)) if self.key and user_id else None

    def is_erased(self, user_id: str | None, at: datetime | None) -> bool:
        """True for what an erased listener did before; and for what has no time, which may be of before."""
        instant = self.instant(user_id)
        return instant is not None and (at is None or at < instant)

    def are_erased(self, user_ids: pa.Array, times: pa.Array) -> Mask:
        """The same of many rows: ids as text, times in UTC, either may be null."""
        encoded = user_ids.dictionary_encode()
        instants = [self.instant(each) for each in encoded.dictionary.to_pylist()]
        if not any(instants):
            return np.zeros(len(user_ids), bool)
        of_row = pa.array(instants, times.type).take(encoded.indices)
        before = pc.fill_null(pc.less(times, of_row), True)
        return np.asarray(pc.and_(pc.is_valid(of_row), before).to_numpy(zero_copy_only=False))

    def name_one(self, texts: Sequence[str | None]) -> Mask:
        """True for texts in which the id of an erased listener stands as a word of its own."""
        return np.array([any(self.instant(word) for word in words(text or "")) for text in texts], bool)


def words(text: str) -> Iterable[str]:
    """The runs of characters of a text that may be ids, with and without the punctuation at their ends."""
    for run in _TOKEN.findall(text):
        yield run
        if (trimmed := run.strip(_EDGES)) != run:
            yield trimmed


def names(text: str, user_id: str) -> bool:
    """True if an id stands in a text, and is not part of a longer word."""
    return _standing_alone(user_id).search(text) is not None


def _standing_alone(user_id: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(user_id)}(?!\w)")


def without_names(text: str, user_ids: Iterable[str], instead: str) -> str:
    """A text with something else in place of ids."""
    for user_id in user_ids:
        text = _standing_alone(user_id).sub(instead, text)
    return text
