"""Events, exposures and steers of erased listeners: counted, and stored nowhere, until they come back."""

import json
from datetime import UTC, date, datetime

import pyarrow as pa

from nocturne.core.erasure import ErasureKey, Tombstones
from nocturne.core.settings import load_settings
from nocturne.ingestion import exposure_rows
from nocturne.ingestion.cleaning import CHECKED, ERASED, OUTCOMES, Rules, accepted, check_events, rejected
from nocturne.ingestion.landed_rows import landed_schema
from nocturne.ingestion.landing_files import EVENT_FIELDS
from tests.fixtures import landed_exposures

NIGHT = date(2025, 3, 2)
KEY = ErasureKey(b"k" * 32)
TOMBSTONES = Tombstones(KEY, {KEY.tombstone("ana"): datetime(2025, 3, 2, 12, tzinfo=UTC)})
RULES = Rules(NIGHT, load_settings().listens, tombstones=TOMBSTONES)


def landed(*rows: dict[str, object]) -> pa.RecordBatch:
    told = [{"file": "f", "parsed": True, "raw": json.dumps(row)} | row for row in rows]
    return pa.RecordBatch.from_pylist(told, schema=landed_schema(EVENT_FIELDS))


def event(user_id: str | None, listened_at: str, **changes: object) -> dict[str, object]:
    return {"event_id": "1", "user_id": user_id, "item_id": "a", "listened_at": listened_at} | changes


def outcomes(*rows: dict[str, object]) -> list[str]:
    return [OUTCOMES[place] for place in check_events(landed(*rows), RULES)["outcome"].to_pylist()]


def test_events_of_before_are_erased_and_those_of_later_are_listens():
    assert outcomes(
        event("ana", "2025-03-02T11:59:59Z"),
        event("ana", "2025-03-02T12:00:00Z"),
        event("ben", "2025-03-02T11:00:00Z"),
    ) == [ERASED, "listen", "listen"]


def test_broken_events_of_theirs_reach_no_quarantine():
    rows = (
        event("ana", "yesterday"),
        event("ana", "2025-03-02T11:00:00Z", ms_played="-1"),
        event(None, "2025-03-02T11:00:00Z", parsed=False, raw='{"user_id": "ana", "item'),
        event(None, "2025-03-02T11:00:00Z", parsed=False, raw='{"user_id": "anabel", "item'),
    )
    assert outcomes(*rows) == [ERASED, ERASED, ERASED, "unparsable"]
    judged = pa.Table.from_batches([check_events(landed(*rows), RULES)], CHECKED)
    assert rejected(judged, NIGHT)["raw"].to_pylist() == ['{"user_id": "anabel", "item']
    assert accepted(judged, NIGHT).num_rows == 0


def test_exposures_of_before_are_erased_without_their_text():
    rules = exposure_rows.Rules.of(NIGHT, load_settings().listens, TOMBSTONES)
    before = landed_exposures.line("1", user_id="ana", shown_at="2025-03-02T11:00:00Z").encode()
    later = landed_exposures.line("2", user_id="ana", shown_at="2025-03-02T12:00:00Z").encode()
    assert exposure_rows.parse_line(before, rules) == {"raw": "", "reason": ERASED}
    assert exposure_rows.parse_line(later, rules)["exposure_id"] == "2"
    assert exposure_rows.parse_line(b'{"user_id": "ana"', rules) == {"raw": "", "reason": ERASED}
    assert exposure_rows.parse_line(b'{"user_id": "ben"', rules)["reason"] == "unparsable"
