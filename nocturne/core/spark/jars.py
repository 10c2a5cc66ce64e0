"""Delta's two jars: fetched from Maven Central once, kept, and put where Spark loads them.

They go into pyspark's own `jars/`, so that a plain `spark-submit jobs/<job>.py` needs no flags and no network.
"""

import errno
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pyspark
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential

from nocturne.core.errors import ServiceError

MAVEN = "https://repo1.maven.org/maven2"
PATIENCE_SECONDS = 30


@dataclass(frozen=True)
class Jar:
    """One file of Maven Central, known by its content."""

    artifact: str
    version: str
    sha256: str

    @property
    def name(self) -> str:
        """Name of the file."""
        return f"{self.artifact}-{self.version}.jar"

    @property
    def url(self) -> str:
        """Where it is fetched from."""
        return f"{MAVEN}/io/delta/{self.artifact}/{self.version}/{self.name}"

    def is_at(self, path: Path) -> bool:
        """Whether the file lies there, whole."""
        return path.is_file() and self.is_in(path.read_bytes())

    def is_in(self, content: bytes) -> bool:
        """Whether these bytes are the file's."""
        return hashlib.sha256(content).hexdigest() == self.sha256


DELTA_JARS = (
    Jar("delta-spark_4.2_2.13", "4.4.0", "27d4fd8b1f879535c573ed1c718177d6a27f24d3e626ba02e216369725721ead"),
    Jar("delta-storage", "4.4.0", "c46735481fa8e326b0957be02b4420cbcab4b325bb08009b7f2045a95133f1cc"),
)


def spark_jars_folder() -> Path:
    """The folder whose jars every Spark process of this environment loads."""
    return Path(os.environ.get("SPARK_HOME") or Path(pyspark.__file__).parent) / "jars"


def kept_jars_folder() -> Path:
    """Where fetched jars outlive the environment: `$XDG_CACHE_HOME/nocturne/jars`, `~/.cache/...` by default."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nocturne" / "jars"


def ensure_jars() -> tuple[Path, ...]:
    """Put Delta's jars where Spark loads them; without the network when they were fetched before.

    Returns:
        The jars that `spark.jars` has to name because Spark's own folder cannot be written; usually none.

    Raises:
        ServiceError: Maven Central cannot be reached, or gives a file of another content.
    """
    return tuple(path for jar in DELTA_JARS if (path := _ensure(jar)) is not None)


def _ensure(jar: Jar) -> Path | None:
    loaded = spark_jars_folder() / jar.name
    if jar.is_at(loaded):
        return None
    kept = kept_jars_folder() / jar.name
    if not jar.is_at(kept):
        _write(kept, _fetch(jar))
    try:
        _write(loaded, kept.read_bytes())
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        return kept
    return None


def _fetch(jar: Jar) -> bytes:
    try:
        return _download(jar)
    except OSError as error:
        raise ServiceError(
            "a jar that Spark needs to read and write Delta tables could not be fetched",
            where=jar.url,
            found=str(error),
            expected=f"a file with sha256 {jar.sha256}",
            fix=f"connect to the network once, or put the file into {kept_jars_folder()}",
        ) from error


@retry(retry=retry_if_exception_type(OSError), stop=stop_after_attempt(4), wait=wait_exponential(max=8), reraise=True)
def _download(jar: Jar) -> bytes:
    with urlopen(jar.url, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310 - the address is a constant
        content: bytes = answer.read()
    if not jar.is_in(content):
        raise OSError(f"{len(content)} bytes with sha256 {hashlib.sha256(content).hexdigest()}")
    return content


def _write(path: Path, content: bytes) -> None:
    """Write the file whole or not at all: another process may look for it at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(part).chmod(0o644)
        Path(part).replace(path)
    except OSError:
        Path(part).unlink(missing_ok=True)
        raise


if __name__ == "__main__":
    ensure_jars()
