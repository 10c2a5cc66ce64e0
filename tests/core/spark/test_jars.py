"""Delta's jars are fetched once, whole, and put where Spark loads them."""

import hashlib

import pytest
from tenacity import wait_none

from nocturne.core.errors import ServiceError
from nocturne.core.spark import jars
from nocturne.core.spark.jars import Jar, ensure_jars

CONTENT = b"a jar"
JAR = Jar("delta-test", "1.0", hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def maven(tmp_path, monkeypatch):
    """The file that Maven Central serves; kept/ and spark/ are beside it."""
    served = tmp_path / "maven" / "io" / "delta" / "delta-test" / "1.0" / JAR.name
    served.parent.mkdir(parents=True)
    served.write_bytes(CONTENT)
    monkeypatch.setattr(jars, "MAVEN", (tmp_path / "maven").as_uri())
    monkeypatch.setattr(jars, "DELTA_JARS", (JAR,))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "kept"))
    monkeypatch.setenv("SPARK_HOME", str(tmp_path / "spark"))
    monkeypatch.setattr(jars._download.retry, "wait", wait_none())
    return served


def test_a_jar_lands_in_sparks_folder_with_nothing_left_beside_it(maven, tmp_path):
    assert ensure_jars() == ()
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "spark/jars").iterdir()] == [(JAR.name, CONTENT)]


def test_a_new_environment_gets_the_kept_jar_without_the_network(maven, tmp_path, monkeypatch):
    ensure_jars()
    maven.unlink()
    monkeypatch.setenv("SPARK_HOME", str(tmp_path / "another"))
    assert ensure_jars() == ()
    assert (tmp_path / "another/jars" / JAR.name).read_bytes() == CONTENT


def test_a_jar_cut_short_on_disk_is_put_right(maven, tmp_path):
    ensure_jars()
    (tmp_path / "spark/jars" / JAR.name).write_bytes(CONTENT[:3])
    ensure_jars()
    assert (tmp_path / "spark/jars" / JAR.name).read_bytes() == CONTENT


def test_a_file_of_another_content_is_refused_and_not_kept(maven, tmp_path):
    maven.write_bytes(b"something else")
    with pytest.raises(ServiceError, match="14 bytes with sha256"):
        ensure_jars()
    assert not (tmp_path / "spark").exists()
    assert not (tmp_path / "kept").exists()


def test_offline_the_message_says_where_to_put_the_file(maven, tmp_path):
    maven.unlink()
    with pytest.raises(ServiceError, match=f"put the file into {tmp_path}/kept/nocturne/jars"):
        ensure_jars()


def test_where_sparks_folder_is_read_only_the_kept_jar_is_named_for_the_session(maven, tmp_path, monkeypatch):
    store = jars._store

    def refuse_spark(path, content):
        if path.is_relative_to(tmp_path / "spark"):
            raise PermissionError(13, "read-only")
        store(path, content)

    monkeypatch.setattr(jars, "_store", refuse_spark)
    assert ensure_jars() == (tmp_path / "kept/nocturne/jars" / JAR.name,)
