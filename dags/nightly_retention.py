"""# Retention: what tables need not keep any longer goes, once a day.

Runs at nine in the morning, when the night before is served. Call that day D: nights are counted back from it, or from
the day after the newest published night if that is earlier, so that a service that stands still loses nothing. Every
day, so that the disk holds no more than the nights that settings keep: of pools, which are large, that is a week.
Settings: `[retention]`, nights by table, and the hours that files stay for readers who opened them.

What is served, what a rollback may serve, the last published night and what the next one is built on stays in every
table, however old. So does each version that a kept night of `nights` names, to travel back to.

| failed | it means | do |
| --- | --- | --- |
| `take_lease` | nights wrote the warehouse all day | `nocturne lease show --warehouse W`; the next run does it all |
| `retain`, tried once | settings, no night for two weeks, an unreadable pointer | its log says what; mend; clear it |
| `retain`, tried often | a disk or the serving cache | mend it; clear it |

Whenever it is killed, run it again: what went is gone, what did not go yet goes then, and readers notice neither.
A run that did not come costs disk and nothing else.

**By hand**: trigger with the param `run_date`, the day to count back from. To see what would go:
`nocturne retain --warehouse W --run-date D --cache C --dry-run`.

Variables: `nocturne_warehouse`, `nocturne_cache`, and optionally `nocturne_conf`.
"""

from datetime import timedelta

from airflow.sdk import DAG
from tasks import BETWEEN_NIGHTS, CACHE, CONF, DAYS_BEFORE, RETRIED, WAREHOUSE, RunCommand, day_param, lease_tasks
from upcoming_cron import UpcomingCronTimetable

DAY = DAYS_BEFORE % 0
HOLDER = "nightly_retention {{ run_id }}"

with DAG(
    "nightly_retention",
    description="What tables need not keep any longer is removed",
    doc_md=__doc__,
    schedule=UpcomingCronTimetable("0 9 * * *", timezone="UTC"),
    params={
        "run_date": day_param(
            "Day", "The day that nights are counted back from, YYYY-MM-DD. Empty: the day of the run."
        )
    },
    default_args={**RETRIED, "execution_timeout": timedelta(hours=4)},
    **BETWEEN_NIGHTS,
) as dag:
    take_lease, release_lease = lease_tasks(
        HOLDER, DAY, hours=12, doc_md="one at a time writes a warehouse; nights before this day go first"
    )
    retain = RunCommand(
        task_id="retain",
        doc_md="rows, then files, then log entries that nobody needs any longer",
        arguments=[
            *("retain", "--warehouse", WAREHOUSE, "--run-date", DAY, "--cache", CACHE, CONF),
            *("--lease-holder", HOLDER),
        ],
    )
    take_lease >> retain >> release_lease.as_teardown(setups=take_lease)
