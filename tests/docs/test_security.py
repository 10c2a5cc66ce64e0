"""The page of security names a test for every promise, and each is there."""

import re

import pytest

from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
TESTS = ROOT / "tests" / "serving" / "http"
ROWS = [line for line in PAGE.splitlines() if re.match(r"\| [A-Z]", line)]


def named(row):
    """(file, part of a test's name) of a row; the part is empty where the whole file is meant."""
    file = None
    for code in re.findall(r"`([^`]+)`", row.split("|")[3]):
        if code.endswith(".py"):
            file = ROOT / code if code.startswith("tests/") else (file.parent if file else TESTS) / code
            yield file, ""
        elif file is not None and re.fullmatch(r"\w+", code):
            yield file, code


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:40])
def test_what_holds_a_promise_is_there(row):
    holders = list(named(row))
    assert holders or "read_only=True" in row
    for file, part in holders:
        assert re.search(rf"def test_\w*{part}", file.read_text(encoding="utf-8")), f"{file.name}: {part}"


def test_there_are_promises():
    assert len(ROWS) > 10
