"""Delta's two jars: fetched from Maven Central once, cached, and put where Spark loads them.

They go into pyspark's own `jars/`, so that a plain `spark-submit jobs/<job>.py` needs no flags. No network at submit
is a promise: `configure_spark_with_delta_pip`, the usual way, has Spark resolve the packages from Maven at start.
"""

import errno
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pyspark
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential

from nocturne.core.atomic_write import write_atomically
from nocturne.core.errors import ServiceError

MAVEN = "https://repo1.maven.org/maven2"
PATIENCE_SECONDS = 30


@dataclass(frozen=True)
class Jar:
    """One file of Maven Central, identified by its content."""

    artifact: str
    version: str
    sha256: str

    @property
    def name(self) -> str:
        """Name of the file."""
        return f"{self.artifact}-{self.version}.jar"

    @property
    def url(self) -> str:
        """Address it is fetched from."""
        return f"{MAVEN}/io/delta/{self.artifact}/{self.version}/{self.name}"

    def is_at(self, path: Path) -> bool:
        """True if the file lies there, whole."""
        return path.is_file() and self.matches(path.read_bytes())

    def matches(self, content: bytes) -> bool:
        """True if these bytes are the file's."""
        return hashlib.sha256(content).hexdigest() == self.sha256


DELTA_JARS = (
    Jar("delta-spark_4.2_2.13", "4.4.0", "27d4fd8b1f879535c573ed1c718177d6a27f24d3e626ba02e216369725721ead"),
    Jar("delta-storage", "4.4.0", "c46735481fa8e326b0957be02b4420cbcab4b325bb08009b7f2045a95133f1cc"),
)


def spark_jars_folder() -> Path:
    """The folder whose jars every Spark process of this environment loads."""
    return Path(os.environ.get("SPARK_HOME") or Path(pyspark.__file__).parent) / "jars"


def cached_jars_folder() -> Path:
    """Folder in which fetched jars outlive the environment: `$XDG_CACHE_HOME/nocturne/jars`, by default in ~/.cache."""
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
    cached = cached_jars_folder() / jar.name
    if not jar.is_at(cached):
        _store(cached, _fetch(jar))
    try:
        _store(loaded, cached.read_bytes())
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        return cached
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
            fix=f"connect to the network once, or put the file into {cached_jars_folder()}",
        ) from error


@retry(retry=retry_if_exception_type(OSError), stop=stop_after_attempt(4), wait=wait_exponential(max=8), reraise=True)
def _download(jar: Jar) -> bytes:
    with urlopen(jar.url, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310 - the address is a constant
        content: bytes = answer.read()
    if not jar.matches(content):
        raise OSError(f"{len(content)} bytes with sha256 {hashlib.sha256(content).hexdigest()}")
    return content


def _store(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Another process may look for the file, or put it there, at the same time.
    write_atomically(path, content)
    path.chmod(0o644)  # whoever fetched it, all users of the environment load it


if __name__ == "__main__":
    ensure_jars()
