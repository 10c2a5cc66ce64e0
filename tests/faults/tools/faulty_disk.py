"""Disks that fail for real: a full one, a read-only one, bytes that change, logs that lose their end."""

import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow.parquet as pq
from deltalake import DeltaTable


class FaultyDisk:
    """A file system that may be filled and write-protected, at a folder where this process sees it."""

    def __init__(self, folder: Path) -> None:
        """Args: where it is mounted."""
        self.folder = folder

    def fill(self, free_kilobytes: int) -> None:
        """Leave no more room than this."""
        self._run_shell(
            f"free=$(df --output=avail -k '{self.folder}' | tail -1); "
            f"head -c $(( (free - {free_kilobytes}) * 1024 )) /dev/zero > '{self.folder}/filler'"
        )

    def clear(self) -> None:
        """Free the room that `fill` took."""
        self._run_shell(f"rm '{self.folder}/filler'")

    def protect(self, folder: str) -> None:
        """Make a folder of it read-only for whoever opens a file from now on."""
        self._run_shell(f"mount --bind '{folder}' '{folder}' && mount -o remount,bind,ro '{folder}'")

    def unprotect(self, folder: str) -> None:
        """Let it be written again."""
        self._run_shell(f"umount -l '{folder}'")

    def _run_shell(self, script: str) -> None:
        subprocess.run(["sh", "-c", script], check=True)


class PrivateDisk(FaultyDisk):
    """A small file system in the mount namespace of another process: only who enters that sees it.

    Attributes:
        pid: the process whose mounts to see.
    """

    def __init__(self, folder: Path, megabytes: int) -> None:
        """Mount it over an empty folder."""
        super().__init__(folder)
        mount = f"mount -t tmpfs -o size={megabytes}m none '{folder}' && echo mounted && exec sleep infinity"
        self._process = subprocess.Popen(
            ["unshare", "-m", "--propagation", "private", "sh", "-c", mount], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout
        if self._process.stdout.readline() != "mounted\n":
            raise RuntimeError("this fault needs root, and a container that may mount")
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdout
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def copy_in(self, folder: Path, name: str) -> None:
        """Copy a folder onto it, under this name."""
        self._run_shell(f"cp -a '{folder}' '{self.folder}/{name}'")

    def move_out(self, name: str, folder: Path) -> None:
        """Move a folder of this name to where everyone sees it."""
        subprocess.run(["cp", "-a", f"/proc/{self.pid}/root{self.folder}/{name}", folder], check=True)
        self._run_shell(f"rm -r '{self.folder}/{name}'")

    def _run_shell(self, script: str) -> None:
        subprocess.run(["nsenter", "-t", str(self.pid), "-m", "sh", "-c", script], check=True)


def flip_a_byte(table: str, partition: str, column: str) -> Path:
    """Change a byte in the middle of a column of a data file of a partition; returns the file."""
    files = [uri for uri in DeltaTable(table).file_uris() if partition in uri]
    path = Path(max(files, key=lambda uri: Path(uri).stat().st_size))
    group = pq.ParquetFile(path).metadata.row_group(0)
    (chunk,) = [
        group.column(place) for place in range(group.num_columns) if group.column(place).path_in_schema == column
    ]
    place = chunk.data_page_offset + (_chunk_end(chunk) - chunk.data_page_offset) * 3 // 4
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)
    return path


def _chunk_end(chunk: pq.ColumnChunkMetaData) -> int:
    """Offset in the file at which the pages of a column end."""
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    return int(start + chunk.total_compressed_size)


def lose_the_last_commit(table: str) -> Path:
    """Delete the newest file of a table's transaction log; returns it."""
    last = max(Path(table, "_delta_log").glob("*.json"))
    last.unlink()
    return last
