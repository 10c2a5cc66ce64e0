"""Plots as SVG to stand in a page: one look, and the same bytes from the same numbers."""

import io
from typing import Any

from matplotlib.figure import Figure

REFERENCE, BASELINE, FAINT = "#1a56a8", "#6b7686", "#c7ced9"

STYLE: dict[Any, Any] = {
    "svg.hashsalt": "nocturne",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "text.color": "#1d2430",
    "axes.labelcolor": "#1d2430",
}
WIDTH_INCHES = 10.5


def svg(figure: Figure) -> str:
    """The figure without the head that only a file of its own needs, and without a date."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = buffer.getvalue()
    return text[text.index("<svg") :]
