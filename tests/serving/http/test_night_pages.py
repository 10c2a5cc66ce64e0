"""Pages of nights: for people with tokens of their own, which open nothing else; no script and nothing else's file."""

from base64 import b64encode
from hashlib import sha256

import pytest

from nocturne.core.errors import UsageError
from nocturne.core.service_sections import CacheSettings
from nocturne.core.settings import load_settings
from nocturne.serving.http import server
from nocturne.serving.http.app import Worker
from tests.fixtures.fake_service import LISTENER, ask, fake_app, service_settings

PAGE = "/nights/2025-03-04-report.html"
PERSON, SERVICE = "token-of-a-person-on-call", "token-of-a-service"


@pytest.fixture
def folder(tmp_path):
    pages = tmp_path / "pages"
    pages.mkdir()
    for name in ("index.html", "2025-03-04.html", "2025-03-04-report.html", "2025-03-03-to-2025-03-04.html"):
        (pages / name).write_text(f"<style>p {{ color: red }}</style><p>{name}</p>")
    (pages / "secret.html").write_text("secret")
    (pages / "2025-03-05-report.html").symlink_to(tmp_path / "absent")
    (tmp_path / "outside.html").write_text("secret")
    return pages


@pytest.fixture
def token_files(tmp_path):
    files = {"token_file": SERVICE, "reports_token_file": PERSON}
    for name, token in files.items():
        (tmp_path / name).write_text(token)
    return {name: str(tmp_path / name) for name in files}


def basic(token, user="anyone"):
    return {"Authorization": "Basic " + b64encode(f"{user}:{token}".encode()).decode()}


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("name", ["index", "2025-03-04", "2025-03-04-report", "2025-03-03-to-2025-03-04"])
def test_every_page_of_the_folder_is_shown_as_it_is_and_may_run_nothing(folder, name):
    response = ask(fake_app(reports=folder), "GET", f"/nights/{name}.html")
    assert (response.status_code, f"<p>{name}.html</p>" in response.text) == (200, True)
    style = b64encode(sha256(b"p { color: red }").digest()).decode()
    assert response.headers["content-security-policy"] == (
        f"default-src 'none'; style-src 'sha256-{style}'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    )
    assert response.headers["cache-control"] == "no-store"


def test_the_front_leads_to_the_index(folder):
    app = fake_app(reports=folder)
    assert [ask(app, "GET", path).headers["location"] for path in ("/nights", "/nights/")] == [
        "nights/index.html",
        "index.html",
    ]


@pytest.mark.parametrize(
    "name",
    ["secret.html", "..%2Foutside.html", "%2E%2E/outside.html", "2025-03-05-report.html", "2025-03-09.html"],
)
def test_no_other_file_is_shown(folder, name):
    response = ask(fake_app(reports=folder), "GET", f"/nights/{name}")
    assert response.status_code == 404
    assert "secret" not in response.text


def test_without_a_folder_there_is_no_page():
    assert ask(fake_app(), "GET", PAGE).status_code == 404


def test_a_persons_token_opens_pages_and_nothing_else_and_a_services_token_the_rest(folder, token_files):
    app = fake_app(reports=folder, **token_files)

    def statuses(headers):
        paths = (PAGE, "/nights", f"/v1/listeners/{LISTENER}/list", "/metrics")
        return [ask(app, "GET", path, headers=headers).status_code for path in paths]

    assert statuses({}) == [401, 401, 401, 401]
    assert statuses(basic(PERSON)) == [200, 307, 401, 401]
    assert statuses(bearer(PERSON)) == [200, 307, 401, 401]
    assert statuses(basic(SERVICE)) == [401, 401, 401, 401]
    assert statuses(bearer(SERVICE)) == [401, 401, 200, 200]


def test_a_browser_is_asked_for_the_token_and_any_name_will_do(folder, token_files):
    app = fake_app(reports=folder, reports_token_file=token_files["reports_token_file"])
    asked = ask(app, "GET", PAGE)
    assert asked.headers["www-authenticate"] == 'Basic realm="nights", charset="UTF-8"'
    assert [ask(app, "GET", PAGE, headers=basic(PERSON, user)).status_code for user in ("", "ann", "ö")] == [200] * 3
    odd = ({"Authorization": "Basic"}, {"Authorization": "Basic ???"}, basic(f"x:{PERSON}"), basic(""))
    assert [ask(app, "GET", PAGE, headers=headers).status_code for headers in odd] == [401] * 4
    assert ask(app, "GET", "/readyz").status_code == 200  # the rest is as it was


def test_without_tokens_this_machine_alone_sees_pages(folder):
    assert ask(fake_app(reports=folder), "GET", PAGE, host="evil.example").status_code == 403


def started(reports, **settings):
    return server.listen(
        Worker("lmdb:absent", _cache_settings(), service_settings(**settings), reports=str(reports)), "127.0.0.1", 0
    )


def _cache_settings() -> CacheSettings:
    return load_settings().cache


def test_a_service_with_tokens_does_not_start_to_show_pages_without_tokens_of_their_own(folder, token_files):
    with pytest.raises(UsageError, match="pages of nights need tokens of their own"):
        started(folder, token_file=token_files["token_file"])


def test_a_folder_that_cannot_be_read_is_told_before_the_start(tmp_path):
    with pytest.raises(UsageError, match="the folder of pages cannot be read"):
        started(tmp_path / "absent")
