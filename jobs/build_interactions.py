"""listens -> item_index, interactions: add tonight's listens to every listener's row of the interaction matrix.

spark-submit jobs/build_interactions.py --run-date D --landing DIR --warehouse DIR --cache URL
"""

from nocturne.cli.jobs import run

if __name__ == "__main__":
    run("build_interactions")
