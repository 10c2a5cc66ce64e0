"""The gate that a candidate passes before it is live: compared with the live model on nights that were listened to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import pyarrow.compute as pc

from nocturne.core.errors import GateClosed, SettingsError
from nocturne.core.night import Night
from nocturne.core.settings import PromotionSettings
from nocturne.evaluation.backtest import compare_models
from nocturne.evaluation.significance import EVERYONE, Difference
from nocturne.flow import GATED_TABLES, NIGHTLY
from nocturne.storage import model_transitions, tables
from nocturne.storage.history import closed_dates
from nocturne.storage.model_transitions import LIVE, REFUSED, REJECTED, UNDECIDED, Row
from nocturne.training import registry


@dataclass(frozen=True)
class Objection:
    """What speaks against a candidate.

    Attributes:
        worse: whether it is shown to be worse, not only not shown to be no worse.
    """

    said: str
    worse: bool = False


def promote(night: Night, model_version: str, *, by: str, why: str, days: int = 1) -> str:
    """Make a model live from this night on, if the gate lets it pass; returns what was decided, for people.

    Whoever calls this holds the lease.

    Args:
        night: the first night that the model serves.
        model_version: a candidate, or a retired model.
        by: who decides.
        why: the reason.
        days: days of listening that the lists of a night are scored on.

    Raises:
        GateClosed: the gate does not let it pass; that is on record with the figures.
        SettingsError: there is no such model, or no reason is given.
    """
    registry.require_reason(why)
    rows = registry.models(night)
    row, live = registry.find(rows, model_version), model_transitions.live_on(rows, night.run_date)
    version = str(row["model_version"])
    if live is row:
        return f"{version} is live on {night.run_date} already"
    against, found = _unfit(night, row), []
    if not against and live:
        nights = evaluable(night, (row["run_date"], live["run_date"]), days)
        if nights:
            found = compare(nights, version, live["model_version"], days)
            rows = recorded(rows, found, nights)
        against = objections(found, night.settings.promotion) if nights else [_nothing_on(night, row, live, days)]
    since = night.run_date
    if against:
        reasons = [each.said for each in against]
        state = REFUSED if any(each.worse for each in against) else UNDECIDED
        after = model_transitions.moved(rows, version, state, since=since, by=by, why="; ".join(reasons))
        registry.write(night, registry.models(night), after)
        raise GateClosed(
            f"{version} is not made live",
            where=night.warehouse,
            found="\n    ".join(reasons),
            expected=_expected(night.settings.promotion),
            fix=f"`nocturne models show {version}` has every figure; {_meanwhile(live)}",
        )
    registry.write(
        night, registry.models(night), model_transitions.moved(rows, version, LIVE, since=since, by=by, why=why)
    )
    return f"{version} is live from {since} on; {_summary(found) if live else 'no other model was'}"


def evaluable(night: Night, trained_on: Iterable[date], days: int) -> list[Night]:
    """The last nights whose lists can be scored on listening from before this night, at most as settings say.

    Args:
        trained_on: nights on which the models to compare were trained; earlier nights would give the later away.
        days: days of listening after a night, each of which must have been ingested.
    """
    first, last = max(trained_on), night.run_date - timedelta(days=days + 1)
    made = set(tables.dates(night, "interactions")) - closed_dates(night, GATED_TABLES)
    heard = set(tables.dates(night, "listens")) - closed_dates(night, NIGHTLY[0].writes)
    whole = [
        replace(night, run_date=day)
        for day in sorted(made)
        if first <= day <= last and all(day + timedelta(days=after) in heard for after in range(1, days + 1))
    ]
    return whole[-night.settings.promotion.nights :]


def compare(nights: Sequence[Night], model_version: str, against: str, days: int) -> list[Difference]:
    """How the lists of one model differ from those of another, scored on what was listened to afterwards.

    Args:
        nights: nights that both models are given the interactions of.
        days: days of listening after each night.

    Raises:
        SettingsError: there is no such model, it is compared with itself, or nobody heard anything new by then.
    """
    if model_version == against:
        raise SettingsError("a model is compared with itself", found=against, fix="name two models")
    models = {version: registry.load_model(nights[0], version) for version in (model_version, against)}
    return compare_models(nights, models, against, days, nights[0].settings.promotion.top_k)


def objections(found: Iterable[Difference], settings: PromotionSettings) -> list[Objection]:
    """What speaks against a candidate; empty when the gate lets it pass.

    Over all listeners the interval of the difference must not reach further below 0 than the margin; in segments
    with enough listeners, whose intervals are wide, the difference itself must not. It is worse where all of the
    interval lies below 0.
    """
    deciding = {f"{metric}@{settings.top_k}" for metric in settings.metrics}
    said = []
    found = [difference for difference in found if difference.metric in deciding]
    missing = deciding - {each.metric for each in found if each.segment == EVERYONE and each.listeners}
    for each in found:
        if each.segment == EVERYONE:
            share, value = settings.margin, each.low
        elif each.listeners >= settings.min_listeners:
            share, value = settings.segment_margin, each.difference
        else:
            continue
        # Not a number is no proof either.
        if not value >= -share * each.against_mean:
            said.append(Objection(f"{told(each)}; allowed {-share * each.against_mean:+.4f}", worse=each.high < 0))
    return [*(Objection(f"{metric}: nobody to score it on") for metric in sorted(missing)), *said]


def told(difference: Difference) -> str:
    """A difference in words."""
    return (
        f"{difference.metric}, {difference.segment}: {difference.mean:.4f} against {difference.against_mean:.4f}, "
        f"{difference.difference:+.4f} ({difference.low:+.4f} to {difference.high:+.4f}) "
        f"for {difference.listeners:,} listeners"
    )


def recorded(rows: Sequence[Row], found: Sequence[Difference], nights: Sequence[Night]) -> list[Row]:
    """The rows with these figures among their metrics; those of the same comparison are replaced."""
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
        }
        for each in found
    ]
    versions = {each.system for each in found}
    replaced = {(each["against"], each["nights"]) for each in new}
    return [
        row | {"metrics": [*(old for old in row["metrics"] if (old["against"], old["nights"]) not in replaced), *new]}
        if row["model_version"] in versions
        else row
        for row in rows
    ]


def _unfit(night: Night, row: Row) -> list[Objection]:
    """Why a model may not be live from this night on, whatever it is compared with."""
    trained_on, version = row["run_date"], row["model_version"]
    failed = (pc.field("run_date") == trained_on) & (pc.field("state") == "gate_closed")
    closed = trained_on in closed_dates(night, GATED_TABLES) or tables.rows(night, "nights", failed).num_rows
    reasons = {
        f"{version} was rejected": row["state"] == REJECTED,
        f"{version} was trained on {trained_on}, not before {night.run_date}": trained_on >= night.run_date,
        f"{version} was trained on {trained_on}, a night whose gate closed": bool(closed),
    }
    return [Objection(reason) for reason, holds in reasons.items() if holds]


def _nothing_on(night: Night, row: Row, live: Row, days: int) -> Objection:
    first, last = max(row["run_date"], live["run_date"]), night.run_date - timedelta(days=days + 1)
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


def _meanwhile(live: Row | None) -> str:
    return f"{live['model_version']} stays live" if live else "no model is live"


def _summary(found: Iterable[Difference]) -> str:
    return "; ".join(told(each) for each in found if each.segment == EVERYONE)
