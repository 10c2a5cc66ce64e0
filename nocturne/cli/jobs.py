"""What every job and the command line share: options, the error edge, and one stage for some nights."""

import errno
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from nocturne.core.errors import InputError, NocturneError, ServiceError
from nocturne.core.night import Night
from nocturne.flow import GATED_TABLES, VALIDATION, ExitStatus, stage

_DAMAGED = re.compile(
    r"CRC checksum verification failed|FAILED_READ_FILE|[Cc]orrupt (snappy|ZSTD|input)|ZSTD decompression failed"
    r"|Couldn't deserialize thrift|Parquet magic bytes not found"
)
"""What Arrow and Spark say of a file whose bytes are not those that were written."""

DAY: dict[str, Any] = {"formats": ["%Y-%m-%d"], "metavar": "D"}
RunDate = Annotated[datetime | None, typer.Option("--run-date", help="one night, UTC", **DAY)]
OneNight = Annotated[datetime, typer.Option("--run-date", help="the night, UTC", **DAY)]
From = Annotated[datetime | None, typer.Option("--from", help="first of several nights", **DAY)]
To = Annotated[datetime | None, typer.Option("--to", help="last of several nights", **DAY)]
Landing = Annotated[str, typer.Option(help="the landing zone", metavar="DIR")]
Warehouse = Annotated[str, typer.Option(help="the Delta tables", metavar="DIR")]
Cache = Annotated[str, typer.Option(help="the serving cache: lmdb:PATH or redis://HOST:PORT/DB", metavar="URL")]
Conf = Annotated[str | None, typer.Option(help="settings over conf/default.toml", metavar="FILE")]
Set = Annotated[list[str] | None, typer.Option("--set", help="one setting; repeatable", metavar="SECTION.KEY=VALUE")]
LeaseHolder = Annotated[str | None, typer.Option(help="work under the lease that this run has taken", metavar="NAME")]
Table = Annotated[list[str] | None, typer.Option("--table", help="repeatable; all by default", metavar="TABLE")]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]
Validate = Annotated[
    bool, typer.Option("--validate", help="also validate every table written; the outcome is recorded")
]


class Command(TyperCommand):
    """A command whose errors become messages and exit statuses; typer has its own for wrong options."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with edge():
            return super().invoke(ctx)


def nights_of(
    run_date: datetime | None,
    first: datetime | None,
    last: datetime | None,
    landing: str,
    warehouse: str,
    cache: str,
    conf: str | None,
    overrides: Sequence[str] | None,
) -> list[Night]:
    """The nights that a command line names, in order.

    Raises:
        SettingsError: no night or an impossible range is named, a night is in the future, or settings are wrong.
    """
    from nocturne.core.errors import SettingsError
    from nocturne.core.settings import load_settings
    from nocturne.serving.cache import check_url
    from nocturne.validation.suites import check_all_thresholds

    if (run_date is None) == (first is None and last is None) or (first is None) != (last is None):
        raise SettingsError("name the night", expected="--run-date D, or --from D1 --to D2")
    start, end = (run_date, run_date) if run_date else (first, last)
    assert start
    assert end
    if start > end:
        raise SettingsError("the range of nights is empty", found=f"--from {start.date()} --to {end.date()}")
    if end.date() > datetime.now(UTC).date():
        raise SettingsError("a night in the future has no listens", found=str(end.date()), expected="today or earlier")
    settings = load_settings(conf or None, overrides or ())
    check_url(cache)
    check_all_thresholds(settings.expectations)
    days = (start.date() + timedelta(days=offset) for offset in range((end - start).days + 1))
    return [Night(day, landing, warehouse, cache, settings) for day in days]


@contextmanager
def edge() -> Iterator[None]:
    """Turn errors into a message on stderr and an exit status: the only place that catches them."""
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        known = error if isinstance(error, NocturneError) else _known(error)
        if known is None:
            traceback.print_exc()
            raise SystemExit(ExitStatus.CRASHED) from error
        print(f"nocturne: {known}", file=sys.stderr)
        raise SystemExit(known.status) from error


def run(stage_name: str) -> None:
    """Run one stage from a command line: what `jobs/<stage>.py` is."""
    from nocturne.pipeline.runner import run_stage, run_validation, working_on

    doing = stage(stage_name)

    def job(
        landing: Landing,
        warehouse: Warehouse,
        cache: Cache,
        run_date: RunDate = None,
        first: From = None,
        last: To = None,
        conf: Conf = None,
        set_: Set = None,
        lease_holder: LeaseHolder = None,
        validate: Validate = False,
    ) -> None:
        with edge():
            nights = nights_of(run_date, first, last, landing, warehouse, cache, conf, set_)
            with working_on(nights, doing.name, lease_holder) as (spark, tonight):
                for night in tonight:
                    run_stage(spark, night, doing)
                    if validate:
                        run_validation(spark, night, [table for table in doing.writes if table in GATED_TABLES])

    def validation_job(
        landing: Landing,
        warehouse: Warehouse,
        cache: Cache,
        run_date: RunDate = None,
        first: From = None,
        last: To = None,
        table: Table = None,
        conf: Conf = None,
        set_: Set = None,
        lease_holder: LeaseHolder = None,
    ) -> None:
        with edge():
            nights = nights_of(run_date, first, last, landing, warehouse, cache, conf, set_)
            with working_on(nights, doing.name, lease_holder) as (spark, tonight):
                for night in tonight:
                    run_validation(spark, night, table or GATED_TABLES, close=True)

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    epilog = (
        f"Example: spark-submit jobs/{doing.name}.py --run-date 2026-01-01 "
        "--landing data/landing --warehouse data/warehouse --cache lmdb:data/cache"
    )
    command = validation_job if doing is VALIDATION else job
    app.command(help=doing.does[0].upper() + doing.does[1:] + ".", epilog=epilog)(command)
    app()


def _known(error: Exception) -> NocturneError | None:
    """The error of a disk, of Spark or of a file as one of ours, where its meaning is certain."""
    text = str(error)
    told = text.strip().splitlines()[0][:300] if text.strip() else type(error).__name__
    if (isinstance(error, OSError) and error.errno == errno.ENOSPC) or "No space left on device" in text:
        return ServiceError("the disk is full", found=told, fix="free some space and run it again")
    if _DAMAGED.search(text):
        return InputError(
            "a data file cannot be read: it is damaged, or not there",
            found=told,
            fix="run the night that wrote it again; a file of the landing zone has to be landed anew",
        )
    if "Python worker exited unexpectedly" in text:
        return ServiceError(
            "a Python worker of Spark died",
            found="it was killed, perhaps for want of memory",
            fix="run it again; if it happens often, give the machine more memory or lower ranking.batch_memory_mb",
        )
    if type(error).__name__ == "Py4JNetworkError" or isinstance(error, ConnectionRefusedError):
        return ServiceError("Spark's Java process died", found=told, fix="run it again")
    return None
