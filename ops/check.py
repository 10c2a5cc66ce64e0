"""Check before a commit: the cheap parts one after the other, beside the quick tests.

python ops/check.py

The first broken invariant ends the check, and its last two lines are that invariant in plain words and what to do:

    check: layers: nocturne.kernel.top_k imports nocturne.storage.tables (l.12): imports lead downwards only
    check: move the import, or what it needs, to a folder below: [tool.importlinter] in pyproject.toml
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
BIN = ".venv/bin"
LONGEST = 300
"""Characters of a sentence."""
LAYERS = "Folders import downwards"
"""Name of the contract of layers in pyproject.toml."""
WRITTEN_BY_DOCS = "the_page_of_tables|the_schema_in_docs|document_is_what"
"""In the names of tests of what `make docs` writes."""


@dataclass(frozen=True)
class Part:
    """One part of the check.

    Attributes:
        sentence: the first broken invariant, from what the command printed.
        remedy: what to do, from the same.
    """

    name: str
    command: tuple[str, ...]
    sentence: Callable[[str], str]
    remedy: Callable[[str], str]

    def start(self, output: IO[str]) -> subprocess.Popen[str]:
        """Start the command, with whatever it starts in a group of its own."""
        # Lines of the width of a terminal would be cut in the middle of a sentence.
        environment = {**os.environ, "COLUMNS": "400", "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": ""}
        return subprocess.Popen(
            self.command,
            cwd=ROOT,
            env=environment,
            text=True,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def unformatted(output: str) -> str:
    """The first file that the formatter would write otherwise."""
    path = re.search(r"^Would reformat: (.+)$", output, re.MULTILINE)
    return f"{path[1]} is not as the formatter writes it" if path else last_line(output)


def first_place(output: str) -> str:
    """The first line that begins with a place in a file."""
    place = re.search(r"^[^\s:]+:\d+.*$", output, re.MULTILINE)
    return place[0] if place else last_line(output)


def forbidden_import(output: str) -> str:
    """The first chain of imports that a contract forbids, and the contract."""
    chain = re.search(r"^-\s+(\S+) -> (\S+) (\(l\.[^)]*\))(.*(?:\n    .*)*)", output, re.MULTILINE)
    if not chain:
        return last_line(output)
    headings = re.findall(r"^(\S.*(?:\n\S.*)*)\n-{3,}$", output[: chain.start()], re.MULTILINE)
    contract = " ".join(headings[-1].split()) if headings else LAYERS
    rule = "imports lead downwards only" if contract == LAYERS else contract
    further = re.findall(r"-> (\S+)", chain[4])
    return f"{chain[1]} imports {chain[2]} {chain[3]}{''.join(f', which imports {name}' for name in further)}: {rule}"


def failed_claim(output: str) -> str:
    """The claim of the first failed test, which is its name, and what was found instead."""
    test = re.search(r"^(?:FAILED|ERROR) ([^\s:]+)(?:::(.*?))?(?: - (.*))?$", output, re.MULTILINE)
    if not test:
        return last_line(output)
    path, name, found = test[1], test[2] or "", test[3] or ""
    claim, _, case = name.split("::")[-1].partition("[")
    words = claim.removeprefix("test_").replace("_", " ") or "the file cannot be collected"
    return f"{path}: {words}{f' [{case}' if case else ''}{f': {found}' if found else ''}"


def run_alone(output: str) -> str:
    """The command that repeats the first failed test alone."""
    test = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", output, re.MULTILINE)
    if not test:
        return f"run it alone: {BIN}/pytest"
    documents = "write it with make docs; " if re.search(WRITTEN_BY_DOCS, test[1]) else ""
    return f"{documents}run it alone: {BIN}/pytest '{test[1]}'"


def last_line(output: str) -> str:
    """The last line that says anything."""
    lines = [line for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "nothing was printed"


def always(text: str) -> Callable[[str], str]:
    """The same, whatever was printed."""
    return lambda _: text


CHEAP = (
    Part(
        "format", (f"{BIN}/ruff", "format", "--check", "."), unformatted, always(f"write it with {BIN}/ruff format .")
    ),
    Part(
        "lint",
        (f"{BIN}/ruff", "check", "--output-format", "concise", "."),
        first_place,
        always(f"mend it, or have it mended by {BIN}/ruff check --fix ."),
    ),
    Part(
        "layers",
        (f"{BIN}/lint-imports", "--no-logo"),
        forbidden_import,
        always("move the import, or what it needs, to a folder below: [tool.importlinter] in pyproject.toml"),
    ),
    Part("types", (f"{BIN}/mypy",), first_place, always(f"mend what {BIN}/mypy says")),
)
QUICK = ("-m", "not slow", "--hypothesis-profile", "quick")
"""Of pytest: the tests of the check."""
IN_PROCESSES = ("-n", "2", "--dist", "loadfile", "--durations-min", "60")
TWICE = "tests/test_structure.py::test_imports_keep_to_the_layers"
"""The layers are a part of their own."""
TESTS = Part("quick tests", (f"{BIN}/pytest", *QUICK, *IN_PROCESSES, "--deselect", TWICE), failed_claim, run_alone)


def main() -> int:
    """Run the parts; 1 if one is broken."""
    started = time.monotonic()
    with TemporaryFile("w+", encoding="utf-8") as told:
        tests = TESTS.start(told)
        try:
            whole = all(passes(part) for part in CHEAP) and passes(TESTS, tests, told)
        finally:
            # A cheap part that is broken is told now, not when the tests are over.
            with suppress(ProcessLookupError):
                os.killpg(tests.pid, signal.SIGTERM)
            tests.wait()
    if whole:
        print(f"check: all is well, {time.monotonic() - started:.0f} s")
    return not whole


def passes(part: Part, process: subprocess.Popen[str] | None = None, told: IO[str] | None = None) -> bool:
    """Wait for a part, which is started unless it has been; print how it went."""
    started = time.monotonic()
    with told or TemporaryFile("w+", encoding="utf-8") as output:
        status = (process or part.start(output)).wait()
        output.seek(0)
        text = output.read()
    if not status:
        print(f"check: {part.name}, {time.monotonic() - started:.0f} s", flush=True)
        return True
    print(text)
    sentence = " ".join(part.sentence(text).split())
    print(f"check: {part.name}: {sentence[:LONGEST]}\ncheck: {part.remedy(text)}", flush=True)
    return False


if __name__ == "__main__":
    sys.exit(main())
