"""Profiles of `assignments`, `triggers`, `arm_pools` and `arm_lists`: every arm as sound as what everyone gets."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession
from scipy.stats import chisquare

from nocturne.core.experiment import CONTROL, HOLDBACK, INTERLEAVED, Arm, Experiment, arm_settings
from nocturne.core.masks import mask
from nocturne.core.night import Night
from nocturne.storage import fingerprints, tables
from nocturne.storage.aligned_rows import AlignedRows
from nocturne.storage.history import previous_night
from nocturne.storage.model_transitions import ModelRecord, model_of_arm
from nocturne.storage.stored_rows import StoredRows
from nocturne.validation.metrics.arms import arm_metrics
from nocturne.validation.profiles import pools, ranked_lists
from nocturne.validation.profiles.arithmetic import Measured, Profile, repeated, worst
from nocturne.validation.profiles.bucket_sums import Sums, sum_over_buckets
from nocturne.validation.profiles.dealt_arms import DealtArms
from nocturne.validation.profiles.drafted_lists import Row, is_drafted
from nocturne.validation.profiles.obeyed_plans import HELD_TO_PLANS, ObeyedPlans
from nocturne.validation.profiles.recomputed_lists import SAMPLED, recompute_sample

_OF_POOLS = (
    *("repeated", "misaligned", "unordered", "not_finite", "listed_beyond", "outdated", "without_norm"),
    *("heard_items", "other_row", "other_model", "outside_model"),
)
_OF_LISTS = (
    *("duplicate_keys", "short", "too_long", "lists_with_duplicates", "ineligible", "not_finite", "unordered"),
    *(
        "propensities_unsound",
        "wrongly_marked",
        "other_model",
        "heard_items",
        "outside_pool",
        "without_pool",
        "unlike_pool",
    ),
)
_OF_SAMPLES = ("unlike_recomputed", "unlike_served", "undrafted", "broken_plans")
_OF_TRIGGERS = ("repeated", "unlike_assignments", "forgotten", "unlike_lists")
_COMPARED = 64
"""Listeners of a bucket whose triggers are worked out anew."""


@dataclass(frozen=True)
class NightArm:
    """An arm with lists of its own on a night, or control beside it.

    Attributes:
        night: with the settings of the arm.
        model: that its lists depend on.
        pools: of its listeners, whoever is served its lists.
    """

    experiment: str
    arm: str
    night: Night
    model: ModelRecord
    pools: StoredRows

    @property
    def lists(self) -> StoredRows:
        """All that counts of its lists."""
        columns = fingerprints.hashed_columns("arm_lists")
        return StoredRows.at(self.night, "arm_lists", columns).where(experiment=self.experiment, arm=self.arm)


def night_arms(night: Night) -> Iterator[NightArm]:
    """The arms of the night whose lists are in `arm_lists`, but for drafted ones."""
    models = tables.models(night.warehouse)
    dealt, settings = DealtArms.on(night), night.settings.experiments
    arms: list[tuple[str, str, Arm]] = []
    if dealt.held_back and settings.holdback_model:
        arms.append((HOLDBACK, HOLDBACK, Arm(weight=1, model=settings.holdback_model)))
    for experiment in dealt.experiments:
        if nightly := experiment.nightly_treatments:
            arms += [(experiment.name, name, experiment.arms[name]) for name in (CONTROL, *nightly)]
    for name, arm, definition in arms:
        model = model_of_arm(models, night.run_date, definition)
        table = "pools" if arm == CONTROL else "arm_pools"
        stored = StoredRows.at(night, table, [*fingerprints.hashed_columns(table), "computed_on"])
        of_arm = stored if arm == CONTROL else stored.where(experiment=name, arm=arm)
        if model:
            yield NightArm(name, arm, night.with_settings(arm_settings(night.settings, definition)), model, of_arm)


@dataclass(frozen=True)
class AssignmentMeasurement:
    """The measurement of a bucket of `assignments`, as a task runs it."""

    dealt: DealtArms
    assignments: StoredRows
    listeners: StoredRows

    def measure(self, buckets: Iterable[int]) -> Sums:
        """Sums of the metrics over some buckets, and the listeners of every arm."""
        sums = Sums(dict.fromkeys(("rows", "repeated", "misassigned"), 0.0))
        experiments, arms = (pa.array([name[part] or None for name in self.dealt.names]) for part in (0, 1))
        for bucket in buckets:
            users = [pa.array([], pa.string())]
            for rows in self.assignments.in_bucket(bucket):
                sums.add_rows(rows, "assignments")
                users.append(rows["user_id"])
            stored = AlignedRows("assignments", self.assignments.columns, self.assignments.in_bucket(bucket))
            rows, matched = sum(map(len, users)), 0
            for listeners in self.listeners.in_bucket(bucket) if rows or not self.dealt.empty else ():
                codes = self.dealt.codes(listeners["user_id"])
                told = stored.of(listeners["user_id"])
                expected = (names.take(pa.array(codes)) for names in (experiments, arms))
                same = [
                    pc.fill_null(pc.equal(pc.fill_null(one, ""), pc.fill_null(other, "")), False)
                    for one, other in zip(expected, (told["experiment"], told["arm"]), strict=True)
                ]
                sums.add({"misassigned": int((~mask(pc.and_(*same))).sum())})
                sums.add_of_items("listeners", np.bincount(codes, minlength=len(self.dealt.names)).astype(np.float64))
                matched += len(told) - told["user_id"].null_count
            sums.add({"rows": rows, "repeated": repeated(pa.chunked_array(users)), "misassigned": rows - matched})
        return sums


def assignments(spark: SparkSession, night: Night) -> Measured:
    """Of everyone's arm."""
    dealt = DealtArms.on(night)
    task = AssignmentMeasurement(
        dealt,
        StoredRows.at(night, "assignments", fingerprints.hashed_columns("assignments")),
        StoredRows.at(night, "interactions", ["user_id"]),
    )
    # Where nobody is dealt to anything, listeners are not looked at.
    looked_at = "assignments" if dealt.empty else "interactions"
    measured = sum_over_buckets(spark, night, looked_at, task.measure)
    sums, counts = measured.totals, measured.of_items.get("listeners", np.zeros(len(dealt.names)))
    profile: Profile = {
        "repeated": sums["repeated"],
        "misassigned": sums["misassigned"],
        "least_likely_split": worst((_split(dealt, experiment, counts) for experiment in dealt.experiments), min),
    }
    metrics = arm_metrics(dealt.labels.to_pylist()[:-1], counts[:-1])
    return Measured(profile, measured.row_hash(spark, night, "assignments", sums["rows"]), metrics)


def _split(dealt: DealtArms, experiment: Experiment, counts: np.ndarray) -> float:
    """The probability of a split as uneven as that of an experiment's listeners, by Pearson's test."""
    arms = [number for number, name in enumerate(dealt.names) if name[0] == experiment.name]
    if len(arms) < 2 or not counts[arms].sum():
        return 1.0
    weights = np.array([arm.weight for _, arm in sorted(experiment.arms.items())])
    return float(chisquare(counts[arms], weights / weights.sum() * counts[arms].sum()).pvalue)


@dataclass(frozen=True)
class TriggerMeasurement:
    """The measurement of a bucket of `triggers`, as a task runs it.

    Attributes:
        treatments: experiment and arm of each treatment with lists of its own.
        previous: the triggers of the last sound night, if there is one.
    """

    treatments: tuple[tuple[str, str], ...]
    triggers: StoredRows
    assignments: StoredRows
    lists: StoredRows
    previous: StoredRows | None

    def measure(self, buckets: Iterable[int]) -> Sums:
        """Sums of the metrics over some buckets."""
        sums = Sums(dict.fromkeys(("rows", *_OF_TRIGGERS), 0.0))
        for bucket in buckets:
            tonight = self.triggers.in_bucket(bucket).to_table()
            for rows in tonight.to_batches():
                sums.add_rows(rows, "triggers")
            keys = pc.binary_join_element_wise(tonight["experiment"], tonight["treatment"], tonight["user_id"], "\x1f")
            sums.add({"rows": len(tonight), "repeated": repeated(keys)})
            sums.add({"unlike_assignments": self._unlike_assignments(bucket, tonight)})
            if self.previous:
                before = self.previous.in_bucket(bucket).to_table()
                sums.add({"forgotten": _count_forgotten(tonight, before)})
            for experiment, treatment in self.treatments:
                sums.add({"unlike_lists": self._unlike_lists(bucket, tonight, experiment, treatment)})
        return sums

    def _unlike_assignments(self, bucket: int, tonight: pa.Table) -> int:
        """Listeners of an experiment without a row for a treatment, and rows of others."""
        assigned = self.assignments.in_bucket(bucket).to_table()
        wrong = len(tonight)
        for experiment, treatment in self.treatments:
            members = assigned.filter(pc.equal(assigned["experiment"], experiment))
            of_treatment = _of(tonight, experiment, treatment)
            pairs = members.join(of_treatment.select(["user_id", "arm"]), ["user_id", "arm"], join_type="left semi")
            wrong += len(members) - 2 * len(pairs)
        return wrong

    def _unlike_lists(self, bucket: int, tonight: pa.Table, experiment: str, treatment: str) -> int:
        """Of the first listeners of a treatment, those whose row is not what the two lists say."""
        rows = _of(tonight, experiment, treatment).slice(0, _COMPARED).to_pylist()
        wanted = pa.array([row["user_id"] for row in rows], pa.string())
        lists: list[dict[str, list[str]]] = []
        for arm in (CONTROL, treatment):
            of_arm = self.lists.where(experiment=experiment, arm=arm).in_bucket(bucket).to_table()
            some = of_arm.filter(pc.is_in(of_arm["user_id"], wanted)).to_pylist()
            lists.append({row["user_id"]: [entry["item_id"] for entry in row["items"]] for row in some})
        return sum(not _explains(row, *(of_arm.get(row["user_id"]) for of_arm in lists)) for row in rows)


def _explains(row: Row, control: list[str] | None, treatment: list[str] | None) -> bool:
    if control is None or treatment is None:
        return False
    first = next(
        (
            place
            for place in range(max(len(control), len(treatment)))
            if control[place : place + 1] != treatment[place : place + 1]
        ),
        None,
    )
    stored = row["first_difference"]
    same_place: bool = stored == (None if first is None else first + 1)
    return same_place and len({*control} & {*treatment}) == row["shared"]


def _count_forgotten(tonight: pa.Table, before: pa.Table) -> int:
    """Triggers of the night before that have another date tonight, or are not there."""
    columns = ["experiment", "treatment", "user_id", "triggered_on"]
    running = pc.unique(tonight["experiment"])
    known = before.filter(pc.and_(pc.is_valid(before["triggered_on"]), pc.is_in(before["experiment"], running)))
    return len(known.select(columns).join(tonight.select(columns), columns, join_type="left anti"))


def triggers(spark: SparkSession, night: Night) -> Measured:
    """Of everyone's triggers."""
    previous = previous_night(night, "triggers")
    columns = fingerprints.hashed_columns("triggers")
    task = TriggerMeasurement(
        tuple((each.name, arm) for each in DealtArms.on(night).experiments for arm in each.nightly_treatments),
        StoredRows.at(night, "triggers", columns),
        StoredRows.at(night, "assignments", ["user_id", "experiment", "arm"]),
        StoredRows.at(night, "arm_lists", ["user_id", "items"]),
        StoredRows.at(previous, "triggers", columns) if previous else None,
    )
    measured = sum_over_buckets(spark, night, "triggers", task.measure)
    sums = measured.totals
    profile: Profile = {name: sums[name] for name in _OF_TRIGGERS}
    return Measured(profile, measured.row_hash(spark, night, "triggers", sums["rows"]))


def arm_pools(spark: SparkSession, night: Night) -> Measured:
    """Of the pools of every arm but control."""
    totals = Sums(dict.fromkeys(("rows", *_OF_POOLS), 0.0))
    for arm in night_arms(night):
        if arm.arm != CONTROL:
            measure = pools.measurement(arm.night, arm.pools, arm.model, "arm_pools").measure
            totals.plus(sum_over_buckets(spark, night, "arm_pools", measure))
    profile: Profile = {name: totals.totals[name] for name in _OF_POOLS}
    return Measured(profile, totals.row_hash(spark, night, "arm_pools", totals.totals["rows"]))


def arm_lists(spark: SparkSession, night: Night) -> Measured:
    """Of the lists of every arm."""
    totals = Sums(dict.fromkeys(("lists", *_OF_SAMPLES, *_OF_LISTS), 0.0))
    plans = ObeyedPlans.of(night)
    for arm in night_arms(night):
        measure = ranked_lists.measurement(
            arm.night, arm.lists, arm.pools, arm.model, pa.array([arm.arm]), "arm_lists"
        ).measure
        totals.plus(sum_over_buckets(spark, night, "arm_lists", measure))
        sample = replace(arm.lists, columns=SAMPLED)
        totals.add({"broken_plans": plans.broken(replace(arm.lists, columns=HELD_TO_PLANS))})
        totals.add({"unlike_recomputed": recompute_sample(arm.night, sample, arm.model, pa.array([arm.arm])) or 0})
    stored = StoredRows.at(night, "arm_lists", fingerprints.hashed_columns("arm_lists"))
    served = StoredRows.at(night, "ranked_lists", ["user_id", "arm", "digest"])
    compared = sum_over_buckets(spark, night, "arm_lists", partial(_compare_served, stored, served))
    totals.plus(compared)
    profile: Profile = {name: totals.totals[name] for name in (*_OF_SAMPLES, *_OF_LISTS)}
    return Measured(profile, totals.row_hash(spark, night, "arm_lists", totals.totals["lists"]))


def _compare_served(lists: StoredRows, served: StoredRows, buckets: Iterable[int]) -> Sums:
    """Lists that are served under the name of an arm and are others; of a sample, drafts that are none.

    Drafted lists are added to the hash of their table.
    """
    sums = Sums(dict.fromkeys(("unlike_served", "undrafted"), 0.0))
    cells = sorted({(keys["experiment"], keys["arm"]) for _, keys in lists.files})
    for bucket in buckets if cells else ():
        listed = served.in_bucket(bucket).to_table()
        for experiment, arm in cells:
            of_arm = lists.where(experiment=experiment, arm=arm).in_bucket(bucket)
            own = listed.filter(pc.equal(listed["arm"], f"{experiment}/{arm}")).select(["user_id", "digest"])
            stored = replace(of_arm, columns=("user_id", "digest")).to_table()
            same = own.join(stored, ["user_id", "digest"], join_type="left semi")
            sums.add({"unlike_served": len(own) - len(same)})
            if arm == INTERLEAVED:
                _add_drafts(sums, of_arm, lists.where(experiment=experiment).in_bucket(bucket))
    return sums


def _add_drafts(sums: Sums, drafted: StoredRows, lists: StoredRows) -> None:
    sample: list[Row] = []
    for rows in drafted:
        sums.add_rows(rows, "arm_lists")
        sums.add({"lists": rows.num_rows})
        sample += rows.slice(0, max(0, _COMPARED - len(sample))).to_pylist()
    wanted = pa.array([row["user_id"] for row in sample], pa.string())
    own = replace(lists, columns=("user_id", "arm", "items")).to_table()
    some = own.filter(pc.is_in(own["user_id"], wanted))
    of_listener: dict[str, dict[str, list[str]]] = {row["user_id"]: {} for row in sample}
    for row in some.filter(pc.not_equal(some["arm"], INTERLEAVED)).to_pylist():
        of_listener[row["user_id"]][row["arm"]] = [entry["item_id"] for entry in row["items"]]
    sums.add({"undrafted": sum(not is_drafted(row, of_listener[row["user_id"]]) for row in sample)})


def _of(rows: pa.Table, experiment: str, treatment: str) -> pa.Table:
    return rows.filter(pc.and_(pc.equal(rows["experiment"], experiment), pc.equal(rows["treatment"], treatment)))
