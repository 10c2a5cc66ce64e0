"""The stage `ingest_takedowns` of `nocturne/flow.py`, as a job.

spark-submit jobs/ingest_takedowns.py --run-date D --landing DIR --warehouse DIR --cache URL
"""

from nocturne.cli.jobs import run

if __name__ == "__main__":
    run("ingest_takedowns")
