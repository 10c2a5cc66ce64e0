"""A connection to a Redis server by URL and settings; neither its password nor a listener is in any message."""

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from nocturne.core.errors import ServiceError, UsageError
from nocturne.core.service_sections import CacheSettings

CONNECT_SECONDS = 5
READ_SECONDS, LOAD_SECONDS = 5, 30
"""Seconds that an answer may take: somebody waits for a list, and nobody for a load."""

WRITER_RULES = "~nocturne:* +@all"
READER_RULES = "~nocturne:* +@read +@connection +select +info +time +eval +zadd +zrem"
"""Rules of ACL SETUSER: a snapshot is registered with the server, by a script."""

_OF_SCRIPTS = re.compile(r"ACL failure|user executing the script can't")
"""Errors of servers of several releases for a script that does what its user may not."""

LOST = "LOST"
"""Beginning of the error of our own scripts that says that the server has lost the generation."""


def connect(url: str, settings: CacheSettings, *, read_only: bool) -> tuple[redis.Redis, str]:
    """A client, which connects when it is used, and its place for messages.

    Raises:
        UsageError: the URL is not understood, or a file that the settings name cannot be read.
    """
    options: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": READ_SECONDS if read_only else LOAD_SECONDS,
        "retry": Retry(ExponentialBackoff(cap=2, base=0.1), retries=1 if read_only else 3),
    }
    try:
        parts = urlsplit(url)
        host, port, given = parts.hostname, parts.port, parts.password
        if not re.fullmatch(r"/?[0-9]*", parts.path):  # the client would take it for database 0
            host = None
    except ValueError:  # not passed on: it may quote the password
        host = None
    if host is not None:
        if given is None:  # what the URL says goes before this
            options |= {"username": settings.user or None, "password": _password(settings)}
        if parts.scheme == "rediss" and settings.ca_file:
            options["ssl_ca_certs"] = _certificates(settings.ca_file)
        try:
            client = redis.Redis.from_url(url, **options)
        except ValueError:
            host = None
    if host is None:
        raise UsageError(
            "the cache's URL is not understood",
            where="--cache",
            expected="redis://[user:password@]host:port/db",
        )
    database = client.get_connection_kwargs().get("db", 0)
    return client, f"{parts.scheme}://{host}:{port or 6379}/{database}"


def _password(settings: CacheSettings) -> str | None:
    if not settings.password_file:
        return None
    try:
        return Path(settings.password_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        # not passed on: a decoding error quotes what it could not decode
        cause = error.strerror if isinstance(error, OSError) else "not UTF-8"
    raise UsageError(
        "the password of the Redis server cannot be read",
        where=f"cache.password_file = {settings.password_file}",
        found=str(cause),
        fix="name a file that this user may read, on every machine that loads lists",
    )


def _certificates(path: str) -> str:
    try:
        ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            "the certificate authority of the Redis server cannot be read",
            where=f"cache.ca_file = {path}",
            found=str(error),
            expected="PEM",
        ) from error
    return path


@contextmanager
def errors(place: str) -> Iterator[None]:
    """Errors of the client, raised as errors for people."""
    try:
        yield
    except (AuthenticationError, AuthorizationError) as error:
        raise UsageError(
            "the Redis server refuses the user or password",
            where=place,
            found=str(error),
            fix="check the user and password in the cache's URL, or cache.user and cache.password_file",
        ) from error
    except OutOfMemoryError as error:
        raise ServiceError(
            "the Redis server is out of memory",
            where=place,
            found=str(error),
            fix="raise maxmemory: the generations kept and the one being loaded must fit; then run again",
        ) from error
    except ReadOnlyError as error:
        raise replica(place, str(error)) from error
    except ResponseError as error:
        # the cause is not passed on: the server may quote a key, which names a listener
        raise _refused(place, error) from None
    except (RedisError, OSError) as error:
        raise ServiceError(
            "the Redis server does not serve",
            where=place,
            found=str(error),
            fix="check that the server runs and can be reached, then run again",
        ) from error


def _refused(place: str, error: ResponseError) -> UsageError | ServiceError:
    text = str(error)
    if isinstance(error, NoPermissionError) or _OF_SCRIPTS.search(text):
        return UsageError(
            "the user may not do this on the Redis server",
            where=place,
            found=_told(error),
            fix=f"`ACL SETUSER <user> {WRITER_RULES}`, or for readers `ACL SETUSER <user> {READER_RULES}`",
        )
    if "DB index" in text:
        return UsageError(
            "the Redis server has no such database",
            where=place,
            found=_told(error),
            fix="name another one, or raise `databases` in redis.conf",
        )
    return ServiceError(
        "the Redis server refuses",
        where=place,
        found=_told(error),
        fix="the server may have been restarted and lost what was loaded: run again"
        if LOST in text
        else "check the server's log, then run again",
    )


def replica(place: str, found: str) -> ServiceError:
    """The error that says that lists can only be loaded into the primary."""
    return ServiceError(
        "the Redis server is a replica",
        where=place,
        found=found,
        expected="the primary",
        fix="name the primary in the cache's URL; readers may read replicas",
    )


def _told(error: ResponseError) -> str:
    return str(error).partition(", with args")[0].partition(" '")[0].partition(": ")[0]
