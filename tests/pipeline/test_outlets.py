"""Outlets: told once of a gate, whatever happens to them, and never a reason for a night to fail."""

from pathlib import Path

import pytest

from nocturne.core.night import Night
from nocturne.pipeline import outlets
from tests.fixtures.published_nights import write_validations
from tests.fixtures.webhooks import Webhook, webhook


@pytest.fixture
def hook():
    with webhook() as listening:
        yield listening


@pytest.fixture
def told(night, hook: Webhook, tmp_path: Path) -> Night:
    """A night with a webhook and a textfile, of which one expectation failed on an earlier attempt."""
    file = f"monitoring.prometheus_textfile={tmp_path / 'nocturne.prom'}"
    made: Night = night(night().run_date, hook.setting(tmp_path), file)
    write_validations(made, "0" * 16, {"listens": {"rows"}}, failed={("listens", "rows"): (0.0, ">= 1")})
    return made


def test_a_gate_that_closes_is_told_to_both(told: Night, hook: Webhook, tmp_path: Path) -> None:
    outlets.tell_of_verdicts(told, ["listens"], closed=True)
    (document,) = hook.got
    assert (document["gate"], document["reasons"]) == ("closed", ["listens: rows is 0, expected >= 1"])
    assert (document["alerts"], document["served"]) == ([], [])
    assert "nocturne_night_gate_closed 1.0" in (tmp_path / "nocturne.prom").read_text()


def test_a_gate_that_is_open_is_told_when_alerts_were_judged_and_not_before(told: Night, hook: Webhook) -> None:
    outlets.tell_of_verdicts(told, ["items", "listens"], closed=False)
    assert hook.got == []
    outlets.tell_of_verdicts(told, ["alerts"], closed=False)
    (document,) = hook.got
    assert (document["gate"], document["reasons"]) == ("open", [])


def test_a_publication_is_written_to_the_textfile_and_not_posted(told: Night, hook: Webhook, tmp_path: Path) -> None:
    outlets.tell_of_publication(told)
    assert "nocturne_night_gate_closed 0.0" in (tmp_path / "nocturne.prom").read_text()
    assert hook.got == []


def test_what_cannot_be_told_is_said_and_the_night_goes_on(
    night, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    blocked = f"monitoring.prometheus_textfile={tmp_path / 'file' / 'nocturne.prom'}"
    made = night(night().run_date, blocked, f"monitoring.webhook_url_file={tmp_path / 'absent'}")
    outlets.tell_of_verdicts(made, ["listens"], closed=True)
    outlets.tell_of_publication(made)
    said = capsys.readouterr().err
    assert f"{tmp_path / 'absent'} cannot be read" in said
    assert f"the verdict on night {made.run_date} could not be told" in said
    assert f"the metrics of night {made.run_date} could not be written" in said


def test_without_settings_no_table_is_read_for_them(night, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOCTURNE_WEBHOOK_URL", raising=False)
    monkeypatch.setattr(outlets.NightVerdict, "of", lambda *_, **__: pytest.fail("it was read"))
    outlets.tell_of_verdicts(night(), ["alerts"], closed=True)
    outlets.tell_of_publication(night())
