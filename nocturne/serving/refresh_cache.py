"""Stage `refresh_cache`: the gate, the manifest of the night, and the rollout of its lists."""

from pyspark.sql import SparkSession

from nocturne.core.errors import GateClosed
from nocturne.core.night import Night
from nocturne.core.spark.session import map_on_executors
from nocturne.core.stage import Progress, StageResult
from nocturne.flow import GATED_TABLES
from nocturne.serving import coverage, manifest, publications
from nocturne.serving.cache import ListKind, Pointer, open_cache
from nocturne.serving.coverage import measure_coverage
from nocturne.serving.generation import generation_of
from nocturne.serving.rollout import Refreshed, refresh
from nocturne.storage import fingerprints, tables
from nocturne.storage.stored_rows import StoredRows
from nocturne.validation.gate import gate
from nocturne.validation.suites import critical_expectations


def refresh_cache(spark: SparkSession, night: Night, progress: Progress) -> StageResult:
    """Prove that the gate is open, publish the night with its manifest, and serve its lists."""
    proved = night.at_one_time()  # what passes the gate is what the manifest is about, and what is loaded
    validations = manifest.validations_of(proved)
    files = {table: fingerprints.file_hashes(proved, table) for table in GATED_TABLES}
    reasons = gate(validations, critical_expectations(), files)
    if reasons:
        publications.record_closed_gate(proved, reasons)
        raise GateClosed(
            f"the gate is closed for night {night.run_date}: nothing of it is served",
            where=night.warehouse.path,
            found="; ".join(reasons),
            expected="every critical expectation of every table validated, and holding",
            fix="mend what failed and run the night again; listeners keep the lists that are served",
        )
    buckets, listeners = night.settings.tables.buckets, tables.count(proved, "ranked_lists")
    listed = StoredRows.at(proved, "ranked_lists", coverage.LISTS, dictionaries=coverage.DICTIONARIES)
    items = StoredRows.at(proved, "items", coverage.ITEMS)
    counts = measure_coverage(spark, listed, items, night.settings.ranking.top_k, buckets, listeners)
    digest = next(row["content"] for row in validations.to_pylist() if row["table"] == "ranked_lists")
    record = manifest.build_record(proved, listeners, digest, counts.rows, validations)
    heads = tuple(ListKind(*head) for head in counts.heads)
    about, parts = generation_of(proved, record, heads)
    with open_cache(night.cache, night.settings.cache) as cache:
        map_parts = map_on_executors(spark)
        done = refresh(
            night, record, about, parts, cache, map_parts, lambda loaded: progress(loaded, listeners, "lists")
        )
        pointer = cache.pointer()
    return StageResult(listeners, remark=done.reason or _remark(done, pointer))


def _remark(done: Refreshed, pointer: Pointer | None) -> str:
    served = pointer.served.name if pointer else "nothing"
    return f"serving {served}" if served == done.generation else f"{done.generation} is kept; serving {served}"
