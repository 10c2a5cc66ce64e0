"""The stage `rank_users` of `nocturne/flow.py`, as a job.

spark-submit jobs/rank_users.py --run-date D --landing DIR --warehouse DIR --cache URL
"""

from nocturne.cli.jobs import run

if __name__ == "__main__":
    run("rank_users")
