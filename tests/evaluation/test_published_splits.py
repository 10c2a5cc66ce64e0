"""`nocturne evaluate lightgcn` on a split small enough to know what is right, and on files of other forms."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from nocturne.cli.main import app
from tests.fixtures.published_split import BLOCK, USERS, taste_blocks

SMALL = ("--set", "als.factors=2", "--set", "als.regularization=0.1", "--json")


def evaluate(split: Path, *more: str):
    return CliRunner().invoke(app, ["evaluate", "lightgcn", str(split), *SMALL, *more])


def known(split: Path, *parts: str) -> dict[str, set[str]]:
    items: dict[str, set[str]] = {}
    for part in parts:
        for line in (split / f"{part}.txt").read_text(encoding="utf-8").splitlines():
            items.setdefault(line.split()[0], set()).update(line.split()[1:])
    return items


def test_test_is_found_from_train_and_valid_and_nothing_known_is_listed(tmp_path: Path):
    split, lists = taste_blocks(tmp_path), tmp_path / "out" / "lists.parquet"
    done = evaluate(split, "--lists", str(lists))
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["recall@20"], found["ndcg@20"], found["listeners"], found["items"]) == (1.0, 1.0, USERS, 2 * BLOCK)
    assert set(found["seconds"]) == {"race", "train_als", "rank_users"}

    rows = {row["user_id"]: row["items"] for row in pq.read_table(lists).to_pylist()}
    assert list(rows) == [str(user + 100) for user in range(USERS)]
    for user, items in known(split, "train", "valid").items():
        assert not items & set(rows[user])
    for user, items in known(split, "test").items():
        assert set(rows[user][:2]) == items


def test_a_split_without_valid_is_trained_on_train_alone_and_says_so(tmp_path: Path):
    split = taste_blocks(tmp_path)
    (split / "valid.txt").unlink()
    done = evaluate(split)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["recall@20"] == 1.0
    assert "no valid.txt" in done.stderr


def test_settings_are_not_searched_on_a_split_without_valid(tmp_path: Path):
    split = taste_blocks(tmp_path)
    (split / "valid.txt").unlink()
    search = ("--study", "ours", "--storage", str(tmp_path / "search.log"), "--trials", "1")
    done = CliRunner().invoke(app, ["tune", "--split", str(split), *search])
    assert done.exit_code == 4
    assert "no valid.txt" in done.output


@pytest.mark.parametrize(
    ("part", "text", "line", "found"),
    [
        ("train", "100 3 5\n100 7 2\n", "train.txt, line 2", "user 100 a second time"),
        ("valid", "100\t3\t4.5\n", "valid.txt, line 1", "'4.5'"),
        ("test", "100 3\n101 1::7\n", "test.txt, line 2", "'1::7'"),
        ("train", "user_id item_id\n", "train.txt, line 1", "'user_id'"),
        ("train", "100 3\n101 -4\n", "train.txt, line 2", "'-4'"),
        ("test", "100 \u0663\n", "test.txt, line 1", "no number"),
        ("train", "\ufeff100 3\n", "train.txt, line 1", "no number"),
        ("train", '{"user": 100}\n', "train.txt, line 1", "no number"),
        ("test", "", "test.txt", "empty"),
    ],
)
def test_a_file_of_another_form_is_bad_input_and_the_line_is_named(
    tmp_path: Path, part: str, text: str, line: str, found: str
):
    split = taste_blocks(tmp_path)
    (split / f"{part}.txt").write_text(text, encoding="utf-8")
    done = evaluate(split)
    assert done.exit_code == 4
    assert done.stdout == ""
    assert line in done.stderr
    assert found in done.stderr
    assert "expected: " in done.stderr


def test_bytes_that_are_no_text_are_bad_input(tmp_path: Path):
    split = taste_blocks(tmp_path)
    (split / "test.txt").write_bytes(b"100 3\n\xff\xfe4 5\n")
    done = evaluate(split)
    assert (done.exit_code, "test.txt, line 2" in done.output) == (4, True)


@pytest.mark.parametrize("missing", ["train", "test"])
def test_a_split_without_train_or_test_is_bad_input(tmp_path: Path, missing: str):
    split = taste_blocks(tmp_path)
    (split / f"{missing}.txt").unlink()
    done = evaluate(split)
    assert (done.exit_code, f"{missing}.txt" in done.output) == (4, True)


def test_what_cannot_be_written_is_said_before_any_work(tmp_path: Path):
    split = taste_blocks(tmp_path)
    (tmp_path / "file").write_text("", encoding="utf-8")
    for lists in (tmp_path / "file" / "lists.parquet", tmp_path):
        done = evaluate(split, "--lists", str(lists))
        assert done.exit_code == 2
        assert "cannot be written" in done.stderr
        assert done.stdout == ""
