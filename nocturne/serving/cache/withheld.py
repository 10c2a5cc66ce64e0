"""Withheld listeners: whoever was erased has no list from that moment on, whatever generations still hold. Pure.

A store keeps one value a listener, under a digest of their id: the generations in which nothing of them is read any
more. It is there until these are rewritten, or gone.
"""

from collections.abc import Collection
from hashlib import blake2b

EVERY = b"*"
"""Every generation, also one that is being loaded."""


def digest_of(user_id: str) -> str:
    """The digest that a listener is withheld under."""
    return blake2b(user_id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def value_of(generations: Collection[str] | None) -> bytes:
    """The value of a listener withheld in some generations; in every one if None."""
    return EVERY if generations is None else "\n".join(sorted(generations)).encode()


def generations_of(value: bytes) -> frozenset[str] | None:
    """The generations of a value; None: every one."""
    return None if value == EVERY else frozenset(value.decode().splitlines())


def bars(value: bytes | None, generation: str) -> bool:
    """True if a listener of this value must not be read from a generation; without a value they may."""
    if value is None:
        return False
    names = generations_of(value)
    return names is None or generation in names
