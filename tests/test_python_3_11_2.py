"""Debian 12 brings Python 3.11.2: no argument is used that a later 3.11 added to the standard library.

Set-up takes the Python 3.11 that it finds, and tests run on one of them.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("nocturne", "jobs", "dags", "benchmarks", "ops", "docs/tools", "tests")
ADDED = {
    "extract": "filter",
    "extractall": "filter",
    "unpack_archive": "filter",
    "getaddresses": "strict",
    "parseaddr": "strict",
}
"""Arguments by the function that has them since 3.11.4 (PEP 706) or 3.11.10."""


def test_no_argument_is_used_that_python_3_11_2_does_not_know():
    paths = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    texts = {path: path.read_text(encoding="utf-8") for path in paths}
    used = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path, text in texts.items()
        if any(f"{name}(" in text for name in ADDED)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        for argument in node.keywords
        if argument.arg and ADDED.get(getattr(node.func, "attr", getattr(node.func, "id", ""))) == argument.arg
    ]
    assert used == []
