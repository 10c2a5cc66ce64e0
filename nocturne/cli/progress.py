"""A bar of progress on the terminal."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any


def progress_bar(resources: ExitStack, description: str) -> Callable[[int, int, str], None]:
    """A bar that is told how much is done, of how much, and what comes next; nothing in a log."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    bar = resources.enter_context(
        Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    )
    task: Any = bar.add_task(description, total=None)
    return lambda done, total, what: bar.update(task, completed=done, total=total, description=escape(what))
