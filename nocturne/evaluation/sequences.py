"""Published sequences: what each listener heard, oldest first, in the forms of S3-Rec and of gSASRec."""

import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from nocturne.core.arrays import Counts, Mask, Positions
from nocturne.core.errors import InputError, UsageError
from nocturne.evaluation.splits import sort_ids
from nocturne.ingestion.importers.archive import open_source

SHORTEST = 3
"""Items of a sequence: one to learn from, one for valid, one for test."""

_ID = re.compile(r"[\w.:-]+")
_FOLDERS_BELOW = 4
_NAMED = 12
_ONE_LINE_A_USER = "one line a user, `user item item item ...`, oldest first, at least three items"


@dataclass(frozen=True)
class Sequences:
    """Listeners' items in the order in which they were heard.

    Attributes:
        users, items: ids as in the file, as numbers or texts sort.
        offsets: where each listener's events begin and the last one's end; shape (listeners + 1,).
        heard: position of the item of each event; shape (events,).
    """

    users: tuple[str, ...]
    items: tuple[str, ...]
    offsets: Counts
    heard: Positions

    def without_last(self, count: int) -> "Sequences":
        """The same without so many last events of every listener."""
        kept = self._age() >= count
        lengths = np.maximum(np.diff(self.offsets) - count, 0)
        return Sequences(self.users, self.items, np.concatenate([[0], np.cumsum(lengths)]), self.heard[kept])

    def last(self, count: int) -> csr_matrix:
        """The last events of every listener, at most so many, as plays."""
        return self._plays(self._age() < count)

    def plays(self) -> csr_matrix:
        """Times that every listener heard every item, float32; shape (listeners, items), columns ascending."""
        return self._plays(np.ones(len(self.heard), dtype=np.bool_))

    def _age(self) -> Counts:
        """Events of the same listener after each event."""
        return np.repeat(self.offsets[1:], np.diff(self.offsets)) - 1 - np.arange(len(self.heard))

    def _plays(self, counted: Mask) -> csr_matrix:
        listeners = np.repeat(np.arange(len(self.users)), np.diff(self.offsets))[counted]
        shape = (len(self.users), len(self.items))
        plays = csr_matrix((np.ones(len(listeners), np.float32), (listeners, self.heard[counted])), shape)
        plays.sum_duplicates()
        return plays


def read_sequences(path: Path, file: str | None = None) -> Sequences:
    """Read sequences of a file, or of a folder or an archive that holds one such file.

    A file has one line a user: their id, then their items, oldest first (S3-Rec's form). A folder may also hold
    test/input.txt and test/output.txt: one line a user without an id, all items but the last, and the last one
    (gSASRec's form).

    Args:
        file: the file among those of the folder or archive, by the end of its path.

    Raises:
        UsageError: there is nothing at that path, or it does not say which of several files is meant.
        InputError: a file is of another form.
    """
    if path.is_file() and ".tar" not in path.suffixes and not tarfile.is_tarfile(path):
        if file is not None:
            raise UsageError("a file was named inside of what is one", where=str(path), found=f"--file {file}")
        return _of_one_file(path)
    with open_source(path, folders_below=_FOLDERS_BELOW) as source:
        texts = sorted(each for each in source.folder.rglob("*.txt") if each.is_file())
        outputs = [each for each in texts if (each.parent.name, each.name) == ("test", "output.txt")]
        if file is None and len(outputs) == 1:
            return _of_two_files(_input_beside(outputs[0], texts), outputs[0])
        named = [each for each in source.folder.rglob("*") if each.is_file() and each.match(file)] if file else texts
        if len(named) != 1:
            inside = [str(each.relative_to(source.folder)) for each in texts]
            raise UsageError(
                "it is not plain which file holds the sequences",
                where=str(path),
                found=", ".join(inside[:_NAMED]) + (" and others" if inside[_NAMED:] else "") or "no .txt file",
                expected="one file, or test/input.txt and test/output.txt",
                fix="name it with --file",
            )
        return _of_one_file(named[0])


def _of_one_file(path: Path) -> Sequences:
    line_of_user: dict[str, int] = {}
    sequences = []
    for number, (user, *items) in _lines(path):
        if (first := line_of_user.setdefault(user, number)) != number:
            raise _other_form(path, number, f"user {user} a second time, after line {first}")
        if len(items) < SHORTEST:
            raise _other_form(path, number, f"{len(items)} items")
        sequences.append(items)
    return _numbered(list(line_of_user), sequences)


def _input_beside(output: Path, texts: Sequence[Path]) -> Path:
    """The file of all items but the last: where it should be, or, under a longer name, somewhere else."""
    beside = output.with_name("input.txt")
    found = [beside] if beside in texts else [each for each in texts if each.name == "test_input.txt"]
    if len(found) != 1:
        raise InputError(
            "the sequences lack all items but the last",
            where=f"{output.parent.name}/{beside.name}",
            found="no such file",
            expected="one line a user, `item item ...`, as long as output.txt",
            fix="give the folder that has both files",
        )
    return found[0]


def _of_two_files(inputs: Path, outputs: Path) -> Sequences:
    before, last = list(_lines(inputs)), list(_lines(outputs))
    for number, items in before:
        if len(items) < SHORTEST - 1:
            raise _other_form(inputs, number, f"{len(items)} items", "a line a user: at least two items, oldest first")
    for number, items in last:
        if len(items) != 1:
            raise _other_form(outputs, number, f"{len(items)} items", "a line a user: the one item that comes last")
    if [number for number, _ in before] != [number for number, _ in last]:
        raise _other_form(outputs, len(last), f"{len(last)} lines", f"as many as in {inputs.name}, {len(before)}")
    users = [str(number) for number, _ in before]
    return _numbered(users, [[*items, target] for (_, items), (_, (target,)) in zip(before, last, strict=True)])


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The ids of each line, with its number; blank lines may stand at the end only."""
    lines, blank = 0, 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                ids = line.decode().split()
            except UnicodeDecodeError as error:
                raise _other_form(path, number, "bytes that are no UTF-8") from error
            if not ids:
                blank = blank or number
                continue
            if blank:
                raise _other_form(path, blank, "a blank line")
            if strange := next((id_ for id_ in ids if not _ID.fullmatch(id_)), None):
                raise _other_form(path, number, f"{strange[:50]!r}, which is no id")
            lines += 1
            yield number, ids
    if not lines:
        raise _other_form(path, 1, "nothing")


def _other_form(path: Path, line: int, found: str, expected: str = _ONE_LINE_A_USER) -> InputError:
    return InputError(
        "the sequences are of another form",
        where=f"{path.parent.name}/{path.name}, line {line}",
        found=found,
        expected=expected,
        fix="of a file with an event a line, write each user's items in one line, in the order of time",
    )


def _numbered(users: Sequence[str], sequences: Sequence[Sequence[str]]) -> Sequences:
    """Sequences with listeners and items by number."""
    user_ids, item_ids = sort_ids(set(users)), sort_ids({item for items in sequences for item in items})
    sequence_of_user = dict(zip(users, sequences, strict=True))
    ordered = [sequence_of_user[user] for user in user_ids]
    place = {item: number for number, item in enumerate(item_ids)}
    offsets = np.concatenate([[0], np.cumsum([len(items) for items in ordered])])
    return Sequences(user_ids, item_ids, offsets, np.array([place[item] for items in ordered for item in items]))
