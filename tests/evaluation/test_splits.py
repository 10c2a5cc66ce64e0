"""Published splits: reading them, and training and ranking on them without tables."""

from pathlib import Path

import numpy as np
import pytest

from nocturne.core.errors import InputError, UsageError
from nocturne.core.settings import load_settings
from nocturne.evaluation.objectives import split_objective
from nocturne.evaluation.splits import Split, fit, rank_listeners, read_split, score

SETTINGS = load_settings(
    overrides=[
        "als.factors=2",
        "als.regularization=0.1",
        "als.neighbours=3",
        "ranking.top_k=3",
        "ranking.candidates=3",
        "ranking.reserve=0",
    ]
)


def write(folder: Path, train: str, valid: str, test: str) -> Path:
    for name, text in (("train", train), ("valid", valid), ("test", test)):
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return folder


def taste_blocks(folder: Path) -> Path:
    """Even users know even items, odd ones odd items, of 8; one of the block is in valid, another in test."""
    parts: tuple[list[str], list[str], list[str]] = ([], [], [])
    for user in range(16):
        block = [item for item in range(8) if item % 2 == user % 2]
        block = block[user // 2 % 4 :] + block[: user // 2 % 4]
        for part, items in zip(parts, (block[2:], block[:1], block[1:2]), strict=True):
            part.append(" ".join(map(str, [user, *items])))
    return write(folder, *("\n".join(part) + "\n" for part in parts))


@pytest.fixture
def split(tmp_path: Path) -> Split:
    return read_split(taste_blocks(tmp_path))


def test_ids_are_those_of_the_files_in_the_order_of_numbers(tmp_path: Path):
    split = read_split(write(tmp_path, "10 3 20\n9 3\n", "9 100\n", "10 100\n8 3\n"))
    assert (split.users, split.items) == (("8", "9", "10"), ("3", "20", "100"))
    assert split.train.toarray().tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0]]
    assert split.valid.toarray().tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert split.test.toarray().tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert split.train_and_valid.toarray().tolist() == [[0, 0, 0], [1, 0, 1], [1, 1, 0]]


def test_a_pair_that_is_repeated_counts_once(tmp_path: Path):
    split = read_split(write(tmp_path, "1 2 2\n", "1 2\n", "1 3\n"))
    assert split.train.toarray().tolist() == [[1, 0]]
    assert split.train_and_valid.toarray().tolist() == [[1, 0]]


@pytest.mark.parametrize("empty", ["", "\n\n", "7\n"])
def test_a_part_without_pairs_is_refused(tmp_path: Path, empty: str):
    with pytest.raises(InputError, match="empty"):
        read_split(write(tmp_path, "1 2\n", empty, "1 3\n"))


def test_what_was_withheld_is_found_and_nothing_heard_is_listed(split: Split):
    lists = rank_listeners(fit(split.train, SETTINGS), split.train, SETTINGS)
    for user in range(16):
        heard = split.train[user].indices
        assert np.isin(lists[user], heard).sum() == 0
        assert set(lists[user, :2] % 2) == {user % 2}, "both withheld items come first"
    assert score(lists, split.valid, ["recall@2"]) == {"recall@2": 1.0}


def test_recall_divides_by_the_relevant_and_listeners_without_any_are_left_out(split: Split):
    lists = np.full((16, 2), -1)
    lists[0, 0] = split.test[0].indices[0]
    only_two = split.test.copy().tolil()
    only_two[2:] = 0
    only_two = only_two.tocsr()
    only_two.eliminate_zeros()
    assert score(lists, only_two, ["recall@2", "ndcg@2"]) == {"recall@2": 0.5, "ndcg@2": 0.5}


def test_a_search_on_a_split_never_sees_test(tmp_path: Path):
    folder = taste_blocks(tmp_path)
    split = read_split(folder)
    reports: list[tuple[bool, list[float]]] = []
    value = split_objective(split, "ndcg@2")(SETTINGS, lambda values, final: reports.append((final, list(values))))
    spoilt = Split(split.users, split.items, split.train, split.valid, split.test * 0)
    assert split_objective(spoilt, "ndcg@2")(SETTINGS, lambda *_: None) == value
    assert [final for final, _ in reports] == [False, True]
    assert all(0 <= each <= 1 for _, values in reports for each in values)
    assert np.mean(reports[1][1]) == pytest.approx(value)
    assert value > 0.5


@pytest.mark.parametrize("metric", ["ndcg", "ndcg@", "ndcg@0", "ndgc@20", "recall@x"])
def test_a_metric_that_is_none_is_refused(split: Split, metric: str):
    with pytest.raises(UsageError, match="no such metric"):
        split_objective(split, metric)
