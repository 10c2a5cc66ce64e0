"""Metrics of a night of the arena, by the functions that the night itself measures with; rows of `night_metrics`."""

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.arena.night import Night
from benchmarks.arena.rows import beside, cells, day_number, list_rows, places
from nocturne.core.masks import mask
from nocturne.ingestion.interactions import UNIT
from nocturne.storage.contracts import contract
from nocturne.training.confidences import positions
from nocturne.training.model import Model
from nocturne.validation.metrics import (
    accounts,
    arms,
    catalogue,
    exposures,
    factors,
    interactions,
    listens,
    lists,
    pools,
    worth,
)
from nocturne.validation.metrics.item_traits import ItemTraits
from nocturne.validation.metrics.metric import Metric
from nocturne.validation.metrics.sums import Labels, SegmentSums, metric
from nocturne.validation.profiles.arithmetic import Profile

NEW_NIGHTS = 7
NIGHT_METRICS = contract("night_metrics").arrow_schema
Measure = Callable[[Night], Iterable[Metric]]


def of_listens(night: Night) -> list[Metric]:
    """Of `listens`."""
    sums, traits, rows = SegmentSums(), _traits(night), night.day.listens
    item = places(rows["item_id"], night.ids)
    batch = rows.select([name for name in listens.COLUMNS if name != "item_id"]).combine_chunks().to_batches()
    if batch:
        listens.add_listens(sums, batch[0], item, traits, night.run_date)
        runs = listens.ListenerRuns()
        runs.add(sums, rows["user_id"].combine_chunks(), rows["plays"].to_numpy())
        runs.close(sums)
    return [*listens.listen_metrics(sums, traits)]


def of_ingests(night: Night) -> list[Metric]:
    """Of `ingests`."""
    return [*accounts.account_metrics(night.day.account, night.day.rejected, "rows_read")]


def of_quarantine(night: Night) -> list[Metric]:
    """Of `quarantine`."""
    reasons = [reason for reason, count in night.day.rejected.items() for _ in range(int(count))]
    return [*accounts.reject_metrics(reasons, ["events"] * len(reasons))]


def of_items(night: Night) -> list[Metric]:
    """Of `items`."""
    rows, on = night.catalogue, pa.scalar(night.run_date, pa.date32())
    early = mask(pc.fill_null(pc.greater(rows["available_from"], on), False))
    over = mask(pc.fill_null(pc.less(rows["available_until"], on), False))
    nowhere = mask(pc.fill_null(pc.equal(pc.list_value_length(rows["markets"]), 0), False))
    return [*catalogue.catalogue_metrics(rows, early | over | nowhere, night.before.catalogue)]


def of_interactions(night: Night) -> list[Metric]:
    """Of `interactions`."""
    sums, rows, before = SegmentSums(), night.interactions.combine_chunks(), night.before.interactions
    earlier = beside(before, rows["user_id"])
    known = mask(pc.is_valid(earlier["user_id"]))
    changed = ~known | mask(pc.fill_null(pc.not_equal(rows["digest"], earlier["digest"]), True))
    now, then = cells(rows), cells(earlier)
    periods = rows["period"].to_numpy() - pc.fill_null(earlier["period"], 0).to_numpy()
    faded = then.plays / 2.0 ** np.clip(periods, 0, 63)[then.row]
    spot = np.searchsorted(now.keys, then.keys).clip(max=max(0, len(now.keys) - 1))
    gained, familiar = now.plays.copy(), np.zeros(len(now.keys))
    same = now.keys[spot] == then.keys
    gained[spot[same]] -= faded[same]
    familiar[spot[same]] = gained[spot[same]]
    gains, of_familiar = (np.bincount(now.row, values, minlength=rows.num_rows) for values in (gained, familiar))
    batch = rows.select(["market", "item_indexes", "play_sums"]).to_batches()[0]
    market = earlier["market"].combine_chunks()
    interactions.add_rows(sums, batch, changed, known, gains * UNIT, of_familiar * UNIT, market)
    return [*interactions.interaction_metrics(sums)]


def of_item_factors(night: Night) -> list[Metric]:
    """Of `item_factors`."""
    model = night.model
    assert model is not None
    rows = cells(night.interactions)
    pairs = factors.heard_together(positions(model.item_indexes, len(night.ids))[rows.item], rows.offsets)
    near = model.neighbours
    of_item, place = np.nonzero(near >= 0)
    drawn = np.random.default_rng(len(place)).permutation(len(place))[: factors.PAIRS]
    of_neighbours = of_item[drawn], near[of_item[drawn], place[drawn]]
    metrics = [
        *factors.norm_metrics(model.factors),
        *factors.collapse_metrics(model.factors),
        *factors.agreement_metrics(model.factors, *pairs, "gain_of_heard_together"),
        *factors.agreement_metrics(model.factors, *of_neighbours, "gain_of_neighbours"),
        *factors.weight_metrics(model.similarities[near >= 0]),
    ]
    if night.model is not night.before.model and night.before.model is not None:
        earlier = night.before.model
        place = places(model.item_ids, earlier.item_ids)
        both = np.flatnonzero(place >= 0)
        metrics += factors.alignment_metrics(model.factors[both], earlier.factors[place[both]])
    return metrics


def of_models(night: Night) -> list[Metric]:
    """Of `models`."""
    spectrum = night.model.spectrum if night.model else np.zeros(0)
    return [metric("loss", night.learned.loss), *factors.rank_metrics(spectrum)]


def of_pools(night: Night) -> list[Metric]:
    """Of `pools`."""
    sums = SegmentSums()
    columns = ["source", "scores", "norm", "computed_on"]
    for batch in night.pools.select(columns).combine_chunks().to_batches():
        pools.add_pools(sums, batch, night.run_date)
    return [*pools.pool_metrics(sums)]


def of_ranked_lists(night: Night) -> list[Metric]:
    """Of `ranked_lists`."""
    rows = night.lists
    assert rows is not None
    sums, traits = SegmentSums(), _traits(night)
    rows = rows.combine_chunks()
    earlier = beside(rows.slice(0, 0) if night.before.lists is None else night.before.lists, rows["user_id"])
    own = places(rows["user_id"], night.interactions["user_id"])
    heard, tonight = cells(night.interactions).heard_by(own, day_number(night.run_date))
    items = list_rows(rows, night.ids)
    propensities = rows["propensities"].combine_chunks()
    chances = np.ones(len(items.items))
    chances[np.repeat(mask(pc.is_valid(propensities)), items.lengths)] = propensities.flatten().to_numpy()
    lists.add_lists(
        sums,
        lists.Lists(
            items=items,
            segments={kind: Labels.of(rows[kind]) for kind in lists.KINDS},
            scores=pc.struct_field(rows["items"].combine_chunks().flatten(), "score").to_numpy(),
            candidates=rows["candidates"].to_numpy().astype(np.int64),
            cold=np.zeros(len(items.items), bool),
            explored=chances < 1,
            personal=mask(pc.equal(rows["source"], "als")),
            steered=np.zeros(rows.num_rows, bool),
            previous=list_rows(earlier, night.ids),
            had_list=mask(pc.is_valid(earlier["user_id"])),
            heard=heard,
            heard_tonight=tonight,
        ),
        traits,
    )
    _add_worth(sums, night, rows)
    return [*lists.list_metrics(sums, traits), *worth.worth_metrics(sums)]


def _add_worth(sums: SegmentSums, night: Night, rows: pa.Table) -> None:
    """Add what last night's model says of lists, and how tastes go with last night's."""
    before, model, tonight = night.before.lists, night.before.model, night.model
    if before is None or model is None or tonight is None:
        return
    users = rows["user_id"]
    pools, earlier = beside(night.pools, users), beside(night.before.pools, users)
    some = mask(pc.is_valid(earlier["factors"])) & (places(users, before["user_id"]) >= 0)
    rows, earlier, pools = (each.filter(pa.array(some)).combine_chunks() for each in (rows, earlier, pools))
    segments = {kind: Labels.of(rows[kind]) for kind in worth.KINDS}
    judge = _judge(earlier, model)
    now, then = (list_rows(each, model.item_ids) for each in (rows, beside(before, rows["user_id"])))
    worth.add_worth(sums, judge, now, then, segments)
    ids = model.item_ids.filter(pa.array(places(model.item_ids, tonight.item_ids) >= 0))
    asked = ids.take(pa.array(worth.asked_items(ids)))
    also = mask(pc.is_valid(pools["factors"]))
    judges = _judge(pools.filter(pa.array(also)), tonight), _judge(earlier.filter(pa.array(also)), model)
    scores = (each.scores(places(asked, of.item_ids)) for each, of in zip(judges, (tonight, model), strict=True))
    worth.add_tastes(sums, *scores, {kind: each.take(np.flatnonzero(also)) for kind, each in segments.items()})


def _judge(pools: pa.Table, model: Model) -> worth.Judge:
    """A model, and the listeners of some pools with factors."""
    vectors = model.factors * model.score_multipliers[:, None]
    listeners = pools["factors"].combine_chunks().flatten().to_numpy()
    return worth.Judge(listeners.reshape(-1, vectors.shape[1]), vectors)


def of_assignments(night: Night) -> list[Metric]:
    """Of `assignments`."""
    assert night.lists is not None
    counts = pc.value_counts(night.lists["arm"]).to_pylist()
    some = [each for each in counts if "/" in each["values"]]
    return [*arms.arm_metrics([each["values"] for each in some], np.array([each["counts"] for each in some], float))]


def of_exposures(night: Night) -> list[Metric]:
    """Of `exposures`: of the day that landed, beside the lists that were served on it."""
    sums, rows, listed = SegmentSums(), night.day.exposures, night.before.lists
    if listed is None:
        return []
    batches = rows.combine_chunks().to_batches()
    for batch in batches:
        exposures.add_exposures(sums, batch)
    if batches:
        computed = list_rows(beside(listed, rows["user_id"]), night.ids)
        arm, market = Labels.of(rows["arm"]), Labels.of(rows["market"])
        exposures.add_shown_lists(sums, exposures.ShownLists(list_rows(rows, night.ids), computed, arm, market))
    seen = places(listed["user_id"], rows["user_id"]) >= 0
    exposures.add_listed(sums, Labels.of(listed["arm"]), seen)
    return [*exposures.exposure_metrics(sums)]


def of_exposure_ingests(night: Night) -> list[Metric]:
    """Of `exposure_ingests`: one writer, whose lines are all sound."""
    lines = float(night.day.exposures.num_rows)
    counts = {"lines": lines, "accepted": lines, "duplicates": 0.0, "rejected": 0.0, "late": 0.0}
    return [*accounts.account_metrics(counts, {}, "lines"), metric("accepted", lines, "writer", "simulated")]


MEASURES: dict[str, tuple[Measure, tuple[str, ...]]] = {
    "listens": (of_listens, ("day", "catalogue", "model")),
    "ingests": (of_ingests, ("day",)),
    "quarantine": (of_quarantine, ("day",)),
    "items": (of_items, ("catalogue", "before")),
    "interactions": (of_interactions, ("interactions", "before")),
    "item_factors": (of_item_factors, ("model", "interactions")),
    "models": (of_models, ("model", "learned")),
    "pools": (of_pools, ("pools",)),
    "ranked_lists": (of_ranked_lists, ("lists", "ranked", "pools", "model", "catalogue", "interactions", "before")),
    "assignments": (of_assignments, ("lists",)),
    "exposures": (of_exposures, ("day", "before")),
    "exposure_ingests": (of_exposure_ingests, ("day",)),
}
"""By table, its measure and the parts of a night that it depends on."""


def measure(
    night: Night, of: Mapping[str, Profile], clean: Night | None = None, measured: pa.Table | None = None
) -> pa.Table:
    """The rows of `night_metrics` of a night.

    Args:
        of: profiles of its tables.
        clean: the same night without a fault, whose metrics stand where nothing that they depend on differs.
        measured: its metrics.
    """
    tables = []
    for table, (measure_of, parts) in MEASURES.items():
        if clean is not None and all(getattr(night, part) is getattr(clean, part) for part in parts):
            assert measured is not None
            tables.append(measured.filter(pc.equal(measured["table"], table)))
            continue
        profile = of.get(table, {})
        metrics = [Metric(name, value) for name, value in profile.items() if value is not None]
        metrics += measure_of(night)
        tables.append(
            pa.table(
                {
                    "run_date": pa.repeat(pa.scalar(night.run_date), len(metrics)),
                    "table": pa.repeat(table, len(metrics)),
                    "metric": [each.name for each in metrics],
                    "segment_kind": [each.segment_kind for each in metrics],
                    "segment": [each.segment for each in metrics],
                    "value": [each.value for each in metrics],
                    "count": pa.array([each.count for each in metrics], pa.float64()),
                }
            ).cast(NIGHT_METRICS)
        )
    return pa.concat_tables(tables).combine_chunks()


def _traits(night: Night) -> ItemTraits:
    """Traits of the items by index."""
    rows = places(night.ids, night.catalogue["item_id"])
    popularity = np.zeros(len(night.ids))
    if night.model is not None:
        popularity[night.model.item_indexes] = night.model.listeners
    since = night.catalogue["available_from"].combine_chunks()
    week = pa.scalar(night.run_date - timedelta(days=NEW_NIGHTS - 1), pa.date32())
    fresh = mask(pc.fill_null(pc.greater_equal(since, week), False))
    new = np.append(fresh, False)[rows]
    return ItemTraits.of(night.catalogue, rows, new=new, popularity=popularity)
