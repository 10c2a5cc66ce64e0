"""Promotion: a candidate is live once it was compared with the live model on nights that were listened to."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from typing import Any

import pyarrow.compute as pc

from nocturne.core.errors import GateClosed, UsageError
from nocturne.core.night import Night
from nocturne.core.sections import PromotionSettings
from nocturne.core.stage import Progress
from nocturne.evaluation.backtest import Comparison, compare_models
from nocturne.evaluation.significance import EVERYONE, Difference
from nocturne.flow import GATED_TABLES, NIGHTLY
from nocturne.storage import tables
from nocturne.storage.history import closed_dates
from nocturne.storage.model_transitions import (
    LIVE,
    REFUSED,
    REJECTED,
    UNDECIDED,
    ModelRecord,
    live_on,
    with_transition,
)
from nocturne.training import registry


@dataclass(frozen=True)
class Objection:
    """A reason against a candidate.

    Attributes:
        worse: whether it is shown to be worse, not only not shown to be no worse.
    """

    text: str
    worse: bool = False


def promote(night: Night, version: str, *, actor: str, reason: str, days: int = 1) -> str:
    """Make a model live from this night on, if the comparison speaks for it; returns what was decided, for people.

    Whoever calls this holds the lease.

    Args:
        night: the first night that the model serves.
        version: of a candidate, or a retired model.
        actor: who decides.
        days: days of listening that the lists of a night are scored on.

    Raises:
        GateClosed: the comparison speaks against it; that is on record with the figures.
        UsageError: there is no such model, or no reason is given.
    """
    registry.require_reason(reason)
    models = registry.models(night.warehouse)
    model, live = registry.find(models, version), live_on(models, night.run_date)
    if live is model:
        return f"{model.version} is live on {night.run_date} already"
    against = _unfit(night, model)
    if not against and live:
        nights = evaluable_nights(night, (model.run_date, live.run_date), days)
        if nights:
            comparison = compare_versions(nights, model.version, live.version, days)
            models = with_metrics(models, comparison, nights)
            against = objections(comparison.differences, night.settings.promotion)
        else:
            against = [_nothing_on(night, model, live, days)]
    since = night.run_date
    if against:
        reasons = [objection.text for objection in against]
        state = REFUSED if any(objection.worse for objection in against) else UNDECIDED
        after = with_transition(models, model.version, state, since=since, actor=actor, reason="; ".join(reasons))
        registry.write(night.warehouse, registry.models(night.warehouse), after)
        raise GateClosed(
            f"{model.version} is not made live",
            where=night.warehouse.path,
            found="\n    ".join(reasons),
            expected=_expected(night.settings.promotion),
            fix=f"`nocturne models show {model.version}` has every figure; {_meanwhile(live)}",
        )
    after = with_transition(models, model.version, LIVE, since=since, actor=actor, reason=reason)
    registry.write(night.warehouse, registry.models(night.warehouse), after)
    return f"{model.version} is live from {since} on" + ("" if live else "; no other model was")


def evaluable_nights(night: Night, trained_on: Iterable[date], days: int) -> list[Night]:
    """The last nights whose lists can be scored on listening from before this night, at most as settings say.

    Args:
        trained_on: nights on which the models to compare were trained; earlier nights would give the later away.
        days: days of listening after a night, each of which must have been ingested.
    """
    first, last = max(trained_on), night.run_date - timedelta(days=days + 1)
    made = set(tables.dates(night.warehouse, "interactions")) - closed_dates(night.warehouse, GATED_TABLES)
    heard = set(tables.dates(night.warehouse, "listens")) - closed_dates(night.warehouse, NIGHTLY[0].writes)
    whole = [
        night.on(day)
        for day in sorted(made)
        if first <= day <= last and all(day + timedelta(days=after) in heard for after in range(1, days + 1))
    ]
    return whole[-night.settings.promotion.nights :]


def compare_versions(
    nights: Sequence[Night],
    model_version: str,
    against: str,
    days: int,
    progress: Progress = lambda _done, _of, _next: None,
) -> Comparison:
    """Compare one model's lists with those of another, scored on what was listened to afterwards.

    Listeners whom a race may have asked for the recipe of either are left out.

    Args:
        nights: nights that both models are given the interactions of.
        days: days of listening after each night.
        progress: told before each night.

    Raises:
        UsageError: there is no such model, it is compared with itself, or nobody heard anything new by then.
    """
    if model_version == against:
        raise UsageError("a model is compared with itself", found=against, fix="name two models")
    warehouse, versions = nights[0].warehouse, (model_version, against)
    models = {version: registry.load_model(warehouse, version) for version in versions}
    known = registry.models(warehouse)
    asked_share = max(registry.find(known, version).race_share for version in versions)
    top_k = nights[0].settings.promotion.top_k
    return compare_models(nights, models, against, days, top_k, asked_share, progress)


def objections(differences: Iterable[Difference], settings: PromotionSettings) -> list[Objection]:
    """The reasons against a candidate; empty where there are none.

    Over all listeners the interval of the difference must not reach further below 0 than the margin; in segments
    with enough listeners, whose intervals are wide, the difference itself must not. It is worse where all of the
    interval lies below 0.
    """
    deciding = {f"{metric}@{settings.top_k}" for metric in settings.metrics}
    decisive = [difference for difference in differences if difference.metric in deciding]
    scored = {difference.metric for difference in decisive if difference.segment == EVERYONE and difference.listeners}
    against = [Objection(f"{metric}: nobody to score it on") for metric in sorted(deciding - scored)]
    for difference in decisive:
        if difference.segment == EVERYONE:
            share, value = settings.margin, difference.low
        elif difference.listeners >= settings.min_listeners:
            share, value = settings.segment_margin, difference.difference
        else:
            continue
        allowed = -share * difference.against_mean
        # Not a number is no proof either.
        if not value >= allowed:
            text = f"{describe(difference)}; allowed {allowed:+.4f}"
            against.append(Objection(text, worse=difference.high < 0))
    return against


def describe(difference: Difference) -> str:
    """A difference in words."""
    return (
        f"{difference.metric}, {difference.segment}: {difference.mean:.4f} against {difference.against_mean:.4f}, "
        f"{difference.difference:+.4f} ({difference.low:+.4f} to {difference.high:+.4f}) "
        f"for {difference.listeners:,} listeners"
    )


def with_metrics(models: Sequence[ModelRecord], comparison: Comparison, nights: Sequence[Night]) -> list[ModelRecord]:
    """The models with these figures among their metrics; those of the same comparison are replaced."""
    first, last = nights[0].run_date, nights[-1].run_date
    span = f"{first}" if first == last else f"{first} to {last}"
    new = [
        {
            "metric": each.metric,
            "segment": each.segment,
            "against": each.against,
            "nights": span,
            "listeners": each.listeners,
            "value": each.mean,
            "difference": each.difference,
            "low": each.low,
            "high": each.high,
            **asdict(comparison.sample_size),
        }
        for each in comparison.differences
    ]
    versions = {each.system for each in comparison.differences}
    replaced = {(row["against"], row["nights"]) for row in new}

    def metrics(model: ModelRecord) -> tuple[Mapping[str, Any], ...]:
        return (*(row for row in model.metrics if (row["against"], row["nights"]) not in replaced), *new)

    return [replace(model, metrics=metrics(model)) if model.version in versions else model for model in models]


def _unfit(night: Night, model: ModelRecord) -> list[Objection]:
    """Reasons why a model may not be live from this night on, whatever it is compared with."""
    failed = (pc.field("run_date") == model.run_date) & (pc.field("state") == "gate_closed")
    closed = (
        model.run_date in closed_dates(night.warehouse, GATED_TABLES)
        or tables.rows(night.warehouse, "nights", failed).num_rows
    )
    trained = f"{model.version} was trained on {model.run_date}"
    reasons = {
        f"{model.version} was rejected": model.state == REJECTED,
        f"{trained}, not before {night.run_date}": model.run_date >= night.run_date,
        f"{trained}, a night whose gate closed": bool(closed),
    }
    return [Objection(reason) for reason, holds in reasons.items() if holds]


def _nothing_on(night: Night, model: ModelRecord, live: ModelRecord, days: int) -> Objection:
    first, last = max(model.run_date, live.run_date), night.run_date - timedelta(days=days + 1)
    return Objection(
        f"there is nothing to compare it on: no sound night from {first}, when both models were there, to {last} "
        f"that was listened to after it (--days {days})"
    )


def _expected(settings: PromotionSettings) -> str:
    names = ", ".join(f"{metric}@{settings.top_k}" for metric in settings.metrics)
    return (
        f"{names}: intervals that reach at most {settings.margin:.0%} below the live model, and no segment of "
        f"{settings.min_listeners:,} listeners that loses more than {settings.segment_margin:.0%} ([promotion])"
    )


def _meanwhile(live: ModelRecord | None) -> str:
    return f"{live.version} stays live" if live else "no model is live"
