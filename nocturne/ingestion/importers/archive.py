"""Archives: the files of a data set in a .tar.xz archive or an unpacked folder, one level deep or none."""

import csv
import lzma
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Literal

from nocturne.core.errors import InputError, UsageError


@dataclass(frozen=True)
class Source:
    """The files of a data set, open for reading.

    Attributes:
        path: archive or folder, as it was given.
        folder: holds its files while it is open.
    """

    path: Path
    folder: Path

    def has(self, name: str) -> bool:
        """True if a file of that name lies in the folder or in a folder of it."""
        return any(path.is_file() for glob in (name, f"*/{name}") for path in self.folder.glob(glob))

    def find(self, name: str) -> Path:
        """The file of that name, in the folder or in a folder of it.

        Raises:
            InputError: none or several.
        """
        paths = self.find_all(name)
        if len(paths) > 1:
            raise InputError(
                "the source holds a file twice",
                where=str(self.path),
                found=", ".join(str(path.relative_to(self.folder)) for path in paths),
                expected=f"one {name}",
                fix="give the folder of one data set",
            )
        return paths[0]

    def find_all(self, pattern: str) -> list[Path]:
        """The files that match a glob pattern, in the folder or in folders of it, by name.

        Raises:
            InputError: none.
        """
        globs = (pattern, f"*/{pattern}")
        paths = [path for glob in globs for path in self.folder.glob(glob) if path.is_file()]
        if not paths:
            others = (path for glob in ("*", "*/*") for path in self.folder.glob(glob) if path.is_file())
            raise InputError(
                "the source lacks its files",
                where=str(self.path),
                found=", ".join(sorted(path.name for path in islice(others, 8))) or "no file at all",
                expected=f"{pattern}, there or one folder below",
                fix="check that PATH is the archive or folder of this very data set",
            )
        return sorted(paths, key=lambda path: path.name)


@contextmanager
def open_source(path: Path, folders_below: int = 1) -> Iterator[Source]:
    """Open a data set; an archive is unpacked for as long as the context lasts.

    Args:
        folders_below: depth to which folders of an archive are unpacked.

    Raises:
        UsageError: there is nothing at that path.
        InputError: the file is no archive, or a damaged one.
    """
    if path.is_dir():
        yield Source(path, path)
        return
    if not path.exists():
        raise UsageError(
            "the source does not exist",
            where=str(path),
            expected="the .tar.xz archive or the unpacked folder",
            fix="docs/data.md says where the data sets are published, and how to get from there to here",
        )
    with TemporaryDirectory() as folder:
        try:
            with tarfile.open(path) as archive:
                _unpack(archive, Path(folder), folders_below)
        except (tarfile.TarError, lzma.LZMAError, EOFError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk, not the archive
            raise InputError(
                "the source is no archive that can be read whole",
                where=str(path),
                found=str(error),
                expected="the .tar.xz archive or the unpacked folder",
                fix="fetch the archive again",
            ) from error
        yield Source(path, Path(folder))


def _unpack(archive: tarfile.TarFile, folder: Path, folders_below: int) -> None:
    """Copy the regular files of an archive, down to a depth; nothing is written beside the folder."""
    for member in archive:
        path = PurePosixPath(member.name)
        if member.isfile() and len(path.parts) <= folders_below + 1 and not {"/", ".."} & set(path.parts):
            content = archive.extractfile(member)
            assert content
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with content, target.open("wb") as file:
                shutil.copyfileobj(content, file)


def read_table(
    path: Path, header: tuple[str, ...], *, delimiter: str, encoding: str = "utf-8", quoted: bool = False
) -> Iterator[list[str]]:
    """The rows of a delimited file below its header, as text, short rows filled up with empty fields.

    Args:
        header: the columns it must begin with; empty for a file without a header.

    Raises:
        InputError: another header, or bytes that are not of that encoding.
    """
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    try:
        with path.open(encoding=encoding, newline="") as file:
            rows = csv.reader(file, delimiter=delimiter, quoting=quoting)
            if header and (first := next(rows, [])) != list(header):
                raise InputError(
                    "a file of the source has other columns",
                    where=f"{path.parent.name}/{path.name}",
                    found=delimiter.join(first)[:200],
                    expected=delimiter.join(header),
                    fix="check that PATH is the archive or folder of this very data set",
                )
            for row in rows:
                yield row + [""] * (len(header) - len(row))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            "a file of the source is not text as expected", where=f"{path.parent.name}/{path.name}", found=str(error)
        ) from error
