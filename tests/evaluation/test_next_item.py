"""Next-item evaluation: sequences read strictly, the last items withheld, and orders that only some systems see."""

import json
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nocturne.cli.main import app
from nocturne.core.errors import InputError, UsageError
from nocturne.core.settings import load_settings
from nocturne.evaluation.next_item import evaluate_next_item
from nocturne.evaluation.sequences import Sequences, read_sequences

SETTINGS = load_settings(overrides=["als.factors=2", "als.regularization=0.1", "als.neighbours=3"])


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def heard(sequences: Sequences) -> dict[str, list[str]]:
    rows = zip(sequences.users, sequences.offsets[:-1], sequences.offsets[1:], strict=True)
    return {user: [sequences.items[item] for item in sequences.heard[start:end]] for user, start, end in rows}


def test_a_line_is_a_user_and_their_items_oldest_first(tmp_path: Path):
    sequences = read_sequences(write(tmp_path / "some.txt", "10 7 3 20\n9 3 7 7 100\n\n"))
    assert sequences.items == ("3", "7", "20", "100")
    assert heard(sequences) == {"9": ["3", "7", "7", "100"], "10": ["7", "3", "20"]}
    assert heard(sequences.without_last(2)) == {"9": ["3", "7"], "10": ["7"]}
    assert sequences.plays().toarray().tolist() == [[1, 2, 0, 1], [1, 1, 1, 0]]
    assert sequences.last(2).toarray().tolist() == [[0, 1, 0, 1], [1, 0, 1, 0]]


def test_ids_may_be_texts(tmp_path: Path):
    assert heard(read_sequences(write(tmp_path / "some.txt", "A1Y B-2 780x C\n"))) == {"A1Y": ["B-2", "780x", "C"]}


def test_lines_without_users_and_the_last_items_apart_are_joined(tmp_path: Path):
    write(tmp_path / "set" / "test" / "input.txt", "1 2\n3 1 4\n")
    write(tmp_path / "set" / "test" / "output.txt", "5\n2\n")
    write(tmp_path / "set" / "train" / "input.txt", "1\n3\n")
    assert heard(read_sequences(tmp_path)) == {"1": ["1", "2", "5"], "2": ["3", "1", "4", "2"]}
    with tarfile.open(tmp_path / "set.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "set", "outer/set")
    assert heard(read_sequences(tmp_path / "set.tar.xz")) == heard(read_sequences(tmp_path))


def test_one_file_of_several_has_to_be_named(tmp_path: Path):
    write(tmp_path / "b" / "a.txt", "1 2 3 4\n")
    write(tmp_path / "b" / "other.txt", "2 2 3 4\n")
    with pytest.raises(UsageError, match=r"a\.txt"):
        read_sequences(tmp_path)
    assert heard(read_sequences(tmp_path, "a.txt")) == heard(read_sequences(tmp_path, "b/a.txt"))
    with pytest.raises(UsageError, match="--file"):
        read_sequences(tmp_path, "c.txt")
    with pytest.raises(UsageError, match="--file"):
        read_sequences(tmp_path / "b" / "a.txt", "a.txt")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "line 1\n  found: nothing"),
        ("1 2 3 4\n1 5 6 7\n", "line 2\n  found: user 1 a second time, after line 1"),
        ("1 2 5\n", "line 1\n  found: 2 items"),
        ("1 1193 5 978300760\n1 661 3 978302109\n", "line 2\n  found: user 1 a second time"),
        ("1 2 3 4\n\n2 3 4 5\n", "line 2\n  found: a blank line"),
        ("1,2,3,4\n", "line 1\n  found: '1,2,3,4'"),
        ('{"user": 1, "items": [1, 2, 3]}\n', "line 1\n  found: '{\"user\":'"),
    ],
)
def test_a_file_of_another_form_is_refused_with_its_line(tmp_path: Path, text: str, found: str):
    with pytest.raises(InputError, match="of another form") as refused:
        read_sequences(write(tmp_path / "some.txt", text))
    assert found in str(refused.value)


@pytest.mark.parametrize(
    ("inputs", "outputs", "found"),
    [
        ("1 2\n3 1\n", "5\n", "1 lines"),
        ("1 2\n", "5 6\n", "2 items"),
        ("1\n", "5\n", "1 items"),
        (None, "5\n", "no such file"),
    ],
)
def test_two_files_that_do_not_fit_are_refused(tmp_path: Path, inputs: str | None, outputs: str, found: str):
    write(tmp_path / "test" / "output.txt", outputs)
    if inputs is not None:
        write(tmp_path / "test" / "input.txt", inputs)
    with pytest.raises(InputError, match=found):
        read_sequences(tmp_path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path):
    (tmp_path / "some.txt").write_bytes(b"1 2 3 4\n\xff 2 3 4\n")
    with pytest.raises(InputError, match="line 2"):
        read_sequences(tmp_path / "some.txt")


def ring(folder: Path, items: int = 12) -> Path:
    """Every listener goes round the same ring of items, from another place, for half of it."""
    lines = [" ".join(str((user + step) % items) for step in range(items // 2)) for user in range(3 * items)]
    return write(folder / "ring.txt", "".join(f"{100 + user} {line}\n" for user, line in enumerate(lines)))


def test_what_follows_is_found_by_rules_and_missed_by_popularity(tmp_path: Path):
    for part in ("valid", "test"):
        result = evaluate_next_item(read_sequences(ring(tmp_path)), SETTINGS, part, 1)
        assert result.means["sequential rules"] == {"hit_rate@1": 1.0, "ndcg@1": 1.0}
        assert result.means["popular"]["hit_rate@1"] <= 0.5
        assert (result.listeners, result.unreachable) == (36, 0)
        assert {row.system for row in result.differences} == set(result.means) - {"nocturne"}
        assert {row.against for row in result.differences} == {"nocturne"}


def test_test_is_looked_for_with_the_item_of_valid_known_and_valid_without(tmp_path: Path):
    # Of valid, everybody's first item is known alone; of test, the second too, which some heard first.
    sequences = read_sequences(write(tmp_path / "some.txt", "1 a b c\n2 c b a\n3 a d b\n"))
    unreachable = {part: evaluate_next_item(sequences, SETTINGS, part, 1).unreachable for part in ("valid", "test")}
    assert unreachable == {"valid": 3, "test": 0}


def test_an_item_heard_before_is_in_no_list_and_is_counted(tmp_path: Path):
    sequences = read_sequences(write(tmp_path / "some.txt", "1 a b c a\n2 b c a d\n3 d c a b\n"))
    result = evaluate_next_item(sequences, SETTINGS, "test", 4)
    assert result.unreachable == 1
    assert max(means["hit_rate@4"] for means in result.means.values()) <= 2 / 3


def test_the_command_prints_each_part_or_json(tmp_path: Path):
    call = ["evaluate", "next-item", str(ring(tmp_path)), "--top-k", "2", "--set", "als.factors=2"]
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 0, done.output
    assert "valid; intervals" in done.stdout
    assert "test; intervals" in done.stdout
    assert "36 listeners, 12 items, 216 events" in done.stderr
    done = CliRunner().invoke(app, [*call, "--part", "test", "--json"])
    found = json.loads(done.stdout)
    assert (found["listeners"], found["items"], found["events"], found["top_k"]) == (36, 12, 216, 2)
    assert "valid" not in found
    assert set(found["test"]["means"]["nocturne"]) == {"hit_rate@2", "ndcg@2"}
    assert {row["metric"] for row in found["test"]["differences"]} == {"hit_rate@2", "ndcg@2"}


def test_another_form_is_status_4_and_a_file_that_is_none_status_2(tmp_path: Path):
    for path, status in ((write(tmp_path / "some.txt", "1 2 5\n"), 4), (tmp_path / "nowhere", 2)):
        done = CliRunner().invoke(app, ["evaluate", "next-item", str(path)])
        assert (done.exit_code, done.stdout) == (status, "")
