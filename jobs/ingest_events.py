"""landing -> items, listens, quarantine, ingests.

Clean the day's listening events and take a snapshot of the catalogue.

spark-submit jobs/ingest_events.py --run-date D --landing DIR --warehouse DIR --cache URL
"""

from nocturne.cli.jobs import run

if __name__ == "__main__":
    run("ingest_events")
