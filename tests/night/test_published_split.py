"""`nocturne evaluate lightgcn` on a split small enough to know what is right."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from nocturne.cli.main import app

USERS, BLOCK = 40, 12


def taste_blocks(folder: Path) -> Path:
    """Even users know items 100 to 111, odd ones 200 to 211: two of the twelve in valid, two in test."""
    parts: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for user in range(USERS):
        block = [(100 if user % 2 else 200) + (user // 2 + step) % BLOCK for step in range(BLOCK)]
        for part, items in (("valid", block[:2]), ("test", block[2:4]), ("train", block[4:])):
            parts[part].append(" ".join(map(str, [user, *items])))
    for part, lines in parts.items():
        (folder / f"{part}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.mark.usefixtures("spark")
def test_test_is_found_by_a_night_of_train_and_valid_and_nothing_known_is_listed(tmp_path: Path):
    split, lists = taste_blocks(tmp_path), tmp_path / "out" / "lists.parquet"
    small = ("--set", "als.factors=2", "--set", "als.regularization=0.1", "--set", "spark.shuffle_partitions=1")
    done = CliRunner().invoke(app, ["evaluate", "lightgcn", str(split), *small, "--lists", str(lists), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["recall@20"], found["ndcg@20"], found["listeners"], found["items"]) == (1.0, 1.0, USERS, 2 * BLOCK)
    assert set(found["seconds"]) == {"ingest_events", "build_interactions", "train_als", "rank_users"}

    rows = {row["user_id"]: row["items"] for row in pq.read_table(lists).to_pylist()}
    assert list(rows) == [str(user) for user in range(USERS)]
    for part in ("train", "valid"):
        for line in (split / f"{part}.txt").read_text(encoding="utf-8").splitlines():
            user, *known = line.split()
            assert not set(known) & set(rows[user])
    for line in (split / "test.txt").read_text(encoding="utf-8").splitlines():
        user, *withheld = line.split()
        assert set(rows[user][:2]) == set(withheld)


def test_a_split_without_a_part_is_bad_input(tmp_path: Path):
    split = taste_blocks(tmp_path)
    (split / "valid.txt").unlink()
    done = CliRunner().invoke(app, ["evaluate", "lightgcn", str(split)])
    assert done.exit_code == 4
    assert "valid.txt" in done.output
