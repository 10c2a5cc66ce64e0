"""The law of simulated sessions, worked out by hand for two topics and three items."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nocturne.core.csr import CsrRows
from nocturne.core.errors import UsageError
from nocturne.evaluation.session_truth import SessionTruth, read_truth

# item 0 is of the first topic, item 2 of the second, item 1 of both
SHARES = np.array([[0.5, 0.0], [0.5, 0.25], [0.0, 0.75]])
TRUTH = SessionTruth(0.8, np.array([[0.5, 0.5], [0.2, 0.8]]), SHARES)
EVERYTHING = np.ones(3, bool)


def law(listener: int, *context: int, playable=EVERYTHING):
    rows = CsrRows(np.array([0, len(context)]), np.array(context, np.int32))
    return TRUTH.next_items(np.array([listener]), rows, np.array(playable, bool))[0].tolist()


def test_an_item_of_one_topic_tells_it():
    # the first topic for certain: it is kept with .8, else drawn, and so is .9 in all
    assert law(0, 0) == pytest.approx([0.9 * 0.5, 0.9 * 0.5 + 0.1 * 0.25, 0.1 * 0.75])
    assert law(1, 2) == pytest.approx([0.04 * 0.5, 0.04 * 0.5 + 0.96 * 0.25, 0.96 * 0.75])


def test_an_item_of_both_topics_leaves_doubt_that_what_came_before_lessens():
    # .5 x .5 against .5 x .25: two to one
    first = 0.8 * 2 / 3 + 0.2 * 0.5
    assert law(0, 1) == pytest.approx([first * 0.5, first * 0.5 + (1 - first) * 0.25, (1 - first) * 0.75])
    # after item 0 the prior is .9 to .1, and so .45 to .025: 18 to 1
    first = 0.8 * 18 / 19 + 0.2 * 0.5
    assert law(0, 0, 1) == pytest.approx([first * 0.5, first * 0.5 + (1 - first) * 0.25, (1 - first) * 0.75])


def test_what_cannot_be_played_leaves_its_share_to_the_rest_of_its_topic():
    assert law(0, 0, playable=[True, False, True]) == pytest.approx([0.9, 0, 0.1])


def test_an_item_that_cannot_have_been_played_tells_nothing():
    none = SessionTruth(0.8, TRUTH.tastes, np.vstack([SHARES, np.zeros(2)]))
    rows = CsrRows(np.array([0, 1]), np.array([3], np.int32))
    expected = [*(SHARES @ [0.5, 0.5]), 0]
    assert none.next_items(np.array([0]), rows, np.ones(4, bool))[0].tolist() == pytest.approx(expected)


def write_truth(folder: Path) -> None:
    pq.write_table(pa.table({"stay": [0.8], "end": [0.2]}), folder / "sessions.parquet")
    for name, ids, factors in (("user", ["u", "v"], TRUTH.tastes), ("item", ["a", "b", "c"], SHARES)):
        table = pa.table({f"{name}_id": ids, "factors": factors.astype(np.float32).tolist()})
        pq.write_table(table, folder / ("listeners.parquet" if name == "user" else "items.parquet"))


def test_a_truth_is_read_in_the_order_asked_for(tmp_path: Path):
    write_truth(tmp_path)
    truth = read_truth(tmp_path, pa.array(["v"]), pa.array(["c", "no such item", "a"]))
    assert truth.stay == 0.8
    assert truth.tastes.tolist() == [pytest.approx([0.2, 0.8])]
    assert truth.shares.tolist() == [[0, 0.75], [0, 0], [0.5, 0]]


def test_a_truth_of_nothing_or_of_others_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match=r"no items\.parquet"):
        read_truth(tmp_path, pa.array(["u"]), pa.array(["a"]))
    write_truth(tmp_path)
    with pytest.raises(UsageError, match="nothing of listener w"):
        read_truth(tmp_path, pa.array(["u", "w"]), pa.array(["a"]))
