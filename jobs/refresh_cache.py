"""The stage `refresh_cache` of `nocturne/flow.py`, as a job.

spark-submit jobs/refresh_cache.py --run-date D --landing DIR --warehouse DIR --cache URL
"""

from nocturne.cli.jobs import run

if __name__ == "__main__":
    run("refresh_cache")
