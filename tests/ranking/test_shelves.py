"""Shelves: full lists of every type, whatever a pool holds of it and whatever was carried over."""

import numpy as np
import pyarrow as pa
import pytest

from tests.fixtures.pool_nights import SETTINGS, Nights, Service, happen

BOOKS = SETTINGS | {"shelf_types": ("audiobook",), "shelf_items": 2, "shelf_reserve": 1}
"""Items 1, 4 and 7 of ten are audiobooks; a pool holds five."""

Lists = dict[str, list[str]]


@pytest.fixture
def service() -> Service:
    made = Service(settings=dict(BOOKS), bridged=False)
    for user, items in enumerate([[0, 3], [2, 5], [6, 8]]):
        for item in items:
            made.hear(user, item, 0)
    return made


def shelves(service: Service, nights: Nights) -> Lists:
    """Tonight's lists, which must be those of a night in full; then it is the next night."""
    expected = Nights(carry_over=False).rank(service)
    ranked = nights.rank(service)
    assert ranked.shelf_lists.equals(expected.shelf_lists)
    nights.keep(service, ranked.pools)
    service.day += 1
    return {row["user_id"]: [entry["item_id"] for entry in row["items"]] for row in ranked.shelf_lists.to_pylist()}


def best_two(service: Service, *items: int) -> Lists:
    """The best of some items for everyone, in the order of ids."""
    model, best = service.model(), {}
    for row in Nights(carry_over=False).rank(service).pools.to_pylist():
        scores = model.factors[[*items]] @ np.array(row["factors"]) * model.score_multipliers[[*items]]
        best[row["user_id"]] = sorted(f"i{items[place]}" for place in np.argsort(-scores)[:2])
    return best


def in_order_of_ids(lists: Lists) -> Lists:
    return {user: sorted(items) for user, items in lists.items()}


def test_everyone_gets_the_best_of_a_type_however_few_of_it_their_pool_has(service: Service) -> None:
    assert in_order_of_ids(shelves(service, Nights(carry_over=True))) == best_two(service, 1, 4, 7)


def test_only_what_is_beyond_the_pool_is_stored_with_its_scores_in_single_precision(service: Service) -> None:
    model = service.model()
    for row in Nights(carry_over=False).rank(service).pools.to_pylist():
        beyond = row["shelf_items"]
        assert sorted([*{*row["items"]} & {1, 4, 7}, *beyond]) == [1, 4, 7]
        scores = model.factors[beyond] @ np.array(row["factors"]) * model.score_multipliers[beyond]
        assert row["shelf_scores"] == pytest.approx(scores.tolist(), rel=1e-5)
        assert row["shelf_scores"] == np.array(row["shelf_scores"], np.float32).tolist()


def test_where_an_item_is_withdrawn_the_reserve_takes_its_place(service: Service) -> None:
    nights = Nights(carry_over=True)
    shelves(service, nights)
    happen(service, "takedown", 4)
    assert in_order_of_ids(shelves(service, nights)) == {user: ["i1", "i7"] for user in ("u0", "u1", "u2")}
    assert nights.stats.reasons["carried"] == 3


def test_a_shelf_that_withdrawals_leave_too_short_is_ranked_and_its_pool_is_not(service: Service) -> None:
    service.settings["shelf_reserve"] = 0
    nights = Nights(carry_over=True)
    first = shelves(service, nights)
    happen(service, "takedown", 4)
    had_it = {user for user, items in first.items() if "i4" in items}
    assert had_it
    assert in_order_of_ids(shelves(service, nights)) == {user: ["i1", "i7"] for user in first}
    assert nights.stats.reasons["carried"] == 3


def test_an_item_that_arrives_is_merged_where_it_reaches(service: Service) -> None:
    happen(service, "takedown", 4)
    nights = Nights(carry_over=True)
    shelves(service, nights)
    happen(service, "let back", 4)
    assert in_order_of_ids(shelves(service, nights)) == best_two(service, 1, 4, 7)
    assert nights.stats.reasons["carried"] + nights.stats.reasons["merged"] == 3


def test_an_item_of_another_type_leaves_one_shelf_and_comes_to_the_other(service: Service) -> None:
    service.settings |= {"shelf_types": ("audiobook", "podcast_episode"), "shelf_items": 4}
    nights = Nights(carry_over=True)
    ranked = nights.rank(service)
    nights.keep(service, ranked.pools)
    service.day += 1
    happen(service, "type", 4, "podcast_episode")
    changed, expected = nights.rank(service), Nights(carry_over=False).rank(service)
    assert changed.shelf_lists.equals(expected.shelf_lists)
    of_first = [row for row in changed.shelf_lists.to_pylist() if row["user_id"] == "u0"]
    lists = {row["content_type"]: sorted(entry["item_id"] for entry in row["items"]) for row in of_first}
    assert lists == {"audiobook": ["i1", "i7"], "podcast_episode": ["i2", "i4", "i5", "i8"]}
    assert nights.stats.reasons["carried"] == 3


def test_pools_of_a_night_whose_types_were_changed_afterwards_are_not_trusted(service: Service) -> None:
    nights = Nights(carry_over=True)
    shelves(service, nights)
    nights.then = lambda later: Service(types={4: "track"}, settings=later.settings).eligible()
    shelves(service, nights)
    assert nights.stats.reasons["catalogue_unknown"] == 3


def test_listeners_without_factors_get_what_is_popular_of_the_type() -> None:
    service = Service(settings=dict(BOOKS), bridged=False)
    service.hear(0, 12, 0)
    (row,) = Nights(carry_over=True).rank(service).shelf_lists.to_pylist()
    # Item n has n listeners in SE, where the listener is.
    assert [(entry["item_id"], entry["score"]) for entry in row["items"]] == [("i7", 7.0), ("i4", 4.0)]
    assert (row["source"], row["candidates"], row["propensities"]) == ("market_popular", 3, None)


def test_a_type_of_which_there_is_nothing_has_empty_lists(service: Service) -> None:
    service.settings["shelf_types"] = ("other",)
    rows = Nights(carry_over=True).rank(service).shelf_lists.to_pylist()
    assert [(row["items"], row["source"], row["candidates"]) for row in rows] == [([], "als", 0)] * 3


@pytest.mark.parametrize(("column", "wrong"), [("shelf_items", [7, 4, 1]), ("shelf_scores", [9.0, 8.0, 7.0])])
def test_a_wrong_shelf_that_is_carried_over_is_found(service: Service, column: str, wrong: list[float]) -> None:
    service.settings["reserve"] = 0
    nights = Nights(carry_over=True)
    pools = nights.rank(service).pools
    spoilt = [row | {column: wrong[: len(row[column])]} for row in pools.to_pylist()]
    nights.keep(service, pa.Table.from_pylist(spoilt, schema=pools.schema))
    with pytest.raises(AssertionError):
        nights.rank(service)
    assert nights.stats.mismatches > 0
