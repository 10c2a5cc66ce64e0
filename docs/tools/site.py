"""Hooks of the site that `make site` builds: pages where they lie in the repository, so that their links hold.

mkdocs knows one folder of pages. Here the pages at the root of the repository, and every file that a page links to, are
given to it under their own paths; decisions and recipes follow the pages that mkdocs.yml names.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parents[2]
AT_THE_ROOT = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "AGENTS.md", "CHANGELOG.md")
SECTIONS = {"Recipes": "recipes", "Decisions": "decisions"}
"""Folders of docs/ whose pages the site has in the order of their index."""
LINK = re.compile(r"\]\(([^)\s]+)\)")


def pages() -> list[Path]:
    """Every page of the site."""
    written = (page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "tools")
    return [*(ROOT / name for name in AT_THE_ROOT), *sorted(written)]


def linked(page: Path) -> list[Path]:
    """The files of the repository that a page leads to, in order."""
    targets = (link.partition("#")[0] for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link)
    return [path for path in ((page.parent / target).resolve() for target in targets if target) if path.is_file()]


def section(folder: str) -> list[str]:
    """The pages of a folder of docs/: its index, and what that leads to within the folder."""
    index = ROOT / "docs" / folder / "README.md"
    within = (path for path in linked(index) if path.parent == index.parent)
    return list(dict.fromkeys(str(path.relative_to(ROOT)) for path in (index, *within)))


def on_config(config: "MkDocsConfig") -> None:
    """Add the sections to the nav."""
    config.nav = [*(config.nav or ()), *({title: section(folder)} for title, folder in SECTIONS.items())]


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Replace what lies in docs/ by the repository's pages and what they lead to, under their own paths."""
    from mkdocs.structure.files import File

    for file in list(files):
        if file.src_dir == config.docs_dir:  # the others are the theme's
            files.remove(file)
    shown = dict.fromkeys(path for page in pages() for path in (page, *linked(page)))
    for path in shown:
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Leave out why a block is not run, which is for the tests."""
    return re.sub(r'^(```\w+) not-run=".*"$', r"\1", markdown, flags=re.MULTILINE)
