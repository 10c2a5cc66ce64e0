"""The command line of a job: options, the error edge, and one stage for some nights."""

import typer

from nocturne.cli.error_edge import edge
from nocturne.cli.options import (
    Cache,
    Conf,
    From,
    Landing,
    LeaseHolder,
    RunDate,
    Set,
    Table,
    To,
    Validate,
    WarehouseFolder,
    nights_to_run,
)
from nocturne.flow import GATED_TABLES, VALIDATION, stage


def run(stage_name: str) -> None:
    """Run one stage from a command line: what `jobs/<stage>.py` is."""
    from nocturne.pipeline.runner import run_stage, run_validation, working_on

    doing = stage(stage_name)

    def job(
        landing: Landing,
        warehouse: WarehouseFolder,
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
            nights = nights_to_run(run_date, first, last, landing, warehouse, cache, conf, set_)
            with working_on(nights, doing.name, lease_holder) as (spark, tonight):
                for night in tonight:
                    run_stage(spark, night, doing)
                    if validate:
                        run_validation(spark, night, [table for table in doing.writes if table in GATED_TABLES])

    def validation_job(
        landing: Landing,
        warehouse: WarehouseFolder,
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
            nights = nights_to_run(run_date, first, last, landing, warehouse, cache, conf, set_)
            with working_on(nights, doing.name, lease_holder) as (spark, tonight):
                for night in tonight:
                    run_validation(spark, night, table or GATED_TABLES, close=True)

    app = typer.Typer(
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
    )
    epilog = (
        f"Example: spark-submit jobs/{doing.name}.py --run-date 2026-01-01 "
        "--landing data/landing --warehouse data/warehouse --cache lmdb:data/cache"
    )
    command = validation_job if doing is VALIDATION else job
    app.command(help=doing.does[0].upper() + doing.does[1:] + ".", epilog=epilog)(command)
    app()
