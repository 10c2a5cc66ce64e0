"""Packages for a cluster that runs the jobs: dist/nocturne.zip (the code), dist/environment.tar.gz (what it imports).

python ops/package.py code | environment
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
SHIPPED = ("nocturne", "schemas", "expectations", "conf")
ON_THE_DRIVER_ONLY = ("pyspark", "delta-spark", "great-expectations")
"""Executors have Spark already, and validate nothing."""


def package_code() -> None:
    """Zip the library with its contracts, suites and settings: a zip, since executors import no wheel."""
    with ZipFile(DIST / "nocturne.zip", "w", ZIP_DEFLATED) as archive:
        for folder in SHIPPED:
            for path in sorted((ROOT / folder).rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    archive.write(path, path.relative_to(ROOT))


def package_environment() -> None:
    """Pack the locked packages that executors import; they need the same Python at the same place."""
    with tempfile.TemporaryDirectory() as scratch:
        requirements, folder = Path(scratch) / "requirements.txt", Path(scratch) / "environment"
        pruned = [part for package in ON_THE_DRIVER_ONLY for part in ("--prune", package)]
        groups = ["--no-default-groups", "--no-emit-project"]
        _uv("export", "--frozen", *groups, *pruned, "--output-file", str(requirements))
        _uv("venv", "--python", "3.11", str(folder))
        _uv("pip", "install", "--python", str(folder), "--requirement", str(requirements))
        packed = DIST / "environment.tar.gz"
        subprocess.run(
            [
                ROOT / ".venv/bin/venv-pack",
                "--prefix",
                folder,
                "--output",
                packed,
                "--compress-level",
                "1",
                "--force",
                "-q",
            ],
            check=True,
        )


def _uv(*arguments: str) -> None:
    places = f"{os.environ['PATH']}:{Path.home()}/.local/bin:{Path.home()}/.cargo/bin:{ROOT}/.uv/bin"
    subprocess.run(["uv", "--quiet", *arguments], check=True, cwd=ROOT, env=os.environ | {"PATH": places})


if __name__ == "__main__":
    DIST.mkdir(exist_ok=True)
    {"code": package_code, "environment": package_environment}[sys.argv[1]]()
