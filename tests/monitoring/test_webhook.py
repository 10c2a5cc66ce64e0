"""The webhook: it is tried again where that can help, gives up in time, and tells the URL to nobody."""

import logging
import socket
from pathlib import Path
from typing import Any

import pytest

from nocturne.core.monitoring_section import MonitoringSettings
from nocturne.core.settings import load_settings
from nocturne.monitoring.webhook import VARIABLE, post
from tests.fixtures.webhooks import Webhook, webhook

DOCUMENT = {"kind": "nocturne.verdict", "run_date": "2025-03-02", "text": "Night 2025-03-02: gate closed"}


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def settings(*overrides: str) -> MonitoringSettings:
    return load_settings(overrides=overrides).monitoring


def posted(hook: Webhook, folder: Path, *overrides: str) -> tuple[bool, list[str]]:
    told: list[str] = []
    return post(DOCUMENT, settings(hook.setting(folder), *overrides), told.append), told


def of_url(url: str, folder: Path, *overrides: str) -> list[str]:
    told: list[str] = []
    (folder / "url").write_text(url)
    assert not post(DOCUMENT, settings(f"monitoring.webhook_url_file={folder / 'url'}", *overrides), told.append)
    return told


def test_the_document_arrives_as_it_is(tmp_path: Path) -> None:
    with webhook() as hook:
        assert posted(hook, tmp_path) == (True, [])
    assert hook.got == [DOCUMENT]


def test_an_environment_variable_is_the_url_where_no_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with webhook() as hook:
        monkeypatch.setenv(VARIABLE, hook.url)
        assert post(DOCUMENT, settings(), pytest.fail)
    assert len(hook.got) == 1


def test_without_a_url_nothing_is_posted_and_nothing_told() -> None:
    assert not post(DOCUMENT, settings(), pytest.fail)


@pytest.mark.parametrize("status", [500, 503, 429])
def test_what_fails_for_a_moment_is_tried_again(tmp_path: Path, status: int) -> None:
    with webhook([status]) as hook:
        assert posted(hook, tmp_path) == (True, [])
    assert len(hook.got) == 2


def test_a_server_that_keeps_failing_is_told_of_and_given_up(tmp_path: Path) -> None:
    with webhook([500] * 9) as hook:
        arrived, told = posted(hook, tmp_path, "monitoring.webhook_tries=2")
    assert (arrived, len(hook.got)) == (False, 2)
    assert told == ["the webhook got nothing of night 2025-03-02: 127.0.0.1 answered 500, 2 times"]


@pytest.mark.parametrize("status", [400, 404, 302])
def test_a_refusal_is_not_tried_again_and_no_redirection_followed(tmp_path: Path, status: int) -> None:
    with webhook([status]) as hook:
        arrived, told = posted(hook, tmp_path)
    assert (arrived, len(hook.got)) == (False, 1)
    assert told == [f"the webhook got nothing of night 2025-03-02: 127.0.0.1 answered {status}"]


def test_an_answer_that_takes_too_long_is_not_waited_for(tmp_path: Path) -> None:
    with webhook(seconds=0.6) as hook:
        arrived, told = posted(hook, tmp_path, "monitoring.webhook_seconds=0.2", "monitoring.webhook_tries=1")
    assert not arrived
    assert told == ["the webhook got nothing of night 2025-03-02: 127.0.0.1 did not answer in time"]


def test_where_nobody_listens_the_night_goes_on_and_the_url_is_told_to_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "httpx")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/secret"
    (told,) = of_url(url, tmp_path, "monitoring.webhook_tries=1")
    assert "127.0.0.1 cannot be reached (ConnectError)" in told
    assert "secret" not in told + caplog.text


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://chat.example/secret", "chat.example would be sent it without encryption"),
        ("ftp://chat.example/secret", "its URL is none of https://HOST/…"),
        ("secret", "its URL is none of https://HOST/…"),
        ("http://chat.example:secret/", "its URL is none"),
        ("  \n", "url is empty"),
    ],
)
def test_what_may_not_be_posted_to_is_told_without_it(tmp_path: Path, url: str, why: str) -> None:
    (told,) = of_url(url, tmp_path)
    assert why in told
    assert "secret" not in told


def test_plain_http_to_other_machines_can_be_allowed(tmp_path: Path) -> None:
    allowed: tuple[Any, ...] = ("monitoring.webhook_plain_http=true", "monitoring.webhook_tries=1")
    (told,) = of_url("http://nowhere.invalid/secret", tmp_path, *allowed)
    assert "nowhere.invalid cannot be reached" in told


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    assert not post(DOCUMENT, settings(f"monitoring.webhook_url_file={tmp_path / 'absent'}"), told.append)
    assert "absent cannot be read: No such file or directory" in told[0]
