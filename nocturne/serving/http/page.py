"""The page for people: one document without anything from elsewhere, which asks the routes as any client does."""

import re
from base64 import b64encode
from hashlib import sha256
from typing import get_args

from nocturne.core.pages import render_page
from nocturne.serving.http.queries import LONGEST_ID, LONGEST_TEXT, ContentType
from nocturne.serving.http.responses import Encoded

STEER = "steer"
PANELS = ((STEER, "Asked for"), ("list", "Tonight's list"), ("next", "What comes next"), ("related", "Related items"))
HTML = "text/html; charset=utf-8"


def page(limit: int, most: int, *, needs_token: bool) -> Encoded:
    """The page, rendered once: it holds nothing of anybody. Its policy names its own script and style by their hashes.

    Args:
        limit: items asked for at first.
        most: items that may be asked for.
        needs_token: show a field for a token.
    """
    html = render_page(
        "nocturne.serving.http",
        "page.html.jinja",
        title="Nocturne: now playing",
        panels=PANELS,
        content_types=get_args(ContentType),
        steer=STEER,
        longest_id=LONGEST_ID,
        longest_text=LONGEST_TEXT,
        limit=limit,
        most=most,
        needs_token=needs_token,
    )
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(content_hashes(html, 'script'))}",
            f"style-src {' '.join(content_hashes(html, 'style'))}",
            "connect-src 'self'",
            "img-src data:",
            "form-action 'none'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )
    headers = ((b"content-security-policy", policy.encode()), (b"referrer-policy", b"no-referrer"))
    return Encoded(html.encode(), media_type=HTML, headers=headers)


def content_hashes(html: str, tag: str) -> list[str]:
    """The elements of a kind, as a policy names them; 'none' if there are none."""
    contents = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    return [f"'sha256-{b64encode(sha256(each.encode()).digest()).decode()}'" for each in contents] or ["'none'"]
