"""The Java runtime that Spark runs on: found on the machine, not configured and not fetched.

No network at submit is a promise: a package that brings a JDK would fetch it at the first start.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from nocturne.core.errors import UsageError

FITTING_VERSIONS = (17, 21)
INSTALLED = Path("/usr/lib/jvm")
NEEDED_MODULE = "jdk.incubator.vector"
"""Spark 4.2 asks for it at start; trimmed-down runtimes leave it out."""


def find_java() -> Path:
    """The home of the first Java runtime that fits: $JAVA_HOME, the one on PATH, then those installed.

    Raises:
        UsageError: none fits; the message lists those that were found.
    """
    versions: dict[Path, int | None] = {}
    for home in _java_homes():
        versions[home] = java_version(home)
        if versions[home] in FITTING_VERSIONS:
            return home
    fitting = " or ".join(map(str, FITTING_VERSIONS))
    raise UsageError(
        "Spark needs a Java runtime",
        found=", ".join(f"{home} (version {version or 'unknown'})" for home, version in versions.items()) or "none",
        expected=f"Java {fitting} with the module {NEEDED_MODULE}, as $JAVA_HOME, on PATH or in {INSTALLED}",
        fix="`apt-get install openjdk-17-jre-headless`, or `make night`, which does it",
    )


def java_version(home: Path) -> int | None:
    """Major version of the Java runtime in that folder; None if it is no runtime that Spark can start on."""
    try:
        modules = subprocess.run(
            [home / "bin" / "java", "--list-modules"], capture_output=True, text=True, check=True, timeout=60
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(rf"^{re.escape(NEEDED_MODULE)}@(\d+)", modules, re.MULTILINE)
    return int(version[1]) if version else None


def _java_homes() -> Iterator[Path]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home)
    if java := shutil.which("java"):
        yield Path(java).resolve().parent.parent
    yield from sorted(INSTALLED.glob("*"))


if __name__ == "__main__":
    try:
        print(find_java())
    except UsageError as error:
        sys.exit(f"{error}")
