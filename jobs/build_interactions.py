"""The stage `build_interactions` of `nocturne/flow.py`, as a job.

spark-submit jobs/build_interactions.py --run-date D --landing DIR --warehouse DIR --cache URL
"""

from nocturne.cli.jobs import run

if __name__ == "__main__":
    run("build_interactions")
