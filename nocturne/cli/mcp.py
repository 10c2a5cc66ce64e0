"""`nocturne mcp`: tools for agents over the Model Context Protocol, and the confirmations that people give them."""

import getpass
import logging
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nocturne.cli.error_edge import edge
from nocturne.cli.help import Command, Group
from nocturne.cli.options import DAY, Conf, Set, open_warehouse
from nocturne.core.console import print_json, say
from nocturne.core.errors import UsageError

if TYPE_CHECKING:
    from nocturne.agents.confirmation import Arguments

app = typer.Typer(cls=Group, help="Tools for agents, over the Model Context Protocol.")
confirm_app = typer.Typer(cls=Group, no_args_is_help=True, help="Let an agent make one change: for people.")
confirm = partial(confirm_app.command, cls=Command)

LOG_FORMAT = "%(asctime)s %(process)d %(levelname)s %(message)s"

KeyFile = Annotated[Path, typer.Option("--key-file", help="key of confirmations, the server's own", metavar="FILE")]
By = Annotated[str | None, typer.Option(help="who decides; by default the user", metavar="NAME")]
Why = Annotated[str, typer.Option(help="the reason, as the agent gave it", metavar="TEXT")]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]


@app.callback(invoke_without_command=True)
def mcp(
    context: typer.Context,
    warehouse: Annotated[str, typer.Option(help="the Delta tables", metavar="DIR")] = "",
    cache: Annotated[
        str, typer.Option(help="the serving cache: lmdb:PATH or redis://HOST:PORT/DB", metavar="URL")
    ] = "",
    landing: Annotated[str, typer.Option(help="the landing zone, for lineage; only read", metavar="DIR")] = "",
    http: Annotated[bool, typer.Option("--http", help="answer over HTTP on this machine, not over stdio")] = False,
    port: Annotated[int, typer.Option(help="of --http; 0: any that is free", min=0, max=65_535)] = 8010,
    token_file: Annotated[
        str, typer.Option(help="bearer tokens of --http, one a line; by default service.token_file", metavar="FILE")
    ] = "",
    allow_writes: Annotated[
        bool, typer.Option("--allow-writes", help="offer tools that change what listeners get, with confirmations")
    ] = False,
    key_file: Annotated[
        Path | None, typer.Option("--key-file", help="key of confirmations, for --allow-writes", metavar="FILE")
    ] = None,
    conf: Conf = None,
    set_: Set = None,
) -> None:
    """Answer agents with tools over stdio, for the program that starts this; with --http on this machine's own address.

    Example: nocturne mcp --warehouse data/warehouse --cache lmdb:data/cache --landing data/landing
    """
    if context.invoked_subcommand is not None:
        return
    with edge():
        _serve(warehouse, cache, landing, port if http else None, token_file, _key(key_file, allow_writes), conf, set_)


@confirm("rollback")
def confirm_rollback(
    served: Annotated[str, typer.Option("--from", help="generation that is served", metavar="GENERATION")],
    to: Annotated[str, typer.Option("--to", help="generation that is to be served", metavar="GENERATION")],
    why: Why,
    key_file: KeyFile,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Print a confirmation of a rollback, for the agent that asked for it; it is good for ten minutes and one call.

    Example: nocturne mcp confirm rollback --from 2025-01-03-8f14e45f --to 2025-01-02-0cc175b9
    --why "only podcasts" --key-file data/confirmations.key
    """
    from nocturne.agents.changes import ROLLBACK, rollback_arguments

    effect = f"an agent may have {to} served instead of {served}: {why}"
    _print_confirmation(ROLLBACK, rollback_arguments(served, to, why), key_file, by, effect, as_json=as_json)


@confirm("conclude")
def confirm_conclude(
    experiment: Annotated[str, typer.Option(help="the experiment, by the name of its file", metavar="NAME")],
    arm: Annotated[str, typer.Option(help="what everyone gets: an arm, or control", metavar="ARM")],
    run_date: Annotated[datetime, typer.Option("--run-date", help="first night without it, UTC", **DAY)],
    why: Why,
    key_file: KeyFile,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Print a confirmation of the end of an experiment; it is good for ten minutes and one call.

    Example: nocturne mcp confirm conclude --experiment calmer-evenings --arm control --run-date 2025-01-15
    --why "no effect worth having" --key-file data/confirmations.key
    """
    from nocturne.agents.changes import CONCLUDE, conclude_arguments

    night = run_date.date()
    effect = f"an agent may end experiment {experiment} before night {night}, with {arm} for everyone: {why}"
    arguments = conclude_arguments(experiment, arm, night, why)
    _print_confirmation(CONCLUDE, arguments, key_file, by, effect, as_json=as_json)


@confirm("key")
def confirm_key(
    file: Annotated[Path, typer.Argument(help="where to write it; nothing may be there", metavar="FILE")],
    as_json: Json = False,
) -> None:
    """Make a key of confirmations, in a file that its owner alone may read.

    Example: nocturne mcp confirm key data/confirmations.key
    """
    from nocturne.agents.confirmation import make_key

    make_key(file)
    if as_json:
        print_json({"key_file": str(file)})
    say(f"{file} is written; whoever reads it can confirm")


def _serve(
    warehouse: str,
    cache: str,
    landing: str,
    port: int | None,
    token_file: str,
    key: bytes | None,
    conf: str | None,
    overrides: list[str] | None,
) -> None:
    from nocturne.agents import transports
    from nocturne.agents.confirmation import Confirmations
    from nocturne.agents.server import build_server
    from nocturne.agents.service import Service
    from nocturne.core.settings import load_settings
    from nocturne.serving.http.tokens import Tokens
    from nocturne.serving.opened_cache import require_cache

    logging.basicConfig(level=logging.WARNING, format=LOG_FORMAT)  # on stderr, before the SDK does it in colours
    if not (warehouse or cache):
        raise UsageError("there is nothing to answer from", expected="--warehouse DIR, --cache URL, or both")
    stored = open_warehouse(warehouse, conf, overrides) if warehouse else None
    if cache:
        require_cache(cache)
    service = Service(stored, cache, landing)
    server = build_server(service, Confirmations(key, time.time) if key else None)
    try:
        if port is None:
            transports.serve_stdio(server)
            return
        tokens = token_file or load_settings(conf, overrides or ()).service.token_file
        if not tokens:
            raise UsageError("over HTTP the server needs tokens", expected="--token-file FILE, with a token a line")
        app = transports.http_app(server, Tokens(Path(tokens)))
        listening = transports.listen(port)
        say(f"listening on http://{transports.HOST}:{listening.getsockname()[1]}{transports.PATH}, stopped by Ctrl-C")
        transports.serve_http(app, listening)
    finally:
        service.close()


def _key(key_file: Path | None, allowed: bool) -> bytes | None:
    from nocturne.agents.confirmation import read_key

    if allowed and key_file is None:
        raise UsageError(
            "tools that change something need the key of confirmations",
            expected="--key-file FILE",
            fix="`nocturne mcp confirm key FILE` makes one",
        )
    return read_key(key_file) if allowed and key_file else None


def _print_confirmation(
    action: str, arguments: "Arguments", key_file: Path, by: str | None, effect: str, *, as_json: bool
) -> None:
    from nocturne.agents.confirmation import Confirmations, read_key

    token, until = Confirmations(read_key(key_file), time.time).issue(action, arguments, by or getpass.getuser())
    good_until = datetime.fromtimestamp(until, UTC)
    if as_json:
        print_json({"confirmation": token, "good_until": good_until.isoformat()})
    else:
        print(token)
    say(f"{effect}; once, until {good_until:%H:%M:%S} UTC")


app.add_typer(confirm_app, name="confirm")
