"""Outlets of a night: the webhook and the textfile of Prometheus, told of its verdict. None of them can fail it."""

from collections.abc import Sequence

from nocturne.core.errors import text_of
from nocturne.core.night import Night
from nocturne.monitoring import webhook
from nocturne.monitoring.night_verdict import NightVerdict
from nocturne.pipeline.progress import console


def warn(text: str) -> None:
    """Print what an outlet did not get."""
    console.print(f"nocturne: {text}", style="yellow", markup=False, soft_wrap=True)


def tell_of_verdicts(night: Night, names: Sequence[str], *, closed: bool) -> None:
    """Tell what tables came to, if that settles the gate: it is closed, or alerts, which come last, were validated.

    Args:
        names: tables that were validated.
        closed: whether one of them closes the gate.
    """
    watched = "alerts" in names
    settings = night.settings.monitoring
    if not (closed or watched) or not (_has_webhook(night) or settings.prometheus_textfile):
        return
    try:
        verdict = NightVerdict.of(night, closed=closed, watched=watched)
        webhook.post(verdict.document(), settings, warn)
        if closed and settings.prometheus_textfile:
            from nocturne.monitoring import prometheus_textfile

            prometheus_textfile.write(night, verdict)
    except Exception as error:  # noqa: BLE001 - lists do not wait for who is told of them
        warn(f"the verdict on night {night.run_date} could not be told: {text_of(error)}")


def tell_of_publication(night: Night) -> None:
    """Write the textfile of a night that is published."""
    try:
        if night.settings.monitoring.prometheus_textfile:
            from nocturne.monitoring import prometheus_textfile

            prometheus_textfile.write(night, NightVerdict.of(night, closed=False))
    except Exception as error:  # noqa: BLE001 - as above
        warn(f"the metrics of night {night.run_date} could not be written: {text_of(error)}")


def _has_webhook(night: Night) -> bool:
    try:
        return webhook.webhook_url(night.settings.monitoring) is not None
    except webhook.WebhookError:
        return True  # which `post` tells
