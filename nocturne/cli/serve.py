"""`nocturne serve`: lists and next items over HTTP, from the serving cache alone."""

from typing import Annotated

import typer

from nocturne.cli.options import Cache, Conf, Set, require_cache
from nocturne.core.console import say


def serve(
    cache: Cache,
    host: Annotated[str, typer.Option(help="name or address to listen on; others than this machine's need tokens")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="0: any that is free", min=0, max=65_535)] = 8000,
    workers: Annotated[int, typer.Option(help="processes, one a core", min=1, max=256)] = 1,
    landing: Annotated[
        str, typer.Option(help="the landing zone, where exposures are written; without it none are", metavar="DIR")
    ] = "",
    token_file: Annotated[
        str, typer.Option(help="bearer tokens, one a line; by default service.token_file", metavar="FILE")
    ] = "",
    takedown_token_file: Annotated[
        str,
        typer.Option(help="tokens of who may take items down; by default service.takedown_token_file", metavar="FILE"),
    ] = "",
    reports: Annotated[
        str, typer.Option(help="pages of nights, such as WAREHOUSE/_data_docs, shown under /nights", metavar="DIR")
    ] = "",
    reports_token_file: Annotated[
        str, typer.Option(help="tokens for them, one a line; by default service.reports_token_file", metavar="FILE")
    ] = "",
    conf: Conf = None,
    set_: Set = None,
) -> None:
    """Answer over HTTP with the night's lists, and with what comes next given what plays; until SIGTERM or Ctrl-C.

    A page for people is at /, the OpenAPI document at /openapi.json, metrics for Prometheus at /metrics.
    Pages of nights are at /nights, if --reports names their folder.

    Example: nocturne serve --cache lmdb:data/cache --landing data/landing
    """
    from nocturne.core.settings import load_settings, with_values
    from nocturne.serving.http import server
    from nocturne.serving.http.app import Worker

    settings = load_settings(conf, set_ or ())
    given = {
        "service.token_file": token_file,
        "service.takedown_token_file": takedown_token_file,
        "service.reports_token_file": reports_token_file,
    }
    settings = with_values(settings, {name: file for name, file in given.items() if file})
    require_cache(cache)
    night_metrics = settings.monitoring.prometheus_textfile
    worker = Worker(cache, settings.cache, settings.service, landing, settings.words, reports, night_metrics)
    listening = server.listen(worker, host, port)
    shown = f"[{host}]" if ":" in host else host
    say(f"listening on http://{shown}:{listening.getsockname()[1]}/, stopped by Ctrl-C")
    server.serve(worker, listening, workers)
