"""The stage `train_sequence` of `nocturne/flow.py`, as a job.

spark-submit jobs/train_sequence.py --run-date D --landing DIR --warehouse DIR --cache URL
"""

from nocturne.cli.jobs import run

if __name__ == "__main__":
    run("train_sequence")
