"""Tools that change what listeners get: each says first what it would do, and does it with a person's confirmation."""

import shlex
from datetime import date

from pydantic import Field

from nocturne.agents.answers import Answer, Words, receipt
from nocturne.agents.confirmation import SECONDS, Arguments, Confirmations
from nocturne.agents.service import Service
from nocturne.agents.strangers import is_plain, unmarked
from nocturne.core.errors import UsageError
from nocturne.serving.cache.pointer import roll_back
from nocturne.serving.opened_cache import opened

ROLLBACK, CONCLUDE = "rollback", "conclude"
TO_CONFIRM, DONE = "to confirm", "done"
LONGEST_WHY = 300


class Changed(Answer):
    """A change, made or yet to be confirmed."""

    action: Words
    state: Words = Field(description="to confirm: nothing was changed; done")
    effect: Words = Field(description="The change, in words")
    confirm_with: Words | None = Field(
        default=None, description="Command by which a person, not the agent, gets the confirmation; KEY is theirs"
    )
    confirmed_by: Words | None = None


def rollback_arguments(served: str, to: str, why: str) -> Arguments:
    """All that a confirmation of a rollback is about."""
    return {"from": served, "to": to, "why": why}


def conclude_arguments(name: str, arm: str, run_date: date, why: str) -> Arguments:
    """All that a confirmation of a conclusion is about."""
    return {"experiment": name, "arm": arm, "run-date": str(run_date), "why": why}


def rollback(
    service: Service, confirmations: Confirmations, why: str, to: str | None, confirmation: str | None
) -> Changed:
    """Serve an earlier generation until a person releases the cache; without a confirmation say what that would be.

    Raises:
        UsageError: there is nothing to go back to, the cache is held already, or the confirmation is refused.
        InputError: the manifest of that generation does not hold.
        ServiceError: the cache is away, or has lost that generation.
    """
    from nocturne.pipeline.status import show_in_data_docs
    from nocturne.serving import rollout

    why, to = _reason(why), None if to is None else unmarked(to)
    warehouse, url, settings = service.tables(), service.cache(), service.cache_settings
    with opened(url, settings) as store:
        before = store.pointer()
        target = roll_back(before, why, to)
    assert before
    arguments = rollback_arguments(before.served.name, target.served.name, why)
    effect = (
        f"listeners get the lists of night {target.served.run_date} instead of {before.served.run_date}, "
        "whatever is published, until a person calls `nocturne release`"
    )
    if confirmation is None:
        return Changed(
            receipt=receipt(warehouse, target.served.run_date, before.served.name),
            next_step=_ask("rollback"),
            action="rollback",
            state=TO_CONFIRM,
            effect=effect,
            confirm_with=_command(ROLLBACK, arguments),
        )
    who = confirmations.spend(confirmation, ROLLBACK, arguments)
    with opened(url, settings, write=True) as store:
        if store.pointer() != before:
            raise UsageError("the cache has moved meanwhile", fix="call rollback again without a confirmation")
        pointer = rollout.rollback(service.tables(), store, f"{why} ({who}, by an agent)", target.served.name)
    show_in_data_docs(service.tables())
    return Changed(
        receipt=receipt(service.tables(), pointer.served.run_date, pointer.served.name),
        next_step="nights tells what is served now; when it is mended a person calls `nocturne release`",
        action="rollback",
        state=DONE,
        effect=effect,
        confirmed_by=who,
    )


def conclude_experiment(
    service: Service,
    confirmations: Confirmations,
    name: str,
    arm: str,
    run_date: date,
    why: str,
    confirmation: str | None,
) -> Changed:
    """End an experiment before a night; without a confirmation say what that would be.

    Raises:
        UsageError: there is no such experiment, arm or model, or the confirmation is refused.
        GateClosed: the registry's gate refuses the model of the arm: then the experiment goes on.
        ServiceError: another night holds the lease.
    """
    from nocturne.evaluation.concluding import concludable, conclude
    from nocturne.storage.warehouse import leased

    name, arm, why, warehouse = unmarked(name), unmarked(arm), _reason(why), service.tables()
    _, _, model = concludable(warehouse, run_date, name, arm)
    arguments = conclude_arguments(name, arm, run_date, why)
    live = f", and {model.version} is live then if the registry's gate lets it" if model else ""
    effect = f"experiment {name} ends: {arm} is for everyone from night {run_date} on{live}"
    if confirmation is None:
        return Changed(
            receipt=receipt(warehouse, run_date),
            next_step=_ask("conclude_experiment"),
            action="conclude_experiment",
            state=TO_CONFIRM,
            effect=effect,
            confirm_with=_command(CONCLUDE, arguments),
        )
    who = confirmations.spend(confirmation, CONCLUDE, arguments)
    with leased(service.tables(), run_date) as writable:
        concluded = conclude(writable, run_date, name, arm, actor=f"{who}, by an agent", why=why)
    settings = "; ".join(f"{key} = {value!r}" for key, value in concluded.settings.items())
    next_step = "experiments has it as concluded"
    if settings:
        next_step = f"a person puts into the settings of the nights: {settings}"
    return Changed(
        receipt=receipt(service.tables(), run_date),
        next_step=next_step,
        action="conclude_experiment",
        state=DONE,
        effect=str(concluded),
        confirmed_by=who,
    )


def _reason(why: str) -> str:
    """A reason that can stand in a command and in a table.

    Raises:
        UsageError: there is none, or it holds what a person would not see.
    """
    if not (0 < len(why.strip()) <= LONGEST_WHY and is_plain(why)):
        raise UsageError(
            "a change needs a reason in plain words",
            expected=f"up to {LONGEST_WHY} characters in one line, without \\ and marks",
        )
    return why.strip()


def _command(action: str, arguments: Arguments) -> str:
    options = " ".join(f"--{name} {shlex.quote(value)}" for name, value in arguments.items())
    return f"nocturne mcp confirm {action} {options} --key-file KEY"


def _ask(tool: str) -> str:
    return (
        "show a person the effect and the command in confirm_with; when they hand you what it prints, "
        f"call {tool} again with the same arguments and that as confirmation, within {SECONDS // 60} minutes"
    )
