"""Pages of nights under /nights: files of a folder that nights fill, for people, who have tokens of their own."""

import re
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from nocturne.serving.http import problems
from nocturne.serving.http.page import HTML, content_hashes
from nocturne.serving.http.problems import problem
from nocturne.serving.http.responses import Encoded

ROOT = "/nights"

_DAY = r"\d{4}-\d\d-\d\d"
_NAME = re.compile(rf"(index|{_DAY}(-report|-to-{_DAY})?)\.html")
"""Names of pages: the index, a night's Data Docs, a night's report, two nights compared."""


def is_page(path: str) -> bool:
    """True for paths of pages of nights."""
    return path == ROOT or path.startswith(f"{ROOT}/")


class NightPages:
    """Handlers of the pages in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def front(self, request: Request) -> Encoded:
        """Lead to the index, beside which the pages that it links lie."""
        to = "index.html" if request.scope["path"].endswith("/") else f"{ROOT[1:]}/index.html"
        return Encoded(b"", 307, HTML, ((b"location", to.encode()),))

    async def page(self, request: Request) -> Encoded:
        """Answer with a page as it is now. It may run no script, load nothing and send nothing."""
        name = request.scope["path_params"]["name"]
        if not _NAME.fullmatch(name):
            return problem(problems.NO_SUCH_ROUTE, "no page of a night has this name")
        try:
            html = await run_in_threadpool((self._folder / name).read_text, encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return problem(problems.NO_SUCH_ROUTE, "this page is not written: `nocturne report` writes it")
        policy = "; ".join(
            (
                "default-src 'none'",
                f"style-src {' '.join(content_hashes(html, 'style'))}",
                "form-action 'none'",
                "base-uri 'none'",
                "frame-ancestors 'none'",
            )
        )
        headers = ((b"content-security-policy", policy.encode()), (b"referrer-policy", b"same-origin"))
        return Encoded(html.encode(), media_type=HTML, headers=headers)
