"""The pointer that readers follow, and the only ways in which it may move. Pure."""

import json
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import lru_cache
from typing import Any

from nocturne.errors import SettingsError


@dataclass(frozen=True)
class Generation:
    """One night's lists in the cache.

    Attributes:
        name: `<run_date>-<first 8 of the digest of the lists>`.
        run_date: night the lists were computed for.
    """

    name: str
    run_date: date


@dataclass(frozen=True)
class Pointer:
    """What is served.

    Attributes:
        served: generation that readers read.
        previous: generation that a rollback would serve; None after a rollback, so that a second
            one cannot bring back what the first took away.
        held: why the pointer must not move; None when it may.
    """

    served: Generation
    previous: Generation | None = None
    held: str | None = None

    @property
    def kept(self) -> tuple[Generation, ...]:
        """The generations that must stay in the cache."""
        return (self.served, self.previous) if self.previous else (self.served,)


def to_json(pointer: Pointer) -> bytes:
    """The pointer as the stores keep it; equal pointers have equal bytes."""
    return json.dumps(asdict(pointer), default=date.isoformat, separators=(",", ":"), ensure_ascii=False).encode()


@lru_cache(maxsize=16)  # readers parse the same few bytes for every list
def from_json(text: bytes) -> Pointer:
    """The pointer that `to_json` wrote."""
    fields = json.loads(text)
    served, previous = _generation(fields["served"]), fields["previous"]
    return Pointer(served, _generation(previous) if previous else None, fields["held"])


def _generation(fields: dict[str, Any]) -> Generation:
    return Generation(fields["name"], date.fromisoformat(fields["run_date"]))


def refusal(pointer: Pointer | None, new: Generation) -> str | None:
    """Why the pointer must not move to the new generation; None when it may."""
    if pointer is None or pointer.served == new:
        return None
    if pointer.held is not None:
        return f"held on {pointer.served.name}: {pointer.held}"
    if new.run_date < pointer.served.run_date:
        return f"backfill of an older night: {pointer.served.name} is served"
    return None


def advance(pointer: Pointer | None, new: Generation) -> Pointer:
    """Serve the new generation and keep the one served until now; the same pointer where it must not move."""
    if pointer is None:
        return Pointer(new)
    if pointer.served == new or refusal(pointer, new):
        return pointer
    return Pointer(new, previous=pointer.served)


def roll_back(pointer: Pointer | None, why: str) -> Pointer:
    """Serve the previous generation and hold the pointer there.

    Raises:
        SettingsError: no reason is given, the pointer is held already, or there is no previous generation.
    """
    if not why.strip():
        raise SettingsError("a rollback needs a reason", fix="say why: it is shown until the pointer is released")
    if pointer is None:
        raise SettingsError("there is nothing to roll back: the cache serves no generation")
    if pointer.held is not None:
        raise SettingsError(
            "the pointer is held already",
            found=f"{pointer.served.name}, held: {pointer.held}",
            fix="`nocturne release` lets it move again",
        )
    if pointer.previous is None:
        raise SettingsError(
            "there is no previous generation to roll back to",
            found=f"only {pointer.served.name}",
            fix="publish another night",
        )
    return Pointer(pointer.previous, held=why)


def release(pointer: Pointer | None) -> Pointer:
    """Let the pointer move again; the same pointer where it is not held.

    Raises:
        SettingsError: the cache serves nothing.
    """
    if pointer is None:
        raise SettingsError("there is nothing to release: the cache serves no generation")
    return replace(pointer, held=None)
