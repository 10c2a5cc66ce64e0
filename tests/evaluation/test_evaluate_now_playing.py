"""Evaluation of next items: rules that hold for every system, metrics by hand, and a night's own generation asked."""

import json
from collections.abc import Iterator
from dataclasses import replace
from math import log2

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from nocturne.cli.main import app
from nocturne.core.csr import CsrRows
from nocturne.evaluation.now_playing import ALL, NEW, Block, ask_systems
from nocturne.evaluation.now_playing_systems import OURS, TRUTH, Asked, systems_of
from nocturne.evaluation.session_truth import SessionTruth
from nocturne.evaluation.sessions import Questions, Sessions
from nocturne.serving.cache import open_cache
from nocturne.serving.reader import Reader
from tests.fixtures.served_world import ITEMS, serve_world
from tests.fixtures.simulated_service import FIRST, Service

SYSTEMS = (OURS, "the listener's ranking", "co-occurrence", "sequential rules", "the creator's items", "popular")
ANN, BOB, EVE = range(3)


def rows(*names: str) -> CsrRows:
    """Items by their first letters."""
    letters = [[item[0] for item in ITEMS].index(letter) for name in names for letter in name]
    return CsrRows(np.concatenate([[0], np.cumsum([len(name) for name in names])]), np.array(letters, np.int32))


def sessions(users: list[str], listener: list[int], *items: str) -> Sessions:
    return Sessions(pa.array(users), pa.nulls(len(users), pa.string()), np.array(listener), rows(*items))


def questions(*asked: tuple[int, str, str]) -> Questions:
    """Listener, context and next item of each."""
    listener, context, next_item = zip(*asked, strict=True)
    nothing = np.zeros(len(asked), bool)
    users = pa.array(["ann", "bob", "eve"])
    markets = pa.array([None, None, "SE"], pa.string())
    return Questions(users, markets, np.array(listener), rows(*context), rows(*next_item).positions, nothing)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """Ann of SE, who heard ash, bob of NO, and eve, who is unknown but listens in SE."""
    with open_cache(f"lmdb:{tmp_path_factory.mktemp('cache')}") as cache:
        serve_world(cache)
        reader = Reader(cache)
        served = reader.served()
        yield Asked(
            served=served,
            items=8,
            known=sessions(["u", "v", "w"], [0, 1, 1, 2], "ab", "ad", "bd", "d"),
            questions=questions((ANN, "d", "b"), (ANN, "db", "a"), (BOB, "d", "g"), (EVE, "e", "e"), (EVE, "ed", "g")),
            rows=tuple(served.row(user) for user in ("ann", "bob", "eve")),
            truth=None,
        )
        reader.close()


def listed(asked: Asked, system: str, *, allow_heard: bool) -> list[str]:
    """Items by their first letters; a list a question."""
    lists = systems_of(asked)[system](asked.questions, 8, allow_heard=allow_heard)
    return ["".join(ITEMS[item][0] for item in row if item >= 0) for row in lists.tolist()]


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("allow_heard", [False, True])
def test_no_system_lists_the_session_or_what_the_market_may_not_get_or_what_was_heard(asked, system, allow_heard):
    for number, (items, context) in enumerate(
        zip(listed(asked, system, allow_heard=allow_heard), ("d", "db", "d", "e", "ed"), strict=True)
    ):
        assert not set(items) & set(context)
        assert len(set(items)) == len(items)
        assert ("g" in items) <= (number != 2)
        if number < 2 and not allow_heard:
            assert "a" not in items


def test_lists_by_hand(asked):
    assert listed(asked, "popular", allow_heard=True)[:3] == ["abcefgh", "acefgh", "abcefh"]
    assert listed(asked, "the listener's ranking", allow_heard=False)[:3] == ["bfgce", "fgce", "ecfba"]
    # of an unknown listener the popular ones
    assert listed(asked, "the listener's ranking", allow_heard=False)[3] == "abdcfgh"
    assert listed(asked, "the creator's items", allow_heard=True)[2] == "abcefh"
    assert listed(asked, "the creator's items", allow_heard=True)[3] == "fghabdc"
    assert listed(asked, "sequential rules", allow_heard=True)[1] == "acefgh"
    assert listed(asked, OURS, allow_heard=False)[0] == "cfbeg"


def test_the_market_is_that_of_the_listens_else_that_of_the_row(asked):
    assert asked.markets == ("SE", "NO", "SE")


def test_questions_are_new_if_the_next_item_was_heard_neither_before_nor_since(asked):
    assert asked.new().listener.tolist() == [ANN, BOB, EVE, EVE]
    since = replace(asked.questions, played_before=np.array([True, False, False, False, False]))
    assert replace(asked, questions=since).new().listener.tolist() == [BOB, EVE, EVE]


def test_a_listeners_questions_are_averaged_first(asked):
    block = {block.name: block for block in ask_systems(asked, 1)}[ALL]
    assert (block.questions, block.listeners) == (5, 3)
    # eve's e was played in her session already, and gum may not be listed in NO
    assert block.unreachable == 2
    # popular: a, a, a, d, a for the next items b, a, g, e, g: ann finds one of two
    assert block.means["popular"] == pytest.approx({"hit_rate@1": 1 / 2 / 3, "ndcg@1": 1 / 2 / 3})
    assert set(block.means) == set(SYSTEMS)
    assert {row.against for row in block.differences} == {OURS}
    assert {row.listeners for row in block.differences} == {3}


def test_a_later_place_counts_less(asked):
    one = replace(asked, questions=questions((BOB, "d", "b")))
    (block,) = [block for block in ask_systems(one, 3) if block.name == NEW]
    # the popular that bob may get but dew: ash, bay, cob
    assert block.means["popular"] == pytest.approx({"hit_rate@3": 1.0, "ndcg@3": 1 / log2(3)})


def test_a_truth_says_how_much_of_the_probability_lists_hold(asked):
    # one topic: bay .5, cob .3, dew .2; dew plays, and of the rest bay has .5 / .8
    shares = np.zeros((8, 1))
    shares[[1, 2, 3], 0] = 0.5, 0.3, 0.2
    truth = SessionTruth(0.8, np.ones((3, 1)), shares)
    one = replace(asked, questions=questions((BOB, "d", "b")), truth=truth)
    block = ask_systems(one, 1)[0]
    assert block.means[TRUTH] == pytest.approx({"hit_rate@1": 1, "ndcg@1": 1, "captured": 0.625})
    assert block.means["popular"]["captured"] == 0  # ash
    assert ask_systems(one, 2)[0].means["popular"]["captured"] == pytest.approx(0.625)


def test_without_a_new_next_item_there_is_one_block(asked):
    assert [block.name for block in ask_systems(replace(asked, questions=questions((ANN, "d", "a"))), 1)] == [ALL]


def evaluate(service: Service, *options: str):
    call = ["evaluate", "now-playing", "--warehouse", service.warehouse, *options]
    return CliRunner().invoke(app, call)


def test_the_command_asks_the_generation_of_a_night_for_the_sessions_of_the_days_after(published: Service):
    truth = str(published.folder / "landing-truth")
    done = evaluate(published, "--run-date", f"{FIRST}", "--days", "2", "--truth", truth, "--listeners", "60", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    blocks = [Block(**block) for block in found["blocks"]]
    assert [block.name for block in blocks] == [NEW, ALL]
    assert (found["days"], found["top_k"]) == (2, 20)
    for block in blocks:
        assert 20 < block.listeners <= 60
        assert set(block.means) == {*SYSTEMS, TRUTH}
        captured = {system: means["captured"] for system, means in block.means.items()}
        assert max(captured, key=captured.__getitem__) == TRUTH
        assert captured[OURS] > captured["popular"]


def test_the_command_prints_a_table_a_block(published: Service):
    done = evaluate(published, "--run-date", f"{FIRST}", "--listeners", "5", "--top-k", "3")
    assert done.exit_code == 0, done.output
    for text in (NEW, ALL, "hit rate@3", "the creator's items"):
        assert text in done.stdout
    assert "questions of 5 listeners" in done.stderr


def test_a_night_that_was_not_published_and_days_without_sessions_are_status_2(published: Service):
    done = evaluate(published, "--run-date", "2024-01-01")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "the night was not published" in done.stderr
    done = evaluate(published, "--run-date", "2025-03-03", "--days", "3")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "there is no session after the night" in done.stderr
