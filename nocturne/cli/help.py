"""Help of commands and jobs: texts as they are written, and an example that can be pasted."""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.markup import escape
from typer import core, echo

from nocturne.cli import error_edge
from nocturne.core.pasted import shortest

EXAMPLE = re.compile(r"\n\s*Example:\s+(.*)\Z", re.DOTALL)
"""The last paragraph of a docstring: a program, and what it is called with."""

WIDTH = 78


class Command(error_edge.Command):
    """A command whose help ends in the example of its docstring.

    Attributes:
        example: a call of this command, without the program.
    """

    def __init__(self, *args: Any, help: str | None = None, params: Sequence[Any] = (), **kwargs: Any) -> None:  # noqa: A002
        found = EXAMPLE.search(help or "")
        self.example = " ".join(found[1].split()[1:]) if found else ""
        paragraphs = EXAMPLE.sub("", help or "").split("\n\n")
        unwrapped = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        super().__init__(*args, help=unwrapped, params=[*params], **kwargs)
        _escape_texts(self)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, and the example below it: a frame would keep it from being copied."""
        super().format_help(ctx, formatter)
        if self.example:
            echo(f"\n Example:\n\n{folded(f'{program()} {self.example}')}")


class Group(core.TyperGroup):
    """A group of commands, whose texts are no markup."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _escape_texts(self)


def program() -> str:
    """The program as it was called, so that what begins with it can be pasted: a job with what ran it."""
    called = Path(sys.argv[0])
    if called.parent.name == "jobs":
        spark = "PYSPARK_GATEWAY_PORT" in os.environ  # spark-submit runs us
        launcher = Path(sys.executable).with_name("spark-submit") if spark else Path(sys.executable)
        return f"{shortest(launcher)} {called}"
    if called.name != "nocturne":
        return "nocturne"
    if "UV_RUN_RECURSION_DEPTH" in os.environ:  # `uv run` puts it on a path of its own
        return f"{shortest(Path(os.environ.get('UV', 'uv')))} run nocturne"
    return shortest(called)


def folded(command: str, width: int = WIDTH) -> str:
    """A command line in lines that a shell reads as one; an option stays beside its value."""
    lines: list[str] = []
    for part in re.split(r" (?=--)", command):
        if lines and cell_len(f"{lines[-1]} {part} \\") <= width:
            lines[-1] += f" {part}"
        else:
            lines.append(f"    {part}" if lines else part)
    return " \\\n".join(lines)


def _escape_texts(command: Any) -> None:
    """Have rich print square brackets: [als] is a section of the settings."""
    if command.rich_markup_mode != "rich":
        return
    for owner, names in ((command, ("help", "short_help", "epilog")), *((each, ("help",)) for each in command.params)):
        for name in names:
            if text := getattr(owner, name, None):
                setattr(owner, name, escape(text))
