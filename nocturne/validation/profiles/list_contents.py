"""The contents of lists: new to their listeners, from their own pools, and not the same for all."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Indexes, Mask
from nocturne.core.hashing import Hashes, hash_rows
from nocturne.core.masks import mask
from nocturne.validation.profiles.arithmetic import Profile, share, worst
from nocturne.validation.profiles.bucket_sums import Sums
from nocturne.validation.profiles.entry_loops import are_among
from nocturne.validation.profiles.pools import not_yet_let_back

LISTENERS = ["user_id", "item_indexes", "last_heard", "changed_on"]
POOLS = ["user_id", "items", "listed"]
PREVIOUS = ["user_id", "market", "source", "candidates", "digest", "items"]
"""Columns read of `interactions` and `pools` of the night, and of `ranked_lists` of the last one."""

COUNTED = (
    *("heard_items", "outside_pool", "without_pool", "unlike_pool", "several", "flat", "moved", "unmoved"),
    *("distinct", "commonest"),
)
_FEWEST_LISTENERS = 20
"""Of a market, or whose rows changed: the lists of fewer say little."""

_OF_MARKETS = ("lists", "empty", "short", "candidates")


@dataclass(frozen=True)
class ListRules:
    """The settings of a night that its lists follow.

    Attributes:
        considered: items at the head of a pool that a list is chosen from.
    """

    run_date: date
    top_k: int
    considered: int
    let_back_after_days: int


def measure_contents(
    batch: pa.RecordBatch,
    item: Indexes,
    level: Mask,
    listeners: pa.Table,
    pools: pa.Table,
    previous: pa.Table,
    rules: ListRules,
    of_pools: Mask,
    ruled: Mask,
) -> tuple[dict[str, float], Hashes]:
    """Counts of COUNTED over some lists, but for the last two; and a hash of the items of each personal list.

    Args:
        item: item index of every entry of the lists; -1 for one that has none.
        level: whether all scores of a list are the same.
        listeners, pools, previous: rows of `interactions`, `pools` and last night's `ranked_lists`, aligned with the
            lists and null where there is none.
        of_pools: lists that come from these pools; the others are of arms, whose pools are elsewhere.
        ruled: lists that follow the rules; the others are of arms that have other ones.
    """
    row, lengths = pc.list_parent_indices(batch["items"]).to_numpy(), pc.list_value_length(batch["items"]).to_numpy()
    personal = pc.equal(batch["source"], "als").to_numpy(zero_copy_only=False)
    several = personal & (lengths > 1)
    heard = are_among(row, item, *not_yet_let_back(listeners, rules.run_date, rules.let_back_after_days))
    counts: dict[str, float] = {
        "heard_items": int((heard & ruled[row]).sum()),
        "several": int(several.sum()),
        "flat": int((several & level).sum()),
        **_measure_moves(batch, listeners, previous, personal & (lengths > 0), rules.run_date),
        **_measure_pools(row, item, lengths, personal & of_pools, of_pools, pools, rules.considered),
    }
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    lists = pa.record_batch({"items": pa.ListArray.from_arrays(offsets, pa.array(item))})
    return counts, hash_rows(lists)[several]


def _measure_moves(
    batch: pa.RecordBatch, listeners: pa.Table, previous: pa.Table, listed: np.ndarray, tonight: date
) -> dict[str, float]:
    """Listeners whose row changed tonight: whose list is another than last night's, and whose is the same."""
    changed = mask(pc.equal(listeners["changed_on"], pa.scalar(tonight, pa.date32())))
    compared = changed & listed & mask(pc.equal(previous["source"], "als"))
    same = compared & mask(pc.equal(previous["digest"].combine_chunks(), batch["digest"]))
    return {"moved": int((compared & ~same).sum()), "unmoved": int(same.sum())}


def _measure_pools(
    row: np.ndarray,
    item: Indexes,
    lengths: np.ndarray,
    personal: Mask,
    of_pools: Mask,
    pools: pa.Table,
    considered: int,
) -> dict[str, float]:
    lists = pools["items"].combine_chunks()
    of_row, of_item = pc.list_parent_indices(lists).to_numpy(), pc.list_flatten(lists).to_numpy()
    pooled = of_pools & pc.is_valid(pools["user_id"]).to_numpy()
    outside = ~are_among(row, item, of_row, of_item, considered) & pooled[row]
    unlike = _unlike_pools(row, item, lengths, pools)
    return {
        "without_pool": int((personal & ~pooled).sum()),
        "outside_pool": int(np.bincount(row[outside], minlength=1).astype(bool).sum()),
        "unlike_pool": int((pooled & unlike).sum()),
    }


def _unlike_pools(row: np.ndarray, item: Indexes, lengths: np.ndarray, pools: pa.Table) -> Mask:
    """True for lists that are not, in their order, what their pool says was listed; shape (lists,)."""
    items, listed = (pools[name].combine_chunks() for name in ("items", "listed"))
    pool_lengths, counts = (pc.fill_null(pc.list_value_length(each), 0).to_numpy() for each in (items, listed))
    unlike: Mask = counts != lengths
    place, owner = pc.list_flatten(listed).to_numpy(), pc.list_parent_indices(listed).to_numpy()
    entry = (np.cumsum(pool_lengths) - pool_lengths)[owner] + place
    there = (place >= 0) & (place < pool_lengths[owner])
    pooled_item = np.append(pc.list_flatten(items).to_numpy(), np.int32(-1))[np.where(there, entry, -1)]
    same_length, of_same_length = ~unlike[owner], ~unlike[row]
    unlike[owner[same_length][pooled_item[same_length] != item[of_same_length]]] = True
    return unlike


def measure_repeats(hashes: list[Hashes]) -> dict[str, float]:
    """Of the personal lists of a bucket: those that are different ones, and how often the commonest occurs."""
    ordered = np.sort(np.concatenate([np.zeros(0, np.uint64), *hashes]))
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)])
    times = np.diff(np.append(starts, len(ordered)))
    return {"distinct": len(times), "commonest": int(times.max(initial=0))}


def measure_markets(sums: Sums, lists: pa.Table, lengths: np.ndarray, top_k: int, prefix: str) -> None:
    """Lists, empty ones, ones shorter than they should be, and candidates, by market.

    Args:
        sums: which they are added to.
        lists: columns market and candidates.
        prefix: of the metrics' names: now or then.
    """
    encoded = pc.fill_null(lists["market"].combine_chunks(), "").dictionary_encode()
    code, names = encoded.indices.to_numpy(), encoded.dictionary
    amounts = (np.ones(len(code)), lengths == 0, lengths < top_k, lists["candidates"].combine_chunks().to_numpy())
    for name, amount in zip(_OF_MARKETS, amounts, strict=True):
        of_markets = np.bincount(code, amount, minlength=len(names)).tolist()
        sums.add_of_names(f"{prefix}_{name}", names.to_pylist(), of_markets)


def content_profile(measured: Sums) -> Profile:
    """Metrics of the contents, from what buckets add up to."""
    sums = measured.totals
    several, compared = sums["several"], sums["moved"] + sums["unmoved"]
    now, then = (_by_market(measured, prefix) for prefix in ("now", "then"))
    both = [(now[market], then[market]) for market in now.keys() & then.keys()]
    return {
        **{name: sums[name] for name in ("heard_items", "outside_pool", "without_pool", "unlike_pool")},
        "share_flat": share(sums["flat"], several),
        "share_distinct": share(sums["distinct"], several) if several >= _FEWEST_LISTENERS else None,
        "share_of_commonest_list": share(sums["commonest"], several) if several >= _FEWEST_LISTENERS else None,
        "share_unmoved": share(sums["unmoved"], compared) if compared >= _FEWEST_LISTENERS else None,
        "largest_share_empty": worst(_share_of(market, "empty") for market in now.values()),
        "largest_rise_of_empty": worst(_share_of(a, "empty") - _share_of(b, "empty") for a, b in both),
        "largest_rise_of_short": worst(_share_of(a, "short") - _share_of(b, "short") for a, b in both),
        "least_candidates_vs_last_night": worst(
            (_share_of(a, "candidates") / _share_of(b, "candidates") for a, b in both if b["candidates"]), min
        ),
    }


def _by_market(measured: Sums, prefix: str) -> dict[str, Counter[str]]:
    """Counts of markets with more than a few lists."""
    markets: dict[str, Counter[str]] = {}
    for (metric, market), value in measured.of_names.items():
        if metric.startswith(f"{prefix}_"):
            markets.setdefault(market, Counter())[metric.removeprefix(f"{prefix}_")] += value  # type: ignore[assignment]
    return {market: counts for market, counts in markets.items() if counts["lists"] >= _FEWEST_LISTENERS}


def _share_of(market: Mapping[str, float], name: str) -> float:
    return share(market[name], market["lists"])
