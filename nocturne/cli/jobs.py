"""The command line of a job: options, and one stage for some nights."""

import typer

from nocturne.cli.help import Command
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
from nocturne.flow import VALIDATED_TABLES, VALIDATION, stage, validated_after


def run(stage_name: str) -> None:
    """Run one stage from a command line: what `jobs/<stage>.py` is."""
    job_app(stage_name)()


def job_app(stage_name: str) -> typer.Typer:
    """The command line of a stage."""
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
        from nocturne.pipeline.runner import run_stage, run_validation, working_on

        nights = nights_to_run(run_date, first, last, landing, warehouse, cache, conf, set_)
        with working_on(nights, doing.name, lease_holder) as (spark, tonight):
            for night in tonight:
                run_stage(spark, night, doing)
                if validate:
                    run_validation(spark, night, validated_after(doing))

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
        from nocturne.pipeline.runner import run_validation, working_on

        nights = nights_to_run(run_date, first, last, landing, warehouse, cache, conf, set_)
        with working_on(nights, doing.name, lease_holder) as (spark, tonight):
            for night in tonight:
                run_validation(spark, night, table or VALIDATED_TABLES, close=True)

    app = typer.Typer(
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
    )
    places = "--landing data/landing --warehouse data/warehouse --cache lmdb:data/cache"
    example = f"Example: {doing.name} --run-date 2025-01-03 {places}"
    command = validation_job if doing is VALIDATION else job
    app.command(cls=Command, help=f"{doing.does[0].upper()}{doing.does[1:]}.\n\n{example}")(command)
    return app
