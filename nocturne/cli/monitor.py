"""`nocturne monitor ...`: the alerts of a night, and the limits that they are raised by."""

from functools import partial
from typing import Annotated, Any

import typer

from nocturne.cli.help import Command, Group
from nocturne.cli.options import Conf, Json, OneNight, Set, WarehouseFolder, open_warehouse
from nocturne.core.console import print_json, say
from nocturne.core.errors import GateClosed, UsageError
from nocturne.flow import NIGHTLY

app = typer.Typer(cls=Group, no_args_is_help=True, help="Monitoring: alerts of nights, and their limits.")
command = partial(app.command, cls=Command)

Row = dict[str, Any]


@command("alerts")
def alerts(
    warehouse: WarehouseFolder, run_date: OneNight, conf: Conf = None, set_: Set = None, as_json: Json = False
) -> None:
    """Print what of a night is not as earlier nights let one expect, and what to do; status 3 if that closes its gate.

    Example: nocturne monitor alerts --warehouse data/warehouse --run-date 2025-01-03
    """
    from nocturne.monitoring.watch_night import told
    from nocturne.pipeline.status import read_status
    from nocturne.validation.recorded import verdicts

    stored, night = open_warehouse(warehouse, conf, set_), run_date.date()
    if not verdicts(stored, night, ["alerts"]):
        raise UsageError(
            "the night was not watched",
            where=warehouse,
            found=f"no validation of the alerts of {night}",
            expected="a night that came as far as `watch_night`",
            fix="`nocturne status` says how far it came, `nocturne validations` what closed its gate",
        )
    rows = sorted(told(stored, night).values(), key=lambda row: (row["severity"], row["cause"], row["segment"]))
    served = [str(each) for each in read_status(stored, "", stored.settings.cache).serving]
    if as_json:
        print_json({"run_date": night, "served": served, "alerts": rows})
    else:
        for row in rows:
            if row["group"] == row["alert"]:
                print(_text(row, [each for each in rows if each["group"] == row["alert"] != each["alert"]]))
        for line in served:
            print(line)
        say(f"night {night}: {len(rows)} alerts" if rows else f"night {night}: nothing that is not as usual")
    standing = [row for row in rows if row["severity"] == "critical" and not row["accepted"]]
    if standing:
        raise GateClosed(
            f"alerts close the gate for night {night}",
            where=warehouse,
            found=", ".join(_name(row) for row in standing),
            expected="no critical alert that nobody has accepted",
            fix="mend what is wrong and run the night again; if the night is sound, accept them: docs/monitoring.md",
        )


@command("calibrate")
def calibrate(warehouse: WarehouseFolder, conf: Conf = None, set_: Set = None, as_json: Json = False) -> None:
    """Judge the published nights as they would have been judged, and print limits that close one gate a year at most.

    The limits are TOML, to be kept in a settings file.

    Example: nocturne monitor calibrate --warehouse data/warehouse
    """
    from datetime import date

    from nocturne.monitoring import calibration
    from nocturne.monitoring.metric_history import MetricHistory
    from nocturne.monitoring.watch_night import metric_rows, sound_nights
    from nocturne.storage.running_experiments import rearranged

    stored = open_warehouse(warehouse, conf, set_)
    sound = sound_nights(stored)
    history = MetricHistory.of(metric_rows(stored, date.min, date.max), sound)
    done = calibration.calibrate(history, sound, stored.settings.monitoring, rearranged(stored))
    if as_json:
        closed = {str(night): causes for night, causes in done.closed.items()}
        print_json({**vars(done), "closed": closed, "excused": [str(night) for night in done.excused]})
        return
    print(done.toml())
    for night, causes in done.closed.items():
        say(f"{night} would have closed the gate: {', '.join(causes)}")
    if done.warnings:
        counted = ", ".join(f"{cause} {nights}" for cause, nights in done.warnings.items())
        say(f"nights with a warning, of {done.nights}: {counted}")


@command("deadline")
def deadline(
    warehouse: WarehouseFolder,
    run_date: OneNight,
    stage: Annotated[str, typer.Option(help="stage of the flow that is due", metavar="STAGE")],
    due: Annotated[str, typer.Option(help="when it was due, told as it is given")] = "",
    conf: Conf = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Say whether a stage of a night is done, and if it is not, tell the webhook: what a scheduler runs at a deadline.

    Example: nocturne monitor deadline --warehouse data/warehouse --run-date 2025-01-03 --stage refresh_cache
    """
    from nocturne.core.night import Warehouse
    from nocturne.core.settings import load_settings
    from nocturne.monitoring import webhook
    from nocturne.monitoring.late_stage import LateStage, is_done, served_meanwhile
    from nocturne.pipeline.status import read_status
    from nocturne.storage import tables

    if stage not in (names := [each.name for each in NIGHTLY]):
        raise UsageError("no such stage", found=stage, expected=", ".join(names))
    stored, night = Warehouse(warehouse, load_settings(conf or None, set_ or ())), run_date.date()
    if is_done(stored, night, stage):
        if as_json:
            print_json({"run_date": night, "stage": stage, "late": False})
        say(f"night {night}: {stage} is done")
        return
    nights = read_status(stored).nights if tables.is_warehouse(stored) else ()
    state = next((each.state for each in nights if each.run_date == night), "not begun")
    late = LateStage(warehouse, night, stage, due, state, served_meanwhile(stored))
    told = webhook.post(late.document(), stored.settings.monitoring, say)
    if as_json:
        print_json(late.document() | {"late": True, "webhook_told": told})
    else:
        print(f"{late.sentence}. Next: {late.next_step}")


def _text(row: Row, following: list[Row]) -> str:
    """An alert for people, with those that likely follow from it."""
    state = "accepted" if row["accepted"] else "told before" if row["silenced"] else "new"
    lines = [
        f"{row['severity']}: {_name(row)}, {state}, since {row['since']}",
        f"  {row['meaning']}",
        f"  {row['effect_size'].replace('_', ' ')} {row['effect']:.3g}, an alert from {row['threshold']:.3g} on",
        f"  {row['evidence']}",
        f"  next: {row['next_step']}",
    ]
    if row["severity"] == "critical" and not row["accepted"]:
        lines.append(f'  to accept it for this night: monitoring.accepted = ["{row["alert"]}@{row["run_date"]}"]')
    if following:
        lines.append(f"  likely because of it: {', '.join(_name(each) for each in following)}")
    return "\n".join([*lines, ""])


def _name(row: Row) -> str:
    segment = f" of {row['segment_kind']} {row['segment']}" if row["segment"] else ""
    return f"{row['cause']}{segment} ({row['alert']})"
