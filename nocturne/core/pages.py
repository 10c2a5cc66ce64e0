"""Pages for people: one look, and nothing fetched from elsewhere."""

from html import escape

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1d2430 }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin: 2rem 0 .4rem } a { color: #1a56a8 } p { margin: .3rem 0 }
table { border-collapse: collapse; width: 100% } th, td { padding: .35rem .6rem; text-align: left; vertical-align: top }
th { border-bottom: 2px solid #c7ced9; font-weight: 600 } td { border-bottom: 1px solid #e4e8ee }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
.success { color: #1b7f4b } .skipped { color: #6b7686 }
.warning { color: #9a6200; font-weight: 600 } .critical { color: #b3261e; font-weight: 700 }
"""


def page(title: str, body: str, style: str = "") -> str:
    """A whole page.

    Args:
        body: HTML.
        style: CSS over that of all pages.
    """
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}{style}</style></head><body><h1>{escape(title)}</h1>{body}</body></html>\n"
    )
