"""The error edge: every error becomes a message on stderr and an exit status here, and nowhere else."""

import errno
import re
import select
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import typer
from typer.core import TyperCommand

from nocturne.core.errors import InputError, NocturneError, ServiceError, UsageError, text_of
from nocturne.flow import ExitStatus

_DAMAGED = re.compile(
    r"CRC checksum verification failed|FAILED_READ_FILE|[Cc]orrupt (snappy|ZSTD|input)|ZSTD decompression failed"
    r"|Couldn't deserialize thrift|Parquet magic bytes not found"
)
"""Messages of Arrow and Spark for a file whose bytes are not those that were written."""

_DENIED = re.compile(r"^.*(Permission denied|AccessDeniedException|Read-only file system).*$", re.MULTILINE)
"""The line that says it, of whatever library."""


class Command(TyperCommand):
    """A command whose errors become messages and exit statuses; typer has its own for wrong options."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with edge():
            return super().invoke(ctx)


@contextmanager
def edge() -> Iterator[None]:
    """Turn errors into a message on stderr and an exit status: the only place that catches them."""
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except KeyboardInterrupt as error:
        print("nocturne: interrupted; run the same again", file=sys.stderr)
        raise SystemExit(ExitStatus.INTERRUPTED) from error
    except Exception as error:
        if isinstance(error, BrokenPipeError) and not _is_read(sys.stdout):
            raise SystemExit(ExitStatus.SUCCESS) from error  # `| head` has seen enough
        failure = error if isinstance(error, NocturneError) else _translate(error)
        if failure is None:
            traceback.print_exc()
            raise SystemExit(ExitStatus.CRASHED) from error
        print(f"nocturne: {failure}", file=sys.stderr)
        raise SystemExit(failure.status) from error


def _is_read(stream: TextIO) -> bool:
    """False if the stream is a pipe that nobody reads any more."""
    pipe = select.poll()
    pipe.register(stream, 0)
    return not any(event & select.POLLERR for _, event in pipe.poll(0))


def _translate(error: Exception) -> NocturneError | None:
    """The error of a disk, of Spark or of a file as one of ours, where its meaning is certain."""
    text = text_of(error)
    message = text.splitlines()[0][:300]
    if (isinstance(error, OSError) and error.errno == errno.ENOSPC) or "No space left on device" in text:
        return ServiceError("the disk is full", found=message, fix="free some space and run it again")
    if denied := _DENIED.search(text):
        return UsageError(
            "a file or folder may not be read or written",
            found=denied[0].strip()[:300],
            fix="change its permissions, or run this as whoever may",
        )
    if _DAMAGED.search(text):
        return InputError(
            "a data file cannot be read: it is damaged, or not there",
            found=message,
            fix="run the night that wrote it again; a file of the landing zone has to be landed anew",
        )
    if "Python worker exited unexpectedly" in text:
        return ServiceError(
            "a Python worker of Spark died",
            found="it was killed, perhaps for want of memory",
            fix="run it again; if it happens often, give the machine more memory or lower ranking.batch_memory_mb",
        )
    if type(error).__name__ == "Py4JNetworkError" or isinstance(error, ConnectionRefusedError):
        return ServiceError("Spark's Java process died", found=message, fix="run it again")
    return None
