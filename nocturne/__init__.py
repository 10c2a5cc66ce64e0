"""Nocturne: listening events in, every listener's validated list out, before morning."""

from importlib.resources import files
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

ROOT = cast("Traversable", files("nocturne").parent)  # type: ignore[attr-defined]
"""Where schemas/, expectations/ and conf/ stand: the checkout, or the zip shipped to a cluster."""
