"""The catalogue's rules: availability, markets, explicit items."""

from datetime import date

import pyarrow as pa

from nocturne.ranking.eligibility import markets
from nocturne.storage.contracts import contract

NIGHT = date(2025, 3, 2)


def eligible(*items: dict[str, object], market: str | None = "SE", blocked: tuple[str, ...] = ()) -> list[bool]:
    schema = contract("items").arrow_schema
    plain = {field.name: None for field in schema} | {"run_date": NIGHT, "content_type": "track"}
    catalogue = pa.Table.from_pylist([plain | item for item in items], schema=schema)
    ids = pa.array([item["item_id"] for item in items] + ["not in the catalogue"])
    eligible = markets(ids, catalogue, NIGHT, blocked)
    (market_class,) = eligible.of(pa.array([market], pa.string()))
    return eligible.masks[market_class].tolist()


def test_items_without_rules_and_unknown_items_may_be_listed() -> None:
    assert eligible({"item_id": "a"}) == [True, True]


def test_an_item_that_the_catalogue_no_longer_names_may_not_be_listed() -> None:
    assert eligible({"item_id": "a", "absent": True}, {"item_id": "b", "absent": False}) == [False, True, True]


def test_an_item_may_be_listed_from_its_first_to_its_last_night() -> None:
    assert eligible(
        {"item_id": "from tonight", "available_from": NIGHT},
        {"item_id": "until tonight", "available_until": NIGHT},
        {"item_id": "from tomorrow", "available_from": date(2025, 3, 3)},
        {"item_id": "until yesterday", "available_until": date(2025, 3, 1)},
    ) == [True, True, False, False, True]


def test_a_restricted_item_is_listed_in_its_markets_only() -> None:
    items = (
        {"item_id": "a", "markets": ["SE", "NO"]},
        {"item_id": "b", "markets": ["US"]},
        {"item_id": "c", "markets": []},
    )
    assert eligible(*items, market="SE") == [True, False, False, True]
    assert eligible(*items, market="US") == [False, True, False, True]


def test_a_listener_without_a_market_gets_nothing_restricted() -> None:
    assert eligible({"item_id": "a", "markets": ["SE"]}, {"item_id": "b"}, market=None) == [False, True, True]


def test_explicit_items_are_not_listed_in_markets_that_block_them() -> None:
    item = {"item_id": "a", "explicit": True}
    assert eligible(item, market="SE") == [True, True]
    assert eligible(item, market="SE", blocked=("SE",)) == [False, True]
    assert eligible(item, market="NO", blocked=("SE",)) == [True, True]
    assert eligible(item, market="NO", blocked=("*",)) == [False, True]
    assert eligible(item, market=None, blocked=("SE",)) == [False, True]


def test_markets_under_the_same_rules_share_a_class_and_others_have_their_own() -> None:
    schema = contract("items").arrow_schema
    plain = {field.name: None for field in schema} | {"run_date": NIGHT, "content_type": "track"}
    rows = [plain | {"item_id": "a", "markets": ["SE", "NO"]}, plain | {"item_id": "b", "explicit": True}]
    eligible = markets(pa.array(["a", "b"]), pa.Table.from_pylist(rows, schema=schema), NIGHT, ("US", "GB"))
    of = dict(
        zip(["SE", "NO", "US", "GB", "XX"], eligible.of(pa.array(["SE", "NO", "US", "GB", "XX"])).tolist(), strict=True)
    )
    assert of["SE"] == of["NO"]
    assert of["US"] == of["GB"]
    assert len({of["SE"], of["US"], of["XX"]}) == 3
    assert eligible.masks[of["SE"]].tolist() == [True, True]
    assert eligible.masks[of["US"]].tolist() == [False, False]
    assert eligible.masks[of["XX"]].tolist() == [False, True]
    assert len(set(eligible.digests)) == len(eligible.masks)
    (nowhere,) = eligible.of(pa.array([None], pa.string()))
    assert eligible.masks[nowhere].tolist() == [False, False]
