"""Stage `ingest_steers`: the plans that hold for listeners' lists, of what landed and of the night before."""

from collections import Counter

import pyarrow as pa
from pyspark.sql import SparkSession

from nocturne.core.night import Night
from nocturne.core.stage import Progress, StageResult
from nocturne.ingestion.cleaning import ERASED
from nocturne.ingestion.exposure_files import count_lines, lines_of, list_writers
from nocturne.steering.plan import Plan
from nocturne.steering.steer_rows import NoSteer, Rules, Steer, parse_line, standing
from nocturne.storage import tables, tombstones, writing
from nocturne.storage.contracts import contract
from nocturne.storage.history import previous_night

FOLDER = "steers"


def ingest_steers(spark: SparkSession, night: Night, progress: Progress) -> StageResult:
    """Write the plan of every listener who has one on the night; without Spark.

    Nothing that lies in the folder is an error: a line that is no plan is counted, and the listener's last one stands.
    """
    asked, refused = landed_steers(night)
    before = previous_night(night, "steers")
    held = stored_steers(before) if before else []
    rows = [
        {
            "run_date": night.run_date,
            "user_id": steer.user_id,
            "steer_id": steer.steer_id,
            "asked_at": steer.asked_at,
            "plan": steer.plan.to_json(),
            "digest": steer.plan.digest(),
            "holds_until": steer.holds_until,
        }
        for steer in standing(held, asked, night.run_date)
    ]
    writing.replace_night(pa.Table.from_pylist(rows, schema=contract("steers").arrow_schema), "steers", night)
    told = ", ".join(f"{count} {reason}" for reason, count in sorted(refused.items()))
    return StageResult(len(asked) + refused.total(), rejected=refused.total(), remark=told)


def landed_steers(night: Night) -> tuple[list[Steer], Counter[str]]:
    """Steers of the landing day, and how many lines are none, by reason."""
    rules, erased = Rules(night.run_date, night.settings.listens.max_id_bytes), tombstones.read(night.warehouse)
    writers = list_writers(night.landing, night.run_date, FOLDER)
    files = [count_lines(file).file for writer in writers for file in writer.files]
    asked, refused = [], Counter[str]()
    for line in lines_of(files):
        try:
            steer = parse_line(line, rules)
        except NoSteer as reason:
            refused[str(reason)] += 1
        else:
            if erased.is_erased(steer.user_id, steer.asked_at):
                refused[ERASED] += 1
            else:
                asked.append(steer)
    return asked, refused


def stored_steers(night: Night) -> list[Steer]:
    """The plans that stood on a night."""
    rows = tables.night_rows(night, "steers", ["user_id", "steer_id", "asked_at", "plan"]).to_pylist()
    return [
        Steer(row["user_id"], row["steer_id"], row["asked_at"], Plan.model_validate_json(row["plan"])) for row in rows
    ]
