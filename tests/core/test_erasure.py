"""Tombstones: whom they know again, and what the key gives away."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from nocturne.core.erasure import ErasureKey, ErasureSettings, Tombstones, names, without_names
from nocturne.core.errors import UsageError
from nocturne.ingestion.times import TIME

NOON = datetime(2025, 3, 2, 12, tzinfo=UTC)
KEY = ErasureKey(b"k" * 32)
ERASED = Tombstones(KEY, {KEY.tombstone("ana"): NOON})


def test_what_is_of_before_is_erased_and_what_is_later_is_not():
    before, after = NOON.replace(hour=11), NOON
    assert ERASED.is_erased("ana", before)
    assert not ERASED.is_erased("ana", after)
    assert ERASED.is_erased("ana", None)
    assert not ERASED.is_erased("ben", before)
    assert not ERASED.is_erased(None, before)
    rows = pa.array(["ana", "ana", "ben", None, "ana"]), pa.array([before, after, before, before, None], TIME)
    assert ERASED.are_erased(*rows).tolist() == [True, False, False, False, True]


def test_nobody_was_erased():
    assert not Tombstones()
    assert not Tombstones().is_erased("ana", None)
    assert Tombstones().are_erased(pa.array(["ana"]), pa.array([None], TIME)).tolist() == [False]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"user_id": "ana", "broken', True),
        ("1,ana,a", True),
        ("ana.", True),
        ('{"user_id": "anabel"}', False),
        ("banana", False),
        ("", False),
    ],
)
def test_texts_that_name_who_was_erased(text: str, named: bool):
    assert ERASED.name_one([text, None]).tolist() == [named, False]
    assert names(text, "ana") == named
    assert ("X" in without_names(text, ["ana"], "X")) == named


def test_ids_with_punctuation_are_known_in_texts():
    erased = Tombstones(KEY, {KEY.tombstone("a.b@c.se"): NOON})
    assert erased.name_one(['{"user_id": "a.b@c.se"', "mail a.b@c.se."]).all()


def test_the_key_prints_as_nothing_and_is_told_from_others_by_its_digits(monkeypatch):
    monkeypatch.setenv("NOCTURNE_ERASURE_KEY", "s" * 40)
    key = ErasureKey.of(ErasureSettings(key_file=""))
    assert "s" * 8 not in repr(key) + repr(Tombstones(key))
    assert key.key_id != KEY.key_id
    assert key.tombstone("ana") != KEY.tombstone("ana")


def test_a_key_that_is_missing_short_or_not_to_be_read_is_refused(monkeypatch, tmp_path):
    monkeypatch.delenv("NOCTURNE_ERASURE_KEY", raising=False)
    with pytest.raises(UsageError, match="there is no key"):
        ErasureKey.of(ErasureSettings(key_file=""))
    short = tmp_path / "short"
    short.write_text("secret")
    with pytest.raises(UsageError, match="too short") as refused:
        ErasureKey.of(ErasureSettings(key_file=str(short)))
    assert "secret" not in str(refused.value)
    with pytest.raises(UsageError, match="cannot be read"):
        ErasureKey.of(ErasureSettings(key_file=str(tmp_path / "none")))
