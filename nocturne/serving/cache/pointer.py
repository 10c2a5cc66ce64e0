"""The pointer that readers follow, and the only moves it may make. Pure."""

import json
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from typing import Any

from nocturne.core.errors import InputError, UsageError


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
    """The generation that is served, and those that a rollback may serve instead.

    Attributes:
        served: generation that readers read.
        earlier: generations that a rollback may serve, the one before first; what a rollback took away is not
            among them, so that a second one cannot bring it back.
        frozen_reason: why the pointer must not move, as after a rollback; None when it may.
        version: how many moves made it this, counted from 1; what `nights` records says the same.
        warehouse: where the manifests of these generations are.
    """

    served: Generation
    earlier: tuple[Generation, ...] = ()
    frozen_reason: str | None = None
    version: int = 1
    warehouse: str = ""

    @property
    def retained(self) -> tuple[Generation, ...]:
        """The generations that must stay in the cache."""
        return (self.served, *self.earlier)


def to_json(pointer: Pointer) -> bytes:
    """The pointer as the stores keep it; equal pointers have equal bytes."""
    fields = {
        "served": _fields(pointer.served),
        "earlier": [_fields(generation) for generation in pointer.earlier],
        "held": pointer.frozen_reason,
        "move": pointer.version,
        "warehouse": pointer.warehouse,
    }
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


@lru_cache(maxsize=16)  # readers parse the same few bytes for every list
def from_json(text: bytes) -> Pointer:
    """The pointer that `to_json` wrote.

    Raises:
        InputError: it is none, or that of another release.
    """
    try:
        fields = json.loads(text)
        served, *earlier = (_generation(each) for each in (fields["served"], *fields["earlier"]))
        return Pointer(served, tuple(earlier), fields["held"], fields["move"], fields["warehouse"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            "the pointer of the serving cache cannot be read",
            found=f"{type(error).__name__}: {error}",
            expected="what this release writes",
            fix="name an empty cache, and run refresh_cache for the last night",
        ) from error


def _fields(generation: Generation) -> dict[str, str]:
    return {"name": generation.name, "run_date": generation.run_date.isoformat()}


def _generation(fields: dict[str, Any]) -> Generation:
    return Generation(fields["name"], date.fromisoformat(fields["run_date"]))


def refusal(pointer: Pointer | None, new: Generation) -> str | None:
    """Why the pointer must not move to the new generation; None when it may."""
    if pointer is None or pointer.served == new:
        return None
    if pointer.frozen_reason is not None:
        return f"held on {pointer.served.name}: {pointer.frozen_reason}"
    if new.run_date < pointer.served.run_date:
        return f"backfill of an older night: {pointer.served.name} is served"
    return None


def advance(pointer: Pointer | None, new: Generation, warehouse: str, keep: int, recorded_version: int = 0) -> Pointer:
    """Serve the new generation and retain the ones served until now; the same pointer where it must not move.

    Args:
        keep: generations that stay in the cache, the new one among them.
        recorded_version: version of the last pointer on record, if the cache may have lost it.
    """
    if pointer is None:
        return Pointer(new, version=recorded_version + 1, warehouse=warehouse)
    if pointer.served == new or refusal(pointer, new):
        return pointer
    earlier = tuple(generation for generation in pointer.retained if generation != new)[: keep - 1]
    return Pointer(new, earlier, version=_next_version(pointer, recorded_version), warehouse=warehouse)


def roll_back(pointer: Pointer | None, why: str, to: str | None = None) -> Pointer:
    """Serve an earlier generation and freeze the pointer there.

    Args:
        why: shown until the pointer is unfrozen.
        to: its name; by default the one before.

    Raises:
        UsageError: no reason is given, the pointer is frozen already, or there is no such generation.
    """
    if not why.strip():
        raise UsageError("a rollback needs a reason", fix="say why: it is shown until the pointer is released")
    if pointer is None:
        raise UsageError("there is nothing to roll back: the cache serves no generation")
    if pointer.frozen_reason is not None:
        raise UsageError(
            "the pointer is held already",
            found=f"{pointer.served.name}, held: {pointer.frozen_reason}",
            fix="`nocturne release` lets it move again",
        )
    names = [generation.name for generation in pointer.earlier]
    target_name = to or next(iter(names), None)
    if target_name not in names:
        raise UsageError(
            "there is no such generation to roll back to" if to else "there is no previous generation to roll back to",
            found=to or f"only {pointer.served.name}",
            expected=f"one of {', '.join(names)}" if names else "",
            fix="`nocturne served` lists them" if names else "publish another night",
        )
    target, *earlier = pointer.earlier[names.index(str(target_name)) :]
    return Pointer(
        target, tuple(earlier), frozen_reason=why, version=_next_version(pointer), warehouse=pointer.warehouse
    )


def unfreeze(pointer: Pointer | None) -> Pointer:
    """Let the pointer move again; the same pointer where it is not frozen.

    Raises:
        UsageError: the cache serves nothing.
    """
    if pointer is None:
        raise UsageError("there is nothing to release: the cache serves no generation")
    if pointer.frozen_reason is None:
        return pointer
    return replace(pointer, frozen_reason=None, version=_next_version(pointer))


def _next_version(pointer: Pointer, recorded_version: int = 0) -> int:
    return max(pointer.version, recorded_version) + 1
