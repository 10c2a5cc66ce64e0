"""Exposures: warnings that name what is wrong, and never a closed gate."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from nocturne.core.night import Night
from nocturne.flow import stage
from nocturne.ingestion.ingest_exposures import ingest_exposures
from nocturne.pipeline.runner import run_validation
from nocturne.serving.manifest import build_record
from nocturne.storage import attempts
from nocturne.validation.profiles import exposures
from nocturne.validation.validate_table import Verdict, validate
from tests.fixtures import landed_exposures, two_listeners
from tests.fixtures.landed_exposures import land, line, mark

TABLES = stage("ingest_exposures").writes


@pytest.fixture
def tonight(night: Callable[..., Night]) -> Night:
    return night(two_listeners.TONIGHT, *two_listeners.SETTINGS)


def write(night: Night, **rows: list[dict[str, Any]]) -> None:
    for table, of_table in rows.items():
        two_listeners.write(night, table, of_table)


def write_sound(night: Night) -> None:
    for table in TABLES:
        two_listeners.write(night, table, getattr(two_listeners, table)(night.run_date))


def failed(night: Night) -> dict[str, float]:
    """Observed values of what failed; Spark has nothing to do."""
    verdicts: list[Verdict] = validate(None, night, TABLES)
    assert not any(verdict.closed for verdict in verdicts)
    rows = [row for verdict in verdicts for row in verdict.rows.to_pylist()]
    assert {row["severity"] for row in rows} == {"warning"}
    return {row["expectation"]: row["observed"] for row in rows if row["outcome"] == "failed"}


def test_sound_exposures_hold_every_expectation_but_the_shares_of_four_lines(tonight: Night) -> None:
    write_sound(tonight.on(two_listeners.YESTERDAY))
    write_sound(tonight)
    assert failed(tonight) == {"share_rejected": 0.25, "share_duplicates": 0.25}


def test_a_service_without_exposures_holds_every_expectation(tonight: Night) -> None:
    assert failed(tonight) == {}


def test_no_exposures_after_nights_that_had_some_is_a_warning(tonight: Night) -> None:
    write_sound(tonight.on(two_listeners.YESTERDAY))
    assert failed(tonight) == {"exposures_vs_recent": 0}


def test_usual_is_the_median_of_the_last_seven_nights_that_had_exposures(tonight: Night) -> None:
    for days, accepted in enumerate([0, 8, 8, 8, 2, 2, 2, 2, 99, 99], start=1):
        day = tonight.run_date - timedelta(days=days)
        counts = {"lines": accepted, "accepted": accepted, "duplicates": 0, "rejected": 0, "reasons": []}
        halves = [counts | {name: counts[name] // 2 for name in ("lines", "accepted")}] * 2
        accounts = [
            two_listeners.exposure_ingests(day, **half, writer=name)[0] for half, name in zip(halves, "ab", strict=True)
        ]
        two_listeners.write(tonight.on(day), "exposure_ingests", accounts)
    write(tonight, exposures=two_listeners.exposures())
    assert exposures.exposures(tonight)[0]["exposures_vs_recent"] == 1.0


def test_exposures_that_repeat_are_of_another_day_or_cannot_be_are_counted(tonight: Night) -> None:
    ana, ben = two_listeners.exposures()
    long_ago = ben | {"exposure_id": "3", "shown_at": ben["shown_at"] - timedelta(days=3)}
    chances = [{"item_id": item, "propensity": chance} for item, chance in (("a", 0.0), ("b", None), ("c", 1.5))]
    long_ago |= {"differences": [("bold", 1), ("calm", 2), ("loud", 3), ("mild", 0), ("soft", None)]}
    write(tonight, exposures=[ana, ana, ben | {"items": chances}, long_ago])
    found, _ = exposures.exposures(tonight)
    assert found == {
        "exposures_vs_recent": None,
        "duplicate_exposures": 1,
        "outside_day": 1,
        "mislabelled_late": 1,
        "impossible_propensities": 3,
        "impossible_differences": 2,
        "share_late": 0.0,
    }


def test_rejects_are_held_against_the_accounts(tonight: Night) -> None:
    (row,) = two_listeners.exposure_rejects()
    write(
        tonight,
        exposure_ingests=two_listeners.exposure_ingests(),
        exposure_rejects=[row | {"reason": "long_id"}, row | {"reason": "bad mood"}],
    )
    assert exposures.exposure_rejects(tonight) == {"unlike_ingests": 3, "unknown_reasons": 1}


def test_writers_that_are_torn_unfinished_or_twice_there_are_counted(tonight: Night) -> None:
    states = ["torn", "torn", "unfinished", "complete"]
    accounts = [two_listeners.exposure_ingests(state=state, writer=state)[0] for state in states]
    write(tonight, exposure_ingests=accounts, exposures=two_listeners.exposures())
    found = exposures.exposure_ingests(tonight)
    assert found == {
        "torn_writers": 2,
        "unfinished_writers": 1,
        "duplicate_writers": 1,
        "lines_lost": 0,
        "unlike_exposures": 6,
        "share_rejected": 0.25,
        "share_duplicates": 0.25,
    }


def test_a_night_with_torn_and_unfinished_writers_warns_names_them_and_goes_on(
    tonight: Night, capsys: pytest.CaptureFixture[str]
) -> None:
    day = landed_exposures.DAY
    assert tonight.run_date == day == date(2025, 3, 2)
    land(tonight.landing, "web-1", line("1"))
    land(tonight.landing, "web-2", line("2"))
    mark(tonight.landing, "web-2", 9)
    told = ingest_exposures(None, tonight, lambda *_: None).remark
    assert told == "torn: web-2 (_SUCCESS announces 9 rows, and there are 1); unfinished: web-1"
    run_validation(None, tonight, TABLES, close=True)
    printed = capsys.readouterr().err
    assert "warning: 5 success, 2 failed" in printed
    assert "exposure_ingests: torn_writers is 1, expected = 0. Writers of which" in printed
    assert "exposure_ingests: unfinished_writers is 1, expected = 0. Writers without" in printed
    assert attempts.all_attempts(tonight.warehouse) == []


def test_the_record_of_a_night_is_the_same_before_and_after_its_exposures_were_validated(tonight: Night) -> None:
    two_listeners.write_sound_nights(tonight)
    validate(None, tonight, ["items", "ingests"])
    before = build_record(tonight, 2, "abcdef0123456789", ())
    write_sound(tonight)
    validate(None, tonight, TABLES)
    assert build_record(tonight, 2, "abcdef0123456789", ()).manifest == before.manifest


def test_what_was_shown_is_held_against_the_lists_of_the_night_that_it_came_from(tonight: Night) -> None:
    ana, ben = two_listeners.ranked_lists(two_listeners.YESTERDAY)
    cleo = ben | {"user_id": "cleo", "arm": "bold/wide"}
    two_listeners.write(tonight.on(two_listeners.YESTERDAY), "ranked_lists", [ana, ben, cleo])
    same, other = two_listeners.exposures()
    turned = {"items": [{"item_id": item, "propensity": 1.0} for item in ("e", "c", "z")]}
    two_listeners.write(tonight, "exposures", [same, other | turned])

    _, metrics = exposures.exposures(tonight)

    found = {(each.name, each.segment_kind, each.segment): each.value for each in metrics}
    assert found["share_as_computed", "all", ""] == pytest.approx(4 / 5)
    assert found["share_in_place", "arm", "control"] == pytest.approx(2 / 5)
    assert found["share_of_lists_shown", "all", ""] == pytest.approx(2 / 3)
    assert found["share_of_lists_shown", "arm", "bold/wide"] == 0


def test_lists_of_a_night_that_is_gone_are_compared_with_nothing(tonight: Night) -> None:
    two_listeners.write(tonight, "exposures", two_listeners.exposures())

    _, metrics = exposures.exposures(tonight)

    assert {each.name for each in metrics} & {"share_as_computed", "share_of_lists_shown"} == set()
    assert any(each.name == "exposures" and each.value == 2 for each in metrics)
