"""The pages of the repository, taken apart as GitHub renders them: blocks, inline code, links, headings."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt  # comes with rich
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "AGENTS.md")]
    + [page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "tools"]
)
RUNNABLE = {"sh", "python"}
SHOWN = {"text", "toml", "json", "diff"}


@dataclass(frozen=True)
class Block:
    """One code block.

    Attributes:
        line: of its first line of code in the page, counted from 1.
        language: first word of its info string; empty for an indented block.
        not_run: why it is not run, where it says so: ```sh not-run="needs a cluster".
    """

    line: int
    language: str
    not_run: str
    code: str


def blocks(page: Path) -> list[Block]:
    """The code blocks of a page, in order."""
    return [
        Block(token.map[0] + 2 if token.map else 0, *_info(token.info), token.content)
        for token in _tokens(page)
        if token.type in {"fence", "code_block"}
    ]


def runnable(page: Path) -> list[Block]:
    """The blocks of a page that run, in order."""
    return [block for block in blocks(page) if block.language in RUNNABLE and not block.not_run]


def inline_codes(page: Path) -> list[str]:
    """Everything that a page sets in code within its text."""
    return [" ".join(token.content.split()) for token in _inline(page) if token.type == "code_inline"]


def links(page: Path) -> list[str]:
    """Targets of the links and pictures of a page."""
    targets = (token.attrGet("href") or token.attrGet("src") for token in _inline(page))
    return [str(target) for target in targets if target]


def anchors(page: Path) -> set[str]:
    """The names by which links reach the headings of a page."""
    tokens = _tokens(page)
    titles = (after.content for token, after in pairwise(tokens) if token.type == "heading_open")
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def commands(code: str) -> list[list[str]]:
    """The words of each command of a shell block, without variables set before it and the files it writes."""
    found: list[list[str]] = []
    for line in code.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(re.sub(r"(^|\s)#.*", "", line), posix=True, punctuation_chars=True)
        lexer.whitespace_split, lexer.commenters = True, ""
        found.append([])
        for word in lexer:
            if set(word) <= set("();|&"):
                found.append([])
            elif not (set(word) <= set("<>&") and next(lexer)) and (found[-1] or not re.match(r"\w+=", word)):
                found[-1].append(word)
    return [words for words in found if words]


def notebook_cells(notebook: Path) -> list[str]:
    """The code of a notebook, cell by cell."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def _info(info: str) -> tuple[str, str]:
    language, _, attributes = info.partition(" ")
    reason = re.fullmatch(r'\s*not-run="(.+)"\s*', attributes)
    return language, reason[1] if reason else ""


@cache
def _tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def _inline(page: Path) -> Iterator[Token]:
    for token in _tokens(page):
        yield from token.children or ()
