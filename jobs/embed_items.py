"""The stage `embed_items` of `nocturne/flow.py`, as a job.

spark-submit jobs/embed_items.py --run-date D --landing DIR --warehouse DIR --cache URL
"""

from nocturne.cli.jobs import run

if __name__ == "__main__":
    run("embed_items")
