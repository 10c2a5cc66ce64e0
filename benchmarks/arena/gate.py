"""The standing gate on a night of the arena: critical expectations of the suites, on profiles made in memory.

Proofs that make a table again from what it was made of are told apart from limits: `unlike_recomputed` of lists,
`items_out_of_balance` of rows.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.arena.night import NO_TAKEDOWNS, Night, arms_of
from benchmarks.arena.rows import beside, list_rows, places
from nocturne.core.masks import mask
from nocturne.core.settings import load_settings
from nocturne.validation.profiles.arithmetic import Profile, ratio, share, worst
from nocturne.validation.profiles.catalogue_changes import FEWEST
from nocturne.validation.profiles.catalogue_rules import Catalogue
from nocturne.validation.profiles.entry_loops import count_repeating, shapes
from nocturne.validation.profiles.list_contents import (
    LISTENERS,
    POOLS,
    PREVIOUS,
    ListRules,
    measure_contents,
    measure_repeats,
)
from nocturne.validation.suites import CRITICAL, suite

PROOFS = frozenset({"unlike_recomputed", "items_out_of_balance", "rewritten", "unlike_pool"})


def profiles(night: Night, usual: Mapping[str, float]) -> dict[str, Profile]:
    """Profiles of the night's tables, as far as the arena has what they are made of.

    Args:
        usual: median of `listens` and `listeners` of the last nights.
    """
    account, before = night.day.account, night.before.interactions
    bots = night.day.rejected.get("bot", 0.0)
    lengths = [each.num_rows for each in (night.interactions, before)]
    return {
        "listens": {
            "listens_vs_recent": ratio(account["listens"], usual.get("listens")),
            "share_late": share(account["late"], account["listens"]),
        },
        "ingests": {
            "share_unusable": share(account["quarantined"] - bots, account["rows_read"] - bots),
            "share_duplicates": share(account["duplicates"], account["rows_read"]),
            "share_bots": share(bots, account["rows_read"]),
            "listeners_vs_recent": ratio(account["listeners"], usual.get("listeners")),
        },
        "items": _of_items(night),
        "interactions": {
            "listeners_vs_last_night": ratio(*map(float, lengths)) if lengths[1] else None,
            "items_out_of_balance": float(night.built is not night.interactions),
            "share_without_market": share(float(night.interactions["market"].null_count), float(lengths[0])),
            "largest_market_shift": _market_shift(night),
        },
        "models": _of_models(night),
        "item_factors": _of_factors(night),
        "ranked_lists": _of_lists(night),
    }


def closed_by(of: Mapping[str, Profile]) -> list[str]:
    """Critical expectations that fail, as table.metric."""
    thresholds = load_settings().expectations
    return [
        f"{table}.{limit['column']}"
        for table, profile in of.items()
        for limit in _limits(table)
        if _breaks(profile.get(limit["column"]), limit, thresholds[table])
    ]


def _limits(table: str) -> Iterator[Mapping[str, Any]]:
    return (each["kwargs"] for each in suite(table)["expectations"] if each["severity"] == CRITICAL)


def _breaks(value: float | None, limit: Mapping[str, Any], thresholds: Mapping[str, float]) -> bool:
    if value is None:
        return False
    low, high = (
        thresholds[bound["$PARAMETER"]] if isinstance(bound, Mapping) else bound
        for bound in (limit.get("min_value"), limit.get("max_value"))
    )
    return (low is not None and value < low) or (high is not None and value > high)


def _of_items(night: Night) -> Profile:
    if night.before.catalogue is None:
        return {}
    blocked, earlier = night.recipe.ranking.explicit_blocked_markets, night.before.catalogue
    tonight = Catalogue(night.catalogue, night.run_date, blocked, NO_TAKEDOWNS)
    before = Catalogue(earlier, night.run_date, blocked, NO_TAKEDOWNS)
    place = places(earlier["item_id"], night.catalogue["item_id"])
    then = np.flatnonzero(place >= 0)
    now = place[then]
    markets = [*sorted(before.markets | tonight.markets), None]
    pairs = [(before.unlicensed(market)[then], tonight.unlicensed(market)[now]) for market in markets]
    listable = [(float((~before.barred(market)).sum()), float((~tonight.barred(market)).sum())) for market in markets]
    explicit = before.explicit[then], tonight.explicit[now]
    return {
        "items_vs_last_night": ratio(float(night.catalogue.num_rows), float(earlier.num_rows)),
        "share_licences_lifted": worst(_lifted(pairs)),
        "share_explicit_lifted": worst(_lifted([explicit])),
        "least_listable_vs_last_night": worst((now / then for then, now in listable if then >= FEWEST), min),
    }


def _lifted(pairs: list[tuple[np.ndarray, np.ndarray]]) -> list[float]:
    return [float((then & ~now).sum() / then.sum()) for then, now in pairs if then.sum() >= FEWEST]


def _market_shift(night: Night) -> float | None:
    now, then = (_shares_of(rows["market"]) for rows in (night.interactions, night.before.interactions))
    return worst(abs(now.get(name, 0.0) - then.get(name, 0.0)) for name in now.keys() | then.keys()) if then else None


def _shares_of(names: pa.ChunkedArray) -> dict[str, float]:
    return {row["values"]: row["counts"] / len(names) for row in pc.value_counts(names).to_pylist()}


def _of_models(night: Night) -> Profile:
    assert night.model is not None
    return {
        "model_age_days": float((night.run_date - night.model.anchor_date).days),
        "not_finite": float((~np.isfinite(night.model.spectrum)).sum()),
        "items": float(len(night.model.item_ids)),
        "listeners": float(night.learned.listeners),
        "entries": float(night.learned.entries),
    }


def _of_factors(night: Night) -> Profile:
    assert night.model is not None
    norms = np.linalg.norm(night.model.factors.astype(np.float64), axis=1)
    finite = norms[np.isfinite(norms)]
    ids = night.ids.take(pa.array(night.model.item_indexes))
    return {
        "not_finite": float(len(norms) - len(finite)),
        "share_zero": share(float((finite == 0).sum()), float(len(finite))),
        "largest_norm_vs_usual": share(float(finite.max(initial=0.0)), float(np.median(finite))),
        "share_of_index": share(float(len(norms)), float(len(night.ids))),
        "unlike_index": float(mask(pc.not_equal(ids, night.model.item_ids)).sum()),
    }


def _of_lists(night: Night) -> Profile:
    rows, settings, model = night.lists, night.recipe.ranking, night.model
    assert rows is not None
    assert model is not None
    batch = rows.combine_chunks().to_batches()[0]
    items = list_rows(rows, night.ids)
    item, row, lengths = items.items.astype(np.int32), items.owners, items.lengths
    scores = pc.struct_field(batch["items"].flatten(), "score").to_numpy(zero_copy_only=False)
    shape = shapes(row, scores, batch.num_rows)
    markets = batch["market"].dictionary_encode()
    catalogue = Catalogue(night.catalogue, night.run_date, settings.explicit_blocked_markets, NO_TAKEDOWNS)
    barred, unknown = catalogue.judge(night.ids, markets.dictionary)
    market = markets.indices.fill_null(len(markets.dictionary)).to_numpy()[row]
    full = np.minimum(batch["candidates"].to_numpy(), settings.top_k)
    personal = mask(pc.equal(batch["source"], "als"))
    users = rows["user_id"]
    listeners, pools = (
        beside(table, users).select(columns)
        for table, columns in ((night.interactions, LISTENERS), (night.pools, POOLS))
    )
    earlier = beside(rows.slice(0, 0) if night.before.lists is None else night.before.lists, users)
    everyone = np.ones(len(lengths), bool)
    rules = ListRules(
        night.run_date, settings.top_k, max(settings.top_k, settings.candidates), settings.let_back_after_days
    )
    counts, hashes = measure_contents(
        batch, item, shape.level, listeners, pools, earlier.select(PREVIOUS), rules, everyone, everyone
    )
    repeats, several = measure_repeats([hashes]), counts["several"]
    lists_of = places(night.interactions["user_id"], users), places(users, night.interactions["user_id"])
    times = np.sort(np.bincount(item[item >= 0]))[::-1]
    times = times[times > 0]
    moved = counts["moved"] + counts["unmoved"]
    stale = personal & mask(pc.not_equal(batch["model_version"], model.version))
    dealt = arms_of(users.combine_chunks(), night.experiment)
    return {
        "listeners_without_list": float((lists_of[0] < 0).sum()),
        "lists_without_listener": float((lists_of[1] < 0).sum()),
        "share_short": share(float((lengths < full).sum()), len(lengths)),
        "share_empty": share(float((lengths == 0).sum()), len(lengths)),
        "too_long": float((lengths > settings.top_k).sum()),
        "lists_with_duplicates": float(count_repeating(row, item)),
        "ineligible_items": float(barred[market, item].sum()),
        "share_not_in_catalogue": share(float(unknown[item].sum()), len(item)),
        "not_finite": float((~shape.finite).sum()),
        "other_model": float(stale.sum()),
        "other_arm": float(mask(pc.not_equal(batch["arm"], dealt)).sum()),
        "share_fallback": share(float((~personal).sum()), len(lengths)),
        "share_of_model_listed": share(float(len(times)), len(model.item_ids)),
        "share_of_top_items": share(float(times[: max(1, len(times) // 100)].sum()), float(times.sum())),
        **{name: counts[name] for name in ("heard_items", "outside_pool", "without_pool", "unlike_pool")},
        "share_flat": share(counts["flat"], several),
        "share_distinct": share(repeats["distinct"], several),
        "share_of_commonest_list": share(repeats["commonest"], several),
        "share_unmoved": share(counts["unmoved"], moved) if moved else None,
        "unlike_recomputed": float(night.ranked is not night.lists),
    }
