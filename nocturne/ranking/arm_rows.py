"""Rows of a bucket's arms: pools and lists of every arm, who is assigned to which, and who is triggered."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Positions
from nocturne.core.experiment import CONTROL, HOLDBACK, INTERLEAVED, Experiment
from nocturne.core.night import Night
from nocturne.ranking.arms import HELD_BACK, Cell, Layer, compare_lists, replace_rows
from nocturne.ranking.drafts import draft_lists, draft_seeds
from nocturne.ranking.ranker import Ranker
from nocturne.ranking.stats import RankingStats
from nocturne.storage import tables
from nocturne.storage.aligned_rows import AlignedRows
from nocturne.storage.contracts import contract
from nocturne.storage.history import previous_night
from nocturne.storage.proofs import require_unchanged
from nocturne.storage.stored_rows import StoredRows

POOL_COLUMNS = tuple(field.name for field in contract("pools").arrow_schema if field.name not in {"run_date", "bucket"})
"""Columns of `pools` and `arm_pools` that are carried over."""

_TRIGGERS = ("user_id", "triggered_on")


class Written(NamedTuple):
    """Rows for a table; values of its partition columns beside night and bucket."""

    table: str
    keys: dict[str, str]
    rows: pa.Table


@dataclass(frozen=True)
class Arms:
    """The arms of a night: the same on every executor.

    Attributes:
        rankers: of the arms whose nightly lists are not those of control.
    """

    layer: Layer
    rankers: Mapping[Cell, Ranker]

    def treatments(self, experiment: Experiment) -> list[Cell]:
        """The arms of an experiment that have lists of their own."""
        return [Cell(experiment.name, arm) for arm in experiment.nightly_treatments]


@dataclass(frozen=True)
class EarlierArms:
    """Rows of `arm_pools` and `triggers` of the night before."""

    pools: StoredRows
    triggers: StoredRows

    @classmethod
    def before(cls, night: Night, previous: Night) -> "EarlierArms":
        """The rows before a night.

        Whoever was triggered stays so, though nights lie between on which the experiment did not run.

        Args:
            previous: night that pools are carried over from.

        Raises:
            InputError: they are not those that were validated.
        """
        triggered = previous_night(night, "triggers") or previous
        for earlier, table in ((previous, "arm_pools"), (triggered, "triggers")):
            if earlier.run_date in tables.dates(night.warehouse, table):
                require_unchanged(earlier, table)
        triggers = StoredRows.at(triggered, "triggers", [*_TRIGGERS, "experiment", "treatment"])
        return cls(StoredRows.at(previous, "arm_pools", POOL_COLUMNS), triggers)

    def pools_of(self, cell: Cell, bucket: int) -> AlignedRows | None:
        """The pools of an arm; None if nobody had one."""
        rows = self.pools.where(experiment=cell.experiment, arm=cell.arm)
        return AlignedRows("arm_pools", POOL_COLUMNS, rows.in_bucket(bucket)) if rows.files else None

    def triggers_of(self, cell: Cell, bucket: int) -> AlignedRows:
        """The triggers of a treatment."""
        return AlignedRows("triggers", _TRIGGERS, self._of_treatment(cell, bucket))

    def _of_treatment(self, cell: Cell, bucket: int) -> Iterator[pa.RecordBatch]:
        for rows in self.triggers.in_bucket(bucket):
            of_cell = pc.and_(pc.equal(rows["experiment"], cell.experiment), pc.equal(rows["treatment"], cell.arm))
            yield rows.filter(of_cell).select(_TRIGGERS)


@dataclass
class ArmRows:
    """The arms of one bucket, as its listeners go by in the order of user_id.

    Attributes:
        earlier: None without a night before.
        stats: of all arms but control.
    """

    arms: Arms
    earlier: EarlierArms | None
    run_date: date
    bucket: int
    stats: RankingStats = field(default_factory=RankingStats)

    def __post_init__(self) -> None:
        """Open what was written the night before."""
        earlier, cells = self.earlier, self.arms.rankers
        self._pools = {cell: earlier.pools_of(cell, self.bucket) if earlier else None for cell in cells}
        self._triggers = {cell: earlier.triggers_of(cell, self.bucket) if earlier else None for cell in cells}

    def rank(self, rows: pa.RecordBatch, pools: pa.Table, lists: pa.Table) -> tuple[pa.Table, list[Written]]:
        """Every listener's own list, and the rows that the arms' tables get.

        Args:
            rows: rows of `interactions`.
            pools: rows of `pools` of the night before, aligned with them.
            lists: the lists of control, aligned with them.
        """
        codes, cells = self.arms.layer.assign(rows.column("user_id")), self.arms.layer.cells
        assigned = np.flatnonzero(codes >= 0)
        if not len(assigned):
            return lists, []
        written = [Written("assignments", {}, _assignments(rows, assigned, [cells[code] for code in codes[assigned]]))]
        groups = [(HOLDBACK, [HELD_BACK] if HELD_BACK in self.arms.rankers else [])]
        groups += [(experiment.name, self.arms.treatments(experiment)) for experiment in self.arms.layer.experiments]
        for name, treatments in groups:
            members = np.flatnonzero(np.isin(codes, [place for place, cell in enumerate(cells) if cell[0] == name]))
            if len(members) and treatments:
                group = _Group(
                    rows.take(pa.array(members)), pools.take(pa.array(members)), lists.take(pa.array(members))
                )
                own, tables = self._rank_group(treatments, group, [cells[code] for code in codes[members]])
                lists, written = replace_rows(lists, members, own), written + tables
        labels = pa.array([cell.label for cell in cells]).take(pa.array(codes, mask=codes < 0))
        arms = pc.coalesce(labels, CONTROL)
        return lists.set_column(lists.schema.get_field_index("arm"), "arm", arms), written

    def _rank_group(
        self, treatments: Sequence[Cell], group: "_Group", assigned: list[Cell]
    ) -> tuple[pa.Table, list[Written]]:
        """The own list of each listener of an experiment, and the rows of all arms."""
        experiment, own, written = treatments[0].experiment, group.lists, []
        if experiment != HOLDBACK:
            written.append(_lists(Cell(experiment, CONTROL), group.lists))
        for cell in treatments:
            pools, lists = self._rank_arm(cell, group)
            written += [Written("arm_pools", cell.keys, pools), _lists(cell, lists)]
            if experiment != HOLDBACK:
                written.append(Written("triggers", {}, self._compare(cell, group, lists, assigned)))
            served = np.flatnonzero([each == cell for each in assigned])
            own = replace_rows(own, served, lists.take(pa.array(served)))
            if assigned[0].arm == INTERLEAVED:
                own, seeds, teams = self._draft(cell, group.lists, lists)
                written.append(_lists(assigned[0], own, teams, seeds))
        return own, written

    def _rank_arm(self, cell: Cell, group: "_Group") -> tuple[pa.Table, pa.Table]:
        """Rows of `pools` and `ranked_lists` of an arm; on its first night carried over from those of control."""
        earlier = self._pools[cell]
        previous = earlier.of(group.rows.column("user_id")) if earlier else group.pools
        pools, lists, _ = self.arms.rankers[cell].rank(group.rows, previous, self.stats)
        return pools, lists

    def _compare(self, cell: Cell, group: "_Group", lists: pa.Table, assigned: list[Cell]) -> pa.Table:
        """Rows of `triggers`: the lists of control and of a treatment, whichever is served."""
        user_ids = group.rows.column("user_id")
        first, shared = compare_lists(*(each["items"].combine_chunks() for each in (group.lists, lists)))
        tonight = pc.if_else(pc.is_valid(first), pa.scalar(self.run_date, pa.date32()), None)
        earlier = self._triggers[cell]
        before = (
            earlier.of(user_ids)["triggered_on"].combine_chunks() if earlier else pa.nulls(len(user_ids), pa.date32())
        )
        columns = {
            "user_id": user_ids,
            "experiment": pa.repeat(cell.experiment, len(user_ids)),
            "arm": pa.array([each.arm for each in assigned]),
            "treatment": pa.repeat(cell.arm, len(user_ids)),
            "triggered_on": pc.coalesce(before, tonight),
            "first_difference": first,
            "shared": pa.array(shared, pa.int32()),
        }
        return pa.table(columns)

    def _draft(self, cell: Cell, control: pa.Table, treatment: pa.Table) -> tuple[pa.Table, pa.Array, pa.Array]:
        """Drafted lists, as rows of `ranked_lists`; the seeds of the drafts, and the team of each item."""
        experiment = next(each for each in self.arms.layer.experiments if each.name == cell.experiment)
        seeds = draft_seeds(control["user_id"].combine_chunks(), f"{experiment.name}/{experiment.salt}", self.run_date)
        top_k = self.arms.rankers[cell].settings.top_k
        drafted = draft_lists(control, treatment, seeds, (CONTROL, cell.arm), top_k)
        own = {name: control[name] for name in control.column_names}
        own |= {
            "items": drafted.items,
            "cold": drafted.cold,
            "propensities": pa.nulls(len(control), own["propensities"].type),
            "digest": drafted.digests,
        }
        return pa.table(own), pa.array(seeds.view(np.int64)), drafted.teams


class _Group(NamedTuple):
    """Listeners of an experiment: their rows of `interactions`, pools of the night before, and lists of control."""

    rows: pa.RecordBatch
    pools: pa.Table
    lists: pa.Table


def _assignments(rows: pa.RecordBatch, listeners: Positions, cells: Sequence[Cell]) -> pa.Table:
    user_ids = rows.column("user_id").take(pa.array(listeners))
    experiments, arms = ([cell[part] for cell in cells] for part in (0, 1))
    return pa.table({"user_id": user_ids, "experiment": pa.array(experiments), "arm": pa.array(arms)})


def _lists(cell: Cell, lists: pa.Table, teams: pa.Array | None = None, seeds: pa.Array | None = None) -> Written:
    """Rows of `arm_lists`."""
    rows = lists.drop_columns("arm")
    drafted = {"teams": (teams, pa.list_(pa.string())), "draft_seed": (seeds, pa.int64())}
    for name, (values, kind) in drafted.items():
        rows = rows.append_column(name, pa.nulls(len(rows), kind) if values is None else values)
    return Written("arm_lists", cell.keys, rows)
