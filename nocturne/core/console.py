"""Console output: rows for people and for programs on stdout, remarks on stderr."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

LOG_WIDTH = 160


def say(text: str) -> None:
    """Print a remark for the person at the terminal."""
    print(text, file=sys.stderr)


def print_json(value: Any) -> None:
    """Print one JSON document; dates as ISO 8601."""
    print(json.dumps(value, indent=2, default=str, ensure_ascii=False))


def print_rows(rows: Sequence[Mapping[str, Any]], title: str, *, as_json: bool = False) -> None:
    """Print rows of one shape as a table, or as a JSON array."""
    if as_json:
        print_json(rows)
        return
    if not rows:
        say(f"{title}: nothing")
        return
    table = Table(box=SIMPLE_HEAD, header_style="bold")
    for name, value in rows[0].items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        table.add_column(name.replace("_", " "), justify="right" if number else "left")
    for row in rows:
        table.add_row(*map(_text, row.values()))
    # A log has no width of its own, and rich would cut columns off at 80.
    console = Console(width=None if sys.stdout.isatty() else LOG_WIDTH)
    console.print(Text(title), table, sep="\n")


def _text(value: Any) -> Text:
    """Plain text: a title in square brackets is no markup."""
    if value is None:
        return Text("")
    return Text(f"{value:.6g}" if isinstance(value, float) else str(value))
