"""Pages: templates beside their modules, in a checkout and in a zip; values are text and no markup."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from jinja2 import UndefinedError

from nocturne.core.pages import render_page

PACKAGE = Path(__file__).parents[2] / "nocturne"
STATUS = {"serving": [], "nights": [], "to_do": []}
INDEX = {
    "status": STATUS,
    "tables": ("items",),
    "nights": [("<night>", {"items": {"critical": 1, "warning": 2}})],
    "older": [],
    "reports": {},
}


def test_a_page_has_its_title_twice_and_what_it_shows_is_text_and_no_markup():
    html = render_page("nocturne.validation", "index.html.jinja", title="<b>Docs</b>", **INDEX)
    assert html.count("&lt;b&gt;Docs&lt;/b&gt;") == 2
    assert "<b>" not in html
    assert '<a href="&lt;night&gt;.html">&lt;night&gt;</a>' in html


def test_a_summary_counts_what_failed_by_severity():
    html = render_page("nocturne.validation", "index.html.jinja", title="Docs", **INDEX)
    assert '<span class="critical">1 critical</span>, <span class="warning">2 warnings</span></a>' in html


def test_a_value_that_a_template_names_and_is_not_given_is_an_error():
    with pytest.raises(UndefinedError, match="'status' is undefined"):
        render_page("nocturne.validation", "index.html.jinja", title="Docs", tables=(), nights=[])


def test_templates_are_read_from_a_zip_of_the_package_too(tmp_path: Path):
    with ZipFile(tmp_path / "nocturne.zip", "w") as archive:
        for pattern in ("__init__.py", "core/*", "validation/*"):
            for path in PACKAGE.glob(pattern):
                archive.write(path, path.relative_to(PACKAGE.parent))
    script = (
        "import nocturne.core.pages as pages; print(pages.__file__);"
        f"print(pages.render_page('nocturne.validation', 'index.html.jinja', title='Docs', **{INDEX!r}))"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": "nocturne.zip"}, capture_output=True, text=True, check=True
    )
    assert "nocturne.zip" in done.stdout.splitlines()[0]
    assert "<h1>Docs</h1>" in done.stdout
