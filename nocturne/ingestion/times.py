"""Times in ISO 8601, as producers write them: with or without seconds, fractions and offset. Pure."""

import re
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

TIME = pa.timestamp("us", "UTC")

_ISO_8601 = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)?(Z|[+-]\d{2}(:?\d{2})?)?", re.ASCII)
_USUAL = (
    r"^[12]\d{3}-((0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)"
    r"[T ]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?Z?$"
)
"""Of times that are right for certain, and in UTC."""

_FURTHEST_OFFSET = timedelta(hours=18)
_UNITS_A_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000}
_YEAR_1, _YEAR_10000 = -62_135_596_800, 253_402_300_800
"""Their beginnings, in seconds since 1970."""


def parse_time(value: object) -> datetime | None:
    """A time in ISO 8601; without an offset it is UTC. None of what is no such time."""
    text = value.strip(" ") if isinstance(value, str) else ""
    if not _ISO_8601.fullmatch(text):
        return None
    try:
        time = datetime.fromisoformat(text)
        if abs(time.utcoffset() or timedelta()) > _FURTHEST_OFFSET:
            return None
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def parse_times(column: pa.Array) -> pa.Array:
    """Times of the years 1 to 9999, TIME, of texts as `parse_time` reads them, or of times of any unit; else null."""
    if pa.types.is_timestamp(column.type):
        return pc.if_else(in_our_years(column), column, None).cast(TIME)
    usual = pc.fill_null(pc.match_substring_regex(column, _USUAL), False)
    times = pc.utf8_rtrim(pc.if_else(usual, column, None), "Z").cast(pa.timestamp("us")).cast(TIME)
    if (odd := pc.and_(pc.invert(usual), pc.is_valid(column))).true_count:
        parsed = pa.array([parse_time(text) for text in column.filter(odd).to_pylist()], TIME)
        times = pc.replace_with_mask(times, odd, parsed)
    return times


def in_our_years(times: pa.Array) -> pa.BooleanArray:
    """True where a time is of the years 1 to 9999."""
    # Arrow writes a year in 16 bits: 67561 would become 2025.
    numbers, units = times.cast(pa.int64()), _UNITS_A_SECOND[times.type.unit]
    return pc.and_(pc.greater_equal(numbers, _YEAR_1 * units), pc.less(numbers, _YEAR_10000 * units))
