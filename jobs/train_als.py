"""item_index, interactions -> models, item_factors: learn item factors, on the nights that settings say.

spark-submit jobs/train_als.py --run-date D --landing DIR --warehouse DIR --cache URL
"""

from nocturne.cli.jobs import run

if __name__ == "__main__":
    run("train_als")
