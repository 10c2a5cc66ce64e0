"""The Java runtime is found, and one that does not fit is told from one that does."""

from pathlib import Path

import pytest

from nocturne.core.errors import UsageError
from nocturne.core.spark import java
from nocturne.core.spark.java import find_java, java_version


def runtime(home: Path, modules: str) -> Path:
    """A runtime that answers --list-modules, and nothing else."""
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\nprintf '{modules}'\n")
    program.chmod(0o755)
    return home


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine without Java."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(java, "INSTALLED", tmp_path / "installed")
    return tmp_path


def test_the_version_is_that_of_the_vector_module(tmp_path):
    home = runtime(tmp_path / "jdk", "java.base@21.0.1\\njdk.incubator.vector@21.0.1\\n")
    assert java_version(home) == 21


def test_a_runtime_without_the_vector_module_does_not_fit(tmp_path):
    assert java_version(runtime(tmp_path / "jre", "java.base@17.0.2\\n")) is None


def test_java_home_comes_before_what_is_installed(bare, monkeypatch):
    runtime(bare / "installed" / "java-17", "jdk.incubator.vector@17.0.2\\n")
    own = runtime(bare / "own", "jdk.incubator.vector@21.0.1\\n")
    monkeypatch.setenv("JAVA_HOME", str(own))
    assert find_java() == own


def test_a_java_home_that_does_not_fit_is_passed_over(bare, monkeypatch):
    fitting = runtime(bare / "installed" / "java-17", "jdk.incubator.vector@17.0.2\\n")
    monkeypatch.setenv("JAVA_HOME", str(runtime(bare / "old", "jdk.incubator.vector@16.0.1\\n")))
    assert find_java() == fitting


def test_without_a_fitting_java_the_message_names_what_was_found_and_the_package_to_install(bare):
    runtime(bare / "installed" / "java-25", "jdk.incubator.vector@25.0.1\\n")
    with pytest.raises(UsageError, match=r"java-25 \(version 25\)[\s\S]*apt-get install openjdk-17-jre-headless"):
        find_java()
