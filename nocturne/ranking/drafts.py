"""Drafts of an interleaving experiment: a seed for each listener and night, and the list drafted by its coins."""

from datetime import date
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Floats
from nocturne.core.csr import CsrRows
from nocturne.core.hashing import SPLITMIX_STEP, Hashes, hash_ids, hash_rows, spread
from nocturne.core.list_arrays import marked_places
from nocturne.core.masks import mask
from nocturne.ingestion.interactions import EPOCH
from nocturne.kernel.team_draft import NEITHER, coin_words, team_draft


class Drafted(NamedTuple):
    """Drafted lists: columns of `ranked_lists` that are theirs, and the team of each item, null for neither."""

    items: pa.ListArray
    cold: pa.ListArray
    digests: pa.Array
    teams: pa.ListArray


def draft_seeds(user_ids: pa.Array, salt: str, run_date: date) -> Hashes:
    """The seed of each listener's draft of a night; shape (listeners,)."""
    day = np.array([(run_date - EPOCH).days], np.uint64)
    of_night = spread(hash_ids(pa.array([f"draft:{salt}"]), 0) ^ spread(day))
    return spread(hash_ids(user_ids, 0) ^ of_night)


def draft_lists(control: pa.Table, treatment: pa.Table, seeds: Hashes, names: tuple[str, str], top_k: int) -> Drafted:
    """Every listener's list, drafted from those of two arms; its scores are places from the end.

    Args:
        control, treatment: rows of `ranked_lists` of the same listeners.
        names: of the two arms.
    """
    both = [lists["items"].combine_chunks() for lists in (control, treatment)]
    ids = pa.concat_arrays([lists.flatten().field("item_id") for lists in both]).dictionary_encode()
    ends = len(both[0].flatten())
    first, second = (
        CsrRows(lists.offsets.to_numpy().astype(np.int64) - lists.offsets[0].as_py(), codes.indices.to_numpy())
        for lists, codes in zip(both, (ids.slice(0, ends), ids.slice(ends)), strict=True)
    )
    draft = team_draft(first, second, coins(seeds, top_k), top_k)
    offsets = pa.array(draft.lists.offsets.astype(np.int32))
    item_ids = ids.dictionary.take(pa.array(draft.lists.positions))
    pairs = pa.StructArray.from_arrays([item_ids, pa.array(_places_from_end(draft.lists))], ["item_id", "score"])
    teams = pa.array(names).take(pa.array(draft.teams, mask=draft.teams == NEITHER))
    listed = pa.ListArray.from_arrays(offsets, item_ids)
    cold = pa.concat_arrays([_cold_items(lists) for lists in (control, treatment)])
    hashed = hash_rows(pa.record_batch({"items": listed, "source": control["source"].combine_chunks()}))
    return Drafted(
        pa.ListArray.from_arrays(offsets, pairs),
        marked_places(draft.lists.offsets, mask(pc.is_in(item_ids, value_set=cold))),
        pa.array([f"{digest:016x}" for digest in hashed.tolist()]),
        pa.ListArray.from_arrays(offsets, teams),
    )


def coins(seeds: Hashes, top_k: int) -> npt.NDArray[np.uint64]:
    """Random bits of `team_draft`; shape (listeners, `coin_words(top_k)`)."""
    steps = np.arange(1, coin_words(top_k) + 1, dtype=np.uint64) * np.uint64(SPLITMIX_STEP)
    return spread(seeds[:, None] + steps)


def _cold_items(lists: pa.Table) -> pa.Array:
    """Ids of items that the model of some lists knows by their text alone."""
    items, cold = (lists[name].combine_chunks() for name in ("items", "cold"))
    starts = items.offsets.to_numpy()[:-1]
    entry = np.repeat(starts, pc.fill_null(pc.list_value_length(cold), 0).to_numpy()) + cold.flatten().to_numpy()
    return pc.struct_field(items.values, "item_id").take(pa.array(entry))


def _places_from_end(lists: CsrRows) -> Floats:
    return np.asarray(np.repeat(lists.offsets[1:], lists.lengths) - np.arange(len(lists.positions)), np.float64)
