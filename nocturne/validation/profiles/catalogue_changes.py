"""Changes of the catalogue since last night that lift a restriction, or leave a market with little."""

from collections.abc import Iterator

import numpy as np
import pyarrow.compute as pc

from nocturne.core.night import Night
from nocturne.storage import tables
from nocturne.validation.profiles.arithmetic import Profile, share, worst
from nocturne.validation.profiles.catalogue_rules import Catalogue

FEWEST = 5
"""Items of which a share says something."""

_METRICS = ("share_licences_lifted", "share_explicit_lifted", "least_listable_vs_last_night")


def catalogue_changes(night: Night, previous: Night | None) -> Profile:
    """Of the worst market, beside the last sound night: shares of restrictions that are lifted, and items left."""
    if previous is None:
        return dict.fromkeys(_METRICS)
    blocked = night.settings.ranking.explicit_blocked_markets
    then, now = (tables.night_rows(each, "items", Catalogue.COLUMNS) for each in (previous, night))
    words = [tables.night_rows(each, "takedowns", Catalogue.WORDS) for each in (previous, night)]
    before = Catalogue(then, previous.run_date, blocked, words[0])
    tonight = Catalogue(now, night.run_date, blocked, words[1])
    place = pc.index_in(then["item_id"].combine_chunks(), value_set=now["item_id"].combine_chunks())
    of_then = np.flatnonzero(pc.is_valid(place).to_numpy(zero_copy_only=False))
    of_now = place.drop_null().to_numpy()
    markets = [*sorted(before.markets | tonight.markets), None]
    lifted = _lifted((before.unlicensed(market)[of_then], tonight.unlicensed(market)[of_now]) for market in markets)
    explicit = before.explicit[of_then], tonight.explicit[of_now]
    listable = [(int((~before.barred(market)).sum()), int((~tonight.barred(market)).sum())) for market in markets]
    return {
        "share_licences_lifted": worst(lifted),
        "share_explicit_lifted": worst(_lifted(iter([explicit]))),
        "least_listable_vs_last_night": worst((now / then for then, now in listable if then >= FEWEST), min),
    }


def _lifted(restrictions: Iterator[tuple[np.ndarray, np.ndarray]]) -> Iterator[float]:
    """Shares of the items restricted before that are not so now; of few items none."""
    for before, now in restrictions:
        if before.sum() >= FEWEST:
            yield share(float((before & ~now).sum()), float(before.sum()))
