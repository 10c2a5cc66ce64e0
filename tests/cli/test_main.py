"""Commands as people type them: the output of each, and its exit status when something is wrong."""

import errno
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from nocturne.cli.main import app
from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import Settings, load_settings
from nocturne.ingestion.importers import IMPORTERS
from nocturne.serving import publications
from nocturne.serving.cache import open_cache
from nocturne.storage import writing
from nocturne.storage.contracts import contract
from tests.fixtures.empty_warehouses import create_empty
from tests.fixtures.published_nights import serve_two_nights

NIGHT = date(2025, 1, 2)


def nocturne(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def cache_to_read(night_of_module):
    return serve_two_nights(night_of_module(NIGHT, "tables.buckets=1"), "song [b]book[/b]").cache


@pytest.fixture
def cache(night):
    return serve_two_nights(night(NIGHT, "tables.buckets=1"), "song [b]book[/b]").cache


@pytest.fixture
def warehouse(tmp_path):
    """Empty tables; returns a function that writes rows of the night, unset columns as given by default."""
    night = Night(Warehouse(str(tmp_path / "warehouse"), load_settings(overrides=["tables.buckets=1"])), NIGHT, "", "")
    create_empty(night.warehouse)

    def write(table, *rows):
        filled = [{"run_date": NIGHT} | row for row in rows]
        writing.replace_night(pa.Table.from_pylist(filled, schema=contract(table).arrow_schema), table, night)
        return night.warehouse.path

    return write


def validation(table, expectation="rows", severity="critical", outcome="success"):
    measured = {"observed": 1.0, "limit": ">= 1", "seconds": 0.1, "content": "c", "files": "f"}
    return measured | {"table": table, "expectation": expectation, "severity": severity, "outcome": outcome}


def test_list_prints_the_items_best_first_and_brackets_as_they_are(cache_to_read):
    lines = nocturne("list", "u1", "--cache", cache_to_read).stdout.splitlines()
    assert lines[0] == "u1: night 2025-01-02, als als-1"
    assert [line.split() for line in lines[4:6]] == [["1", "song", "0.75"], ["2", "[b]book[/b]", "0.5"]]


def test_list_as_json_holds_all_that_is_served(cache_to_read):
    assert json.loads(nocturne("list", "u1", "--cache", cache_to_read, "--json").stdout) == {
        "user_id": "u1",
        "run_date": "2025-01-02",
        "arm": "control",
        "source": "als",
        "model_version": "als-1",
        "items": [
            {"rank": 1, "item_id": "song", "score": 0.75},
            {"rank": 2, "item_id": "[b]book[/b]", "score": 0.5},
        ],
    }


def test_list_takes_titles_from_the_catalogue_of_the_night(cache_to_read, warehouse):
    song = {"item_id": "song", "content_type": "track", "title": "So What", "creator": "Miles", "absent": False}
    place = warehouse("items", song)
    items = json.loads(nocturne("list", "u1", "--cache", cache_to_read, "--warehouse", place, "--json").stdout)["items"]
    assert items[0] == {"rank": 1, "item_id": "song", "title": "So What", "creator": "Miles", "score": 0.75}
    assert items[1] == {"rank": 2, "item_id": "[b]book[/b]", "title": None, "creator": None, "score": 0.5}


def test_a_listener_without_a_list_is_status_2(cache_to_read):
    answer = nocturne("list", "nobody", "--cache", cache_to_read)
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "no list is served to this listener" in answer.stderr


def test_a_rollback_is_served_and_held_until_it_is_released(cache):
    assert [row["run_date"] for row in json.loads(nocturne("served", "--cache", cache, "--json").stdout)] == [
        "2025-01-02",
        "2025-01-01",
    ]
    rolled_back = nocturne("rollback", "--cache", cache, "--why", "podcasts only")
    assert "held: podcasts only" in rolled_back.stdout, rolled_back.output
    assert "2025-01-01-" in nocturne("served", "--cache", cache).stdout
    assert "held" not in nocturne("release", "--cache", cache).stdout


def test_a_rollback_is_told_by_the_nights_of_the_warehouse_that_the_cache_names(cache, tmp_path):
    (_, before) = json.loads(nocturne("served", "--cache", cache, "--json").stdout)
    nocturne("rollback", "--cache", cache, "--why", "podcasts only", "--to", before["generation"])
    rows = json.loads(nocturne("nights", "--warehouse", tmp_path / "warehouse", "--json").stdout)
    assert [(row["run_date"], row["state"], row["reason"]) for row in rows] == [
        ("2025-01-01", "published", None),
        ("2025-01-02", "rolled_back", "podcasts only"),
    ]


def test_a_rollback_to_a_generation_that_is_not_kept_is_status_2(cache):
    answer = nocturne("rollback", "--cache", cache, "--why", "podcasts only", "--to", "2024-12-31-00000000")
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "one of 2025-01-01-" in answer.stderr


def test_served_says_with_status_5_that_the_cache_went_back(cache, tmp_path):
    place = tmp_path / "warehouse"
    assert nocturne("served", "--cache", cache, "--warehouse", place).exit_code == 0
    night = Night(Warehouse(str(place), load_settings()), NIGHT, "", cache)
    with open_cache(cache) as store:
        ahead = replace(store.pointer(), version=9)
        publications.record_pointer(publications.Nights(night.warehouse), store.place, ahead)
    answer = nocturne("served", "--cache", cache, "--warehouse", place)
    assert answer.exit_code == 5
    assert "went back behind the last move on record" in answer.stderr


def test_validations_that_hold_are_status_0_and_printed(warehouse):
    place = warehouse("validations", validation("listens"), validation("listens", "late", "warning", "failed"))
    answer = nocturne("validations", "--warehouse", place, "--run-date", NIGHT, "--table", "listens")
    assert answer.exit_code == 0
    assert [line.split()[:2] for line in answer.stdout.splitlines()[4:6]] == [["listens", "late"], ["listens", "rows"]]


def test_a_critical_failure_is_status_3_and_named(warehouse):
    place = warehouse("validations", validation("listens", outcome="failed"))
    answer = nocturne("validations", "--warehouse", place, "--run-date", NIGHT, "--table", "listens")
    assert answer.exit_code == 3
    assert "found: listens.rows" in answer.stderr


def test_an_expectation_that_failed_is_printed_with_the_sentence_that_data_docs_have_for_it(warehouse):
    failed = [validation("listens", "listens_vs_recent", severity, "failed") for severity in ("critical", "warning")]
    place = warehouse("validations", *failed)
    answer = nocturne("validations", "--warehouse", place, "--run-date", NIGHT, "--table", "listens")
    said = " ".join(answer.stderr.split())
    assert (
        "found: listens.listens_vs_recent: Accepted events beside the median of the last 7 sound nights: most" in said
    )
    assert "warning: listens.listens_vs_recent: Accepted events beside the median" in said


def test_a_table_that_was_not_validated_is_status_3(warehouse):
    place = warehouse("validations", validation("listens"))
    answer = nocturne("validations", "--warehouse", place, "--run-date", NIGHT, "--table", "items")
    assert answer.exit_code == 3
    assert "items was not validated" in answer.stderr


def test_a_table_that_no_list_waits_for_may_be_missing(warehouse):
    place = warehouse("validations", validation("listens"))
    answer = nocturne("validations", "--warehouse", place, "--run-date", NIGHT, "--table", "exposures")
    assert (answer.exit_code, "warning: exposures was not validated" in answer.stderr) == (0, True)


def test_a_table_that_is_none_is_status_2(warehouse):
    place = warehouse("validations", validation("listens"))
    assert nocturne("validations", "--warehouse", place, "--run-date", NIGHT, "--table", "listen").exit_code == 2


def test_nights_lists_what_was_published(cache, tmp_path):
    lines = nocturne("nights", "--warehouse", tmp_path / "warehouse").stdout.splitlines()
    assert [line.split()[:2] for line in lines[4:6]] == [["2025-01-01", "published"], ["2025-01-02", "published"]]


def test_the_manifest_of_one_night_is_printed_whole_as_json(cache, tmp_path):
    [row] = json.loads(nocturne("nights", "--warehouse", tmp_path / "warehouse", "--run-date", NIGHT, "--json").stdout)
    assert set(row) == {column.name for column in contract("nights").columns}
    assert (row["run_date"], row["listeners"], len(row["manifest"])) == ("2025-01-02", 1, 64)


@pytest.mark.parametrize("command", [[], ["night"], ["lease", "take"], ["models", "promote"]])
def test_h_is_help_wherever_it_stands(command):
    asked = [CliRunner().invoke(app, [*command, option]) for option in ("-h", "--help")]
    assert [answer.exit_code for answer in asked] == [0, 0]
    assert asked[0].stdout == asked[1].stdout
    assert "Usage: " in asked[0].stdout


def run_in_a_shell(line: str) -> subprocess.CompletedProcess[str]:
    nocturne = f"{sys.executable} -c 'from nocturne.cli.main import run; run()'"
    return subprocess.run(["bash", "-c", line.format(nocturne=nocturne)], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_process_ends_with_the_status_of_its_command():
    assert run_in_a_shell("{nocturne} settings > /dev/null").returncode == 0
    wrong = run_in_a_shell("{nocturne} nights --warehouse /nowhere")
    assert (wrong.returncode, "/nowhere" in wrong.stderr) == (2, True)


def test_a_reader_that_has_seen_enough_is_no_error():
    read = run_in_a_shell("{nocturne} settings --json | true; echo ${{PIPESTATUS[0]}}")
    assert read.stdout.splitlines()[-1] == "0"
    assert read.stderr == ""


def test_the_version_is_that_of_the_package():
    answer = CliRunner().invoke(app, ["--version"])
    assert (answer.exit_code, answer.stdout.strip()) == (0, importlib.metadata.version("nocturne"))


def test_completion_can_be_installed():
    assert "--install-completion" in CliRunner().invoke(app, ["--help"]).stdout


def test_no_warehouse_is_status_2(tmp_path):
    assert nocturne("nights", "--warehouse", tmp_path).exit_code == 2


def names_of(section: Any, above: str = "") -> Iterator[str]:
    """Names of the settings in sections, those in sections of theirs too."""
    for name, field in section.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            yield from names_of(field.annotation, f"{above}{name}.")
        elif above:
            yield above + name


def test_settings_names_every_setting_with_its_meaning_and_the_value_that_holds():
    rows = json.loads(nocturne("settings", "--set", "ranking.top_k=20", "--json").stdout)
    by_name = {row["setting"]: row for row in rows}
    assert all(by_name[name]["meaning"] for name in names_of(Settings))
    assert by_name["ranking.top_k"]["value"] == 20
    assert by_name["ranking.top_k"]["range"] == ">= 1, <= 10000"


def test_a_misspelt_setting_is_status_2_and_the_right_one_is_offered():
    answer = nocturne("settings", "--set", "ranking.topk=20")
    assert answer.exit_code == 2
    assert "did you mean top_k" in answer.stderr


def test_the_lease_is_queued_for_and_then_taken_by_asking_again(tmp_path):
    ask = ("lease", "take", "--warehouse", tmp_path, "--run-date", NIGHT, "--holder", "run-1")
    queued = nocturne(*ask)
    assert (queued.exit_code, queued.stderr) == (
        75,
        "night 2025-01-02 waits: it is the first in the queue, ask again\n",
    )
    assert nocturne(*ask).exit_code == 0
    assert "night 2025-01-02 of run-1" in nocturne(*ask[:-1], "run-2").stderr
    nocturne("lease", "release", "--warehouse", tmp_path, "--holder", "run-2")
    [row] = json.loads(nocturne("lease", "show", "--warehouse", tmp_path, "--json").stdout)
    assert (row["state"], row["holder"], row["run_date"]) == ("holds it", "run-1", "2025-01-02")
    released = nocturne("lease", "release", "--warehouse", tmp_path, "--holder", "run-1", "--json")
    assert json.loads(released.stdout) == {"released": True, "leases": []}
    assert json.loads(nocturne("lease", "show", "--warehouse", tmp_path, "--json").stdout) == []


def test_a_place_in_the_queue_as_json_is_one_document_beside_the_remark(tmp_path):
    nocturne("lease", "take", "--warehouse", tmp_path, "--run-date", NIGHT, "--holder", "run-1", "--json")
    waits = nocturne("lease", "take", "--warehouse", tmp_path, "--run-date", NIGHT, "--holder", "run-2", "--json")
    answer = json.loads(waits.stdout)
    assert (waits.exit_code, answer["taken"]) == (75, False)
    assert "run-2" in {row["holder"] for row in answer["leases"]}
    assert "waits: " in waits.stderr


def test_simulate_writes_complete_days_and_the_truth_beside_them(tmp_path):
    numbers = ("--listeners", 20, "--items", 20, "--nights", 2, "--seed", 1)
    answer = nocturne("simulate", "--landing", tmp_path / "landing", *numbers, "--start", "2025-03-01", "--json")
    assert answer.exit_code == 0
    assert json.loads(answer.stdout)["days"] == ["2025-03-01", "2025-03-02"]
    days = sorted(mark.parent.name for mark in tmp_path.glob("landing/events/*/_SUCCESS"))
    assert days == ["date=2025-03-01", "date=2025-03-02"]
    assert (tmp_path / "landing-truth").is_dir()


def test_import_offers_every_source_there_is():
    assert nocturne("import", "spotify", "x", "--landing", "y").exit_code == 2
    for source in IMPORTERS:
        assert nocturne("import", source, "/nowhere", "--landing", "y").exit_code in {2, 4}


@pytest.mark.parametrize(
    "dates",
    [
        ("--run-date", "2025-02-30"),
        ("--run-date", "9999-01-01"),
        ("--from", "2025-01-02", "--to", "2025-01-01"),
        ("--from", "2025-01-02"),
        (),
    ],
)
def test_nights_that_cannot_be_are_status_2(dates, tmp_path):
    places = ("--landing", tmp_path, "--warehouse", tmp_path / "w", "--cache", f"lmdb:{tmp_path}/c")
    assert nocturne("night", *dates, *places).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_status_5(cache_to_read, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("nocturne.serving.cache.open_cache", full)
    answer = nocturne("served", "--cache", cache_to_read)
    assert answer.exit_code == 5
    assert "the disk is full" in answer.stderr


def test_an_error_that_nobody_foresaw_is_status_1_with_its_traceback(cache_to_read, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("nocturne.serving.cache.open_cache", broken)
    answer = nocturne("served", "--cache", cache_to_read)
    assert answer.exit_code == 1
    assert "ZeroDivisionError" in answer.stderr
