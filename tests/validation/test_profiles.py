"""Metrics of tables that are read in the driver, and the arithmetic that lists are judged by."""

import math
from collections.abc import Callable
from datetime import timedelta

import pyarrow as pa
import pytest

from nocturne.core.night import Night
from nocturne.storage.contracts import contract
from nocturne.validation.profiles import ingestion, interactions, models
from nocturne.validation.profiles.catalogue_rules import Catalogue
from tests.fixtures import two_listeners


@pytest.fixture
def tonight(night: Callable[..., Night]) -> Night:
    return night(two_listeners.TONIGHT, *two_listeners.SETTINGS)


def catalogue(*blocked: str) -> Catalogue:
    rows = pa.Table.from_pylist(two_listeners.items(), schema=contract("items").arrow_schema)
    return Catalogue(rows, two_listeners.TONIGHT, blocked, contract("takedowns").arrow_schema.empty_table())


def barred(judge: Catalogue) -> list[list[str]]:
    """Items barred in SE, in DE and for listeners without a market."""
    ids = pa.array(["a", "b", "c", "d", "e", "unheard of"])
    mask, _ = judge.judge(ids, pa.array(["SE", "DE"]))
    return [[item for item, is_barred in zip(ids.to_pylist(), row, strict=True) if is_barred] for row in mask]


def test_items_are_barred_outside_their_markets_and_dates() -> None:
    assert barred(catalogue()) == [["d"], ["b", "d"], ["b", "d"]]


def test_explicit_items_are_barred_in_the_market_that_blocks_them_and_where_none_is_known() -> None:
    assert barred(catalogue("DE")) == [["d"], ["b", "c", "d"], ["b", "c", "d"]]


def test_explicit_items_can_be_barred_in_every_market() -> None:
    assert barred(catalogue("*")) == [["c", "d"], ["b", "c", "d"], ["b", "c", "d"]]


def test_items_that_the_catalogue_does_not_know_are_told_apart() -> None:
    _, unknown = catalogue().judge(pa.array(["e", "unheard of"]), pa.array([], pa.string()))

    assert unknown.tolist() == [False, True]


def test_the_catalogue_is_compared_with_last_nights(tonight: Night) -> None:
    two_listeners.write(tonight.on(two_listeners.YESTERDAY), "items", two_listeners.items(two_listeners.YESTERDAY))
    first, second, third, *_ = two_listeners.items()
    backwards = {"available_from": two_listeners.TONIGHT, "available_until": two_listeners.YESTERDAY}
    two_listeners.write(tonight, "items", [first | {"title": " "}, second, third | backwards, first])

    assert ingestion.items(tonight) == {
        "items_vs_last_night": 0.8,
        "duplicate_items": 1,
        "share_untitled": 0.25,
        "share_unavailable": 0.25,
        "share_never_available": 0.25,
        "share_licences_lifted": None,
        "share_explicit_lifted": None,
        "least_listable_vs_last_night": 0.6,
    }


def test_rejected_events_are_held_against_the_account_of_the_night(tonight: Night) -> None:
    two_listeners.write(tonight, "ingests", two_listeners.ingests())
    (row,) = two_listeners.quarantine()
    two_listeners.write(tonight, "quarantine", [row | {"reason": "bot"}, row | {"reason": "bad mood"}])

    assert ingestion.quarantine(tonight) == {"unlike_ingests": 3, "unknown_reasons": 1, "unknown_files": 0}


def test_bots_do_not_count_as_unusable_rows(tonight: Night) -> None:
    two_listeners.write(tonight, "listens", two_listeners.listens())
    (account,) = two_listeners.ingests()
    counts = {"rows_read": 16, "listens": 3, "duplicates": 1, "quarantined": 12}
    two_listeners.write(tonight, "ingests", [account | counts | {"reasons": [("unparsable", 4), ("bot", 8)]}])

    found = ingestion.ingests(tonight)

    assert (found["share_unusable"], found["share_bots"], found["share_unparsable"]) == (0.5, 0.5, 0.25)
    assert (found["rows_lost"], found["unlike_listens"], found["unlike_quarantine"]) == (0, 0, 12)


def test_a_night_without_an_account_has_no_shares(tonight: Night) -> None:
    found = ingestion.ingests(tonight)

    assert found.pop("accounts") == 0
    assert set(found.values()) == {None}


def test_indexes_that_repeat_or_are_left_out_are_counted(tonight: Night) -> None:
    first, *others = two_listeners.item_index()
    two_listeners.write(
        tonight, "item_index", [first, first, *(row | {"item_index": row["item_index"] + 4} for row in others)]
    )

    found = interactions.item_index(tonight)

    assert (found["duplicate_indexes"], found["duplicate_items"], found["gaps"]) == (1, 1, 3)


def test_a_model_is_as_old_as_its_training(tonight: Night) -> None:
    trained_on = two_listeners.TONIGHT - timedelta(days=3)
    (model,) = two_listeners.models(trained_on)
    spoilt = {"losses": [0.5, 0.55, math.nan], "spectrum": [math.inf, 1.0]}
    two_listeners.write(tonight.on(trained_on), "models", [model | spoilt])

    found = models.models(tonight)

    assert (found["live_models"], found["model_age_days"], found["not_finite"]) == (1, 3, 2)
    assert found["loss_rise"] == pytest.approx(0.1)


def test_listeners_without_a_model_are_a_fault_but_nobody_needs_none(tonight: Night) -> None:
    assert models.models(tonight)["live_models"] is None

    two_listeners.write(tonight, "interactions", two_listeners.interactions())
    assert models.models(tonight)["live_models"] == 0


def test_factors_that_are_not_finite_missing_or_zero_are_counted(tonight: Night) -> None:
    two_listeners.write(tonight, "models", two_listeners.models())
    two_listeners.write(tonight, "item_index", two_listeners.item_index())
    a, b, c, e = two_listeners.item_factors()
    spoilt = [
        a | {"factors": [3.0, 4.0]},
        b | {"factors": [0.0, 0.0]},
        c | {"factors": [math.nan, 1.0]},
        e | {"factors": []},
        e | {"factors": [1.0, 0.0]},
    ]
    two_listeners.write(tonight, "item_factors", spoilt)

    assert models.item_factors(tonight) == {
        "unlike_model": 1,
        "duplicate_items": 2,
        "unlike_index": 0,
        "wrong_length": 1,
        "not_finite": 1,
        "wrong_evidence": 0,
        "share_zero": 0.5,
        "share_of_index": 1.25,
        "largest_norm_vs_usual": 10.0,
    }
