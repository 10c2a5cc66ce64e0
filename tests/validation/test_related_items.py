"""Expectations of related items: each is broken by a table that is spoilt its way, and by nothing else."""

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from nocturne.core.night import Night
from nocturne.storage import tables
from nocturne.validation.profiles.related_items import related_items
from nocturne.validation.suites import evaluate, metric_names
from tests.fixtures import two_listeners
from tests.fixtures.two_listeners import TONIGHT, YESTERDAY

Row = dict[str, Any]
Change = Callable[[list[Row]], list[Row]]
A, B, C, D, E = range(5)
"""Rows of `two_listeners.related_items`."""


@pytest.fixture
def tonight(night: Callable[..., Night]) -> Night:
    made = night(TONIGHT, *two_listeners.SETTINGS)
    two_listeners.write_sound_nights(made)
    return made


def rows_of(night: Night, table: str = "related_items") -> list[Row]:
    key = "item_id" if table != "item_factors" else "item_index"
    rows: list[Row] = tables.night_rows(night, table).sort_by(key).to_pylist()
    return rows


def faults(night: Night) -> dict[str, float | None]:
    """Metrics that are not as they should be."""
    return {name: value for name, value in related_items(night).profile.items() if value not in {0, None}}


SOUND = {"share_empty": 0.2}
"""`d`, which may be listed no longer, has no factors and no creator."""


def row(number: int, **values: Any) -> Change:
    return lambda rows: [each | values if place == number else each for place, each in enumerate(rows)]


def entries(number: int, how: Callable[[list[Row]], list[Row]]) -> Change:
    return lambda rows: row(number, items=how(rows[number]["items"]))(rows)


def entry(number: int, place: int, **values: Any) -> Change:
    """Change the item at a place of a row."""
    return entries(number, lambda items: [each | values if at == place else each for at, each in enumerate(items)])


def spoilt(night: Night, change: Change) -> dict[str, float | None]:
    two_listeners.write(night, "related_items", change(rows_of(night)))
    return {name: value for name, value in faults(night).items() if SOUND.get(name) != value}


def test_sound_rows_have_no_fault(tonight: Night) -> None:
    assert faults(tonight) == SOUND


def test_the_profile_has_the_metrics_of_the_suite(tonight: Night) -> None:
    assert set(related_items(tonight).profile) == metric_names("related_items")


SPOILS: dict[str, tuple[Change, set[str]]] = {
    "a row lost": (lambda rows: rows[1:], {"rows_missing", "share_empty"}),
    "a row of no item": (
        lambda rows: [*rows, rows[A] | {"item_id": "x"}],
        {"rows_of_nothing", "unlike_recomputed", "share_empty"},
    ),
    "a row of no type": (
        lambda rows: [*rows, rows[A] | {"content_type": "audiobook"}],
        {"rows_of_nothing", "other_type", "unlike_recomputed", "share_empty"},
    ),
    "a row twice": (lambda rows: [*rows, rows[A]], {"duplicate_keys", "share_empty"}),
    "an item related to itself": (entry(A, 1, item_id="a"), {"related_to_itself", "unlike_recomputed"}),
    "an item twice in a row": (entry(A, 2, item_id="b"), {"rows_with_duplicates"}),
    "a score that rises": (entry(A, 2, score=0.5), {"unordered", "unlike_recomputed"}),
    "a score that is no number": (entry(A, 2, score=math.nan), {"not_finite", "unlike_recomputed"}),
    "a score that is null": (entry(A, 2, score=None), {"not_finite", "unlike_recomputed"}),
    "a score that is infinite": (entry(A, 0, score=math.inf), {"not_finite", "unlike_recomputed"}),
    "an item that ended yesterday": (entry(A, 2, item_id="d"), {"ineligible_items", "unlike_recomputed"}),
    "an item that nobody knows": (entry(A, 2, item_id="x"), {"ineligible_items", "unlike_recomputed"}),
    "a row cut short": (entries(A, lambda items: items[:2]), {"wrong_length", "unlike_recomputed"}),
    "an empty row of the model": (
        row(A, items=[]),
        {"wrong_length", "wrong_source", "unlike_recomputed", "share_empty"},
    ),
    "a row of another source": (row(A, source="creator"), {"wrong_source"}),
    "an empty row with a source": (row(D, source="model"), {"wrong_source"}),
    "an item of a creator in a row of the model": (
        entry(A, 2, source="creator"),
        {"wrong_source", "unlike_recomputed"},
    ),
    "an item of no source": (entry(A, 2, source="text"), {"wrong_source", "unlike_recomputed"}),
    "an item of another source": (entry(A, 0, source="both"), {"unlike_recomputed"}),
    "a row of another model": (row(A, model_version="als-of-old"), {"other_model"}),
    "a row of no model": (row(A, model_version=None), {"other_model"}),
    "a row of tomorrow": (row(A, computed_on=TONIGHT + timedelta(days=1)), {"outdated"}),
    "a row carried over that depends on no factors": (row(D, computed_on=YESTERDAY), {"outdated"}),
    "another item's row": (
        lambda rows: row(A, items=rows[B]["items"])(rows),
        {"related_to_itself", "unlike_recomputed"},
    ),
    "scores that are half of what they are": (entry(A, 0, score=0.5), {"unlike_recomputed"}),
    "a worse item before a better one": (
        lambda rows: entry(A, 1, item_id="c")(entry(A, 0, item_id="b")(rows)),
        {"unlike_recomputed"},
    ),
    "a carried row that lost its best": (
        lambda rows: row(A, computed_on=YESTERDAY, items=rows[A]["items"][1:])(rows),
        {"unlike_last_night", "unlike_recomputed", "wrong_length"},
    ),
    "a carried row in another order": (
        lambda rows: row(A, computed_on=YESTERDAY, items=[rows[A]["items"][place] for place in (0, 2, 1)])(rows),
        {"unlike_last_night"},
    ),
    "a carried row of another night": (row(A, computed_on=YESTERDAY - timedelta(days=1)), {"unlike_last_night"}),
}


@pytest.mark.parametrize("name", SPOILS)
def test_a_spoil_is_told_by_its_metric(tonight: Night, name: str) -> None:
    change, metrics = SPOILS[name]
    assert set(spoilt(tonight, change)) == metrics


def test_a_row_that_was_carried_over_as_it_is_has_no_fault(tonight: Night) -> None:
    assert spoilt(tonight, row(A, computed_on=YESTERDAY)) == {}


def test_a_carried_row_is_last_nights_without_what_is_withdrawn_and_with_its_reserve(tonight: Night) -> None:
    before = rows_of(tonight.on(YESTERDAY))
    two_listeners.write(tonight.on(YESTERDAY), "related_items", [_deep(each, 1) for each in before])
    two_listeners.write(tonight, "items", [_absent(each, "c") for each in two_listeners.items()])
    without = {"a": ["b", "e"], "b": ["e", "a"], "c": ["a", "b", "e"], "d": [], "e": ["b", "a"]}
    rows = [
        each
        | {
            "items": [old for old in each["items"] if old["item_id"] in without[each["item_id"]]],
            "computed_on": YESTERDAY if each["items"] else TONIGHT,
        }
        for each in rows_of(tonight)
    ]
    two_listeners.write(tonight, "related_items", rows)

    assert faults(tonight) == SOUND


def _deep(row: Row, depth: int) -> Row:
    return row | {"items": row["items"][:depth], "reserve": row["items"][depth:]}


def _absent(item: Row, name: str) -> Row:
    return item | {"absent": True} if item["item_id"] == name else item


def test_rows_longer_than_their_depth_are_counted(tonight: Night) -> None:
    settings = tonight.settings.related.model_copy(update={"depth": 2})
    shallow = tonight.with_settings(tonight.settings.model_copy(update={"related": settings}))
    assert faults(shallow)["wrong_length"] == 4


def test_a_catalogue_that_moves_an_item_to_another_type_leaves_rows_missing(tonight: Night) -> None:
    moved = [each | {"content_type": "audiobook"} if each["item_id"] == "c" else each for each in two_listeners.items()]
    two_listeners.write(tonight, "items", moved)
    found = faults(tonight)
    assert (found["rows_missing"], found["other_type"]) == (5, 3)


def test_evidence_is_a_part_of_a_recomputed_score(tonight: Night) -> None:
    heard_after = [
        each | ({"predecessors": [0], "predecessor_weights": [0.5]} if each["item_id"] == "e" else {})
        for each in rows_of(tonight, "item_factors")
    ]
    two_listeners.write(tonight, "item_factors", heard_after)
    assert faults(tonight)["unlike_recomputed"] == 1

    # `e` is heard after `a` more than anything else is, and their factors are at right angles.
    best = {"item_id": "e", "score": 1.0, "source": "neighbours"}
    change = entries(A, lambda items: [items[0], best, items[1]])
    assert spoilt(tonight, change) == {}


def test_items_of_a_creator_are_recomputed_by_listeners_and_ids(tonight: Night) -> None:
    catalogue = [
        each | {"creator": "c1" if each["item_id"] in {"a", "c", "d", "e"} else None} for each in two_listeners.items()
    ]
    two_listeners.write(tonight, "items", catalogue)
    heard = {"a": 1, "b": 9, "c": 2, "e": 1}
    factors = [each | {"listeners": heard[each["item_id"]]} for each in rows_of(tonight, "item_factors")]
    two_listeners.write(tonight, "item_factors", factors)

    def of_creator(*ids: str) -> Change:
        items = [{"item_id": each, "score": heard[each] / 9, "source": "creator"} for each in ids]
        return row(D, items=items, source="creator")

    assert spoilt(tonight, of_creator("c", "a", "e")) == {}
    assert spoilt(tonight, of_creator("a", "c", "e"))["unlike_recomputed"] == 1
    assert spoilt(tonight, of_creator("c", "a"))["wrong_length"] == 1


def test_the_suite_closes_the_gate_on_faults_and_warns_of_empty_rows() -> None:
    metrics = dict.fromkeys(metric_names("related_items"), 0.0)
    thresholds = {"max_share_empty": 0.2}
    assert not any(each.outcome == "failed" for each in evaluate("related_items", metrics, thresholds))

    failed = evaluate("related_items", dict.fromkeys(metrics, 1.0), thresholds)

    assert {each.metric for each in failed if each.outcome == "failed"} == set(metrics)
    assert {each.metric for each in failed if not each.closes_gate} == {"share_empty"}
