"""Console output: rows and records for people and for programs on stdout, remarks on stderr.

Nothing is ever cut. At a terminal that is too narrow for a table, text folds between words, then columns that the
caller calls secondary go, then every row is a block of lines. In a log or a pipe a line is as long as it needs to be.
"""

import json
import os
import re
import sys
import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TextIO

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

LOG_WIDTH = 160
USUAL_WIDTH = 80
"""Of terminals that do not know theirs."""
GAP = 2
FOLDED = 16
"""Cells that text is folded to at least."""


def say(text: str) -> None:
    """Print a remark for the person at the terminal."""
    print(text, file=sys.stderr)


def print_json(value: Any) -> None:
    """Print one JSON document; dates as ISO 8601."""
    print(json.dumps(value, indent=2, default=str, ensure_ascii=False))


def print_rows(
    rows: Sequence[Mapping[str, Any]],
    title: str,
    *,
    as_json: bool = False,
    secondary: Sequence[str] = (),
    stream: TextIO | None = None,
) -> None:
    """Print rows as a table, or as a JSON array.

    Args:
        rows: values by column; empty where a row has none.
        title: stands above the table, and is no part of the JSON.
        as_json: print them all, as they are.
        secondary: columns that a narrow terminal can do without, the first to go first.
        stream: stdout by default.
    """
    if as_json:
        print_json(rows)
        return
    if not rows:
        say(f"{title}: nothing")
        return
    stream = stream or sys.stdout
    width = terminal_width(stream)
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name.replace("_", " "): [_text(row.get(name)) for row in rows] for name in names}
    numbers = {name.replace("_", " ") for name in names if _are_numbers([row.get(name) for row in rows])}
    print(title, file=stream)
    for dropped in range(len(secondary) + 1):
        gone = [name.replace("_", " ") for name in secondary[:dropped]]
        shown = {name: texts for name, texts in columns.items() if name not in gone}
        widths = _column_widths(shown, width)
        if widths:
            _print_table(shown, widths, numbers, stream)
            if gone:
                say(f"a wider terminal, or --json, shows {', '.join(gone)} as well")
            return
    for texts in zip(*columns.values(), strict=True):
        print(file=stream)
        _print_lines(dict(zip(columns, texts, strict=True)), width, stream)
    print(file=stream)


def print_record(record: Mapping[str, Any], title: str) -> None:
    """Print one record: a line for each value, a table for each list of rows, a block for each mapping."""
    plain = {name: value for name, value in record.items() if not _is_nested(value)}
    width = terminal_width(sys.stdout)
    print(f"{title}\n")
    _print_lines({name: _text(value) for name, value in plain.items()}, width, sys.stdout)
    print()
    for name, value in record.items():
        if name in plain or not value:
            continue
        if isinstance(value, Mapping):
            print_record(value, name)
        else:
            print_rows(value, name)


def terminal_width(stream: TextIO) -> int | None:
    """Columns of the terminal that a stream is; None where it is none, as in a log or a pipe."""
    return os.get_terminal_size(stream.fileno()).columns or USUAL_WIDTH if stream.isatty() else None


def _column_widths(columns: Mapping[str, Sequence[str]], width: int | None) -> dict[str, int]:
    """Width of each column of a table, of which those of several words may fold; empty if no table fits."""
    widths, least = {}, {}
    for name, texts in columns.items():
        cells = (name, *texts)
        widths[name] = max(cell_len(line) for text in cells for line in text.splitlines() or [""])
        longest_word = max(cell_len(word) for text in cells for word in text.split() or [""])
        least[name] = (
            max(longest_word, min(widths[name], FOLDED)) if any(" " in text for text in texts) else longest_word
        )
    room = None if width is None else width - GAP * (len(columns) - 1)
    while room is not None and sum(widths.values()) > room:
        foldable = [name for name in widths if widths[name] > least[name]]
        if not foldable:
            return {}
        widths[max(foldable, key=lambda name: widths[name])] -= 1
    return widths


def _print_table(
    columns: Mapping[str, Sequence[str]], widths: Mapping[str, int], numbers: Collection[str], stream: TextIO
) -> None:
    table = Table(box=SIMPLE_HEAD, header_style="bold", show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0))
    for name in columns:
        table.add_column(Text(name), justify="right" if name in numbers else "left", width=widths[name])
    for texts in zip(*columns.values(), strict=True):
        table.add_row(*map(Text, texts))  # plain text: a title in square brackets is no markup
    console = Console(file=stream, width=sum(widths.values()) + GAP * len(columns))
    with console.capture() as capture:
        console.print(table)
    print(f"\n{re.sub(r' +$', '', capture.get(), flags=re.MULTILINE)}", file=stream)


def _print_lines(texts: Mapping[str, str], width: int | None, stream: TextIO) -> None:
    """Print name and value on a line each, the value folded between words; what has no value is left out."""
    texts = {name: text for name, text in texts.items() if text}
    margin = max(map(cell_len, texts), default=0) + GAP
    for name, text in texts.items():
        room = None if width is None else max(width - margin, FOLDED)
        lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) if room else [text]
        heads = (name, *[""] * (len(lines) - 1))
        for head, line in zip(heads, lines, strict=True):
            print(f"{head}{' ' * (margin - cell_len(head))}{line}", file=stream)


def _is_nested(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and any(isinstance(each, Mapping) for each in value))


def _are_numbers(values: Sequence[Any]) -> bool:
    present = [value for value in values if value is not None]
    return bool(present) and all(isinstance(each, int | float) and not isinstance(each, bool) for each in present)


def _text(value: Any) -> str:
    """A value as people write it, and as settings take it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {_text(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return str(value)
