"""The page of troubleshooting has every message that an error is raised with, under its exit status."""

import ast
import re

import pytest

from nocturne.core import errors
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "troubleshooting.md"
STATUSES = {
    name: kind.status
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.NocturneError) and kind is not errors.NocturneError
}


def texts(node):
    """The texts that an expression may come to, … in the place of its values."""
    if isinstance(node, ast.IfExp):
        return [*texts(node.body), *texts(node.orelse)]
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    return ["".join(part.value if isinstance(part, ast.Constant) else "…" for part in parts)]


def messages():
    """Exit status and text of every error that the library raises."""
    for path in sorted((ROOT / "nocturne").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if not any(f"{name}(" in text for name in STATUSES):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in STATUSES and node.args:
                # … alone is the message of another error, passed on
                yield from ((STATUSES[node.func.id], text) for text in texts(node.args[0]) if text != "…")


def sections():
    """The messages of each section by the number that its heading begins with; 0 for those of installing."""
    parts = re.split(r"^## (\d|Installing).*$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    texts_of = {int(name) if name.isdigit() else 0: text for name, text in zip(parts[1::2], parts[2::2], strict=True)}
    first_cells = {status: re.findall(r"^\| (`.+?) \|", text, re.MULTILINE) for status, text in texts_of.items()}
    return {status: re.findall(r"`([^`]+)`", " ".join(cells)) for status, cells in first_cells.items()}


def tells(code, message):
    """True if a message begins as the page says; … stands for anything."""
    return re.match(".+".join(map(re.escape, code.rstrip("… ").split("…"))), message) is not None


def test_every_message_stands_under_its_exit_status():
    page = sections()
    absent = [
        (int(status), message)
        for status, message in sorted(set(messages()))
        if status in page and not any(tells(code, message) for code in (*page[0], *page[int(status)]))
    ]
    assert absent == [], "what it means and what to do belongs in docs/troubleshooting.md"


@pytest.mark.parametrize(("code", "told"), [("no … is live", True), ("no model", True), ("no such", False)])
def test_a_message_is_found_by_its_beginning(code, told):
    assert tells(code, "no model is live") is told
