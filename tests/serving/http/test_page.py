"""The page in a browser: by keyboard, on a phone and on a desk, light and dark; titles of strangers stay text."""

import json
import os
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

from docs.tools.screenshots import browser
from nocturne.serving.http import problems
from tests.fixtures.fake_service import LISTENER, MARKUP, fake_app

pytestmark = pytest.mark.slow

PHONE, DESK = (390, 844), (1440, 900)
WATCH = """
window.troubles = [];
document.addEventListener("securitypolicyviolation", (event) => troubles.push(event.violatedDirective));
window.addEventListener("error", (event) => troubles.push(event.message));
window.addEventListener("unhandledrejection", (event) => troubles.push(String(event.reason)));
"""
TEXTS = "[...document.querySelectorAll('#{panel} li')].map((each) => each.innerText)"
TOKEN = "a-token-of-sixteen-letters"


@contextmanager
def running(app):
    """Address of an application that a server runs in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://localhost:{port}/"
    finally:
        server.should_exit = True
        thread.join()


def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it does not come"
        time.sleep(0.05)


@contextmanager
def opened(url, size=DESK, scheme="light"):
    """The page in a browser, as soon as it shows which night is served."""
    with browser(*size) as page:
        page.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        page.do("Page.enable")
        width, height = size
        sizes = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size is PHONE}
        page.do("Emulation.setDeviceMetricsOverride", **sizes)
        page.do("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        page.do("Page.navigate", url=url)
        wait_for(lambda: len(page.value("(document.getElementById('night') || {}).textContent || ''") or "") > 1)
        yield page
        assert page.value("troubles") == []


@pytest.fixture(scope="module")
def url():
    with running(fake_app()) as address:
        yield address


def texts(page, panel):
    return page.value(TEXTS.replace("{panel}", panel))


def press(page, key, code):
    text = {"Enter": "\r"}.get(key, "")
    for kind in ("keyDown", "keyUp"):
        page.do(
            "Input.dispatchKeyEvent",
            type=kind,
            key=key,
            windowsVirtualKeyCode=code,
            text=text if kind == "keyDown" else "",
        )


def enter(page, field, text):
    """Type into a field and press Enter."""
    page.value(f"document.getElementById('{field}').focus()")
    page.do("Input.insertText", text=text)
    press(page, "Enter", 13)


def picture(page, name):
    """Keep a picture where NOCTURNE_PICTURES says, to be looked at."""
    if folder := os.environ.get("NOCTURNE_PICTURES"):
        page.picture(Path(folder) / f"{name}.png")


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_listener_and_what_plays_are_shown_and_fit(url, size, scheme):
    with opened(url, size, scheme) as page:
        enter(page, "listener", LISTENER)
        wait_for(lambda: len(texts(page, "list")) == 3)
        enter(page, "item", "t1")
        wait_for(lambda: len(texts(page, "related")) == 2)
        wait_for(lambda: len(texts(page, "next")) == 2)
        assert page.value("document.documentElement.scrollWidth <= window.innerWidth")
        dark = page.value("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 31)"
        assert dark == (scheme == "dark")
        picture(page, f"page-{'phone' if size is PHONE else 'desk'}-{scheme}")


def test_titles_of_strangers_are_text_and_no_markup(url):
    with opened(url) as page:
        enter(page, "listener", LISTENER)
        wait_for(lambda: len(texts(page, "list")) == 3 and len(texts(page, "next")) == 3)
        assert MARKUP in texts(page, "list")[1]
        assert f"goes with {MARKUP}" in texts(page, "next")[0]
        assert page.value("document.images.length") == 0
        assert page.value("document.title") == "Nocturne: now playing"


def test_an_item_is_played_by_keyboard_and_is_not_offered_again(url):
    with opened(url) as page:
        enter(page, "listener", LISTENER)
        wait_for(lambda: len(texts(page, "list")) == 3 and len(texts(page, "next")) == 3)
        for _ in range(40):
            press(page, "Tab", 9)
            if page.value("document.activeElement.getAttribute('aria-label')") == "Play Your Hidden Ocean":
                break
        press(page, "Enter", 13)
        assert page.value("document.activeElement.id") == "next-heading"
        wait_for(lambda: len(texts(page, "next")) == 2)
        assert page.value("document.getElementById('item').value") == "t1"
        assert page.value("document.activeElement.id") == "next-heading"
        page.value("document.querySelector('#next button[aria-label=\"Play t3\"]').click()")
        wait_for(lambda: len(texts(page, "next")) == 1)
        assert page.value("document.getElementById('playing').textContent") == "Just played: t1"


def test_filters_reach_every_panel_and_the_address_can_be_shared(url):
    with opened(f"{url}#listener=u%2F1+%C3%B6&item=a%2Fb+c%2F%C3%B6") as page:
        wait_for(lambda: len(texts(page, "list")) == 3 and len(texts(page, "related")) == 2)
        page.value("document.querySelector('form details').open = true")
        page.value("document.getElementById('explicit').click()")
        page.value("document.querySelector('button[type=submit]').click()")
        wait_for(lambda: len(texts(page, "list")) == 2)
        page.value("document.querySelector('input[value=podcast_episode]').click()")
        page.value("document.querySelector('button[type=submit]').click()")
        wait_for(lambda: page.value("document.getElementById('list-about').textContent").startswith("No item."))


def test_what_is_asked_for_is_shown_with_its_plan_and_receipt_refined_and_forgotten(url):
    with opened(url) as page:
        assert page.value("document.getElementById('steer-panel').hidden")
        page.value(f"document.getElementById('listener').value = {json.dumps(LISTENER)}")
        plan = {"never": [{"tags": [MARKUP]}], "more": [{"about": "tag", "value": MARKUP}]}
        page.value(f"state.plan = {json.dumps(plan)}")
        enter(page, "text", "something nobody understands")
        wait_for(lambda: len(texts(page, "steer")) == 3)
        assert f"Never items tagged {MARKUP}." in page.value("document.getElementById('plan').textContent")
        told = texts(page, "receipt")
        assert told[0] == "not understood: nobody understands"
        assert f"never items tagged {MARKUP}: removes 1" in told
        assert f"more {MARKUP} +0.50" in texts(page, "steer")[0]
        assert f"because you played {MARKUP}" in texts(page, "steer")[0]
        assert page.value("document.images.length") == 0
        assert page.value("document.getElementById('text').value") == ""
        assert page.value("document.documentElement.scrollWidth <= window.innerWidth")
        picture(page, "page-steered")
        page.value("document.getElementById('forget').click()")
        wait_for(lambda: page.value("document.getElementById('steer-panel').hidden"))
        wait_for(lambda: len(texts(page, "list")) == 3)


def test_a_plan_that_nothing_can_obey_is_told_in_its_panel(url):
    with opened(url) as page:
        page.value(f"document.getElementById('listener').value = {json.dumps(LISTENER)}")
        page.value('state.plan = {"only": [{"explicit": true}], "never": [{"explicit": true}]}')
        page.value("document.querySelector('button[type=submit]').click()")
        about = "document.getElementById('steer-about').textContent"
        wait_for(lambda: problems.IMPOSSIBLE_PLAN.title in page.value(about))
        assert "body.plan.only.0: contradicts plan.never.0" in page.value(about)


def test_an_error_is_told_in_its_panel(url):
    with opened(url) as page:
        enter(page, "listener", "nobody")
        wait_for(
            lambda: problems.UNKNOWN_LISTENER.title in page.value("document.getElementById('list-about').textContent")
        )
        wait_for(lambda: len(texts(page, "next")) == 3)


def test_the_history_of_nights_is_shown(url):
    with opened(url) as page:
        assert "2025-03-04" in page.value("document.getElementById('night').textContent")
        page.value("document.querySelector('details').open = true")
        assert [line.split("\n")[1] for line in texts(page, "nights")] == [
            "2025-03-04 · 2025-03-04-bbbbbbbb",
            "2025-03-03 · 2025-03-03-aaaaaaaa",
        ]


def test_with_tokens_the_page_asks_for_one_and_sends_it(tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text(TOKEN)
    with running(fake_app(token_file=str(tokens))) as url, opened(url) as page:
        assert problems.TOKEN_NEEDED.title in page.value("document.getElementById('night').textContent")
        page.value(f"document.getElementById('token').value = '{TOKEN}'")
        enter(page, "listener", LISTENER)
        wait_for(lambda: len(texts(page, "list")) == 3)
        assert TOKEN not in page.value("location.href + document.cookie + JSON.stringify(localStorage)")
