"""The tests of recipes fail before their patches and pass after them, in a copy of the tree; recipes fit together."""

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
OF_TESTS = "diff --git a/tests/"
COPIED = ("nocturne", "tests", "schemas", "expectations", "conf", "pyproject.toml")
ALONE = ("--noconftest", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts=--import-mode=importlib -q")
"""Options of pytest: what tests of recipes need is theirs, and Spark would take longer to import than they take."""
WRAPPING = ("-W", "ignore:overflow encountered:RuntimeWarning")
"""Hashes count on arithmetic that wraps around, of which plain Python warns."""


def patches(recipe: Path) -> list[str]:
    """The patches of the files that a recipe changes, those of tests first."""
    (patch,) = (block.code for block in blocks(recipe) if block.language == "diff")
    files = re.split(r"^(?=diff --git )", patch, flags=re.MULTILINE)[1:]
    return sorted(files, key=lambda of_file: not of_file.startswith(OF_TESTS))


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
    command = [sys.executable, "-m", "pytest", *ALONE, *WRAPPING, "--continue-on-collection-errors", *tests]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout + ended.stderr


@EACH_RECIPE
def test_the_patch_of_a_recipe_fits_the_tree(recipe):
    for patch in patches(recipe):
        apply(patch, ROOT, "--check")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the tree, with what was compiled of it, but for loops, and the tests of all recipes."""
    folder = tmp_path_factory.mktemp("tree")
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        options = {"ignore": shutil.ignore_patterns("*.nbi", "*.nbc")} if (ROOT / name).is_dir() else {}
        copy(ROOT / name, folder / name, **options)
    for patch in (patch for recipe in RECIPES for patch in patches(recipe) if patch.startswith(OF_TESTS)):
        apply(patch, folder)
    return folder


@pytest.mark.slow  # two processes
def test_the_tests_of_all_recipes_fail_before_them_and_pass_after_them(tree):
    tests_by_recipe = {recipe.stem: set(re.findall(rf"^{OF_TESTS}(\S+)", "".join(patches(recipe)), re.MULTILINE))
                       for recipe in RECIPES}  # fmt: skip
    tests = sorted(f"tests/{name}" for names in tests_by_recipe.values() for name in names)
    _, before = run(tests, tree)
    broken = set(re.findall(r"^(?:FAILED|ERROR) tests/([^\s:]+)", before, re.MULTILINE))
    assert [recipe for recipe, names in tests_by_recipe.items() if not names & broken] == [], before
    for patch in (patch for recipe in RECIPES for patch in patches(recipe) if not patch.startswith(OF_TESTS)):
        apply(patch, tree)
    status, after = run(tests, tree)
    assert status == pytest.ExitCode.OK, after
