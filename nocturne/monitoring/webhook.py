"""Webhook: a JSON document posted to the URL that settings or the environment name. It never fails a night.

The URL is a secret, as that of a chat is: it is in no message and in no log.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nocturne.core.monitoring_section import MonitoringSettings
from nocturne.serving.night_record import canonical_json

if TYPE_CHECKING:  # most nights have no webhook, and every job would wait for the client's import
    import httpx
    from tenacity import RetryCallState

VARIABLE = "NOCTURNE_WEBHOOK_URL"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_LONGEST_WAIT_SECONDS = 4.0


class WebhookError(Exception):
    """A post that did not arrive, and why; without the URL."""


class TemporaryWebhookError(WebhookError):
    """A post that may arrive if it is tried again."""


def post(document: Mapping[str, Any], settings: MonitoringSettings, tell: Callable[[str], None]) -> bool:
    """Post a document where settings or the environment say; true if it arrived.

    Args:
        tell: is told why it did not arrive.
    """
    try:
        url = webhook_url(settings)
        if url is None:
            return False
        _post(url, document, settings)
    except WebhookError as error:
        tell(f"the webhook got nothing of night {document.get('run_date')}: {error}")
        return False
    return True


def with_id(content: Mapping[str, Any]) -> dict[str, Any]:
    """A document of that content with an id that follows from it, by which receivers know a repetition."""
    return {"id": hashlib.sha256(canonical_json(content)).hexdigest()[:32]} | dict(content)


def webhook_url(settings: MonitoringSettings) -> "httpx.URL | None":
    """The URL to post to; None if there is none.

    Raises:
        WebhookError: its file cannot be read, or it is no URL that may be posted to.
    """
    try:
        file = settings.webhook_url_file
        text = Path(file).read_text(encoding="utf-8") if file else os.environ.get(VARIABLE, "")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no UTF-8"
        raise WebhookError(f"{settings.webhook_url_file} cannot be read: {reason}") from None
    if not text.strip():
        if file:
            raise WebhookError(f"{file} is empty; it holds the URL to post to")
        return None
    import httpx

    try:
        url = httpx.URL(text.strip())
    except httpx.InvalidURL:
        raise WebhookError("its URL is none") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise WebhookError("its URL is none of https://HOST/…")
    if url.scheme == "http" and url.host not in LOOPBACK and not settings.webhook_plain_http:
        raise WebhookError(
            f"{url.host} would be sent it without encryption: use https, or say monitoring.webhook_plain_http = true"
        )
    return url


def _post(url: "httpx.URL", document: Mapping[str, Any], settings: MonitoringSettings) -> None:
    import httpx
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

    logging.getLogger("httpx").setLevel(logging.WARNING)  # at INFO it logs URLs
    tries = Retrying(
        stop=stop_after_attempt(settings.webhook_tries),
        wait=wait_random_exponential(0.5, max=_LONGEST_WAIT_SECONDS),
        retry=retry_if_exception_type(TemporaryWebhookError),
        retry_error_callback=_give_up,
    )
    with httpx.Client(timeout=settings.webhook_seconds, follow_redirects=False) as client:
        tries(_try_once, client, url, document)


def _try_once(client: "httpx.Client", url: "httpx.URL", document: Mapping[str, Any]) -> None:
    import httpx

    try:
        with client.stream("POST", url, json=document) as answer:  # its body is nothing to us
            status = answer.status_code
    except httpx.TimeoutException:
        raise TemporaryWebhookError(f"{url.host} did not answer in time") from None
    except httpx.HTTPError as error:
        raise TemporaryWebhookError(f"{url.host} cannot be reached ({type(error).__name__})") from None
    if status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise TemporaryWebhookError(f"{url.host} answered {status}")
    if not httpx.codes.is_success(status):
        raise WebhookError(f"{url.host} answered {status}")


def _give_up(state: "RetryCallState") -> None:
    assert state.outcome
    error = state.outcome.exception()
    often = f", {state.attempt_number} times" if state.attempt_number > 1 else ""
    raise WebhookError(f"{error}{often}") from None
