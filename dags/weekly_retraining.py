"""# A fresh model a week: trained, held against the live one, made live if it is no worse.

Runs on Sunday at noon, between two nights. Call that day D: its night, which starts at midnight, is the first that the
new model serves. Training sees the night before last (D - 2), so that last night's listens can judge it.

| failed | it means | do |
| --- | --- | --- |
| `take_lease` | nights wrote the warehouse all day | `nocturne lease show --warehouse W` says which |
| `train` | settings, the warehouse or the machine | its log says what; mend; clear it |
| `promote` | **the model was refused**, or there was no night to compare it on | its log has the figures; see below |

**A refused model** stays a candidate, with the reason and every figure: `nocturne models show VERSION --warehouse W`.
Listeners keep the live model. Where the new one is *refused*, being worse, and of the same recipe, the nights do not
retrain the live one either; otherwise they do once it is `als.retrain_every_nights` old.
Running it again ends the same way. Look at what changed: the listening (`nocturne validations`), or the recipe, which
a race chose (`nocturne models show VERSION`).

**By hand**: trigger with the param `run_date`, the first night that the new model serves.

Variables: `nocturne_warehouse`, and optionally `nocturne_conf`, whose recipe is left alone: a race begins with the live
model's, or, with `als.recipe = "settings"`, that is taken as it is.
"""

from datetime import timedelta

from airflow.sdk import DAG
from tasks import BETWEEN_NIGHTS, CONF, DAYS_BEFORE, RETRIED, WAREHOUSE, RunCommand, day_param, lease_tasks
from upcoming_cron import UpcomingCronTimetable

FIRST_NIGHT, TRAINED_ON = DAYS_BEFORE % 0, DAYS_BEFORE % 2
HOLDER = "weekly_retraining {{ run_id }}"

with DAG(
    "weekly_retraining",
    description="A fresh model, made live if it is no worse than the one that is",
    doc_md=__doc__,
    schedule=UpcomingCronTimetable("0 12 * * 0", timezone="UTC"),
    params={
        "run_date": day_param(
            "First night", "The first night that the new model serves, YYYY-MM-DD. Empty: that of the day of the run."
        )
    },
    default_args={**RETRIED, "execution_timeout": timedelta(hours=4)},
    **BETWEEN_NIGHTS,
) as dag:
    take_lease, release_lease = lease_tasks(
        HOLDER, FIRST_NIGHT, hours=12, doc_md="one at a time writes a warehouse; nights before this one go first"
    )
    moved_by = ["--by", "weekly_retraining", CONF, "--lease-holder", HOLDER]
    train = RunCommand(
        task_id="train",
        doc_md="a race that begins with the live recipe, and a training, on the night before last; prints the version",
        arguments=[
            *("models", "train", "--warehouse", WAREHOUSE, "--run-date", TRAINED_ON, "--live-recipe"),
            *("--why", f"weekly retraining for {FIRST_NIGHT}", *moved_by),
        ],
    )
    promote = RunCommand(
        task_id="promote",
        doc_md="live from tonight on, if it is no worse on what was listened to last night",
        arguments=[
            *(
                "models",
                "promote",
                "{{ ti.xcom_pull(task_ids='train') }}",
                "--warehouse",
                WAREHOUSE,
                "--run-date",
                FIRST_NIGHT,
            ),
            *("--why", "weekly retraining", *moved_by),
        ],
    )
    take_lease >> train >> promote >> release_lease.as_teardown(setups=take_lease)
