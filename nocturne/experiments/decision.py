"""The one written rule: what the tests of all metrics and checks together say about a treatment.

A treatment ships if at least one success metric improved, every guardrail is within its margin, no metric of any role
got worse, and every check of quality holds. Alpha is divided among success metrics alone: a guardrail makes shipping
rarer, never likelier. Beta is divided by the number of guardrails + 1, since each may fail by chance; what checks and
deterioration metrics may spoil comes off before.

Source: Schultzberg, Ankargren and Frånberg (2024), "Risk-aware product decisions in A/B tests with multiple metrics",
arXiv 2402.11609, the rule with success, guardrail, deterioration and quality metrics.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from nocturne.core.experiment import Experiment
from nocturne.experiments import quality
from nocturne.experiments.quality import Check, Culprit

Verdict = Literal["ship", "harm", "no effect", "continue", "invalid"]
Role = Literal["success", "guardrail", "deterioration"]


@dataclass(frozen=True)
class Risks:
    """Error rates of single tests, each over all looks.

    Attributes:
        success: alpha of each success metric's superiority.
        guardrail: alpha of each guardrail's non-inferiority.
        harm: alpha of each metric's inferiority.
        beta: of each success metric and guardrail.
        spoilt: rate at which checks and deterioration metrics stop what is sound and hurts nobody.
    """

    success: float
    guardrail: float
    harm: float
    beta: float
    spoilt: float

    def gain(self, role: Role) -> float | None:
        """Alpha of what a metric has to prove for a treatment to ship; None where there is nothing to prove."""
        return {"success": self.success, "guardrail": self.guardrail, "deterioration": None}[role]


def risks_of(experiment: Experiment) -> Risks:
    """Error rates of every test of an experiment, from its alpha and power.

    At least half of the experiment's beta is left to success metrics and guardrails.
    """
    roles = [metric.role for metric in experiment.metrics.values()]
    beta = 1 - experiment.power
    spoilt = quality.ALPHA + experiment.alpha * roles.count("deterioration") / len(roles)
    return Risks(
        success=experiment.alpha / roles.count("success"),
        guardrail=experiment.alpha,
        harm=experiment.alpha / len(roles),
        beta=max(beta - spoilt, beta / 2) / (roles.count("guardrail") + 1),
        spoilt=spoilt,
    )


@dataclass(frozen=True)
class Standing:
    """A metric's tests at one look.

    Attributes:
        metric: its name.
        role: in the decision.
        relative: effect as a share of control.
        low, high: its repeated confidence interval.
        tolerance: minimum effect of a success metric, margin of a guardrail.
        proved: the superiority of a success metric, the non-inferiority of a guardrail, at this look or before.
        harmed: it got worse, at this look or before.
        futile: what is to be proved is out of reach.
    """

    metric: str
    role: Role
    relative: float
    low: float
    high: float
    tolerance: float
    proved: bool
    harmed: bool
    futile: bool


@dataclass(frozen=True)
class Decision:
    """The advice on a treatment after a look.

    Attributes:
        treatment: arm.
        day: of the experiment, from 1.
        verdict: in one word.
        text: in the words of a report: `ship`, `stop: harm`, `stop: no effect worth having`,
            `continue until 2025-03-08`, `invalid: …`.
        reasons: sentences.
    """

    treatment: str
    day: int
    verdict: Verdict
    text: str
    reasons: tuple[str, ...]

    @property
    def is_final(self) -> bool:
        """True unless the experiment goes on."""
        return self.verdict != "continue"


def decide(
    experiment: Experiment, treatment: str, day: int, standings: Sequence[Standing], checks: Sequence[Check]
) -> Decision:
    """The decision about a treatment after the look of a day, by the rule above.

    A broken experiment says nothing, so quality comes first; then harm, so that nothing ships that hurts.
    """

    def decision(verdict: Verdict, text: str, reasons: Sequence[str]) -> Decision:
        return Decision(treatment, day, verdict, text, tuple(reasons))

    if culprit := quality.culprit_of(checks):
        return decision("invalid", f"invalid: {_WHY[culprit]}", [_failure(check) for check in checks if check.failed])
    if harmed := [each for each in standings if each.harmed]:
        return decision("harm", "stop: harm", [_harm(each) for each in harmed])
    successes = [each for each in standings if each.role == "success"]
    guardrails = [each for each in standings if each.role == "guardrail"]
    proved = [each for each in (*successes, *guardrails) if each.proved]
    unsafe = [each for each in guardrails if not each.proved]
    if any(each.proved for each in successes) and not unsafe:
        return decision("ship", "ship", [_proof(each) for each in proved])
    missing = ([] if any(each.proved for each in successes) else successes) + unsafe
    lost = [each for each in unsafe if each.futile]
    if all(each.futile and not each.proved for each in successes):
        lost = successes + lost
    if lost:
        return decision("no effect", "stop: no effect worth having", [_futility(each) for each in lost])
    later = [look for look in experiment.looks if look > day]
    if not later:
        ended = [f"This was the last look. {_lack(each)}" for each in missing]
        return decision("no effect", "stop: no effect worth having", ended)
    until = date_of(experiment, later[0])
    return decision("continue", f"continue until {until}", [_lack(each) for each in missing])


def date_of(experiment: Experiment, day: int) -> date:
    """Night of the look after so many days of an experiment: its first lists are heard on the day after its start."""
    return experiment.start + timedelta(days=day)


_WHY: dict[Culprit, str] = {
    "assignment": "the arms were not alike from the start",
    "pipeline": "an arm's listeners went without their lists",
    "client": "an arm's exposures are missing",
}


def _failure(check: Check) -> str:
    chance = (
        f"by chance that happens in {_share(check.p_value)} of sound experiments, and {_share(check.alpha)} is allowed"
    )
    if check.step == "assignment":
        return (
            f"Control has {check.control:,.0f} listeners and the treatment {check.treatment:,.0f}, which is not the "
            f"ratio of their weights: {chance}. Look at the assignment."
        )
    if check.step == "before":
        return (
            f"The arms differed in {check.column.partition(':')[2]} before the experiment began, {check.control:.4g} "
            f"and {check.treatment:.4g} on average: {chance}. Look at the assignment."
        )
    of_control, of_treatment = _share(check.control), _share(check.treatment)
    if check.step == "list":
        return (
            f"{of_control} of control's listeners and {of_treatment} of the treatment's went without their list on the "
            f"night before: {chance}. Look at the pipeline."
        )
    if check.step == "trigger":
        return (
            f"Lists differ for {of_control} of control's listeners and {of_treatment} of the treatment's: {chance}. "
            "Look at the pipeline."
        )
    return (
        f"Lists were there, but {of_control} of control's listeners and {of_treatment} of the treatment's were shown "
        f"one: {chance}. Look at the client and at how exposures are logged."
    )


def _harm(standing: Standing) -> str:
    return f"{standing.metric} got worse: {_effect(standing)}, which chance does not explain."


def _proof(standing: Standing) -> str:
    if standing.role == "success":
        return f"{standing.metric} improved: {_effect(standing)}, which chance does not explain."
    return f"{standing.metric} is within its margin of {_share(standing.tolerance)}: {_effect(standing)}."


def _futility(standing: Standing) -> str:
    if standing.role == "success":
        return (
            f"{standing.metric} is at {_effect(standing)}; if its effect were the {_share(standing.tolerance)} worth "
            "having, it would stand higher by now."
        )
    return (
        f"{standing.metric} is at {_effect(standing)}; if nothing were lost, it would by now be clearer of its margin "
        f"of {_share(standing.tolerance)}."
    )


def _lack(standing: Standing) -> str:
    if standing.role == "success":
        return f"{standing.metric} is at {_effect(standing)}, which chance may still explain."
    margin = _share(standing.tolerance)
    return f"{standing.metric} is at {_effect(standing)}: a loss above its margin of {margin} is not ruled out."


def _effect(standing: Standing) -> str:
    if not abs(standing.relative) < float("inf"):
        return "an effect that is not known yet"
    low, high = (
        f"{limit:+.2%}" if abs(limit) < float("inf") else "any effect" for limit in (standing.low, standing.high)
    )
    return f"{standing.relative:+.2%} (between {low} and {high})"


def _share(value: float) -> str:
    return f"{value:.2%}" if value >= 0.0001 else "less than 0.01%"
