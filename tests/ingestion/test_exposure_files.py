"""Files of exposures: read as far as they can be, counted apart from the reader, and never an error."""

import gzip
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.ingestion import exposure_files
from nocturne.ingestion.exposure_files import DAY as THE_DAY
from nocturne.ingestion.exposure_files import Writer, count_lines, list_writers, read_lines
from nocturne.ingestion.landed_rows import Part
from nocturne.ingestion.landing import share_out
from nocturne.ingestion.landing_files import LandedFile
from tests.fixtures.landed_exposures import DAY, land, mark

NOISE = random.Random(1)


def day_of(landing: Path) -> Path:
    return landing / "exposures" / f"date={DAY}"


def file_of(content: bytes, folder: Path, name: str = "part-000001.jsonl") -> LandedFile:
    (folder / name).write_bytes(content)
    return LandedFile(str(folder), name, "jsonl.gz" if name.endswith(".gz") else "jsonl", (), 0, len(content))


def read(file: LandedFile, part_bytes: int = 2**20) -> list[bytes]:
    parts = [part for share in share_out([file], part_bytes) for part in share]
    return [line for part in parts for batch in read_lines(part) for line in batch]


def counted(file: LandedFile) -> tuple[int, str]:
    """Lines of a file, and why it cannot be read to its end."""
    found = count_lines(file)
    assert found.file == replace(file, rows=found.file.rows)
    return found.file.rows, found.problem


# --- writers ----------------------------------------------------------------------------------------------------------


def test_no_folder_is_no_writer(tmp_path: Path) -> None:
    assert list_writers(str(tmp_path), DAY) == []
    (tmp_path / "exposures").write_text("a file in its place")
    assert list_writers(str(tmp_path), DAY) == []


def test_writers_come_in_order_with_the_files_that_hold_lines(tmp_path: Path) -> None:
    land(tmp_path, "web-2", "{}", name="part-000001.jsonl.gz")
    land(tmp_path, "web-1", "{}", name="part-000002.jsonl")
    land(tmp_path, "web-1", "{}", name="part-000001.jsonl")
    land(tmp_path, "web-1", "{}", name=".part-000003.jsonl")
    land(tmp_path, "_web", "{}")
    mark(tmp_path, "web-1", 2)
    one, two = list_writers(str(tmp_path), DAY)
    assert (one.name, [file.name for file in one.files]) == ("web-1", ["part-000001.jsonl", "part-000002.jsonl"])
    assert (one.announced, one.problems) == (2, ())
    assert (two.name, two.announced, [file.format for file in two.files]) == ("web-2", None, ["jsonl.gz"])


def test_whatever_lies_there_that_is_no_writer_or_no_file_of_lines_is_named(tmp_path: Path) -> None:
    day = day_of(tmp_path)
    (day / "web" / "part-000001.jsonl").mkdir(parents=True)
    (day / "web" / "notes.txt").touch()
    (day / "web" / "part-000002.jsonl").symlink_to("nowhere")
    (day / "web" / os.fsdecode(b"caf\xe9.jsonl")).touch()
    (day / "lost.jsonl").touch()
    os.mkfifo(day / "pipe")
    (day / os.fsdecode(b"caf\xe9")).mkdir()
    found = {writer.name: writer.problems for writer in list_writers(str(tmp_path), DAY)}
    assert found == {
        "caf\\xe9": ("its name is no UTF-8",),
        "lost.jsonl": ("it is a file, and no folder of a writer",),
        "pipe": ("it is no file, and no folder of a writer",),
        "web": (
            "caf\\xe9.jsonl has a name that is no UTF-8",
            "notes.txt is of an unknown kind",
            "part-000001.jsonl is a folder",
            "part-000002.jsonl is a link to nowhere",
        ),
    }


def test_a_day_that_cannot_be_listed_is_a_torn_writer_of_its_own(tmp_path: Path) -> None:
    day_of(tmp_path).parent.mkdir()
    day_of(tmp_path).touch()
    (writer,) = list_writers(str(tmp_path), DAY)
    assert (writer.name, writer.state, writer.remarks) == (THE_DAY, "torn", ["the folder of the day cannot be read"])


@pytest.mark.parametrize(
    "content",
    [b"", b"8", b"[8]", b'{"rows": "8"}', b'{"rows": -1}', b'{"rows": true}', b'{"rows": 8.0}', b"\xff", b"{}"],
)
def test_a_mark_that_says_no_number_of_rows_tears_its_writer(tmp_path: Path, content: bytes) -> None:
    mark(tmp_path, "web", content)
    (writer,) = list_writers(str(tmp_path), DAY)
    assert (writer.state, writer.remarks) == ("torn", ['_SUCCESS does not say {"rows": N}'])


def test_a_mark_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    for name in ("pipe", "folder"):
        (day_of(tmp_path) / name).mkdir(parents=True)
    os.mkfifo(day_of(tmp_path) / "pipe" / "_SUCCESS")
    (day_of(tmp_path) / "folder" / "_SUCCESS").mkdir()
    assert [writer.state for writer in list_writers(str(tmp_path), DAY)] == ["torn", "torn"]


@pytest.mark.parametrize(
    ("announced", "state", "remarks"),
    [
        (2, "complete", []),
        (None, "unfinished", ["there is no _SUCCESS"]),
        (3, "torn", ["_SUCCESS announces 3 rows, and there are 2"]),
        (1, "torn", ["_SUCCESS announces 1 rows, and there are 2"]),
    ],
)
def test_the_mark_and_the_count_make_the_state(announced: int | None, state: str, remarks: list[str]) -> None:
    writer = Writer("web", (LandedFile("", "part-000001.jsonl", "jsonl", (), 2, 9),), announced)
    assert (writer.state, writer.remarks) == (state, remarks)


# --- files ------------------------------------------------------------------------------------------------------------


def test_blank_lines_are_none_and_a_line_may_end_as_it_likes(tmp_path: Path) -> None:
    file = file_of(b"\xef\xbb\xbf{}\r\n\n  \r\n{1}\n\t\n{2}", tmp_path)
    assert read(file) == [b"{}", b"{1}", b"{2}"]
    assert counted(file) == (3, "")


@given(
    content=st.lists(st.sampled_from([b"{}", b"\n", b"\r\n", b" ", b"\xff", b"\x00", b"long" * 9])),
    size=st.integers(1, 40),
)
def test_as_many_lines_are_counted_as_are_read_in_parts_of_any_size(
    tmp_path_factory: pytest.TempPathFactory, content: list[bytes], size: int
) -> None:
    file = file_of(b"".join(content), tmp_path_factory.getbasetemp())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exposure_files, "LONGEST_LINE", 16)
        lines = read(file, size)
        assert counted(file) == (len(lines), "")
        assert all(len(line) <= 17 for line in lines)


def test_a_line_too_long_to_be_held_is_one_line_of_which_the_beginning_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exposure_files, "LONGEST_LINE", 4)
    file = file_of(b"1234567890\n1234\n12345\n" + b" " * 9 + b"\n" + b" " * 9 + b"x", tmp_path)
    assert read(file) == [b"12345", b"1234", b"12345", b"     "]
    assert counted(file) == (4, "")


def noisy_lines(count: int) -> bytes:
    """Lines that compress badly, so that what is cut off a file are lines."""
    return b"".join(b"%032x\n" % NOISE.getrandbits(128) for _ in range(count))


@pytest.mark.parametrize("cut", [1, 8, 9, 5_000, 60_000])
def test_of_a_compressed_file_that_is_cut_short_the_lines_before_are_read(tmp_path: Path, cut: int) -> None:
    content = noisy_lines(4_000)
    file = file_of(gzip.compress(content, mtime=0)[:-cut], tmp_path, "part-000001.jsonl.gz")
    lines = read(file)
    assert counted(file) == (len(lines), "part-000001.jsonl.gz is cut short or damaged")
    assert content.startswith(b"\n".join(lines))
    assert len(lines) > 100


def test_a_compressed_file_is_read_up_to_what_is_damaged(tmp_path: Path) -> None:
    content = noisy_lines(200_000)
    packed = bytearray(gzip.compress(content, mtime=0))
    packed[-20_000:-19_000] = bytes(1_000)
    file = file_of(bytes(packed), tmp_path, "part-000001.jsonl.gz")
    lines = read(file)
    assert counted(file) == (len(lines), "part-000001.jsonl.gz is cut short or damaged")
    assert len(lines) > 100_000
    assert content.startswith(b"\n".join(lines[:100_000]))


@pytest.mark.parametrize("content", [b"", b"{}\n", gzip.compress(b"{}\n", mtime=0) + b"rest"])
def test_what_is_not_compressed_or_not_only_so_is_damaged(tmp_path: Path, content: bytes) -> None:
    file = file_of(content, tmp_path, "part-000001.jsonl.gz")
    assert counted(file) == (len(read(file)), "part-000001.jsonl.gz is cut short or damaged")
    assert len(read(file)) == (1 if b"rest" in content else 0)


def test_several_compressed_members_are_one_file(tmp_path: Path) -> None:
    file = file_of(gzip.compress(b"{}\n{") + gzip.compress(b"}\n"), tmp_path, "part-000001.jsonl.gz")
    assert (read(file), counted(file)) == ([b"{}", b"{}"], (2, ""))


def test_what_is_written_after_the_file_was_looked_at_waits_for_another_run(tmp_path: Path) -> None:
    file = file_of(b"{}\n", tmp_path)
    with (tmp_path / file.name).open("ab") as opened:
        opened.write(b"{}\n")
    assert (read(file), counted(file)) == ([b"{}"], (1, ""))


def test_a_file_that_is_gone_cannot_be_read_and_says_why(tmp_path: Path) -> None:
    gone = LandedFile(str(tmp_path), "part-000001.jsonl", "jsonl", (), 0, 3)
    assert read(gone) == []
    assert counted(gone) == (0, "part-000001.jsonl cannot be read: No such file or directory")
    assert list(read_lines(Part(gone, 2, 3))) == [[]]
