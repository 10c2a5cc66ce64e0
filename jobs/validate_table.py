"""The stage `validate_table` of `nocturne/flow.py`, as a job.

spark-submit jobs/validate_table.py --run-date D --landing DIR --warehouse DIR --cache URL
"""

from nocturne.cli.jobs import run

if __name__ == "__main__":
    run("validate_table")
