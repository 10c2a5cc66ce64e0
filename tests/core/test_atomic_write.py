"""A file is replaced by a whole one or stays as it was, and nothing is left beside it."""

from pathlib import Path

import pytest

from nocturne.core.atomic_write import open_atomically, write_atomically


def test_the_old_file_is_read_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with open_atomically(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_alone_in_its_folder(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with pytest.raises(error), open_atomically(path) as file:
        file.write(b"half")
        raise error
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"old")]


def test_two_writers_at_once_both_succeed_and_the_last_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with open_atomically(path) as first, open_atomically(path) as second:
        first.write(b"first")
        second.write(b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_part_that_another_writer_has_moved_is_an_error(tmp_path: Path) -> None:
    path, part = tmp_path / "file", tmp_path / "file.part"
    with pytest.raises(FileNotFoundError), open_atomically(path, part):
        write_atomically(path, b"theirs", part)
    assert path.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_a_fixed_part_that_a_killed_writer_left_is_overwritten(tmp_path: Path) -> None:
    path, part = tmp_path / "file", tmp_path / "file.part"
    part.write_bytes(b"what a killed writer left")
    write_atomically(path, b"whole", part)
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]
