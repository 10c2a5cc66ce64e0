"""Warm-up of a worker: compiled loops and laid out items are there before the first request, which would wait."""

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from nocturne.core.errors import NocturneError
from nocturne.serving.cache import ListKind
from nocturne.serving.cache.rows import ServedRow
from nocturne.serving.full_ranking import rank_catalogue
from nocturne.serving.now_playing import Filters, now_playing
from nocturne.serving.steered import SteerRequest, steer
from nocturne.steering.conditions import Rule
from nocturne.steering.plan import Plan

if TYPE_CHECKING:
    from nocturne.serving.http.cache_access import ReadsServed

_log = logging.getLogger(__name__)


def warm_up(reader: "ReadsServed") -> None:
    """Answer nobody once, and rank the catalogue for them; without a generation or a model there is nothing to do."""
    with suppress(NocturneError):
        items = reader.served().items
        if not items.confidence_weights.any():
            return
        nothing = np.empty(0, np.int32)
        nobody = ServedRow(
            kind=ListKind("", "", ""),
            market=None,
            numbers=nothing,
            scores=nothing.astype(np.float32),
            propensities=None,
            factors=np.ones(items.factors.shape[1], np.float32),
            heard=nothing,
            weights=nothing.astype(np.float32),
            days=None,
        )
        now_playing(items, nobody, items.describe(0).item_id, [], Filters(limit=1))
        rank_catalogue(items, nobody, np.ones(len(items), bool), k=1)
        steer(items, nobody, SteerRequest(Plan(never=(Rule(content_types=("other",)),)), limit=1))
        _log.info("ready to answer from %s items", f"{len(items):,}")
