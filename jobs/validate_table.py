"""one table -> validations, nights: hold one table of the night against its suite.

spark-submit jobs/validate_table.py --run-date D --landing DIR --warehouse DIR --cache URL
"""

from nocturne.cli.jobs import run

if __name__ == "__main__":
    run("validate_table")
