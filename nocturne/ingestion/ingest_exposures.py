"""Stage `ingest_exposures`: what listeners were shown on the landing day, accounted for writer by writer.

It comes when the lists are served already, and nothing that lies in the folder of exposures is an error.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from nocturne.core.errors import InputError
from nocturne.core.night import Night
from nocturne.core.spark.session import map_on_executors, scale_shuffles
from nocturne.core.stage import Progress, StageResult
from nocturne.ingestion.cleaning import ERASED
from nocturne.ingestion.exposure_accounts import ACCEPTED, Counts, account, tell, with_counts, without_changed_files
from nocturne.ingestion.exposure_files import CountedFile, Writer, count_lines, list_writers, read_lines
from nocturne.ingestion.exposure_outcomes import count_few, count_many, judge_few, judge_many
from nocturne.ingestion.exposure_rows import SCHEMA, Rules, parse_lines
from nocturne.ingestion.landed_rows import Part
from nocturne.ingestion.landing import share_out
from nocturne.ingestion.landing_files import LandedFile
from nocturne.storage import tables, tombstones, writing
from nocturne.storage.contracts import contract, spark_type

_FEW_BYTES = 32 * 2**20
"""For less, and no more lines than writing.FEW_ROWS, Spark's jobs would take longer than all the rest."""

_Ingested = tuple[list[Writer], Counts]


def ingest_exposures(spark: SparkSession, night: Night, progress: Progress) -> StageResult:
    """Judge every line that a writer landed, and write each where it belongs; then prove that none was lost."""
    writers = list_writers(night.landing, night.run_date)
    counted = _count(spark, _files(writers))
    writers = with_counts(writers, counted)
    lines = sum(writer.lines for writer in writers)
    if sum(each.size for each in counted) <= _FEW_BYTES and lines <= writing.FEW_ROWS:
        writers, counts = _ingest_few(night, writers)
    else:
        writers, counts = _ingest_many(spark, night, writers, lines)
    accounts = [account(writer, counts, night.run_date) for writer in writers]
    _require_every_line(night, accounts)
    _replace(
        pa.Table.from_pylist(accounts, schema=contract("exposure_ingests").arrow_schema), "exposure_ingests", night
    )
    dropped = sum(row["duplicates"] + row["rejected"] + row["erased"] for row in accounts)
    return StageResult(sum(row["lines"] for row in accounts), rejected=dropped, remark=tell(writers))


def _count(spark: SparkSession, files: Sequence[LandedFile]) -> list[CountedFile]:
    """`count_lines` of files: of large ones on the executors."""
    is_small = sum(file.size for file in files) <= _FEW_BYTES
    return list(map(count_lines, files)) if is_small else map_on_executors(spark)(count_lines, files)


def _ingest_few(night: Night, writers: Sequence[Writer]) -> _Ingested:
    """Ingest so few lines that this process can hold them; Spark has nothing to do."""
    rules = Rules.of(night.run_date, night.settings.listens, tombstones.read(night.warehouse))
    batches = [batch for share in share_out(_files(writers)) for batch in _parse(share, rules)]
    rows = pa.Table.from_batches(batches, schema=SCHEMA)
    read = rows.group_by(["writer", "file"]).aggregate([([], "count_all")]).to_pylist()
    stable, left_out = without_changed_files(writers, {(row["writer"], row["file"]): row["count_all"] for row in read})
    if left_out:
        paths = pc.binary_join_element_wise(rows["writer"], rows["file"], "/")
        rows = rows.filter(pc.invert(pc.is_in(paths, pa.array(left_out))))
    judged = judge_few(rows, _seen(night, rows["exposure_id"]))
    accepted = pc.equal(judged["outcome"], ACCEPTED)
    is_rejected = pc.fill_null(pc.not_equal(judged["reason"], ERASED), False)
    _replace(_of_night(judged.filter(is_rejected), "exposure_rejects", night), "exposure_rejects", night)
    _replace(_of_night(judged.filter(accepted), "exposures", night), "exposures", night)
    return stable, count_few(judged)


def _ingest_many(spark: SparkSession, night: Night, writers: Sequence[Writer], lines: int) -> _Ingested:
    """Ingest any number of lines."""
    rules, run_date = (
        Rules.of(night.run_date, night.settings.listens, tombstones.read(night.warehouse)),
        F.lit(night.run_date),
    )
    with ExitStack() as cleanup, scale_shuffles(spark, lines, night.settings.spark):

        def hold(few: DataFrame) -> DataFrame:
            cleanup.callback(few.persist().unpersist)
            few.count()
            return few

        rows = _read_many(spark, _files(writers), rules)
        cleanup.callback(rows.persist().unpersist)  # files are read once, and what was counted is what is used
        read = {(row["writer"], row["file"]): row["count"] for row in rows.groupBy("writer", "file").count().collect()}
        stable, left_out = without_changed_files(writers, read)
        if left_out:
            rows = rows.where(~F.concat_ws("/", "writer", "file").isin(left_out))
        recent = tables.read(spark, night.warehouse, "exposures").where(F.col("run_date").isin(_recent_dates(night)))
        judged = judge_many(rows, recent, hold)
        cleanup.callback(judged.persist().unpersist)
        counts = count_many(judged)
        judged = judged.withColumn("run_date", run_date)
        for table, which in (
            ("exposure_rejects", F.col("reason") != ERASED),
            # Last, because Delta makes Spark forget whatever was computed from a table that is written.
            ("exposures", F.col("outcome") == ACCEPTED),
        ):
            columns = [column.name for column in contract(table).columns]
            writing.replace_night(judged.where(which).select(columns), table, night, at_most=lines)
    return stable, counts


def _files(writers: Iterable[Writer]) -> list[LandedFile]:
    return [file for writer in writers for file in writer.files]


def _parse(parts: Iterable[Part], rules: Rules) -> Iterator[pa.RecordBatch]:
    """Rows of parts of files."""
    for part in parts:
        writer = part.file.folder.rpartition("/")[2]
        for lines in read_lines(part):
            yield parse_lines(writer, part.file.name, lines, rules)


def _read_many(spark: SparkSession, files: Sequence[LandedFile], rules: Rules) -> DataFrame:
    shares = share_out(files)
    schema = ", ".join(f"{field.name} {spark_type(field.type)}" for field in SCHEMA)

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch["id"].to_pylist():
                yield from _parse(shares[number], rules)

    return spark.range(0, len(shares), 1, len(shares)).mapInArrow(read, schema)


def _recent_dates(night: Night) -> list[date]:
    """Nights in which an exposure_id counts as seen."""
    first = night.run_date - timedelta(days=night.settings.listens.dedup_nights)
    return [day for day in tables.dates(night.warehouse, "exposures") if first <= day < night.run_date]


def _seen(night: Night, ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """Those of the exposure_ids that recent nights have accepted."""
    days, given = _recent_dates(night), ids.drop_null().combine_chunks()
    if not days or not len(given):
        return pa.chunked_array([], pa.string())
    recent = pc.field("run_date").isin(days) & pc.field("exposure_id").isin(given)
    return tables.rows(night.warehouse, "exposures", recent, ["exposure_id"])["exposure_id"]


def _of_night(rows: pa.Table, table: str, night: Night) -> pa.Table:
    """Rows with the columns of a table."""
    schema = contract(table).arrow_schema
    dated = rows.append_column("run_date", pa.repeat(pa.scalar(night.run_date, pa.date32()), rows.num_rows))
    return dated.select(schema.names)


def _replace(rows: pa.Table, table: str, night: Night) -> None:
    """Replace the night's rows of a table; most small services have none, before and after, and need no commit."""
    if rows.num_rows or tables.count(night, table):
        writing.replace_night(rows, table, night)


def _require_every_line(night: Night, accounts: Sequence[dict[str, Any]]) -> None:
    """Raise InputError unless the tables hold as many rows as the accounts say."""
    told = {
        name: sum(row[name] for row in accounts) for name in ("lines", "accepted", "duplicates", "rejected", "erased")
    }
    stored = {"accepted": tables.count(night, "exposures"), "rejected": tables.count(night, "exposure_rejects")}
    if told["lines"] != told["duplicates"] + told["erased"] + sum(stored.values()) or told | stored != told:
        raise InputError(
            "rows were lost or invented between the landing zone and the tables",
            where=f"{night.landing}/exposures/date={night.run_date}",
            found=f"{told}, and in the tables {stored}",
            expected="lines = accepted + duplicates + rejected + erased, as many as the tables hold",
            fix="run the night again; if it stays, report it",
        )
