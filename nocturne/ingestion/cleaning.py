"""Cleaning: landed events -> listens, each event with its outcome. Pure, in Arrow.

A row is checked in the order of REASONS, and the first check that it fails is its outcome: `missing_user_id`.
Then duplicates are marked, which are counted but not stored, and bots among the listens that remain.
"""

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Mask, Positions
from nocturne.core.erasure import Tombstones
from nocturne.core.hashing import hash_ids
from nocturne.core.masks import mask
from nocturne.core.sections import ListenSettings
from nocturne.ingestion.landed_rows import as_texts
from nocturne.ingestion.landing_files import EVENT_FIELDS, ID_FIELDS
from nocturne.ingestion.times import TIME, parse_times

REASONS = (
    "unparsable",
    "missing_event_id",
    "missing_user_id",
    "missing_item_id",
    "long_id",
    "invalid_time",
    "invalid_ms_played",
    "invalid_plays",
    "after_day",
    "too_late",
    "unknown_item",
    "bot",
)
DUPLICATE = "duplicate"
LISTEN = "listen"
ERASED = "erased"
"""Of a listener who was erased since: counted, and stored nowhere."""
UNREADABLE = "unreadable"
"""No event at all: the message of a file that could not be read to its end."""

OUTCOMES = (LISTEN, *REASONS, DUPLICATE, UNREADABLE, ERASED)

CHECKED = pa.schema(
    [
        ("outcome", pa.int8()),
        ("file", pa.string()),
        ("raw", pa.string()),
        *((name, pa.string()) for name in ID_FIELDS),
        ("listened_at", TIME),
        ("ms_played", pa.int64()),
        ("plays", pa.int64()),
        *((name, pa.string()) for name in ("context", "device", "market")),
    ]
)
"""Events with their typed values. The outcome is a place in OUTCOMES. `raw` is null for rows of Parquet that may still
be listens: a row of Parquet has no line, and its fields as JSON stand for it where one is asked for."""

_SEEN = r"[^\s\p{Z}\p{Cc}\p{Cf}]"
"""A character that can be seen."""
_WHOLE_NUMBER = r"^[+-]?\d{1,18}$"
_MINUTE = 60_000_000
_DAY = 24 * 60 * _MINUTE
"""In microseconds."""


@dataclass(frozen=True)
class Rules:
    """The rules that a night holds events to.

    Attributes:
        known_items: ids of the night's catalogue, if events of other items are rejected.
        tombstones: of listeners whose events of before are not taken in.
    """

    run_date: date
    settings: ListenSettings
    known_items: pa.Array | None = None
    tombstones: Tombstones = field(default_factory=Tombstones)


def check_events(landed: pa.RecordBatch, rules: Rules) -> pa.RecordBatch:
    """Give every landed row its typed values and its outcome: the first reason that speaks against it, if any.

    Args:
        landed: as from `landed_rows.read_parts`, with EVENT_FIELDS.

    Returns:
        CHECKED, in the order of the landed rows.
    """
    settings = rules.settings
    day = datetime.combine(rules.run_date, time(), UTC)
    earliest, day_end = day - timedelta(days=settings.late_days), day + timedelta(days=1)
    times = parse_times(landed["listened_at"])
    ms_given, ms_played = _whole_numbers(landed["ms_played"])
    plays_given, plays = _whole_numbers(landed["plays"])
    lengths = [pc.fill_null(pc.binary_length(landed[name]), 0) for name in ID_FIELDS]
    failed = {
        UNREADABLE: pc.is_valid(landed["failure"]),
        "unparsable": pc.invert(pc.fill_null(landed["parsed"], False)),
        **{f"missing_{name}": pa.array(~_can_be_seen(landed[name])) for name in ID_FIELDS},
        "long_id": pc.greater(pc.max_element_wise(*lengths), settings.max_id_bytes),
        "invalid_time": pc.is_null(times),
        "invalid_ms_played": pc.and_(ms_given, _beyond(ms_played, 0, settings.max_ms_played)),
        "invalid_plays": pc.and_(plays_given, _beyond(plays, 1, settings.max_plays)),
        "after_day": pc.greater_equal(times, pa.scalar(day_end, TIME)),
        "too_late": pc.less(times, pa.scalar(earliest, TIME)),
    }
    if rules.known_items is not None:
        failed["unknown_item"] = pc.invert(pc.is_in(landed["item_id"], value_set=rules.known_items))
    outcome = np.zeros(landed.num_rows, np.int8)
    for reason, rows in reversed(failed.items()):
        outcome[mask(rows)] = OUTCOMES.index(reason)
    if rules.tombstones:
        outcome[_are_erased(landed, outcome, times, rules.tombstones)] = OUTCOMES.index(ERASED)
    raw = pc.coalesce(landed["failure"], landed["raw"])
    without_line = pc.and_(pa.array(outcome != 0), pc.is_null(raw))
    if without_line.true_count:
        raw = pc.replace_with_mask(raw, without_line, _as_json(landed.filter(without_line)))
    kept = {name: pc.if_else(_is_given(landed[name]), landed[name], None) for name in ("context", "device", "market")}
    columns = {
        **{name: landed[name] for name in ("file", *ID_FIELDS)},
        "outcome": pa.array(outcome),
        "raw": raw,
        "listened_at": times,
        "ms_played": ms_played,
        "plays": plays,
        **kept,
    }
    return pa.record_batch([columns[name] for name in CHECKED.names], schema=CHECKED)


def _are_erased(landed: pa.RecordBatch, outcome: np.ndarray, times: pa.Array, tombstones: Tombstones) -> Mask:
    """True for rows of erased listeners; of rows that could not be taken apart those whose text names one."""
    erased = tombstones.are_erased(landed["user_id"], times)
    unparsable = np.flatnonzero(outcome == OUTCOMES.index("unparsable"))
    erased[unparsable] = tombstones.name_one(landed["raw"].take(pa.array(unparsable)).to_pylist())
    read: Mask = outcome != OUTCOMES.index(UNREADABLE)
    return erased & read


def mark_duplicates(checked: pa.Table, recent: pa.Array) -> pa.Table:
    """Mark valid rows whose event_id was seen on a recent night, or earlier in the order below.

    Of rows that share an event_id the first by time, user, item and raw text stays, so that the order
    in which files were read does not matter.

    Args:
        checked: CHECKED, all rows of these event_ids.
        recent: event_ids of recent nights.
    """
    valid = np.flatnonzero(_outcomes(checked) == OUTCOMES.index(LISTEN))
    ids = checked["event_id"].take(valid).combine_chunks()
    repeated = valid[mask(pc.is_in(ids, value_set=recent))]
    alike = valid[_are_repeated(hash_ids(ids, 0))]
    if len(alike):
        rows = _with_raw(checked.take(alike)).append_column("place", pa.array(alike))
        order = [(name, "ascending") for name in ("event_id", "listened_at", "user_id", "item_id", "raw")]
        rows = rows.select([*(name for name, _ in order), "place"]).sort_by(order)
        again = mask(pc.equal(rows["event_id"][1:], rows["event_id"][:-1]))
        repeated = np.concatenate([repeated, rows["place"].to_numpy()[1:][again]])
    return _marked(checked, repeated, DUPLICATE)


def mark_bots(deduplicated: pa.Table, settings: ListenSettings) -> pa.Table:
    """Mark every row of a listener and day whose rate of rows no person reaches.

    Rows of one minute count at most `basket_rows` times, so that a basket or an album that a client
    reports at once is not taken for a rate. `plays` is not a rate either.

    Args:
        deduplicated: CHECKED, all rows of these listeners.
    """
    valid = np.flatnonzero(_outcomes(deduplicated) == OUTCOMES.index(LISTEN))
    users = deduplicated["user_id"].take(valid).combine_chunks().dictionary_encode().indices.to_numpy()
    busy = np.bincount(users)[users] > settings.bot_rows
    valid, users = valid[busy], users[busy].astype(np.int64) << 32
    times = deduplicated["listened_at"].take(valid).cast(pa.int64()).to_numpy()
    minute, day = (users | (times // unit - times.min(initial=0) // unit) for unit in (_MINUTE, _DAY))
    _, first, of_row, rows = np.unique(minute, return_index=True, return_inverse=True, return_counts=True)
    _, of_minute = np.unique(day[first], return_inverse=True)
    rates = np.bincount(of_minute, np.minimum(rows, settings.basket_rows))
    return _marked(deduplicated, valid[(rates > settings.bot_rows)[of_minute][of_row]], "bot")


def rejected(judged: pa.Table, run_date: date) -> pa.Table:
    """The columns of `quarantine`, of the rows that are neither listens nor duplicates, in the order of these."""
    outcomes = _outcomes(judged)
    reasons = [OUTCOMES.index(reason) for reason in REASONS]
    rows = _with_raw(judged.filter(pa.array(np.isin(outcomes, reasons))))
    names = pa.array(OUTCOMES).take(rows["outcome"].combine_chunks())
    columns = {"reason": names, "file": rows["file"], "raw": rows["raw"]}
    ordered = pa.table(columns).sort_by([(name, "ascending") for name in columns])
    return ordered.append_column("run_date", pa.repeat(pa.scalar(run_date), rows.num_rows))


def accepted(judged: pa.Table, run_date: date) -> pa.Table:
    """The columns of `listens` but bucket, of the rows that are listens, by listener and time."""
    rows = judged.filter(pa.array(_outcomes(judged) == OUTCOMES.index(LISTEN))).drop_columns(["outcome", "file", "raw"])
    day = pa.scalar(datetime.combine(run_date, time(), UTC), TIME)
    rows = rows.set_column(rows.schema.get_field_index("plays"), "plays", pc.fill_null(rows["plays"], 1))
    rows = rows.append_column("late", pc.less(rows["listened_at"], day))
    rows = rows.append_column("run_date", pa.repeat(pa.scalar(run_date), rows.num_rows))
    return rows.take(_by_listener_and_time(rows))


def _by_listener_and_time(rows: pa.Table) -> Positions:
    """The order of listens: by listener, time, and the hash of the event_id."""
    users = rows["user_id"].combine_chunks().dictionary_encode()
    rank = pc.rank(users.dictionary, tiebreaker="first").to_numpy()
    ids = hash_ids(rows["event_id"].combine_chunks(), 0)
    keys = ids, rows["listened_at"].cast(pa.int64()).to_numpy(), rank[users.indices.to_numpy()]
    return np.asarray(np.lexsort(keys))


def _whole_numbers(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    """True where there is a value, and the whole number that it is, null where it is none."""
    if pa.types.is_integer(column.type):
        if pa.types.is_uint64(column.type):
            column = pc.min_element_wise(column, pa.scalar(2**63 - 1, pa.uint64()), skip_nulls=False)
        return pc.is_valid(column), column.cast(pa.int64())
    texts = pc.utf8_trim(column, " ")
    given = pc.fill_null(pc.not_equal(texts, ""), False)
    whole = pc.fill_null(pc.match_substring_regex(texts, _WHOLE_NUMBER), False)
    return given, pc.utf8_ltrim(pc.if_else(whole, texts, None), "+").cast(pa.int64())


def _beyond(numbers: pa.Array, least: int, most: int) -> pa.Array:
    """True where a number is null, below or above."""
    return pc.fill_null(pc.or_(pc.less(numbers, least), pc.greater(numbers, most)), True)


def _is_given(texts: pa.Array) -> pa.Array:
    return pc.fill_null(pc.not_equal(pc.utf8_trim(texts, " "), ""), False)


def _can_be_seen(texts: pa.Array) -> Mask:
    """False where a text is null, or nothing of it can be seen."""
    _, offsets, content = texts.buffers()
    first = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts)]
    letters = np.append(np.frombuffer(content or b"", np.uint8), np.uint8(0))[first]
    some = mask(pc.greater(pc.binary_length(texts), 0))
    seen: Mask = some & (letters > ord(" ")) & (letters < 0x7F)
    doubtful = np.flatnonzero(some & ~seen)
    seen[doubtful] = mask(pc.match_substring_regex(texts.take(doubtful), _SEEN))
    return seen


def _are_repeated(hashes: np.ndarray) -> Positions:
    """Places of the hashes that occur more than once."""
    order = np.argsort(hashes, kind="stable")
    again = 1 + np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
    return np.asarray(order[np.union1d(again, again - 1)])


def _marked(rows: pa.Table, places: Positions, outcome: str) -> pa.Table:
    outcomes = _outcomes(rows).copy()
    outcomes[places] = OUTCOMES.index(outcome)
    return rows.set_column(rows.schema.get_field_index("outcome"), "outcome", pa.array(outcomes))


def _with_raw(rows: pa.Table) -> pa.Table:
    """The rows with their text: the line, or the fields as JSON."""
    raw = rows["raw"].combine_chunks()
    if raw.null_count:
        texts = _as_json(pa.RecordBatch.from_struct_array(rows.to_struct_array().combine_chunks()))
        raw = pc.coalesce(raw, texts)
    return rows.set_column(rows.schema.get_field_index("raw"), "raw", raw)


def _as_json(rows: pa.RecordBatch) -> pa.Array:
    """The fields of events that have a value, as one JSON object a row."""
    texts = as_texts(rows.select(EVENT_FIELDS)).to_pylist()
    objects = ({name: text for name, text in row.items() if text is not None} for row in texts)
    return pa.array([json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in objects], pa.string())


def _outcomes(rows: pa.Table) -> np.ndarray:
    return np.asarray(rows["outcome"])
