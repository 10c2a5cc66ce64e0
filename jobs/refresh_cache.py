"""ranked_lists, validations -> nights: load the validated lists beside those being served, then move the pointer.

spark-submit jobs/refresh_cache.py --run-date D --landing DIR --warehouse DIR --cache URL
"""

from nocturne.cli.jobs import run

if __name__ == "__main__":
    run("refresh_cache")
