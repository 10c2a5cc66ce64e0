"""items, interactions, models, item_factors -> ranked_lists.

Solve every listener's factors and write the exact top of the catalogue.

spark-submit jobs/rank_users.py --run-date D --landing DIR --warehouse DIR --cache URL
"""

from nocturne.cli.jobs import run

if __name__ == "__main__":
    run("rank_users")
