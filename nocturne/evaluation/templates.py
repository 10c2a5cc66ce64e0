"""The templates of this package's pages."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

_ENVIRONMENT = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def render(name: str, **values: Any) -> str:
    """A template beside this module, filled in; what it names and is not given is an error."""
    return _ENVIRONMENT.from_string(Path(__file__).with_name(name).read_text(encoding="utf-8")).render(values)
