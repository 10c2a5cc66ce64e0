"""Every recipe's test fails before its patch and passes after it, in a copy of the tree."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks

RECIPES = sorted(page for page in (ROOT / "docs" / "recipes").glob("*.md") if page.name != "README.md")
EACH_RECIPE = pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
COPIED = ("nocturne", "tests", "schemas", "expectations", "conf", "pyproject.toml")
ALONE = ("--noconftest", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts=--import-mode=importlib -q")
"""Options of pytest: what tests of recipes need is theirs, and Spark would take longer to import than they take."""
WRAPPING = ("-W", "ignore:overflow encountered:RuntimeWarning")
"""Hashes count on arithmetic that wraps around, of which plain Python warns."""


def patches(recipe: Path) -> list[str]:
    """The patches of the files that a recipe changes, those of tests first."""
    (patch,) = (block.code for block in blocks(recipe) if block.language == "diff")
    files = re.split(r"^(?=diff --git )", patch, flags=re.MULTILINE)[1:]
    return sorted(files, key=lambda of_file: not of_file.startswith("diff --git a/tests/"))


def apply(patch: str, folder: Path, *options: str) -> None:
    """Apply a patch to a folder, be it in a repository or not."""
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)}
    ended = subprocess.run(
        ["git", "apply", *options, "-"],
        cwd=folder, env=environment, input=patch, text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, f"{ended.stderr}\n{patch}"


def run(tests: list[str], folder: Path) -> tuple[int, str]:
    """Run tests of a copy of the tree against that copy; compiled loops as plain Python."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-m", "pytest", *ALONE, *WRAPPING, *tests]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout + ended.stderr


@EACH_RECIPE
def test_the_patch_of_a_recipe_fits_the_tree(recipe):
    for patch in patches(recipe):
        apply(patch, ROOT, "--check")


@pytest.mark.slow  # two processes each
@EACH_RECIPE
def test_the_test_of_a_recipe_fails_before_it_and_passes_after_it(recipe, tmp_path):
    for name in COPIED:  # with what was compiled of it, but for loops
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        options = {"ignore": shutil.ignore_patterns("*.nbi", "*.nbc")} if (ROOT / name).is_dir() else {}
        copy(ROOT / name, tmp_path / name, **options)
    of_tests = [patch for patch in patches(recipe) if patch.startswith("diff --git a/tests/")]
    tests = [re.match(r"diff --git a/(\S+)", patch)[1] for patch in of_tests]
    for patch in of_tests:
        apply(patch, tmp_path)
    status, printed = run(tests, tmp_path)
    assert status in {pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED}, printed
    for patch in patches(recipe)[len(of_tests) :]:
        apply(patch, tmp_path)
    status, printed = run(tests, tmp_path)
    assert status == pytest.ExitCode.OK, printed
