"""# A search for a better recipe, once a week.

Runs on Saturday at noon over the last week of nights. Its winner is a candidate and stays one: a person looks at it,
`nocturne models list --warehouse W`, and promotes it or does not.

| failed | it means | do |
| --- | --- | --- |
| `tune`, tried once | settings, or a week that is not in the warehouse | its log says what; mend; clear it |
| `tune`, tried often | the machine | clear it: the search goes on where it was, in its storage |

**By hand**: trigger with the param `run_date`, the day after the last night to search on, and `trials`.

Variables: `nocturne_warehouse`, and optionally `nocturne_conf` and `nocturne_studies`, the folder of the searches
(by default `_studies` in the warehouse).
"""

from datetime import timedelta

from airflow.sdk import DAG, Param
from tasks import BETWEEN_NIGHTS, CONF, DAYS_BEFORE, RETRIED, WAREHOUSE, RunCommand, day_param
from upcoming_cron import UpcomingCronTimetable

STUDIES = "{{ var.value.get('nocturne_studies', '') or var.value.nocturne_warehouse ~ '/_studies' }}"

with DAG(
    "weekly_tuning",
    description="A search for a better recipe; the winner stays a candidate",
    doc_md=__doc__,
    schedule=UpcomingCronTimetable("0 12 * * 6", timezone="UTC"),
    params={
        "run_date": day_param(
            "Day", "The day after the last night to search on, YYYY-MM-DD. Empty: the day of the run."
        ),
        "trials": Param(50, type="integer", minimum=1, title="Trials", description="Recipes to try in all."),
    },
    default_args={**RETRIED, "execution_timeout": timedelta(hours=12)},
    **BETWEEN_NIGHTS,
) as dag:
    RunCommand(
        task_id="tune",
        doc_md="Optuna over the settings, on the lists of seven nights and what was listened to after each",
        arguments=[
            *("tune", "--warehouse", WAREHOUSE, "--from", DAYS_BEFORE % 8, "--to", DAYS_BEFORE % 2),
            *("--study", f"weekly-{DAYS_BEFORE % 0}", "--storage", f"{STUDIES}/weekly.log"),
            *("--trials", "{{ params.trials }}", CONF),
        ],
    )
