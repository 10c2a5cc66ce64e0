"""The stage that relates items, on tables: what it reads and writes, and what it carries over from which night."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from nocturne.core.errors import InputError, UsageError
from nocturne.core.night import Night
from nocturne.core.stage import Access, StageResult
from nocturne.flow import stage
from nocturne.pipeline.stages import STAGES
from nocturne.storage import fingerprints, tables
from nocturne.training import registry
from nocturne.validation.profiles.related_items import related_items as profile
from tests.fixtures import two_listeners, two_tastes

SETTINGS = ("related.depth=3", "related.reserve=2", "als.neighbours=5")
Row = dict[str, Any]


@pytest.fixture
def nights(night: Callable[..., Night]) -> list[Night]:
    """Nights of two tastes; a model is live from the second one on."""
    made = two_tastes.write(lambda day, *settings: night(day, *settings, *SETTINGS))
    registry.add_live(made[1], registry.train(made[1], made[1].settings.als), "the first")
    return made


def relate(night: Night) -> StageResult:
    """The stage without Spark, opening what it declares alone."""
    return STAGES["relate_items"](None, night.under(Access(stage("relate_items"))), lambda *_: None)  # type: ignore[arg-type]


def rows_of(night: Night) -> list[Row]:
    rows = tables.night_rows(night, "related_items").sort_by([("content_type", "ascending"), ("item_id", "ascending")])
    listed: list[Row] = rows.to_pylist()
    return listed


def change_items(night: Night, **of_item: Row) -> None:
    """Change the catalogue of a night; `item_07={"absent": True}`."""
    changed = {name.replace("_", "-"): rules for name, rules in of_item.items()}
    rows = tables.night_rows(night, "items").to_pylist()
    two_listeners.write(night, "items", [row | changed.get(row["item_id"], {}) for row in rows])


def faults(night: Night) -> dict[str, float | None]:
    return {name: value for name, value in profile(night).profile.items() if value}


def validated(night: Night, files: str, outcome: str = "success") -> None:
    """Put on record that the night's related items were validated."""
    row = {"run_date": night.run_date, "table": "related_items", "expectation": "unordered", "severity": "critical"}
    row |= {"observed": 0.0, "limit": "= 0", "outcome": outcome, "seconds": 0.0, "content": "", "files": files}
    two_listeners.write(night, "validations", [row])


def test_every_item_is_related_within_its_taste_first(nights: list[Night]) -> None:
    result = relate(nights[1])

    assert (result.read, faults(nights[1])) == (two_tastes.ITEMS, {})
    for row in rows_of(nights[1]):
        kind = "track" if row["item_id"] < two_tastes.item(10) else "podcast_episode"
        assert (len(row["items"]), len(row["reserve"])) == (3, 2)
        if row["content_type"] != kind:
            assert {entry["source"] for entry in row["items"]} == {"factors"}


def test_the_model_of_an_earlier_night_has_its_rows_carried_over(nights: list[Night]) -> None:
    assert relate(nights[1]).remark.endswith("0 of 40 rows carried over")
    assert relate(nights[2]).remark.endswith("40 of 40 rows carried over")

    first, second = rows_of(nights[1]), rows_of(nights[2])
    assert [row | {"run_date": nights[2].run_date} for row in first] == second
    assert faults(nights[2]) == {}


def test_what_is_withdrawn_and_what_comes_back_moves_as_on_a_night_that_computes_everything(
    nights: list[Night],
) -> None:
    change_items(nights[2], item_03={"absent": True}, item_12={"content_type": "track"})
    change_items(nights[3], item_04={"markets": []}, item_05={"explicit": True})
    for each in nights[1:5]:
        relate(each)
        assert faults(each) == {}
    carried = rows_of(nights[4])
    assert {row["computed_on"] for row in carried} > {nights[4].run_date}

    afresh = nights[4].settings.related.model_copy(update={"carry_over": False})
    relate(nights[4].with_settings(nights[4].settings.model_copy(update={"related": afresh})))

    measured = {"reserve": None, "computed_on": None}
    assert [row | measured for row in carried] == [row | measured for row in rows_of(nights[4])]


def test_a_night_run_again_has_the_same_rows(spark_free_hash: Callable[[Night], str], nights: list[Night]) -> None:
    relate(nights[1])
    first = spark_free_hash(nights[1])
    relate(nights[1])
    assert spark_free_hash(nights[1]) == first


@pytest.fixture
def spark_free_hash() -> Callable[[Night], str]:
    return lambda night: fingerprints.row_hashes(None, night, ["related_items"])["related_items"]  # type: ignore[arg-type]


def test_a_new_item_of_the_catalogue_has_what_its_creator_has(nights: list[Night]) -> None:
    new = tables.night_rows(nights[1], "items").to_pylist()[0] | {"item_id": "new"}
    two_listeners.write(nights[1], "items", [*tables.night_rows(nights[1], "items").to_pylist(), new])

    relate(nights[1])

    (row,) = [row for row in rows_of(nights[1]) if (row["item_id"], row["content_type"]) == ("new", "track")]
    assert row["source"] == "creator"
    assert {entry["item_id"] for entry in row["items"]} <= {two_tastes.item(each) for each in (0, 3, 6, 9)}
    assert faults(nights[1]) == {}


def test_before_there_is_a_model_creators_are_all_there_is(nights: list[Night]) -> None:
    assert relate(nights[0]).remark.startswith("no model yet")
    assert {row["source"] for row in rows_of(nights[0])} == {"creator"}
    assert faults(nights[0]) == {}


def test_an_empty_warehouse_has_no_rows(night: Callable[..., Night]) -> None:
    relate(night())
    assert rows_of(night()) == []
    assert faults(night()) == {}


def test_nothing_is_carried_over_from_a_night_whose_gate_closed(nights: list[Night]) -> None:
    relate(nights[1])
    validated(nights[1], fingerprints.file_hashes(nights[1], "related_items"), outcome="failed")
    assert relate(nights[2]).remark.endswith("0 of 40 rows carried over")


def test_rows_that_changed_after_they_were_validated_are_refused(nights: list[Night]) -> None:
    relate(nights[1])
    validated(nights[1], "of other files")
    with pytest.raises(InputError, match="changed after it was validated"):
        relate(nights[2])


def test_rows_beyond_their_memory_are_refused_by_the_name_of_the_setting(nights: list[Night]) -> None:
    ranking = nights[1].settings.ranking.model_copy(update={"items_memory_mb": 1})
    related = nights[1].settings.related.model_copy(update={"depth": 1000})
    small = nights[1].settings.model_copy(update={"ranking": ranking, "related": related})
    with pytest.raises(UsageError, match=r"related\.depth"):
        relate(replace(nights[1], warehouse=replace(nights[1].warehouse, settings=small)))
