"""Sections of the settings that whoever serves lists reads: the cache, the service, words."""

from typing import Annotated, Literal

from pydantic import Field

from nocturne.core.sections import Section


class CacheSettings(Section):
    """The serving cache: its connection, and how it is filled."""

    generations: Annotated[
        int, Field(ge=2, le=30, description="nights kept in the cache: the one served and those to roll back to")
    ]
    lists_per_second: Annotated[
        int,
        Field(
            ge=0,
            description=(
                "lists loaded into Redis, or deleted, a second, and items at as many bytes; 0: as many as it takes"
            ),
        ),
    ]
    user: Annotated[str, Field(description="user of the Redis server; empty: its default user")]
    password_file: Annotated[str, Field(description="file that holds the password of the Redis server; empty: none")]
    ca_file: Annotated[
        str, Field(description="certificate authority of a rediss:// server, PEM; empty: those of the system")
    ]


class ServiceSettings(Section):
    """The HTTP service: who may ask, how much at once, and what it writes down."""

    token_file: Annotated[
        str,
        Field(
            description="file of bearer tokens, one a line, read again when it changes; "
            "empty: none is asked for, and only this machine is served"
        ),
    ]
    takedown_token_file: Annotated[str, Field(description="the same of who may take items down; empty: nobody may")]
    reports_token_file: Annotated[str, Field(description="file of tokens for the pages of nights alone, as token_file")]
    max_items: Annotated[int, Field(ge=1, le=1000, description="most items of an answer")]
    max_recent: Annotated[int, Field(ge=1, le=1000, description="most items that a request may name as just played")]
    max_body_bytes: Annotated[int, Field(ge=1024, description="largest body of a request")]
    max_target_bytes: Annotated[int, Field(ge=256, le=65_536, description="longest path of a request, with its query")]
    check_seconds: Annotated[
        float, Field(ge=0, le=1, description="seconds after which the cache is asked again what is served")
    ]
    retry_after_seconds: Annotated[
        int, Field(ge=1, description="seconds after which to ask again, as told while the cache is away")
    ]
    stop_seconds: Annotated[int, Field(ge=1, description="seconds that requests under way get to end after SIGTERM")]
    exposure_flush_seconds: Annotated[
        float,
        Field(ge=0.05, le=60, description="seconds after which exposures are on the disk: what a kill may lose"),
    ]
    exposure_memory_mb: Annotated[
        int, Field(ge=1, description="exposures that a worker keeps while they cannot be written, MiB")
    ]
    log_requests: Annotated[bool, Field(description="log a line a request: route, status, time, no id")]
    log_key_file: Annotated[
        str,
        Field(description="file of a key by which the lines have the listener's id hashed; empty: they have none"),
    ]


class WordsSettings(Section):
    """Words that become plans: the language, and an endpoint that may translate what the parser does not know."""

    language: Annotated[str, Field(pattern="^[a-z]{2}$", description="file of nocturne/steering/words/languages/")]
    encoder: Annotated[
        Literal["none", "hashed", "sentence"],
        Field(description="what takes words that nothing knows for tags, by likeness; none: they are not understood"),
    ]
    endpoint: Annotated[
        str,
        Field(
            pattern="^(https?://.+)?$",
            description="URL of an OpenAI-compatible endpoint, up to /v1, that is sent the text; empty: none is asked",
        ),
    ]
    endpoint_model: Annotated[str, Field(description="model that the endpoint is asked for")]
    endpoint_seconds: Annotated[float, Field(gt=0, le=60, description="seconds that an answer may take")]
