"""Stage `build_interactions`: the interaction matrix of the last sound night, with the listens since."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from nocturne.core.hashing import hash_ids
from nocturne.core.night import Night
from nocturne.core.spark.exchange import Parcels, as_given, deal_out, unpack
from nocturne.core.spark.session import map_on_executors
from nocturne.core.stage import Progress, StageResult
from nocturne.ingestion.interactions import ROW, WEIGHTED, add_listens, index_new_items, weigh_listens
from nocturne.ingestion.listener_runs import ListenerRun, step_through
from nocturne.ingestion.listens_set_aside import SetAside, set_aside
from nocturne.ingestion.set_aside import in_place
from nocturne.storage import tables, writing
from nocturne.storage.bucket_files import BucketFile, write_bucket
from nocturne.storage.contracts import contract
from nocturne.storage.history import interaction_sources, is_stale
from nocturne.storage.proofs import require_unchanged
from nocturne.storage.stored_rows import StoredRows, whole_index

_FEW_ROWS = 100_000
"""Listens and listeners that are merged in this process: Spark's tasks would take longer."""

_SCHEMA = contract("interactions").arrow_schema
_LISTEN_COLUMNS = ("user_id", "item_id", "listened_at", "ms_played", "plays", "market")
_LISTENS_AT_ONCE, _FEWEST_AT_ONCE = 2**17, 2**12
"""Listens that a task reads at once, of all nights together and at least of each."""


def build_interactions(spark: SparkSession, night: Night, progress: Progress) -> StageResult:
    """Add what was ingested since the last sound night to every listener's row of it, without what is set aside."""
    since, publications = interaction_sources(night)
    _prove_sources(night, since, publications)
    warehouse, buckets = night.warehouse, range(night.settings.tables.buckets)
    added = tables.count_of(warehouse, "listens", publications)
    few = added + tables.count_of(warehouse, "interactions", [since] if since else []) <= _FEW_ROWS

    heard = [
        listens
        for day in publications
        for listens in StoredRows.at(night.on(day), "listens", ["item_id"], dictionaries=("item_id",)).by_bucket(
            len(buckets)
        )
    ]
    index = tables.rows(warehouse, "item_index")
    ids = _unite(map(_heard_items, heard)) if few else _unite_on_executors(spark, heard, whole_index(night))
    ids = _unite([ids, *_named_items(night).chunks])
    writing.replace_night(index_new_items(ids, index, night.run_date), "item_index", night)

    aside = set_aside(night, since, publications)
    writing.replace_night(aside.stored, "set_aside", night)
    merge = _merge(night, since, publications, aside)
    if few:
        rows = pa.concat_tables([merge.rows(bucket) for bucket in buckets])
        writing.replace_night(rows, "interactions", night)
    else:
        files = map_on_executors(spark)(merge.write, buckets)
        writing.commit_files(spark, night, {"interactions": [file for file in files if file]})
    return StageResult(added)


@dataclass(frozen=True)
class BucketMerge:
    """The merge of a bucket's listens into its listeners' rows, as a task runs it.

    Attributes:
        previous: the rows built upon; None to rebuild from all listens.
        listens: by the night that ingested them.
        index: every item's.
        aside: rows in place of those of listeners of whom some listens are kept out, or were.
        path: folder of `interactions`.
    """

    run_date: date
    previous: StoredRows | None
    listens: dict[date, StoredRows]
    index: StoredRows
    half_life_days: float
    aside: SetAside
    path: str

    def rows(self, bucket: int) -> pa.Table:
        """The rows of a bucket."""
        return pa.concat_tables([_SCHEMA.empty_table(), *self._parts(bucket)])

    def write(self, bucket: int) -> BucketFile | None:
        """Write the rows of a bucket, some listeners at a time; None if there are none."""
        return write_bucket(self.path, _SCHEMA, str(self.run_date), bucket, self._parts(bucket))

    def _parts(self, bucket: int) -> Iterator[pa.Table]:
        index = self.index.to_table().combine_chunks()
        earlier = ListenerRun(ROW, map(_as_table, self.previous.in_bucket(bucket) if self.previous else ()))
        nights = [
            ListenerRun(WEIGHTED, self._weighed(rows.in_bucket(bucket), day, index))
            for day, rows in self.listens.items()
        ]
        for previous, *weighted in step_through([earlier, *nights]):
            rows = add_listens(previous, pa.concat_tables([WEIGHTED.empty_table(), *weighted]))
            rows = in_place(rows, self.aside.rows, self.aside.user_ids)
            for name, value in (("run_date", self.run_date), ("bucket", bucket)):
                rows = rows.append_column(name, pa.repeat(pa.scalar(value, _SCHEMA.field(name).type), rows.num_rows))
            yield rows.select(_SCHEMA.names).cast(_SCHEMA)

    def _weighed(self, rows: StoredRows, day: date, index: pa.Table) -> Iterator[pa.Table]:
        for batch in rows:
            ids = batch["item_id"]
            place = pc.index_in(ids.dictionary, value_set=index["item_id"].chunk(0))
            numbers = index["item_index"].chunk(0).take(place).take(ids.indices)
            listens = _as_table(batch).append_column("item_index", numbers)
            yield weigh_listens(listens, day, self.half_life_days)


def _merge(night: Night, since: date | None, publications: Sequence[date], aside: SetAside) -> BucketMerge:
    at_once = max(_LISTENS_AT_ONCE // max(1, len(publications)), _FEWEST_AT_ONCE)
    return BucketMerge(
        run_date=night.run_date,
        previous=StoredRows.at(night.on(since), "interactions", ROW.names) if since else None,
        listens={
            day: StoredRows.at(night.on(day), "listens", _LISTEN_COLUMNS, batch_rows=at_once, dictionaries=("item_id",))
            for day in publications
        },
        index=whole_index(night),
        half_life_days=night.settings.interactions.half_life_days,
        aside=aside,
        path=night.warehouse.table_path("interactions"),
    )


def _heard_items(listens: StoredRows) -> pa.Array:
    """Ids of the items of some listens, once."""
    return _unite(batch["item_id"].dictionary for batch in listens)


def _named_items(night: Night) -> pa.ChunkedArray:
    """Ids of the items that the night's catalogue names."""
    items = tables.night_rows(night, "items", ["item_id", "absent"])
    return items.filter(pc.invert(items["absent"]))["item_id"]


def _unite(ids: Iterable[pa.Array]) -> pa.Array:
    """The ids of all, once."""
    return pc.unique(pa.concat_arrays([pa.array([], pa.string()), *ids]))


def _unite_on_executors(spark: SparkSession, heard: Sequence[StoredRows], index: StoredRows) -> pa.Array:
    """The ids that have no index yet, once: on a first night every task has most of them."""
    if not heard:
        return pa.array([], pa.string())
    tasks = spark.sparkContext.defaultParallelism

    def deal_unindexed(listens: StoredRows) -> Iterator[tuple[int, bytes]]:
        ids = _heard_items(listens)
        new = ids.filter(pc.invert(pc.is_in(ids, value_set=index.to_table()["item_id"].combine_chunks())))
        yield from deal_out(pa.table({"item_id": new}), hash_ids(new, 0), tasks)

    def unite(parcels: Parcels) -> Iterator[pa.Array]:
        yield _unite(chunk for rows in unpack(parcels) for chunk in rows["item_id"].chunks)

    dealt = spark.sparkContext.parallelize(heard, len(heard)).flatMap(deal_unindexed).partitionBy(tasks, as_given)
    return pa.concat_arrays(dealt.mapPartitions(unite).collect())


def _as_table(batch: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches([batch])


def _prove_sources(night: Night, since: date | None, publications: Sequence[date]) -> None:
    """Raise InputError if the rows built upon, their index, or earlier listens are not those that were validated."""
    for day in publications:
        if day != night.run_date:
            require_unchanged(night.on(day), "listens")
    if since:
        require_unchanged(night.on(since), "interactions")
        if not is_stale(night.on(since)):  # then an earlier night was made again, and may have added to the index
            require_unchanged(night.on(since), "item_index")
