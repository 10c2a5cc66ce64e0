"""Takedowns as they are asked for: landed for the nights to come, and laid over what the cache serves.

This is the only writer of a cache's overlay; it moves no pointer. A request is landed first: where the cache fails
after that, the next night obeys it all the same, and the same request again does what is left.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.atomic_write import write_atomically
from nocturne.core.errors import ServiceError, UsageError, text_of
from nocturne.core.takedowns import Takedown
from nocturne.ingestion.takedown_lines import EVERYWHERE, FOLDER, LONGEST_WHY, takedown_line
from nocturne.serving.cache import Cache, Overlay, TakedownsChanged

MOST_SHOWN = 5


class TakedownRequest(NamedTuple):
    """Items that may not be listed any more, or may be again.

    Attributes:
        market: None: everywhere; to lift, everywhere and in every market.
        lifts: True: they may be listed again.
        unseen_too: True: items that what is served does not know may be named.
    """

    item_ids: Sequence[str]
    why: str
    market: str | None = None
    lifts: bool = False
    unseen_too: bool = False


class Obeyed(NamedTuple):
    """A request that is obeyed.

    Attributes:
        words: that were new; of what was asked for before there are none.
        overlay: as the cache obeys it.
    """

    words: tuple[Takedown, ...]
    overlay: Overlay


def take_down(cache: Cache, landing: Path, request: TakedownRequest, now: datetime | None = None) -> Obeyed:
    """Take items down, or lift that, in the cache and for all nights to come.

    Args:
        cache: opened for writing.
        landing: the landing zone that the nights read.
        now: the instant of the request; by default the present one.

    Raises:
        UsageError: an item is not known, or not taken down; there is no reason, or no landing zone.
        ServiceError: the landing zone cannot be written, or the cache failed.
    """
    overlay = cache.overlay()
    _check(cache, overlay, request)
    if not landing.is_dir():
        raise UsageError(
            "there is no landing zone", where=str(landing), fix="name the folder that the nights read with --landing"
        )
    words = _words(cache, overlay, request, now or datetime.now(UTC))
    if words:
        _land(landing, words)
    return Obeyed(tuple(words), obey(cache, words))


def obey(cache: Cache, words: Sequence[Takedown]) -> Overlay:
    """Lay words over what the cache serves, whoever else does so meanwhile; those that it obeys already do nothing.

    Raises:
        ServiceError: the cache failed.
    """
    while True:
        overlay = cache.overlay()
        new = overlay.with_words(words)
        if new == overlay:
            return overlay
        try:
            cache.swap_overlay(overlay, new)
        except TakedownsChanged:
            continue
        return new


def _check(cache: Cache, overlay: Overlay, request: TakedownRequest) -> None:
    if not request.why.strip() or len(request.why) > LONGEST_WHY:
        raise UsageError("a takedown needs a reason", expected=f"1 to {LONGEST_WHY} characters", fix="say why")
    if request.market in {"", EVERYWHERE}:
        raise UsageError("a takedown of all markets names none", found=f"market {request.market!r}", fix="leave it out")
    if request.lifts:
        standing = {word.item_id for word in overlay.takedowns.in_force if request.market in {None, word.market}}
        if others := [item_id for item_id in request.item_ids if item_id not in standing]:
            where = f" in {request.market} alone" if request.market else ""
            raise UsageError(
                f"an item is not taken down{where}",
                found=_some(others),
                fix="`nocturne takedowns` lists those that are",
            )
    elif not request.unseen_too and (unknown := _unknown(cache, request.item_ids)):
        raise UsageError(
            "what is served does not know an item",
            where=cache.place,
            found=_some(unknown),
            fix="check the id; with --unseen an item may be taken down before it is known",
        )


def _unknown(cache: Cache, item_ids: Sequence[str]) -> list[str]:
    pointer = cache.pointer()
    known = cache.item_ids(pointer.served.name) if pointer else None
    asked = pa.array(item_ids, pa.large_string())
    if known is None:
        return list(item_ids)
    are_known = pc.is_in(asked, value_set=pa.chunked_array(known).combine_chunks().cast(pa.large_string()))
    unknown: list[str] = asked.filter(pc.invert(are_known)).to_pylist()
    return unknown


def _words(cache: Cache, overlay: Overlay, request: TakedownRequest, now: datetime) -> list[Takedown]:
    """The words of a request that say anything new; the night after the one that is served obeys them."""
    standing = {word.key for word in overlay.takedowns.in_force}
    pointer = cache.pointer()
    from_night = min(now.date(), pointer.served.run_date + timedelta(days=1)) if pointer else now.date()
    return [
        Takedown(item_id, request.market, now, uuid4().hex, request.why.strip(), from_night, request.lifts)
        for item_id in dict.fromkeys(request.item_ids)
        if request.lifts or (item_id, request.market) not in standing
    ]


def _land(landing: Path, words: Sequence[Takedown]) -> None:
    first = words[0]
    path = landing / FOLDER / f"{first.asked_at:%Y%m%dT%H%M%S}-{first.takedown_id}.jsonl"
    try:
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, b"".join(takedown_line(word) for word in words))
    except OSError as error:
        raise ServiceError(
            "the takedown cannot be landed, and nothing is taken down",
            where=str(path.parent),
            found=text_of(error),
            fix="check --landing, and the room on its disk, then run the same again",
        ) from error


def _some(item_ids: Sequence[str]) -> str:
    more = f" and {len(item_ids) - MOST_SHOWN} more" if len(item_ids) > MOST_SHOWN else ""
    return ", ".join(item_ids[:MOST_SHOWN]) + more
