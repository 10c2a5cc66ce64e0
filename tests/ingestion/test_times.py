"""Times of events: the fast way for the usual ones reads what the slow way reads, and nothing else."""

from datetime import UTC, datetime

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from nocturne.ingestion.times import parse_time, parse_times

DIGITS = st.integers(0, 99).map("{:02d}".format)
YEARS = st.sampled_from(["0000", "0001", "0999", "1900", "2000", "2023", "2024", "9999"])
SEPARATORS = st.sampled_from(["T", " ", "t", ""])
ENDS = st.sampled_from(["", "Z", "z", "+00:00", "-12:30", "+18:01", ".5", ".123456Z", ".1234567", ",25+01", "  ", "\n"])
TIMES = st.builds("{}-{}-{}{}{}:{}:{}{}".format, YEARS, DIGITS, DIGITS, SEPARATORS, DIGITS, DIGITS, DIGITS, ENDS)


@given(st.lists(st.one_of(TIMES, st.none(), st.text(max_size=20)), max_size=20))
def test_texts_are_read_alike_by_column_and_one_by_one(texts: list[str | None]) -> None:
    column = parse_times(pa.array(texts, pa.string()))
    assert column.to_pylist() == [parse_time(text) for text in texts]


def test_times_of_other_years_than_ours_are_none() -> None:
    seconds = [-62_135_596_801, -62_135_596_800, 0, 253_402_300_799, 253_402_300_800]
    for unit, factor in (("s", 1), ("ms", 1000), ("us", 10**6)):
        column = pa.array([number * factor for number in seconds], pa.timestamp(unit))
        assert parse_times(column).to_pylist() == [
            None,
            datetime(1, 1, 1, tzinfo=UTC),
            datetime(1970, 1, 1, tzinfo=UTC),
            datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
            None,
        ]
