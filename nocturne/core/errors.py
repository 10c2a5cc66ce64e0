"""Errors for people: what failed, where, what was found and expected, and what to do.

One class per thing a caller would handle differently; each has its own exit status.
"""

import re
import traceback

from nocturne.flow import ExitStatus

PLACE_FRAMES = 6
_NEXT_CAUSE = re.compile(r"\s*(?:\x1b\[\d*m)*↳(?:\x1b\[\d*m)*\s*")


class NocturneError(Exception):
    """An error whose message a person can act on."""

    status = ExitStatus.CRASHED

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        found: str = "",
        expected: str = "",
        fix: str = "",
    ) -> None:
        details = {"where": where, "found": found, "expected": expected, "what to do": fix}
        self.what, self.details = what, {name: text for name, text in details.items() if text}
        lines = [what, *(f"  {name}: {text}" for name, text in self.details.items())]
        super().__init__("\n".join(lines))


class UsageError(NocturneError):
    """A wrong option, setting, path or date: mend the command or the settings."""

    status = ExitStatus.USAGE


class GateClosed(NocturneError):  # noqa: N818 - it is what people call it
    """A critical expectation does not hold: nothing of this night is served."""

    status = ExitStatus.GATE_CLOSED


class InputError(NocturneError):
    """Landing data or a table is not what its contract says: mend the data."""

    status = ExitStatus.BAD_INPUT


class Interrupted(NocturneError):  # noqa: N818 - nothing was wrong
    """Somebody pressed Ctrl-C: run the same again."""

    status = ExitStatus.INTERRUPTED


class ServiceError(NocturneError):
    """A server, disk or lock that was needed did not serve: try again later."""

    status = ExitStatus.SERVICE_FAILED


def text_of(error: BaseException) -> str:
    """The message of an error of any library, or its name; without the coloured lines of delta-rs for its causes."""
    return _NEXT_CAUSE.sub(": ", str(error)).strip() or type(error).__name__


def place_of(error: BaseException) -> str:
    """The kind of an error and where it was raised, without its message, which may quote an id."""
    frames = traceback.extract_tb(error.__traceback__)[-PLACE_FRAMES:]
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames)]
    return f"{type(error).__name__} at {', called at '.join(places)}"
