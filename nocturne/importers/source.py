"""Reading a source: its files are found in a .tar.xz archive or an unpacked folder, one level deep or none."""

import csv
import lzma
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from nocturne.errors import InputError, SettingsError


@contextmanager
def unpacked(source: Path) -> Iterator[Path]:
    """The folder of a source; an archive is unpacked for as long as the context lasts.

    Raises:
        SettingsError: there is nothing at that path.
        InputError: the file is no archive, or a damaged one.
    """
    if source.is_dir():
        yield source
        return
    if not source.exists():
        raise SettingsError(
            "the source does not exist", where=str(source), expected="the .tar.xz archive or the unpacked folder"
        )
    with TemporaryDirectory() as folder:
        try:
            with tarfile.open(source) as archive:
                archive.extractall(folder, filter="data")
        except (tarfile.TarError, lzma.LZMAError, EOFError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk, not the archive
            raise InputError(
                "the source is no archive that can be read whole",
                where=str(source),
                found=str(error),
                expected="the .tar.xz archive or the unpacked folder",
                fix="fetch the archive again",
            ) from error
        yield Path(folder)


def find(folder: Path, name: str) -> Path:
    """The file of that name in the folder or in a folder of it.

    Raises:
        InputError: none or several.
    """
    found = matching(folder, name)
    if len(found) > 1:
        raise InputError(
            "the source holds a file twice",
            where=str(folder),
            found=", ".join(str(path.relative_to(folder)) for path in found),
            expected=f"one {name}",
            fix="give the folder of one data set",
        )
    return found[0]


def matching(folder: Path, pattern: str) -> list[Path]:
    """The files that match a glob pattern in the folder and its folders, by name.

    Raises:
        InputError: none.
    """
    found = [path for glob in (pattern, f"*/{pattern}") for path in folder.glob(glob) if path.is_file()]
    if not found:
        raise InputError(
            "the source lacks its files",
            where=str(folder),
            found=", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "an empty folder",
            expected=f"{pattern}, there or one folder below",
            fix="check that PATH is the archive or folder of this very data set",
        )
    return sorted(found, key=lambda path: path.name)


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
            if header and (found := next(rows, [])) != list(header):
                raise InputError(
                    "a file of the source has other columns",
                    where=str(path),
                    found=delimiter.join(found)[:200],
                    expected=delimiter.join(header),
                    fix="check that PATH is the archive or folder of this very data set",
                )
            for row in rows:
                yield row + [""] * (len(header) - len(row))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError("a file of the source is not text as expected", where=str(path), found=str(error)) from error
