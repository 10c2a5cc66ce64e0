"""The pages name things as they are: commands with their options, files, links, targets of make."""

import importlib.util
import json
import re
from contextlib import suppress

import pytest
import typer

from nocturne.cli.main import app
from tests.docs.pages import (
    PAGES,
    ROOT,
    RUNNABLE,
    SHOWN,
    anchors,
    blocks,
    commands,
    inline_codes,
    links,
    notebook_cells,
)

EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
COMMAND_LINE = typer.main.get_command(app)
FOLDERS = {path.name for path in (*ROOT.iterdir(), *(ROOT / "nocturne").iterdir()) if path.is_dir()} - {"data", "dist"}
TO_COME = {"ranking/arms.py", "ranking/steering.py"}
"""Homes of what is to come, in ARCHITECTURE.md."""

OF_A_BARE_SYSTEM = {"make", "curl", "printf", "mkdir", "tar"}
NOT_PASTEABLE = re.compile(r"(uv|python|python3|pytest|spark-submit \S*/\w+\.py) ")


def shell_commands(page):
    return [command for block in blocks(page) if block.language == "sh" for command in commands(block.code)]


def resolve(arguments):
    """The command that words begin with, and the words after its name."""
    command, rest = COMMAND_LINE, list(arguments)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    return command, rest


def options(command):
    return {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help", "-h"}


@EACH_PAGE
def test_every_block_runs_or_is_shown_or_says_why_it_does_not_run(page):
    odd = [(block.line, block.language) for block in blocks(page) if block.language not in RUNNABLE | SHOWN]
    assert odd == [], "open it with ```sh, ```python or ```text"


@EACH_PAGE
def test_a_command_to_paste_needs_nothing_on_path_but_the_system(page):
    for program, *_ in shell_commands(page):
        assert program in OF_A_BARE_SYSTEM or program.startswith(".venv/bin/"), program


@EACH_PAGE
def test_inline_code_is_no_command_that_needs_an_activated_environment(page):
    assert [code for code in inline_codes(page) if NOT_PASTEABLE.match(code)] == []


@EACH_PAGE
def test_every_call_of_nocturne_to_paste_is_understood(page):
    for program, *arguments in shell_commands(page):
        if program == ".venv/bin/nocturne":
            command, rest = resolve(arguments)
            assert command is not COMMAND_LINE or rest[0].startswith("-"), f"no such command: {rest[0]}"
            with suppress(typer.Exit):  # --help
                command.make_context(command.name, rest)


@EACH_PAGE
def test_every_call_of_nocturne_in_the_text_names_a_command_and_its_options(page):
    for code in inline_codes(page):
        if code.startswith(("nocturne ", ".venv/bin/nocturne ")):
            command, rest = resolve(code.split()[1:])
            assert command is not COMMAND_LINE or rest[0].startswith("-"), code
            assert {word for word in rest if re.match(r"-\D", word)} <= options(command), code


@EACH_PAGE
def test_every_module_that_is_run_is_there(page):
    for code in (*map(" ".join, shell_commands(page)), *inline_codes(page)):
        for module in re.findall(r"python -m ([\w.]+)", code):
            assert importlib.util.find_spec(module), code


@EACH_PAGE
def test_every_target_of_make_is_there(page):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for code in (*map(" ".join, shell_commands(page)), *inline_codes(page)):
        if target := re.match(r"make ([a-z-]+)", code):
            assert re.search(rf"^{target[1]}:", makefile, re.MULTILINE), code


@EACH_PAGE
def test_every_link_leads_somewhere(page):
    for link in links(page):
        if "://" not in link:
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


@EACH_PAGE
def test_every_file_that_is_named_is_there(page):
    for code in inline_codes(page):
        if re.fullmatch(r"[\w.-]+(/[\w.-]+)*/[\w.-]*", code) and code.split("/")[0] in FOLDERS and code not in TO_COME:
            assert (ROOT / code).exists() or (ROOT / "nocturne" / code).exists(), code


def test_the_notebook_is_stored_without_outputs():
    cells = json.loads((ROOT / "docs" / "quickstart.ipynb").read_text(encoding="utf-8"))["cells"]
    assert [cell.get("outputs", []) for cell in cells if cell["cell_type"] == "code"] == [
        [] for _ in notebook_cells(ROOT / "docs" / "quickstart.ipynb")
    ]
