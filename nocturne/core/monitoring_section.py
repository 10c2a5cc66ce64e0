"""Section of the settings for monitoring: beside the others in `sections`."""

from datetime import date
from typing import Annotated

from pydantic import Field

from nocturne.core.sections import Section


class MonitoringSettings(Section):
    """The judgement on a night by its metrics: what is usual, and what people have accepted."""

    accepted: Annotated[
        list[Annotated[str, Field(pattern=r"^[0-9a-f]{8}@\d{4}-\d{2}-\d{2}$")]],
        Field(description="critical alerts that people looked at and accept for a night, as alert@run_date"),
    ]
    holidays: Annotated[
        list[Annotated[date, Field(strict=False)]],
        Field(strict=False, description="days unlike others: limits are wide, and no night is held against them"),
    ]
    min_nights: Annotated[int, Field(ge=2, description="earlier nights that it takes to expect anything")]
    min_nights_to_block: Annotated[int, Field(ge=2, description="earlier nights that it takes to close the gate")]
    min_count: Annotated[
        int,
        Field(ge=0, description="events, listeners or rows that a number rests on at least, where they are counted"),
    ]
    warn_spreads: Annotated[
        float,
        Field(ge=0, description="times the usual spread of nights that an effect is, beside its limit, to be told"),
    ]
    block_spreads: Annotated[float, Field(ge=0, description="the same to close the gate")]
    limits: Annotated[
        dict[str, dict[str, Annotated[float, Field(gt=0)]]],
        Field(strict=False, description="warn and block by cause, in place of a watch's own; docs/monitoring.md"),
    ]
    prometheus_textfile: Annotated[
        str,
        Field(
            pattern=r"^(.+\.prom)?$",
            description="file of the newest night's metrics in Prometheus' format, for node_exporter and the service; "
            "empty: none is written",
        ),
    ]
    openlineage_folder: Annotated[
        str, Field(description="folder of OpenLineage events, a file a night; empty: none are written")
    ]
    webhook_url_file: Annotated[
        str,
        Field(
            description="file that holds the URL which a night's verdict is posted to; empty: the environment variable "
            "NOCTURNE_WEBHOOK_URL is the URL, and without it nothing is posted"
        ),
    ]
    webhook_seconds: Annotated[float, Field(gt=0, le=60, description="seconds that an answer of the webhook may take")]
    webhook_tries: Annotated[int, Field(ge=1, le=10, description="times that a post is tried")]
    webhook_plain_http: Annotated[
        bool, Field(description="let posts to other machines go by http, where whoever is on the way reads them")
    ]
