"""A look at an experiment on Spark: a task measures the listeners of its buckets, and hands back moments alone."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial, reduce
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from nocturne.core.arrays import Floats, Mask
from nocturne.core.experiment import BEFORE_DAYS, CONTROL, INTERLEAVED, Experiment
from nocturne.core.masks import mask
from nocturne.core.spark.exchange import Parcels, as_given, deal_out, in_tables, unpack
from nocturne.core.xxhash import buckets_of
from nocturne.experiments.columns import BEFORE, LAST, TEAM, columns_of
from nocturne.experiments.moments import Moments
from nocturne.experiments.outcomes import Outcomes, Window, days_of, segments
from nocturne.ingestion.interactions import EPOCH
from nocturne.storage.aligned_rows import AlignedRows
from nocturne.storage.stored_rows import StoredRows

EVERYONE, TRIGGERED = "everyone", "triggered:"
_FEW_ROWS = 200_000
"""Exposures and listeners that this process may hold: Spark's tasks would take longer to begin."""


class Group(NamedTuple):
    """Listeners of an arm that are summed up together."""

    arm: str
    population: str


@dataclass
class Sums:
    """Moments of every group, and of everyone in an arm those listed and those of them to whom something was shown."""

    moments: dict[Group, Moments]
    listed: dict[str, int]
    exposed: dict[str, int]

    def plus(self, other: "Sums") -> "Sums":
        """Of both."""
        for group, moments in other.moments.items():
            self.moments[group] = self.moments[group].plus(moments) if group in self.moments else moments
        for counts, more in ((self.listed, other.listed), (self.exposed, other.exposed)):
            for arm, count in more.items():
                counts[arm] = counts.get(arm, 0) + count
        return self


@dataclass(frozen=True)
class LookTask:
    """The measurement of the listeners of an experiment in some buckets.

    Attributes:
        night: of the look.
        buckets: of tables.
        assignments, triggers, lists: of the night before.
        drafts: drafted lists of all nights so far.
        look_before: day of the last look that was made; 0 if there was none.
        listeners: `interactions` of the first night, or of the last one before it.
        markets: `interactions` of the night of the look.
        listens: with their nights, of every night that is counted, before and since the start.
        exposures: likewise, without buckets.
        items: ids and content types of the catalogue.
        index: ids and numbers of items.
    """

    experiment: Experiment
    night: date
    buckets: int
    assignments: StoredRows
    triggers: StoredRows
    lists: StoredRows
    drafts: StoredRows
    look_before: int
    listeners: StoredRows
    markets: StoredRows
    listens: StoredRows
    exposures: StoredRows
    items: pa.Table
    index: pa.Table

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are summed up."""
        if self.experiment.kind == "interleaving":
            return tuple(f"{TEAM}{arm}" for arm in self.experiment.arms)
        return columns_of(self.experiment)

    def measure(self, buckets: Iterable[int], exposures: pa.Table) -> Iterator[tuple[int, Sums]]:
        """Buckets and their sums, of whose listeners these are the exposures, and maybe of others."""
        of_bucket = buckets_of(exposures["user_id"].combine_chunks(), self.buckets)
        for bucket in buckets:
            yield bucket, self._measure_bucket(bucket, exposures.filter(pa.array(of_bucket == bucket)))

    def _measure_bucket(self, bucket: int, exposures: pa.Table) -> Sums:
        assigned = _table(self.assignments.in_bucket(bucket))
        assigned = assigned.filter(pc.equal(assigned["experiment"], self.experiment.name)).combine_chunks()
        if not len(assigned):
            return Sums({}, {}, {})
        user_ids, arms = assigned["user_id"].combine_chunks(), assigned["arm"]
        heard = _table(self.listeners.in_bucket(bucket), user_ids)
        listens = _table(self.listens.in_bucket(bucket), user_ids)
        since, before, until = (self._outcomes(user_ids, listens, exposures, heard, each) for each in self._windows)
        values = self._values(bucket, since, {BEFORE: before, LAST: until})
        populations = {EVERYONE: np.ones(len(user_ids), bool)} | self._segments(bucket, user_ids, heard)
        triggered = self._triggered(bucket, user_ids, exposures)
        own = _aligned(self.lists, bucket, "ranked_lists", user_ids)["arm"]
        listed = mask(pc.equal(own, pc.binary_join_element_wise(self.experiment.name, arms, "/")))
        exposed = listed & (since.columns(["exposures"])["exposures"] > 0)
        sums = Sums({}, {}, {})
        for arm in pc.unique(arms).to_pylist():
            members = mask(pc.equal(arms, arm))
            sums.listed[arm], sums.exposed[arm] = int(listed[members].sum()), int(exposed[members].sum())
            of_arm = populations | {
                f"{TRIGGERED}{treatment}": chosen
                for treatment, chosen in triggered.items()
                if arm in {CONTROL, INTERLEAVED, treatment}
            }
            for population, chosen in of_arm.items():
                sums.moments[Group(arm, population)] = Moments.of(values[members & chosen])
        return sums

    @property
    def _windows(self) -> tuple[Window, Window, Window]:
        """Since the first lists were served, which is the day after their night; before; and up to the look before."""
        start, last = (self.experiment.start - EPOCH).days, (self.night - EPOCH).days
        return (
            Window(start + 1, last),
            Window(start - BEFORE_DAYS + 1, start),
            Window(start + 1, start + self.look_before),
        )

    def _outcomes(
        self, user_ids: pa.Array, listens: pa.Table, exposures: pa.Table, heard: pa.Table, window: Window
    ) -> Outcomes:
        if window.last <= (self.experiment.start - EPOCH).days:
            # A covariate is what was known when the experiment began: whatever came later may be its doing.
            listens, exposures = (self._known_at_start(rows) for rows in (listens, exposures))
            heard = heard.slice(0, 0)
        return Outcomes(user_ids, listens, exposures, self._heard(heard), self.items, window)

    def _known_at_start(self, rows: pa.Table) -> pa.Table:
        return rows.filter(pc.less_equal(rows["run_date"], self.experiment.start))

    def _heard(self, rows: pa.Table) -> pa.Table:
        """Listener and item of every entry of rows of `interactions`."""
        lists = rows["item_indexes"].combine_chunks()
        users = rows["user_id"].combine_chunks().take(pc.list_parent_indices(lists))
        places = pc.index_in(lists.flatten(), self.index["item_index"].combine_chunks())
        return pa.table({"user_id": users, "item_id": self.index["item_id"].combine_chunks().take(places)})

    def _values(self, bucket: int, since: Outcomes, others: Mapping[str, Outcomes]) -> Floats:
        """The columns of each listener; shape (listeners, columns).

        Args:
            others: outcomes of other windows, by the prefix of their columns.
        """
        if self.experiment.kind == "interleaving":
            credit = since.credit(self._drafted(bucket, since.user_ids), tuple(self.experiment.arms))
            return np.stack([credit[name.removeprefix(TEAM)] for name in self.columns], axis=1)
        values = since.columns(name for name in self.columns if not name.startswith(tuple(others)))
        for prefix, outcomes in others.items():
            names = [name.removeprefix(prefix) for name in self.columns if name.startswith(prefix)]
            values |= {f"{prefix}{name}": column for name, column in outcomes.columns(names).items()}
        return np.stack([values[name] for name in self.columns], axis=1)

    def _drafted(self, bucket: int, user_ids: pa.Array) -> pa.Table:
        rows = _table(self.drafts.in_bucket(bucket), user_ids)
        parents = pc.list_parent_indices(rows["items"].combine_chunks())
        return pa.table(
            {
                "user_id": rows["user_id"].take(parents),
                "run_date": rows["run_date"].take(parents),
                "item_id": pa.chunked_array([rows["items"].combine_chunks().flatten().field("item_id")]),
                "team": pa.chunked_array([rows["teams"].combine_chunks().flatten()]),
            }
        )

    def _triggered(self, bucket: int, user_ids: pa.Array, exposures: pa.Table) -> dict[str, Mask]:
        """By treatment, listeners whose lists it made different, or whose answers to what comes next."""
        rows = _table(self.triggers.in_bucket(bucket))
        rows = rows.filter(
            pc.and_(pc.equal(rows["experiment"], self.experiment.name), pc.is_valid(rows["triggered_on"]))
        )
        triggered = {}
        for name in self.experiment.treatments:
            arm, chosen = self.experiment.arms[name], np.zeros(len(user_ids), bool)
            if arm.changes_nothing:
                continue
            if not arm.ranks_alike:
                of_treatment = rows["user_id"].filter(pc.equal(rows["treatment"], name))
                chosen |= mask(pc.is_in(user_ids, value_set=of_treatment.combine_chunks()))
            if not arm.plays_on_alike:
                chosen |= mask(pc.is_in(user_ids, value_set=self._who_differ(exposures, name)))
            triggered[name] = chosen
        return triggered

    def _who_differ(self, exposures: pa.Table, treatment: str) -> pa.Array:
        """Listeners to whom the experiment has shown an answer that differs from that of the other arm."""
        of_arms = mask(pc.starts_with(exposures["arm"], f"{self.experiment.name}/"))
        ours = of_arms & self._windows[0].holds(days_of(exposures["shown_at"]))
        shown = exposures.filter(pa.array(ours)).combine_chunks()
        maps = shown["differences"].combine_chunks()
        entries = pc.and_(pc.equal(maps.keys, treatment), pc.is_valid(maps.items))
        row = np.searchsorted(maps.offsets.to_numpy(), np.flatnonzero(mask(entries)), side="right") - 1
        return pc.unique(shown["user_id"].combine_chunks().take(pa.array(row)))

    def _segments(self, bucket: int, user_ids: pa.Array, heard: pa.Table) -> dict[str, Mask]:
        markets = _aligned(self.markets, bucket, "interactions", user_ids)["market"]
        at = pc.index_in(user_ids, heard["user_id"].combine_chunks())
        lengths = pc.list_value_length(heard["item_indexes"].combine_chunks()).take(at)
        return segments(markets.combine_chunks(), lengths.fill_null(0).to_numpy())


def measure_look(spark: SparkSession, task: LookTask, rows: int) -> Sums:
    """Sums over every bucket, measured on the executors where they are many; to the bit the same either way.

    Args:
        rows: exposures, and listeners of experiments.
    """
    if rows <= _FEW_ROWS:
        measured = list(task.measure(range(task.buckets), _table(task.exposures)))
    else:
        tasks = min(task.buckets, spark.sparkContext.defaultParallelism)
        files = [path for path, _ in task.exposures.files]
        send = partial(_send, task.exposures, task.buckets, tasks)
        dealt = spark.sparkContext.parallelize(files, max(1, len(files))).flatMap(send)
        measure = partial(_measure_parcels, task, tasks)
        measured = dealt.partitionBy(tasks, as_given).mapPartitionsWithIndex(measure).collect()
    in_order = (sums for _, sums in sorted(measured, key=itemgetter(0)))
    return reduce(Sums.plus, in_order, Sums({}, {}, {}))


def _send(exposures: StoredRows, buckets: int, tasks: int, path: str) -> Iterator[tuple[int, bytes]]:
    """Exposures of a file, to the tasks that measure their listeners."""
    for rows in in_tables(exposures.in_files([path])):
        of_rows = buckets_of(rows["user_id"].combine_chunks(), buckets)
        yield from deal_out(rows, of_rows.astype(np.uint64), tasks)


def _measure_parcels(task: LookTask, tasks: int, number: int, parcels: Parcels) -> Iterator[tuple[int, Sums]]:
    yield from task.measure(range(number, task.buckets, tasks), _together(task.exposures, unpack(parcels)))


def _aligned(rows: StoredRows, bucket: int, table: str, user_ids: pa.Array) -> pa.Table:
    return AlignedRows(table, rows.columns, rows.in_bucket(bucket)).of(user_ids)


def _table(rows: StoredRows, user_ids: pa.Array | None = None) -> pa.Table:
    """The rows, of some listeners if they are given."""
    batches = (
        batch if user_ids is None else batch.filter(pc.is_in(batch["user_id"], value_set=user_ids)) for batch in rows
    )
    return _together(rows, (pa.Table.from_batches([batch]) for batch in batches))


def _together(rows: StoredRows, parts: Iterable[pa.Table]) -> pa.Table:
    """Parts of stored rows as one table, whatever their files promise of null."""
    schema = pa.schema([(name, rows.schema.field(name).type) for name in rows.columns])
    return pa.concat_tables([schema.empty_table(), *(part.cast(schema) for part in parts)]).combine_chunks()
