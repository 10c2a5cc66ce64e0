"""The site has every page once, and its links lead somewhere."""

import re
import subprocess
import sys

import pytest

from docs.tools.site import SECTIONS, linked, on_page_markdown, pages, section
from tests.docs.pages import ROOT

SETTINGS = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


def test_the_nav_leads_to_every_page_once():
    named = re.findall(r"^\s+- (?:\w+: )?(\S+\.md)$", SETTINGS.partition("\nnav:\n")[2], re.MULTILINE)
    in_nav = [*named, *(page for folder in SECTIONS.values() for page in section(folder))]
    assert sorted(in_nav) == sorted(str(page.relative_to(ROOT)) for page in pages())


@pytest.mark.parametrize("folder", SECTIONS.values())
def test_the_index_of_a_folder_leads_to_all_its_pages(folder):
    index = ROOT / "docs" / folder / "README.md"
    assert set(linked(index)) >= set(index.parent.glob("*.md")) - {index}


def test_why_a_block_is_not_run_is_left_out():
    assert on_page_markdown('```sh not-run="serves until it is stopped"\nmake help\n```\n') == "```sh\nmake help\n```\n"


@pytest.mark.slow  # half a minute on a busy machine
def test_the_site_is_built_without_a_broken_link(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    for page in ("index.html", "ARCHITECTURE.html", "docs/serving.html", "docs/decisions/index.html"):
        assert (tmp_path / page).is_file()
