"""The stage `watch_night` of `nocturne/flow.py`, as a job.

spark-submit jobs/watch_night.py --run-date D --landing DIR --warehouse DIR --cache URL
"""

from nocturne.cli.jobs import run

if __name__ == "__main__":
    run("watch_night")
