"""HTML pages: one Jinja environment for all of them, one look, and nothing fetched from elsewhere."""

from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined


def render_page(package: str, template: str, *, title: str, **values: Any) -> str:
    """A whole page, from a template that stands beside the module whose page it is.

    Templates name each other with their package, such as `{% extends "nocturne.core/page.html.jinja" %}`. Values
    are escaped; one that a template names and is not given is an error.

    Args:
        package: where the template stands, such as nocturne.evaluation.
        template: name of its file.
        title: of the page.
        values: by the names that the template gives them.
    """
    return _ENVIRONMENT.get_template(f"{package}/{template}").render(title=title, **values)


def _read_template(name: str) -> str:
    """Text of PACKAGE/FILE; the package may lie in a checkout or in a zip."""
    package, _, file = name.rpartition("/")
    return files(package).joinpath(file).read_text(encoding="utf-8")


_ENVIRONMENT = Environment(
    loader=FunctionLoader(_read_template),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
