"""The page of a night: what it says on good nights and bad, of whom, and that nobody's text becomes markup."""

import re
import time
from datetime import date, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from docs.tools.screenshots import browser
from nocturne.cli.main import app
from nocturne.core.errors import UsageError
from nocturne.core.night import Night
from nocturne.core.pseudonyms import pseudonym
from nocturne.core.settings import with_values
from nocturne.experiments.overview import overview
from nocturne.monitoring.report.comparison import comparison_page
from nocturne.monitoring.report.page import night_page
from nocturne.pipeline.status import read_status
from nocturne.serving import publications, rollout
from nocturne.serving.cache import open_cache
from nocturne.storage import attempts
from nocturne.validation.suites import critical_expectations
from tests.fixtures import two_listeners
from tests.fixtures.published_nights import listed, ready, write_validations

pytestmark = pytest.mark.slow

SUNDAY, MONDAY, TUESDAY = (date(2026, 3, day) for day in (1, 2, 3))
MARKUP = "<script>alert(1)</script>"
KEY = b"0123456789abcdef"
WATCH = """
window.troubles = [];
addEventListener("error", (event) => troubles.push(event.message || event.target.outerHTML), true);
const tell = console.error;
console.error = (...words) => { troubles.push(words.join(" ")); tell(...words) };
"""


def write_items(night, **titles):
    rows = [
        {"run_date": night.run_date, "item_id": item, "content_type": "track", "title": title, "absent": False}
        | {"creator": f"by {title}"}
        for item, title in titles.items()
    ]
    two_listeners.write(night, "items", rows)


def publish(night, **lists):
    write_items(night, a="First", b="Second", c=MARKUP)
    made = ready(night, night.run_date, **lists)
    with open_cache(night.cache) as cache:
        rollout.refresh(made.night, made.record, made.info, made.parts, cache)
    return night


def page_of(night, experiments=()):
    html = night_page(night, read_status(night.warehouse).to_json(), experiments)
    assert "<script" not in html
    assert "http://" not in html
    assert "https://" not in html
    return html


def section(html, name):
    """Text of a section, without its markup."""
    found = re.search(rf'<h2 id="{name}">(.*?)(<h2 |</main>)', html, re.DOTALL)
    assert found, name
    return text(found[1])


def verdict(html):
    found = re.search(r'<div class="verdict.*?</div>', html, re.DOTALL)
    assert found
    return text(found[0])


def text(html):
    return " ".join(re.sub("<[^>]+>", " ", html).split())


def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it does not come"
        time.sleep(0.05)


@pytest.fixture
def monday(night):
    """Monday is served after Sunday: ann's list turned round, ben's as it was, cat new."""
    made = night(MONDAY, "tables.buckets=1")
    publish(made.on(SUNDAY), ann="a b", ben="a b")
    return publish(made, ann="b c", ben="a b", cat="c")


@pytest.fixture
def closed_tuesday(monday):
    """Tuesday's lists are made, and its gate is closed by an expectation of its lists."""
    tuesday = monday.on(TUESDAY)
    write_items(tuesday, a="First")
    rows = [listed(TUESDAY, user, ["a", "a"]) for user in ("ann", "ben")]
    two_listeners.write(tuesday, "ranked_lists", rows)
    names = {"ranked_lists": {"lists_with_duplicates"}}
    write_validations(tuesday, "0" * 16, names, outcome="failed")
    publications.record_closed_gate(tuesday, ["ranked_lists.lists_with_duplicates is 1, expected <= 0"])
    return tuesday


def test_a_night_that_is_served_says_so_and_what_changed(monday):
    html = page_of(monday)
    assert verdict(html).startswith("Served ")
    assert f"{monday.cache} serves this night" in verdict(html)
    assert 'class="verdict sound"' in html
    assert "2 listeners have a list on both nights, 1 on this one only, 0 on the one before only." in html
    assert section(html, "failed") == "Expectations that failed None."
    told = section(html, "listeners")
    assert "listener 1: 1 of 2 items are new" in told
    assert "First" in told
    assert "Second" in told


def test_the_same_night_gives_the_same_bytes(monday):
    assert page_of(monday) == page_of(monday)


def test_a_first_night_has_nothing_to_compare_with(night):
    html = page_of(publish(night(MONDAY, "tables.buckets=1"), ann="a b"))
    assert "No night before has lists to compare with." in html
    assert "Served" in verdict(html)


def test_a_closed_gate_says_why_what_is_served_instead_and_shows_rows_that_fail(closed_tuesday):
    html = page_of(closed_tuesday)
    told = verdict(html)
    assert told.startswith("Gate closed ranked_lists.lists_with_duplicates is 1, expected &lt;= 0")
    assert "serves night 2026-03-02 , generation 2026-03-02-" in told
    assert "To do: mend the data or the limit and run the night again." in told
    assert 'class="verdict sound"' not in html
    failed = section(html, "failed")
    assert "closes the gate ranked_lists lists_with_duplicates: 1, limit &gt;= 1" in failed
    assert "Rows that fail, the first 2" in failed
    assert "Not validated: items, listens" in failed
    assert "This night was not watched" in section(html, "alerts")
    assert f'<a href="{TUESDAY}.html#ranked_lists">' in html


def test_a_night_that_never_began_and_one_that_failed_have_a_page_too(monday):
    assert verdict(page_of(monday.on(TUESDAY))).startswith("Not begun no stage has run")
    attempts.record(
        monday.on(TUESDAY), "rank_users", attempts.FAILED, f"the disk is full {MARKUP}\nwhat to do: mend it"
    )
    html = page_of(monday.on(TUESDAY))
    assert "the disk is full &lt;script&gt;" in html
    assert "To do: mend it." in verdict(html)


def test_titles_markets_and_reasons_of_strangers_are_text(monday):
    html = page_of(monday, [dict.fromkeys(("experiment", "state", "start", "end", "arms", "decision"), MARKUP)])
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 6


def test_a_title_that_never_ends_or_cannot_be_printed_is_cut_to_one_line(monday):
    write_items(monday, b="x\x00y\u202e" * 1000)
    assert f"{'x y ' * 29}x y…" in page_of(monday)


def test_no_listener_is_named_and_with_a_key_they_have_the_pseudonym_of_the_log(closed_tuesday, tmp_path):
    key = tmp_path / "key"
    key.write_bytes(KEY)
    keyed = closed_tuesday.with_settings(with_values(closed_tuesday.settings, {"service.log_key_file": str(key)}))
    for night in (closed_tuesday, keyed):
        words = set(re.findall(r"\w+", text(page_of(night))))
        assert not {"ann", "ben", "cat"} & words
    assert pseudonym("ann", KEY) in page_of(keyed)


def alert(name, group, *, severity="warning", since=MONDAY, silenced=False, accepted=False):
    return {
        "run_date": MONDAY,
        "alert": name,
        "cause": f"listens.{name}",
        "severity": severity,
        "group": group,
        "since": since,
        "silenced": silenced,
        "accepted": accepted,
        "table": "listens",
        "metric": "listens",
        "segment_kind": "market",
        "segment": "SE",
        "observed": 50.0,
        "expected": 100.0,
        "effect": 0.5,
        "effect_size": "ratio",
        "threshold": 0.8,
        "evidence": f"evidence of {name}",
        "meaning": f"meaning of {name}",
        "next_step": f"next step of {name}",
    }


def test_alerts_stand_by_their_root_the_worst_first_and_what_was_told_before_is_folded(monday):
    rows = [
        alert("aaaaaaaa", "aaaaaaaa"),
        alert("bbbbbbbb", "cccccccc", severity="critical", silenced=True),
        alert("cccccccc", "cccccccc"),
        alert("dddddddd", "dddddddd", since=SUNDAY, silenced=True),
        alert("ffffffff", "ffffffff", since=SUNDAY, silenced=True, severity="critical"),
        alert("eeeeeeee", "eeeeeeee", severity="critical", accepted=True),
    ]
    two_listeners.write(monday, "alerts", rows)
    html = page_of(monday)
    told = section(html, "alerts")
    assert re.findall("meaning of (.)", told) == ["c", "b", "f", "a", "e", "d"]
    assert "listens listens, market SE: 50, expected 100; ratio 0.5, limit 0.8" in told
    assert "1 that follows from it" in told
    assert "critical, accepted" in told
    assert "Told on an earlier night already: 1" in told
    assert "since 2026-03-01" in told
    assert "alerts 4 2 critical" in text(html)


def test_the_text_of_a_warning_is_as_plain_as_that_of_a_critical_alert(monday, tmp_path):
    rows = [alert("aaaaaaaa", "aaaaaaaa"), alert("bbbbbbbb", "bbbbbbbb", severity="critical")]
    two_listeners.write(monday, "alerts", rows)
    file = tmp_path / "page.html"
    file.write_text(page_of(monday), encoding="utf-8")
    with browser(820, 800) as page:
        page.show(file.as_uri(), "Alerts")
        weights = [
            page.value(f"getComputedStyle(document.querySelector('.alert.{severity} dd')).fontWeight")
            for severity in ("critical", "warning")
        ]
    assert weights == ["400", "400"]


def measure(night, **values):
    rows = [
        {"run_date": night.run_date, "table": "listens", "metric": name, "segment_kind": "all", "segment": ""}
        | {"value": value}
        for name, value in values.items()
    ]
    two_listeners.write(night, "night_metrics", rows)


def test_a_trend_has_the_last_thirty_nights_and_says_what_is_usual(monday):
    for days in (40, 3, 2, 1, 0):
        measure(monday.on(MONDAY - timedelta(days=days)), share_late=0.1 * (days + 1))
    told = section(page_of(monday), "trends")
    assert "2026-02-27: 0.4 0.1 0.1 to 0.4, usually 0.3" in told


def test_stages_are_told_beside_their_median(monday):
    for days in (0, 1, 2):
        cost = {"run_date": MONDAY - timedelta(days=days), "stage": "rank_users", "seconds": (6.0, 2.0, 4.0)[days]}
        two_listeners.write(
            monday.on(MONDAY - timedelta(days=days)),
            "costs",
            [cost | {"rows_read": 1, "rows_written": 1000, "bytes_written": 2048}],
        )
    assert "rank_users 6.0 3 +100 % 1,000 2.0 KiB" in section(page_of(monday), "costs")


def test_experiments_and_the_model_are_told(monday):
    two_listeners.write(monday, "models", two_listeners.models(MONDAY))
    rows = overview(monday.warehouse, MONDAY)
    told = section(page_of(monday, rows), "models")
    assert f"live {two_listeners.MODEL}" in told
    assert "0 nights ago, by train als" in told
    assert "the first one" in told


def test_two_nights_stand_beside_each_other(monday):
    measure(monday.on(SUNDAY), share_late=0.1, plays=3.0)
    measure(monday, share_late=0.2, plays=3.0)
    html = comparison_page(monday.on(SUNDAY), monday)
    assert html == comparison_page(monday.on(SUNDAY), monday)
    assert "listens share_late 0.1 0.2 +100 %" in section(html, "metrics")
    assert "plays" not in section(html, "metrics")
    assert "listener 1: 1 of 2 items are new" in section(html, "listeners")
    assert f'href="{SUNDAY}-report.html"' in html


def test_a_night_without_lists_is_not_compared(monday):
    with pytest.raises(UsageError, match="a night without lists cannot be compared"):
        comparison_page(monday, monday.on(TUESDAY))


def test_every_expectation_can_be_told_as_failed(monday: Night):
    write_validations(monday, "0" * 16, critical_expectations(), outcome="failed")
    told = section(page_of(monday), "failed")
    assert told.count("closes the gate") == sum(map(len, critical_expectations().values()))


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (360, "dark"), (820, "light"), (1440, "dark")])
def test_a_browser_shows_the_page_on_a_phone_and_on_a_desk_without_a_complaint(closed_tuesday, tmp_path, width, scheme):
    file = tmp_path / "page.html"
    file.write_text(page_of(closed_tuesday), encoding="utf-8")
    with browser(width, 800) as page:
        page.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        page.do("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 500)
        page.do("Page.enable")
        page.do("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        page.do("Page.navigate", url=file.as_uri())
        wait_for(lambda: page.value("document.readyState") == "complete")
        assert page.value("troubles") == []
        assert page.value("document.documentElement.scrollWidth <= window.innerWidth")
        dark = page.value("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 31)"
        assert dark == (scheme == "dark")


def test_the_command_writes_the_page_beside_the_data_docs_and_says_how_the_night_stands(closed_tuesday):
    place = ("report", "--warehouse", closed_tuesday.warehouse.path)
    done = CliRunner().invoke(app, [*place, "--run-date", str(TUESDAY)])
    assert done.exit_code == 0
    assert done.stdout.startswith(f"night {TUESDAY} gate closed: ranked_lists.lists_with_duplicates is 1")
    folder = Path(closed_tuesday.warehouse.path) / "_data_docs"
    assert "Gate closed" in (folder / f"{TUESDAY}-report.html").read_text()
    assert CliRunner().invoke(app, [*place, "--compare", str(SUNDAY), str(MONDAY)]).exit_code == 0
    assert (folder / f"{SUNDAY}-to-{MONDAY}.html").exists()


@pytest.mark.parametrize("nights", [(), ("--run-date", str(MONDAY), "--compare", str(SUNDAY), str(MONDAY))])
def test_the_command_wants_one_night_or_two(nights, tmp_path):
    done = CliRunner().invoke(app, ["report", "--warehouse", str(tmp_path), *nights])
    assert isinstance(done.exception, UsageError) or done.exit_code == 2
