"""Erasure over literal tables and a real cache: killed anywhere, nights run again, landed requests, the inventory."""

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from deltalake import DeltaTable
from typer.testing import CliRunner

from nocturne.cli.main import app
from nocturne.core.errors import UsageError
from nocturne.core.night import Night
from nocturne.flow import TABLES
from nocturne.lifecycle import certificate, erasure, inventory, night_erasure, requests
from nocturne.serving import manifest, publications
from nocturne.serving.cache import open_cache
from nocturne.serving.rollout import OF_ITS_TIME, refresh, rollback
from nocturne.storage import fingerprints, rewriting, tables, tombstones
from nocturne.storage.contracts import contract
from tests.fixtures import published_nights, two_listeners

pytestmark = pytest.mark.slow

FIRST = date(2025, 3, 1)
ASKED = datetime(2025, 3, 3, 8, tzinfo=UTC)
SMALL = ("tables.buckets=1", "ranking.top_k=2", "als.factors=2")
WRITTEN = {
    "items": two_listeners.items,
    "listens": two_listeners.listens,
    "quarantine": two_listeners.quarantine,
    "ingests": two_listeners.ingests,
    "interactions": two_listeners.interactions,
    "pools": two_listeners.pools,
    "exposures": two_listeners.exposures,
}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOCTURNE_ERASURE_KEY", "k" * 40)


@pytest.fixture
def service(night: Callable[..., Night]) -> Night:
    """Two nights of ana and ben, published and served; the last of them."""
    base = night(FIRST, *SMALL)
    for offset in range(2):
        publish(base.on(FIRST + timedelta(days=offset)), ana="c e", ben="a b")
    return base.on(FIRST + timedelta(days=1))


def publish(night: Night, **lists: str) -> None:
    for table, rows in WRITTEN.items():
        two_listeners.write(night, table, rows(night.run_date))
    made = published_nights.ready(night, night.run_date, **lists)
    with open_cache(night.cache) as store:
        refresh(made.night, made.record, made.info, made.parts, store)


def carry_out(service: Night) -> certificate.Certificate | None:
    day = service.run_date + timedelta(days=1)
    return erasure.carry_out(service.warehouse, service.landing, [service.cache], day)


def ask(service: Night, user_id: str = "ana") -> None:
    requests.ask(service.warehouse, [user_id], ASKED, "ticket 1")


def state(service: Night) -> dict[str, object]:
    """Rows of every table of listeners, and what manifests say, without what a file is called."""
    rows = {
        table: sorted(map(repr, tables.rows(service.warehouse, table).to_pylist()))
        for table in (*inventory.LISTENER_TABLES, "ingests")
    }
    records = publications.all_records(service.warehouse)
    told = [(each.generation, each.state, each.manifest.row_hashes, each.manifest.listeners) for each in records]
    proofs = [each.manifest.erasures for each in records]
    return {"rows": rows, "told": told, "proofs": proofs}


def test_nobody_asked(service: Night) -> None:
    assert not erasure.is_due(service.warehouse, service.landing)
    assert carry_out(service) is None


def test_manifests_hold_and_a_rollback_serves_the_others(service: Night) -> None:
    ask(service)
    done = carry_out(service)
    assert done is not None
    assert done.found == []
    assert done.complete
    assert requests.pending(service.warehouse) == []
    for record in publications.all_records(service.warehouse):
        night = service.on(record.run_date)
        assert manifest.verify(night, record, OF_ITS_TIME).listeners == 1
        assert {each["table"] for each in record.manifest.erasures} >= {"listens", "ranked_lists", "pools", "ingests"}
    with open_cache(service.cache) as cache:
        rollback(service.warehouse, cache, "to look at it")
        assert cache.get("ana") is None
        assert cache.get("ben")
    for table in inventory.LISTENER_TABLES:
        if "user_id" in contract(table).listener_columns:
            assert "ana" not in tables.rows(service.warehouse, table, columns=["user_id"])["user_id"].to_pylist()


STEPS = [
    (rewriting, "replace_files", 0),
    (rewriting, "replace_files", 1),
    (rewriting, "replace_files", 3),
    (night_erasure, "settle_accounts", 0),
    (night_erasure, "record_validations", 0),
    (night_erasure, "record_manifests", 0),
    (manifest, "write_file", 1),
    (erasure, "erase_from_landing", 0),
    (erasure, "_erase_from_cache", 0),
    (erasure, "_expire", 0),
    (erasure, "_expire", 5),
    (erasure, "search", 0),
    (certificate, "write", 0),
]


DEATHS = [(*step, Random(number).random() < 0.5) for number, step in enumerate(STEPS)]
"""On which side of each step, drawn by the seed: what comes after one is what comes before the next."""
DEATH_NAMES = [f"{'after' if after else 'before'}-{name}-{call}" for _, name, call, after in DEATHS]


@pytest.mark.parametrize(("module", "name", "call", "after"), DEATHS, ids=DEATH_NAMES)
def test_an_erasure_killed_anywhere_goes_on_and_ends_the_same(
    service: Night, monkeypatch: pytest.MonkeyPatch, module: object, name: str, call: int, after: bool
) -> None:
    ask(service)
    original, calls = getattr(module, name), iter(range(1000))

    def dies(*arguments: object, **options: object) -> object:
        mine = next(calls) == call
        if mine and not after:
            raise KeyboardInterrupt
        result = original(*arguments, **options)
        if mine:
            raise KeyboardInterrupt
        return result

    with monkeypatch.context() as patch:
        patch.setattr(module, name, dies)
        with pytest.raises(KeyboardInterrupt):
            carry_out(service)
    done = carry_out(service)
    assert done is not None
    assert done.found == []
    assert done.complete
    after_it = state(service)
    assert not [row for rows in after_it["rows"].values() for row in rows if "'ana'" in row]
    counted = tables.rows(service.warehouse, "ingests").sort_by("run_date").to_pylist()
    assert [(row["listens"], row["erased"], row["listeners"]) for row in counted] == [(1, 2, 1), (1, 2, 1)]
    for record in publications.all_records(service.warehouse):
        told = [each["table"] for each in record.manifest.erasures]
        assert sorted(told) == sorted(set(told))
        assert set(told) == {"ingests", "interactions", "listens", "pools", "ranked_lists"}
        assert manifest.verify(service.on(record.run_date), record, OF_ITS_TIME).listeners == 1
    validated = tables.rows(service.warehouse, "validations").to_pylist()
    for row in validated:
        assert row["files"] == fingerprints.file_hashes(service.on(row["run_date"]), row["table"])
    assert requests.pending(service.warehouse) == []


def test_a_generation_of_a_night_that_was_run_again_is_rewritten_too(service: Night) -> None:
    publish(service, ana="a b", ben="c e")
    before = publications.all_records(service.warehouse)
    ask(service)
    done = carry_out(service)
    assert done is not None
    assert done.found == []
    assert done.complete
    after = publications.all_records(service.warehouse)
    assert [each.state for each in after] == ["published", "superseded", "published"]
    for old, new in zip(before, after, strict=True):
        delta = DeltaTable(service.warehouse.table_path("ranked_lists"), version=new.manifest.versions["ranked_lists"])
        rows = delta.to_pyarrow_table(filters=[("run_date", "=", new.run_date)]).to_pylist()
        assert [row["user_id"] for row in rows] == ["ben"]
        items = [item["item_id"] for item in rows[0]["items"]]
        assert items == (["c", "e"] if old is before[2] else ["a", "b"])
        assert old.manifest.versions["ranked_lists"] != new.manifest.versions["ranked_lists"]


def test_what_was_landed_is_taken_in_and_leaves_no_id(service: Night) -> None:
    folder = Path(service.landing, "erasures")
    folder.mkdir(parents=True)
    sound = {"user_id": "ana", "asked_at": "2025-03-02T10:00:00Z", "why": "ana asked"}
    later = {"user_id": "ben", "asked_at": "2029-03-02T10:00:00Z"}
    (folder / "a.jsonl").write_text(f"{json.dumps(sound)}\nnothing\n{json.dumps(later)}\n")
    assert erasure.is_due(service.warehouse, service.landing)
    done = carry_out(service)
    assert done is not None
    assert [(each.why, each.asked_at) for each in done.erased] == [("landed", "2025-03-02T10:00:00+00:00")]
    assert (folder / "a.jsonl").read_text() == f"nothing\n{json.dumps(later)}\n"
    told = json.loads((folder / "a.jsonl.done").read_text())
    assert told["listener"] == done.erased[0].listener
    assert "ana" not in (folder / "a.jsonl.done").read_text()


def test_who_asks_again_meanwhile_is_erased_again(service: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(service)
    original = certificate.write

    def ask_once_more(*arguments: object) -> object:
        requests.ask(service.warehouse, ["ana"], ASKED + timedelta(hours=1), "ticket 2")
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(certificate, "write", ask_once_more)
        carry_out(service)
    assert [each.why for each in requests.pending(service.warehouse)] == ["ticket 2"]
    assert carry_out(service)
    assert requests.pending(service.warehouse) == []
    instants = tombstones.read(service.warehouse)
    assert instants.instant("ana") == ASKED + timedelta(hours=1)


def test_a_reason_that_names_the_listener_or_none_is_refused(service: Night) -> None:
    for why in ("", "ana asked us to"):
        with pytest.raises(UsageError, match="needs a reason"):
            requests.ask(service.warehouse, ["ana"], ASKED, why)


def test_without_the_key_or_with_another_one_nobody_is_taken_in(
    service: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(service)
    monkeypatch.setenv("NOCTURNE_ERASURE_KEY", "x" * 40)
    with pytest.raises(UsageError, match="not the one"):
        tombstones.read(service.warehouse)
    with pytest.raises(UsageError, match="not the one"):
        requests.ask(service.warehouse, ["ben"], ASKED, "ticket 2")
    monkeypatch.delenv("NOCTURNE_ERASURE_KEY")
    with pytest.raises(UsageError, match="there is no key"):
        tombstones.read(service.warehouse)


def test_a_search_finds_who_was_not_erased_and_prints_no_id(service: Night) -> None:
    told = erasure.verify(service.warehouse, service.landing, [service.cache], "ben")
    assert any("listens" in place for place in told["found"])
    assert any("generation" in place for place in told["found"])
    places = ["--warehouse", service.warehouse.path, "--cache", service.cache]
    shown = CliRunner().invoke(app, ["erase", "ben", "--verify", *places])
    assert shown.exit_code != 0
    assert "ben" not in shown.output.replace(service.warehouse.path, "")


@pytest.mark.parametrize("table", TABLES)
def test_every_contract_says_whom_it_holds(table: str) -> None:
    promised = contract(table)
    assert promised.says_whom_it_holds
    names = {column.name for column in promised.columns}
    told = {*promised.listener_columns, *promised.listener_texts}
    assert told <= names
    listeners = {
        column.name
        for column in promised.columns
        if column.type == "string" and (column.name == "user_id" or re.match(r"Listener\b", column.comment))
    }
    assert listeners <= told
    assert not {"raw", "line"} & names - told


def test_what_nobody_declared_is_unknown(service: Night, tmp_path: Path) -> None:
    warehouse = Path(service.warehouse.path)
    assert list(inventory.unknown_in_warehouse(warehouse)) == []
    (warehouse / "new_table").mkdir()
    (warehouse / "debug.log").touch()
    assert [Path(each.where).name for each in inventory.unknown_in_warehouse(warehouse)] == ["debug.log", "new_table"]
    (tmp_path / "cache" / "generations" / "notes.txt").touch()
    assert [Path(each.where).name for each in inventory.unknown_files(tmp_path / "cache")] == ["notes.txt"]
    keys = ["nocturne:pointer", "nocturne:2025-03-01-aaaaaaaa:about", "nocturne:last_seen:ana", "other:key"]
    assert [each.where for each in inventory.unknown_keys(keys)] == ["redis key nocturne:last_seen:ana"]
    (tmp_path / "landing" / "clicks").mkdir(parents=True)
    assert len(list(inventory.unknown_in_landing(tmp_path / "landing"))) == 1
