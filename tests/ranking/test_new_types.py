"""Lists of a content type that listeners have heard nothing of: by the bridge into it, or what is popular of it."""

import numpy as np
import pyarrow as pa
import pytest

from tests.fixtures.pool_nights import SETTINGS, Nights, Service, happen

TYPED = SETTINGS | {"shelf_types": ("audiobook", "podcast_episode"), "shelf_items": 2, "shelf_reserve": 1}
"""Items 1, 4 and 7 of ten are audiobooks, into which a bridge leads; 2, 5 and 8 episodes, into which none does."""

Row = dict[str, object]


@pytest.fixture
def service() -> Service:
    """One listener heard tracks alone, the other an audiobook too."""
    made = Service(settings=dict(TYPED))
    for user, items in ((0, [0, 3]), (1, [0, 4])):
        for item in items:
            made.hear(user, item, 0)
    return made


def lists(service: Service, nights: Nights | None = None) -> dict[tuple[str, str], Row]:
    ranked = (nights or Nights(carry_over=True)).rank(service)
    if nights:
        nights.keep(service, ranked.pools)
        service.day += 1
    return {(row["user_id"], row["content_type"]): row for row in ranked.shelf_lists.to_pylist()}


def by_bridge(service: Service, user: str) -> list[int]:
    """Audiobooks in the order of the bridge, the listener being the sum of their items on its axes, made length 1."""
    bridge = service.bridges()["audiobook"]
    place = {item: row for row, item in enumerate(bridge.sources.tolist())}
    vector = sum(bridge.axes[place[item]].astype(float) for item in service.heard[user] if item in place)
    scores = bridge.factors[:, :-1] @ (vector / np.linalg.norm(vector)) + bridge.factors[:, -1]
    return bridge.targets[np.argsort(-scores)].tolist()


def test_who_heard_nothing_of_a_type_gets_it_by_the_bridge_and_who_did_by_the_factors(service: Service) -> None:
    rows = lists(service)
    assert [rows["u0", "audiobook"]["source"], rows["u1", "audiobook"]["source"]] == ["bridge", "als"]
    best = by_bridge(service, "u0")
    listed = [entry["item_id"] for entry in rows["u0", "audiobook"]["items"]]
    # The second place is drawn, from the two that are left.
    assert listed[0] == f"i{best[0]}"
    assert listed[1] in {f"i{item}" for item in best[1:]}
    assert rows["u0", "audiobook"]["propensities"] == [1.0, 0.5]


def test_scores_of_a_bridge_are_inner_products_in_single_precision(service: Service) -> None:
    (row,) = [row for row in Nights(carry_over=True).rank(service).pools.to_pylist() if row["user_id"] == "u0"]
    best = by_bridge(service, "u0")
    assert row["shelf_items"] == best
    bridge = service.bridges()["audiobook"]
    axes = dict(zip(bridge.sources.tolist(), bridge.axes.astype(float), strict=True))
    vector = axes[0] + axes[3]
    factors = dict(zip(bridge.targets.tolist(), bridge.factors.astype(float), strict=True))
    scores = [factors[item][:-1] @ (vector / np.linalg.norm(vector)) + factors[item][-1] for item in best]
    assert row["shelf_scores"] == pytest.approx(scores, rel=1e-6)


def test_where_popularity_is_the_best_that_can_be_said_it_is_shown_and_the_row_says_so(service: Service) -> None:
    row = lists(service)["u0", "podcast_episode"]
    assert row["source"] == "market_popular"
    # Eight listeners of the market heard item 8, five item 5 and two item 2; the second place is drawn of the latter.
    assert [row["items"][0]["item_id"], row["items"][0]["score"]] == ["i8", 8.0]
    assert row["items"][1]["item_id"] in {"i5", "i2"}
    assert row["propensities"] == [1.0, 0.5]


def test_lists_by_a_bridge_are_carried_over_and_lose_what_is_withdrawn(service: Service) -> None:
    nights = Nights(carry_over=True)
    lists(service, nights)
    best = by_bridge(service, "u0")
    happen(service, "takedown", best[0])
    row = lists(service, nights)["u0", "audiobook"]
    assert nights.stats.reasons["carried"] == 2
    assert [entry["item_id"] for entry in row["items"]] == [f"i{item}" for item in best[1:]]
    assert (row["source"], row["candidates"]) == ("bridge", 2)


def test_a_listener_is_new_to_a_type_until_they_hear_it(service: Service) -> None:
    nights = Nights(carry_over=True)
    assert lists(service, nights)["u0", "audiobook"]["source"] == "bridge"
    service.hear(0, 7, 0)
    assert lists(service, nights)["u0", "audiobook"]["source"] == "als"


def test_a_heard_item_of_another_type_now_makes_its_listener_new_to_the_type(service: Service) -> None:
    nights = Nights(carry_over=True)
    assert lists(service, nights)["u1", "audiobook"]["source"] == "als"
    happen(service, "type", 4, "track")
    expected = Nights(carry_over=False).rank(service).shelf_lists.to_pylist()
    rows = lists(service, nights)
    assert rows["u1", "audiobook"]["source"] == "bridge"
    assert list(rows.values()) == expected
    assert nights.stats.reasons["carried"] == 2


def test_who_is_without_factors_gets_what_is_popular_and_nothing_drawn() -> None:
    service = Service(settings=dict(TYPED))
    service.hear(0, 12, 0)
    rows = lists(service)
    assert {row["source"] for row in rows.values()} == {"market_popular"}
    assert [row["propensities"] for row in rows.values()] == [None, None]


def test_a_wrong_list_by_a_bridge_that_is_carried_over_is_found(service: Service) -> None:
    nights = Nights(carry_over=True)
    pools = nights.rank(service).pools
    spoilt = [row | {"shelf_items": row["shelf_items"][::-1]} if row["user_id"] == "u0" else row for row in
              pools.to_pylist()]  # fmt: skip
    nights.keep(service, pa.Table.from_pylist(spoilt, schema=pools.schema))
    with pytest.raises(AssertionError):
        nights.rank(service)
    assert nights.stats.mismatches == 1


def test_an_item_that_comes_to_a_type_is_in_no_list_by_a_bridge_that_does_not_know_it(service: Service) -> None:
    nights = Nights(carry_over=True)
    lists(service, nights)
    stored = [row["shelf_items"] for row in nights.pools.to_pylist() if row["user_id"] == "u0"]
    happen(service, "type", 6, "audiobook")
    lists(service, nights)
    assert [row["shelf_items"] for row in nights.pools.to_pylist() if row["user_id"] == "u0"] == stored
