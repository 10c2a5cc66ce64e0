"""# Retention: what tables need not keep any longer goes, once a day.

Runs at nine in the morning, when the night before is served. Call that day D: nights are counted back from it. Every
day, so that the disk holds no more than the nights that settings keep: of pools, which are large, that is a week.
Settings: `[retention]`, nights by table, and the hours that files stay for readers who opened them.

What is served, what a rollback may serve, the last published night and what the next one is built on stays in every
table, however old. So does each version that a kept night of `nights` names, to travel back to.

| failed | it means | do |
| --- | --- | --- |
| `take_lease` | nights wrote the warehouse all day | `nocturne lease show --warehouse W`; the next run does it all |
| `retain`, tried once | settings, or a pointer on record that cannot be read | its log says what; mend; clear it |
| `retain`, tried often | a disk or the serving cache | mend it; clear it |

Whenever it is killed, run it again: what went is gone, what did not go yet goes then, and readers notice neither.
A run that did not come costs disk and nothing else.

**By hand**: trigger with the param `run_date`, the day to count back from. To see what would go:
`nocturne retain --warehouse W --run-date D --cache C --dry-run`.

Variables: `nocturne_warehouse`, `nocturne_cache`, and optionally `nocturne_conf`.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, CronDataIntervalTimetable, Param
from nightly_tasks import RETRIED, PollCommand, RunCommand, days_before

DAY = "{{ days_before(0, params, data_interval_end | default(none)) }}"
WAREHOUSE = ["--warehouse", "{{ var.value.nocturne_warehouse }}"]
CACHE = ["--cache", "{{ var.value.nocturne_cache }}"]
CONF = "--conf={{ var.value.get('nocturne_conf', '') }}"
HOLDER = "nightly_retention {{ run_id }}"

with DAG(
    "nightly_retention",
    description="What tables need not keep any longer is removed",
    doc_md=__doc__,
    tags=["nocturne", "recommendations"],
    schedule=CronDataIntervalTimetable("0 9 * * *", timezone="UTC"),
    start_date=datetime(2000, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=24),
    params={
        "run_date": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Day",
            description="The day that nights are counted back from, YYYY-MM-DD. Empty: the day of the run.",
        )
    },
    user_defined_macros={"days_before": days_before},
    default_args={**RETRIED, "execution_timeout": timedelta(hours=4)},
) as dag:
    take_lease = PollCommand(
        task_id="take_lease",
        doc_md="one at a time writes a warehouse; nights before this day go first",
        arguments=["lease", "take", *WAREHOUSE, "--holder", HOLDER, "--run-date", DAY],
        mode="reschedule",
        poke_interval=30,
        timeout=timedelta(hours=12),
    )
    retain = RunCommand(
        task_id="retain",
        doc_md="rows, then files, then log entries that nobody needs any longer",
        arguments=["retain", *WAREHOUSE, "--run-date", DAY, *CACHE, CONF, "--lease-holder", HOLDER],
    )
    release_lease = RunCommand(task_id="release_lease", arguments=["lease", "release", *WAREHOUSE, "--holder", HOLDER])
    take_lease >> retain >> release_lease.as_teardown(setups=take_lease)
