"""The stage `analyse_experiment` of `nocturne/flow.py`, as a job.

spark-submit jobs/analyse_experiment.py --run-date D --landing DIR --warehouse DIR --cache URL
"""

from nocturne.cli.jobs import run

if __name__ == "__main__":
    run("analyse_experiment")
