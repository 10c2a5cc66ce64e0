"""Samples of listeners: who is in them, and that nothing is kept of those who are not."""

import json
import weakref
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from nocturne.cli.main import app
from nocturne.core.hashing import hash_ids
from nocturne.core.night import Night
from nocturne.core.settings import with_values
from nocturne.evaluation.backtest import compare_models
from nocturne.evaluation.held_out import HeldOut, ListeningHistory, read_held_out
from nocturne.evaluation.listener_sample import ALL_LISTENERS, SEED, ListenerSample, SampleSize, sample_listeners
from nocturne.evaluation.objectives import held_out_after
from nocturne.storage.stored_rows import StoredRows
from tests.fixtures.two_tastes import FIRST, LISTENERS, heard_by, perfect_lists, publish, train, user, write

pytestmark = pytest.mark.slow

USERS = [user(listener) for listener in range(LISTENERS)]
SMALLEST_FIRST = [USERS[place] for place in np.argsort(hash_ids(pa.array(USERS), SEED))]


@pytest.fixture
def nights(night) -> list[Night]:
    return write(night)


def at_most(nights: list[Night], listeners: int) -> list[Night]:
    return [
        night.with_settings(with_values(night.settings, {"evaluation.max_listeners": listeners})) for night in nights
    ]


def test_a_sample_is_of_as_many_as_may_be_evaluated_those_with_the_smallest_hashes(nights: list[Night]):
    for most in (1, 7, LISTENERS - 1):
        sample = sample_listeners(at_most(nights, most))
        inside = np.array(USERS)[sample.contains(pa.array(USERS))]
        assert sorted(inside) == sorted(SMALLEST_FIRST[:most])
    assert sample_listeners(at_most(nights, LISTENERS)) is ALL_LISTENERS


def test_a_sample_does_not_depend_on_how_rows_are_cut(nights: list[Night], monkeypatch: pytest.MonkeyPatch):
    whole = sample_listeners(at_most(nights, 7))
    monkeypatch.setattr(StoredRows, "__iter__", row_by_row(StoredRows.__iter__, []))
    assert sample_listeners(at_most(nights, 7)) == whole


def test_a_sample_of_everything_is_what_everyone_is(nights: list[Night]):
    everything = ListenerSample(int(hash_ids(pa.array(USERS), SEED).max()))
    assert everything != ALL_LISTENERS
    for night in nights[:2]:
        assert_same(read_held_out(night, 2, sample=everything), read_held_out(night, 2))
    both = [ListeningHistory.read(nights[2], sample).listens for sample in (everything, ALL_LISTENERS)]
    assert both[0].equals(both[1])


def assert_same(one: HeldOut, other: HeldOut) -> None:
    assert one.user_ids.equals(other.user_ids)
    assert one.all_user_ids.equals(other.all_user_ids)
    assert one.item_ids.equals(other.item_ids)
    assert (one.markets, one.sizes.tolist()) == (other.markets, other.sizes.tolist())
    for ours, theirs in ((one.relevant, other.relevant), (one.requests.heard, other.requests.heard)):
        assert (ours != theirs).nnz == 0
    assert (one.requests.masks == other.requests.masks).all()


def test_a_sampled_listener_is_judged_as_ever_and_items_that_others_heard_are_known(nights: list[Night]):
    everyone = read_held_out(nights[0], 2)
    sampled = read_held_out(nights[0], 2, sample=sample_listeners(at_most(nights, 3)))
    assert sampled.user_ids.to_pylist() == sorted(SMALLEST_FIRST[:3])
    assert sampled.sample_size == SampleSize(3, LISTENERS)
    assert sampled.listable == everyone.listable
    for place, name in enumerate(sampled.user_ids.to_pylist()):
        of_everyone = everyone.relevant[everyone.user_ids.to_pylist().index(name)]
        assert sampled.relevant[place].indices.tolist() == of_everyone.indices.tolist()
        assert sampled.requests.heard[place].indices.tolist() == heard_by(USERS.index(name), 0)


def row_by_row(read, alive: list[int]):
    """StoredRows that are read a row at a time; notes how many of the rows that were read are held at each."""

    def batches(rows: StoredRows) -> Iterator[pa.RecordBatch]:
        held: list[weakref.ref[pa.RecordBatch]] = []
        for batch in read(rows):
            for place in range(batch.num_rows):
                row = batch.take(pa.array([place]))
                held = [each for each in held if each() is not None] + [weakref.ref(row)]
                alive.append(len(held))
                yield row

    return batches


def test_nothing_is_held_of_listeners_who_are_not_in_the_sample(nights: list[Night], monkeypatch: pytest.MonkeyPatch):
    sample, alive = sample_listeners(at_most(nights, 3)), list[int]()
    monkeypatch.setattr(StoredRows, "__iter__", row_by_row(StoredRows.__iter__, alive))
    held_out, history = read_held_out(nights[1], 2, sample=sample), ListeningHistory.read(nights[1], sample)
    assert len(alive) > 5 * LISTENERS
    assert max(alive) <= 2, "the row that was read last, and the one before it"
    assert held_out.all_user_ids.to_pylist() == sorted(SMALLEST_FIRST[:3])
    assert set(history.listens["user_id"].to_pylist()) == set(SMALLEST_FIRST[:3])


def test_models_are_compared_by_the_sample(nights: list[Night]):
    models = {"good": train(nights[1]), "bad": train(nights[1], alpha=1e-6, neighbours=0)}
    compared = compare_models(at_most(nights[1:3], 12), models, against="bad", days=1, top_k=4)
    assert compared.sample_size == SampleSize(12, LISTENERS)
    assert {row.listeners for row in compared.differences if row.segment == "all"} == {12}


def test_a_search_is_by_the_sample(nights: list[Night]):
    held_out_nights = held_out_after(at_most(nights[:2], 5), 1)
    assert [held_out.user_ids.to_pylist() for held_out in held_out_nights] == [sorted(SMALLEST_FIRST[:5])] * 2


def test_a_backtest_says_how_many_of_how_many_it_scored(nights: list[Night], tmp_path):
    publish(nights[0], perfect_lists(0))
    report = tmp_path / "report.html"
    where = ("--warehouse", nights[0].warehouse.path, "--from", f"{FIRST}", "--to", f"{FIRST}", "--days", "2")
    how = ("--top-k", "4", "--baseline", "popular", "--set", "evaluation.max_listeners=15", "--report", f"{report}")
    answer = CliRunner().invoke(app, ["evaluate", "backtest", *where, *how, "--json"])
    assert answer.exit_code == 0, answer.output
    printed = json.loads(answer.stdout)
    assert (printed["sampled"], printed["sampled_of"]) == (15, LISTENERS)
    assert {row["listeners"] for row in printed["differences"] if row["segment"] == "all"} == {15}
    assert printed["remarks"] == [f"baselines learn from the sample alone, 15 of 40 listeners ({FIRST})"]
    assert "of 15 of 40 listeners" in report.read_text(encoding="utf-8")
