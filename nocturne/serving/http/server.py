"""The server: what must hold before it starts, its socket, its workers, and its end without losing an answer."""

import os
import signal
import socket
import sys
import tempfile
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NoReturn

from uvicorn import Config, Server
from uvicorn.supervisors import Multiprocess

from nocturne.core.errors import ServiceError, UsageError
from nocturne.serving.cache import open_cache
from nocturne.serving.http.app import Worker
from nocturne.serving.http.metrics import FOLDER_VARIABLE
from nocturne.serving.http.protocol import HttpProtocol
from nocturne.serving.http.request_log import RequestLog
from nocturne.serving.http.tokens import Tokens

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75
"""Longer than the minute that load balancers usually keep idle connections."""

START_SECONDS = 30
"""That a worker may take to import its modules on a busy machine, and the longest time until a dead one is missed."""

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"default": {"format": "%(asctime)s %(process)d %(levelname)s %(message)s"}},
    "handlers": {"default": {"class": "logging.StreamHandler", "formatter": "default", "stream": "ext://sys.stderr"}},
    "loggers": {
        "uvicorn": {"handlers": ["default"], "level": "INFO", "propagate": False},
        "nocturne": {"handlers": ["default"], "level": "INFO", "propagate": False},
    },
}


def listen(worker: Worker, host: str, port: int) -> socket.socket:
    """The socket of the service, after everything that a start needs was looked at.

    Args:
        worker: the application to be.
        host: a name or address of this machine.
        port: 0: any that is free.

    Raises:
        UsageError: whoever reaches the host would be let in, or a file or folder that is named cannot be used.
        ServiceError: somebody else listens there.
    """
    family, address = _resolved(host, port)
    settings = worker.settings
    if not settings.token_file and not ip_address(address[0]).is_loopback:
        raise UsageError(
            "without tokens the service answers this machine only",
            found=f"--host {host}",
            expected="--host 127.0.0.1, or a file of tokens",
            fix="write tokens to a file, one a line, and name it with --token-file",
        )
    for file in filter(None, (settings.token_file, settings.takedown_token_file, settings.reports_token_file)):
        Tokens(Path(file))
    if settings.takedown_token_file and not worker.landing:
        raise UsageError(
            "takedowns need a landing zone: nights read them there",
            found="a file of tokens for them, and no --landing",
            fix="name the folder that the nights read with --landing, or leave out --takedown-token-file",
        )
    if worker.reports:
        _require_reports(worker)
    if settings.log_requests:
        RequestLog(settings.log_key_file)
    if worker.landing and not os.access(worker.landing, os.W_OK | os.X_OK):
        raise UsageError(
            "the landing zone cannot be written",
            where=worker.landing,
            fix="name the folder that the nights read, as a user who may write it",
        )
    open_cache(worker.cache, worker.cache_settings, read_only=True).close()
    try:
        return socket.create_server(address, family=family, backlog=BACKLOG)
    except OSError as error:
        raise ServiceError(
            "the service cannot listen",
            where=f"{host}:{port}",
            found=str(error.strerror),
            fix="end what listens there, or choose another --port",
        ) from error


def _require_reports(worker: Worker) -> None:
    """Raise UsageError unless the folder of pages can be read, and only by those who may."""
    if worker.settings.token_file and not worker.settings.reports_token_file:
        raise UsageError(
            "pages of nights need tokens of their own where the service has some",
            found=f"--reports {worker.reports}",
            expected="a file of tokens for people, who need not be let in to anything else",
            fix="write tokens to a file, one a line, and name it with --reports-token-file",
        )
    if not os.access(worker.reports, os.R_OK | os.X_OK):
        raise UsageError(
            "the folder of pages cannot be read",
            where=worker.reports,
            fix="name the folder that `nocturne report` writes to, as a user who may read it",
        )


def serve(worker: Worker, listening: socket.socket, workers: int) -> None:
    """Answer until SIGTERM or Ctrl-C, and then whatever is under way."""
    config = Config(
        worker,
        factory=True,
        workers=workers,
        http=HttpProtocol,
        ws="none",
        loop="uvloop",
        lifespan="on",
        log_config=LOGGING,
        access_log=False,  # it has ids
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=worker.settings.stop_seconds,
        timeout_worker_healthcheck=START_SECONDS,
    )
    if workers == 1:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, _end)  # the server sends itself the signal again when it is done
        Server(config).run([listening])
        return
    listening.set_inheritable(True)
    with tempfile.TemporaryDirectory(prefix="nocturne-metrics-") as folder:
        os.environ[FOLDER_VARIABLE] = folder
        Multiprocess(config, [listening]).run()


def _end(_signal: int, _frame: object) -> NoReturn:
    sys.exit(0)


def _resolved(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise UsageError(
            "the service cannot listen there", where=f"--host {host} --port {port}", found=str(error.strerror)
        ) from error
    return family, (str(address[0]), int(address[1]))
