"""Plots as SVG to stand in a page: one look, and the same bytes from the same numbers."""

import io
from typing import Any

from matplotlib.figure import Figure

INK, PAPER, REFERENCE, BASELINE, FAINT = "#1d2430", "#ffffff", "#1a56a8", "#6b7686", "#c7ced9"
_OF_PAGE = {INK: "--ink", PAPER: "--paper", REFERENCE: "--link", BASELINE: "--quiet", FAINT: "--faint"}
"""Colours that a page has in light and in dark, by the names of its style."""

STYLE: dict[Any, Any] = {
    "svg.hashsalt": "nocturne",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
WIDTH_INCHES = 10.5


def svg(figure: Figure) -> str:
    """The figure without the head that only a file of its own needs, and without a date; light or dark as its page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = buffer.getvalue()
    drawn = text[text.index("<svg") :]
    for colour, name in _OF_PAGE.items():
        drawn = drawn.replace(colour, f"var({name}, {colour})")
    return drawn
