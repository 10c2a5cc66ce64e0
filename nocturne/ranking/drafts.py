"""Coins of drafts: who picks first, for each listener and night."""

from datetime import date

import numpy as np
import pyarrow as pa

from nocturne.core.hashing import SPLITMIX_STEP, Hashes, hash_ids, spread
from nocturne.ingestion.interactions import EPOCH
from nocturne.kernel.team_draft import coin_words


def draft_coins(user_ids: pa.Array, salt: str, run_date: date, top_k: int) -> Hashes:
    """Coins of `team_draft`, by hash of salt, listener and night; shape (listeners, `coin_words(top_k)`)."""
    day = np.array([(run_date - EPOCH).days], np.uint64)
    of_night = spread(hash_ids(pa.array([f"draft:{salt}"]), 0) ^ spread(day))
    of_listener = spread(hash_ids(user_ids, 0) ^ of_night)
    steps = np.arange(1, coin_words(top_k) + 1, dtype=np.uint64) * np.uint64(SPLITMIX_STEP)
    return spread(of_listener[:, None] + steps)
