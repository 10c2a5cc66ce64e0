"""Stage `ingest_takedowns`: what may not be listed by order, of all that landed and of the night before."""

from collections import Counter

from pyspark.sql import SparkSession

from nocturne.core.night import Night
from nocturne.core.stage import Progress, StageResult
from nocturne.core.takedowns import NONE, Takedown, Takedowns
from nocturne.ingestion.exposure_files import count_lines, lines_of, list_files
from nocturne.ingestion.takedown_lines import FOLDER, NoTakedown, parse_line
from nocturne.storage import tables, writing
from nocturne.storage.history import previous_night
from nocturne.storage.takedowns import as_rows, stored_takedowns

UNREADABLE = "unreadable_file"


def ingest_takedowns(spark: SparkSession, night: Night, progress: Progress) -> StageResult:
    """Write the last word on every item of which anyone ever said whether it may be listed; without Spark.

    All files are read every night, so that it does not matter when one lands, how often, or in what order. What the
    night before obeyed is obeyed on even if its file is gone. Nothing that lies in the folder is an error: a line that
    is no takedown is counted.
    """
    said, refused = landed_takedowns(night)
    before = previous_night(night, "takedowns")
    takedowns = (stored_takedowns(before) if before else NONE).with_words(said)
    writing.replace_night(as_rows(takedowns, night), "takedowns", night)
    told = [f"{count} {reason}" for reason, count in sorted(refused.items())]
    if unknown := _unknown(night, takedowns):
        told.append(f"{unknown} taken down that the catalogue lacks")
    return StageResult(len(said) + refused.total(), rejected=refused.total(), remark=", ".join(told))


def landed_takedowns(night: Night) -> tuple[list[Takedown], Counter[str]]:
    """All words that landed and that the night obeys, and how many lines, or files, are none, by reason."""
    writer = list_files(night.landing, FOLDER)
    counted = [count_lines(file) for file in writer.files]
    refused = Counter({UNREADABLE: len(writer.problems) + sum(bool(each.problem) for each in counted)})
    said, longest = [], night.settings.listens.max_id_bytes
    for line in lines_of(each.file for each in counted):
        try:
            word = parse_line(line, longest)
        except NoTakedown as reason:
            refused[str(reason)] += 1
        else:
            said.append(word)
    return [word for word in said if word.from_night <= night.run_date], +refused


def _unknown(night: Night, takedowns: Takedowns) -> int:
    """Items that are taken down and the night's catalogue does not name: they may be mistyped, or be yet to come."""
    return len(takedowns.item_ids - set(tables.night_rows(night, "items", ["item_id"])["item_id"].to_pylist()))
