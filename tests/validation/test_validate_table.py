"""Validation: the spoils that close the gate, those that do not, and the sentences on them."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import write_deltalake
from pyspark.sql import SparkSession

from nocturne.core.errors import UsageError
from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import load_settings
from nocturne.flow import GATED_TABLES
from nocturne.pipeline.runner import run_validation
from nocturne.serving import manifest, publications
from nocturne.storage import fingerprints, tables, writing
from nocturne.storage.contracts import contract
from nocturne.storage.history import closed_dates, usual
from nocturne.validation import profiles, suites, validate_table
from nocturne.validation.data_docs import write_index
from tests.fixtures import two_listeners
from tests.fixtures.empty_warehouses import create_empty

SOUND = load_settings(overrides=two_listeners.SETTINGS)


@pytest.fixture(scope="module")
def sound_warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound") / "warehouse"
    night = Night(Warehouse(str(folder), SOUND), two_listeners.TONIGHT, "landing", "lmdb:cache")
    create_empty(night.warehouse)
    two_listeners.write_sound_nights(night)
    return folder


@pytest.fixture
def tonight(sound_warehouse: Path, tmp_path: Path) -> Night:
    """Tonight in a sound world of the test's own."""
    copy = shutil.copytree(sound_warehouse, tmp_path / "warehouse")
    return Night(
        Warehouse(str(copy), SOUND), two_listeners.TONIGHT, str(tmp_path / "landing"), f"lmdb:{tmp_path / 'cache'}"
    )


def outcomes(night: Night) -> dict[tuple[str, str, str], str]:
    rows = tables.rows(night.warehouse, "validations", pc.field("run_date") == night.run_date).to_pylist()
    return {(row["table"], row["expectation"], row["severity"]): row["outcome"] for row in rows}


def state(night: Night) -> dict[str, object]:
    return {row["run_date"]: row for row in tables.rows(night.warehouse, "nights").to_pylist()}.get(night.run_date, {})


def test_a_sound_night_holds_every_expectation(spark: SparkSession, tonight: Night) -> None:
    verdicts = validate_table.validate(spark, tonight, GATED_TABLES)

    assert [verdict.table for verdict in verdicts] == list(GATED_TABLES)
    assert not any(verdict.closed for verdict in verdicts)
    # One row of five each: too many for a service, and all that a world this small can do.
    assert {key for key, outcome in outcomes(tonight).items() if outcome == "failed"} == {
        ("ingests", "share_unparsable", "warning"),
        ("ingests", "share_duplicates", "warning"),
    }
    assert state(tonight) == {}
    assert set(suites.critical_expectations()["ranked_lists"]) <= {key[1] for key in outcomes(tonight)}


def test_an_empty_first_day_without_listeners_or_a_model_passes_with_a_warning(
    spark: SparkSession, night: Callable[..., Night]
) -> None:
    first = night(two_listeners.TONIGHT, *two_listeners.SETTINGS)
    nothing = {"rows_read": 0, "listens": 0, "duplicates": 0, "quarantined": 0, "listeners": 0, "reasons": []}
    two_listeners.write(first, "ingests", [two_listeners.ingests()[0] | nothing])
    nobody = {"model_version": None, "listeners": 0, "personal": 0, "audited": 0, "reasons": []}
    two_listeners.write(first, "rankings", [two_listeners.rankings()[0] | nobody])

    verdicts = validate_table.validate(spark, first, GATED_TABLES)

    assert not any(verdict.closed for verdict in verdicts)
    found = outcomes(first)
    assert [key for key, outcome in found.items() if outcome == "failed"] == [("listens", "empty_day", "warning")]
    assert found["listens", "listens_vs_recent", "critical"] == "skipped"
    assert found["models", "live_models", "critical"] == "skipped"
    assert found["ranked_lists", "churn", "warning"] == "skipped"


def spoil_with_duplicate_keys(night: Night) -> None:
    lists = two_listeners.ranked_lists()
    two_listeners.write(night, "ranked_lists", [*lists, lists[0]])


def spoil_with_a_nan_factor(night: Night) -> None:
    first, *others = two_listeners.item_factors()
    two_listeners.write(night, "item_factors", [first | {"factors": [1.0, float("nan")]}, *others])


def spoil_with_lists_half_as_long(night: Night) -> None:
    two_listeners.write(
        night, "ranked_lists", [row | {"items": row["items"][:1]} for row in two_listeners.ranked_lists()]
    )


def spoil_with_an_ineligible_item(night: Night) -> None:
    ana, ben = two_listeners.ranked_lists()
    only_in_sweden = {"items": [{"item_id": "b", "score": 0.75}, {"item_id": "e", "score": 0.5}]}
    two_listeners.write(night, "ranked_lists", [ana, ben | only_in_sweden])


def spoil_with_a_propensity_of_zero(night: Night) -> None:
    ana, ben = two_listeners.ranked_lists()
    two_listeners.write(night, "ranked_lists", [ana | {"propensities": [1.0, 0.0]}, ben | {"propensities": [1.0, 0.5]}])


def spoil_with_too_few_propensities(night: Night) -> None:
    ana, ben = two_listeners.ranked_lists()
    two_listeners.write(night, "ranked_lists", [ana | {"propensities": [1.0]}, ben])


def spoil_with_a_tenth_of_the_volume(night: Night) -> None:
    yesterday = Night(night.warehouse, two_listeners.YESTERDAY, night.landing, night.cache)
    two_listeners.write(yesterday, "ingests", two_listeners.ingests(two_listeners.YESTERDAY, listens=30))


def spoil_with_a_stale_model(night: Night) -> None:
    two_listeners.write(night, "models", [])
    two_listeners.write(night, "item_factors", [])
    trained_on = two_listeners.TONIGHT - timedelta(days=15)
    then = Night(night.warehouse, trained_on, night.landing, night.cache)
    two_listeners.write(then, "models", two_listeners.models(trained_on))
    two_listeners.write(then, "item_factors", two_listeners.item_factors(trained_on))


@pytest.mark.parametrize(
    ("spoil", "table", "sentence"),
    [
        (spoil_with_duplicate_keys, "ranked_lists", "ranked_lists: duplicate_keys is 1, expected = 0."),
        (spoil_with_a_nan_factor, "item_factors", "item_factors: not_finite is 1, expected = 0."),
        (spoil_with_lists_half_as_long, "ranked_lists", "ranked_lists: share_short is 1, expected <= 0."),
        (spoil_with_an_ineligible_item, "ranked_lists", "ranked_lists: ineligible_items is 1, expected = 0."),
        (spoil_with_a_propensity_of_zero, "ranked_lists", "ranked_lists: propensities_unsound is 1, expected = 0."),
        (spoil_with_too_few_propensities, "ranked_lists", "ranked_lists: propensities_unsound is 1, expected = 0."),
        (spoil_with_a_tenth_of_the_volume, "listens", "listens: listens_vs_recent is 0.1, expected >= 0.12."),
        (spoil_with_a_stale_model, "models", "models: model_age_days is 15, expected 0 to 14."),
    ],
)
def test_a_spoilt_night_closes_the_gate_and_says_why(
    spark: SparkSession, tonight: Night, spoil: Callable[[Night], None], table: str, sentence: str
) -> None:
    spoil(tonight)

    (verdict,) = validate_table.validate(spark, tonight, [table])

    assert verdict.closed
    assert verdict.failures[0].startswith(sentence)
    publications.record_closed_gate(tonight, validate_table.critical_failures(tonight))
    assert state(tonight)["state"] == "gate_closed"
    assert sentence.removesuffix(".") in str(state(tonight)["reason"])
    assert closed_dates(tonight.warehouse, [table]) == {two_listeners.TONIGHT}


def test_lists_out_of_order_with_unknown_listeners_or_of_another_model_close_the_gate(
    spark: SparkSession, tonight: Night
) -> None:
    ana, _ = two_listeners.ranked_lists()
    rising = [{"item_id": "c", "score": 0.5}, {"item_id": "e", "score": 0.75}]
    twice = [{"item_id": "c", "score": float("inf")}, {"item_id": "c", "score": 0.5}, {"item_id": "z", "score": 0.25}]
    stranger = ana | {"user_id": "cleo", "items": twice, "model_version": "als-of-old"}
    two_listeners.write(tonight, "ranked_lists", [ana | {"items": rising}, stranger])

    (verdict,) = validate_table.validate(spark, tonight, ["ranked_lists"])

    observed = {row["expectation"]: row["observed"] for row in verdict.rows.to_pylist()}
    spoilt = {
        "unordered": 1,
        "not_finite": 1,
        "lists_with_duplicates": 1,
        "too_long": 1,
        "listeners_without_list": 1,
        "lists_without_listener": 1,
        "other_model": 1,
        "share_not_in_catalogue": 0.2,
        "share_of_top_items": 0.6,
        "ineligible_items": 0,
    }
    assert {name: observed[name] for name in spoilt} == spoilt


def test_rows_of_the_matrix_that_are_lost_split_or_out_of_shape_close_the_gate(
    spark: SparkSession, tonight: Night
) -> None:
    ana, _ = two_listeners.interactions()
    two_listeners.write(tonight, "interactions", [ana | {"item_indexes": [1, 0]}, ana | {"item_indexes": [0, 4, 5]}])

    (verdict,) = validate_table.validate(spark, tonight, ["interactions"])

    observed = {
        row["expectation"]: row["observed"] for row in verdict.rows.to_pylist() if row["severity"] == "critical"
    }
    assert observed == {
        "listeners_vs_last_night": 1,
        "listeners_left_behind": 0,
        "duplicate_listeners": 1,
        "misplaced": 0,
        "misaligned": 1,
        "unordered": 1,
        "unknown_items": 2,
        "wrong_windows": 1,
        "negative_sums": 0,
        "history_lost": 2,
        "rewritten": 0,
        "items_out_of_balance": 1,
        "largest_market_shift": None,
    }


@pytest.mark.parametrize("bucket", [1, 7], ids=["of another", "that there is not"])
def test_a_listener_in_a_bucket_is_misplaced(spark: SparkSession, night: Callable[..., Night], bucket: int) -> None:
    made = night(two_listeners.TONIGHT, "tables.buckets=2")
    # Both belong into bucket 0.
    ana, ben = two_listeners.interactions()
    two_listeners.write(made, "interactions", [ana, ben | {"bucket": bucket}])

    (verdict,) = validate_table.validate(spark, made, ["interactions"])

    assert {row["observed"] for row in verdict.rows.to_pylist() if row["expectation"] == "misplaced"} == {1}


@pytest.mark.parametrize("bucket", [1, 7], ids=["of another", "that there is not"])
def test_an_event_in_a_bucket_is_misplaced(spark: SparkSession, night: Callable[..., Night], bucket: int) -> None:
    made = night(two_listeners.TONIGHT, "tables.buckets=2")
    # Both listeners belong into bucket 0.
    first, *others = two_listeners.listens()
    two_listeners.write(made, "listens", [first | {"bucket": bucket}, *others])

    (verdict,) = validate_table.validate(spark, made, ["listens"])

    assert {row["observed"] for row in verdict.rows.to_pylist() if row["expectation"] == "misplaced"} == {1}


def test_events_out_of_the_order_of_listeners_close_the_gate(spark: SparkSession, tonight: Night) -> None:
    rows = pa.Table.from_pylist(two_listeners.listens()[::-1], contract("listens").arrow_schema)
    write_deltalake(tonight.warehouse.table_path("listens"), rows, mode="overwrite")

    (verdict,) = validate_table.validate(spark, tonight, ["listens"])

    assert verdict.closed
    assert {row["observed"] for row in verdict.rows.to_pylist() if row["expectation"] == "unordered"} == {1}


@pytest.mark.parametrize("table", ["listens", "interactions", "pools", "ranked_lists"])
def test_many_rows_are_measured_by_tasks_as_few_are_by_this_process(
    spark: SparkSession, tonight: Night, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = profiles.measure(spark, tonight, table)

    monkeypatch.setattr(writing, "FEW_ROWS", 0)

    assert profiles.measure(spark, tonight, table) == here


@pytest.mark.parametrize("table", GATED_TABLES)
def test_the_hash_of_what_was_validated_is_that_of_its_rows(spark: SparkSession, tonight: Night, table: str) -> None:
    if table == "interactions":
        two_listeners.write(tonight, table, [row | {"bucket": 7} for row in two_listeners.interactions()])

    (verdict,) = validate_table.validate(spark, tonight, [table])

    content = fingerprints.row_hashes(spark, tonight, [table])[table]
    assert set(verdict.rows["content"].to_pylist()) == {content}


def test_listens_that_repeat_or_are_of_another_day_close_the_gate(spark: SparkSession, tonight: Night) -> None:
    first, second, third = two_listeners.listens()
    long_ago = second["listened_at"] - timedelta(days=3)
    two_listeners.write(
        tonight, "listens", [first, first, second | {"listened_at": long_ago}, third | {"plays": 10_000_000}]
    )

    (verdict,) = validate_table.validate(spark, tonight, ["listens"])

    failed = {row["expectation"]: row["observed"] for row in verdict.rows.to_pylist() if row["outcome"] == "failed"}
    assert failed == {"duplicate_events": 1, "outside_day": 1, "mislabelled_late": 1, "impossible_values": 1}


def test_a_warning_does_not_close_the_gate(spark: SparkSession, tonight: Night) -> None:
    two_listeners.write(tonight, "items", [row | {"title": None} for row in two_listeners.items()])

    (verdict,) = validate_table.validate(spark, tonight, ["items"])

    assert not verdict.closed
    assert [failure.split(".")[0] for failure in verdict.failures] == ["items: share_untitled is 1, expected <= 0"]
    assert state(tonight) == {}


def test_a_closed_gate_keeps_the_generation_that_is_served_and_stays_closed(
    spark: SparkSession, tonight: Night
) -> None:
    manifest_of_lists = manifest.build_record(tonight, 2, "abcdef0123456789", ())
    publications.publish(publications.Nights(tonight.warehouse), tonight, manifest_of_lists, None)
    spoil_with_a_nan_factor(tonight)
    run_validation(spark, tonight, ["item_factors"])
    states = [(record.state, record.generation) for record in publications.all_records(tonight.warehouse)]
    assert states == [("superseded", "2025-03-02-abcdef01"), ("gate_closed", None)]

    two_listeners.write(tonight, "item_factors", two_listeners.item_factors())
    run_validation(spark, tonight, ["item_factors"])

    assert publications.all_records(tonight.warehouse)[-1].state == "gate_closed"
    assert closed_dates(tonight.warehouse, ["item_factors"]) == set()


def test_validating_a_table_again_replaces_its_own_rows_alone(spark: SparkSession, tonight: Night) -> None:
    validate_table.validate(spark, tonight, ["items", "models"])
    before = tables.rows(tonight.warehouse, "validations").num_rows

    validate_table.validate(spark, tonight, ["items"])

    assert tables.rows(tonight.warehouse, "validations").num_rows == before


def test_validations_name_the_files_they_were_made_of(spark: SparkSession, tonight: Night) -> None:
    (verdict,) = validate_table.validate(spark, tonight, ["items"])

    assert set(verdict.rows["files"].to_pylist()) == {fingerprints.file_hashes(tonight, "items")}


def test_nights_whose_gate_closed_do_not_say_what_is_usual(spark: SparkSession, tonight: Night) -> None:
    def on(day: date) -> Night:
        return Night(tonight.warehouse, day, tonight.landing, tonight.cache)

    spoilt = two_listeners.YESTERDAY - timedelta(days=1)
    two_listeners.write(on(spoilt), "ingests", two_listeners.ingests(spoilt, listens=90) * 2)
    assert usual(tonight, "listens") == 90
    validate_table.validate(spark, on(spoilt), ["ingests"])

    assert usual(tonight, "listens") == 3


def test_a_misspelt_threshold_is_a_settings_error(spark: SparkSession, tonight: Night) -> None:
    settings = load_settings(overrides=(*two_listeners.SETTINGS, "expectations.models.max_age_dais=3"))
    misspelt = Night(replace(tonight.warehouse, settings=settings), tonight.run_date, tonight.landing, tonight.cache)

    with pytest.raises(UsageError, match=r"(?s)models.*max_age_dais is unknown"):
        validate_table.validate(spark, misspelt, ["models"])


def test_the_data_docs_show_every_night_and_what_failed(spark: SparkSession, tonight: Night) -> None:
    spoil_with_a_nan_factor(tonight)
    validate_table.validate(spark, tonight, ["item_factors"])
    write_index(tonight.warehouse, {"serving": [], "nights": [], "to_do": []})

    folder = Path(tonight.warehouse.path) / "_data_docs"
    index, page = (folder / "index.html").read_text(), (folder / "2025-03-02.html").read_text()
    assert '<a href="2025-03-02.html#item_factors"><span class="critical">1 critical</span></a>' in index
    assert "Items with a factor that is NaN, null or infinite" in page
    assert "http" not in index + page
