from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.core.hashing import SPLITMIX_STEP, hash_ids, hash_rows

SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("number", pa.int32()),
        ("share", pa.float64()),
        ("true", pa.bool_()),
        ("day", pa.date32()),
        ("at", pa.timestamp("us", "UTC")),
        ("list", pa.list_(pa.struct([("item_id", pa.string()), ("score", pa.float64())]))),
        ("map", pa.map_(pa.string(), pa.int64())),
    ]
)
TEXTS, NUMBERS = st.text(max_size=4), st.integers(-(2**31), 2**31 - 1)
FLOATS = st.floats(allow_nan=False)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.none() | TEXTS,
            "number": st.none() | NUMBERS,
            "share": st.none() | FLOATS,
            "true": st.none() | st.booleans(),
            "day": st.none() | st.dates(),
            "at": st.none() | st.datetimes(timezones=st.just(UTC)),
            "list": st.none() | st.lists(st.fixed_dictionaries({"item_id": TEXTS, "score": FLOATS}), max_size=4),
            "map": st.none() | st.dictionaries(TEXTS, NUMBERS, max_size=3).map(lambda entries: list(entries.items())),
        }
    ),
    min_size=1,
    max_size=8,
)
ROW = {
    "text": "ana",
    "number": 1,
    "share": 0.5,
    "true": True,
    "day": date(2025, 3, 1),
    "at": datetime(2025, 3, 1, tzinfo=UTC),
    "list": [{"item_id": "a", "score": 1.0}, {"item_id": "b", "score": 0.5}],
    "map": [("x", 1), ("y", 2)],
}


def batch(*rows: dict[str, object]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(list(rows), schema=SCHEMA)


@given(ROWS)
def test_a_row_hashes_alike_in_whatever_batch_or_slice_it_lies(rows):
    together = batch(*rows)
    alone = [hash_rows(batch(row))[0] for row in rows]
    assert hash_rows(together).tolist() == alone
    assert hash_rows(together.slice(1)).tolist() == alone[1:]


@pytest.mark.parametrize(
    "change",
    [
        {"text": "anb"},
        {"text": None},
        {"text": ""},
        {"number": 2},
        {"number": None},
        {"share": 0.5000000000000001},
        {"true": False},
        {"day": date(2025, 3, 2)},
        {"at": datetime(2025, 3, 1, 0, 0, 0, 1, tzinfo=UTC)},
        {"list": ROW["list"][::-1]},
        {"list": ROW["list"][:1]},
        {"list": []},
        {"list": None},
        {"list": [{"item_id": "a", "score": 0.5}, {"item_id": "b", "score": 1.0}]},
        {"map": [("x", 2), ("y", 1)]},
        {"map": [("x", 1)]},
    ],
    ids=str,
)
def test_another_value_is_another_hash(change):
    one, other = hash_rows(batch(ROW, ROW | change)).tolist()
    assert one != other


def test_the_entries_of_a_map_have_no_order():
    one, other = hash_rows(batch(ROW, ROW | {"map": ROW["map"][::-1]})).tolist()
    assert one == other


def test_a_dictionary_hashes_as_the_texts_that_it_stands_for():
    texts = pa.array(["b", None, "a", "b", "é"])
    encoded = texts.dictionary_encode()
    for one, other in ((texts, encoded), (texts.slice(1, 3), encoded.slice(1, 3)), (texts.slice(1, 1), encoded[1:2])):
        plain, stored = (hash_rows(pa.record_batch({"text": values})).tolist() for values in (one, other))
        assert plain == stored


def test_values_that_change_columns_are_another_row():
    schema = pa.schema([("a", pa.int64()), ("b", pa.int64())])
    rows = pa.RecordBatch.from_pylist([{"a": 1, "b": 2}, {"a": 2, "b": 1}], schema=schema)
    assert len(set(hash_rows(rows).tolist())) == 2


def test_a_hundred_thousand_rows_have_as_many_hashes():
    rows = pa.record_batch({"number": np.arange(100_000)})
    assert len(np.unique(hash_rows(rows))) == 100_000


def test_a_hash_is_the_same_on_every_machine():
    assert f"{hash_rows(batch(ROW))[0]:016x}" == "3f3c3ae0bf8832a9"


def spread(number: int) -> int:
    """The finalizer of SplitMix64, in Python's own whole numbers."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        number = (number ^ number >> shift) * factor % 2**64
    return number ^ number >> 31


@given(st.lists(TEXTS, min_size=1), st.integers(0, 2**31))
def test_the_hash_of_an_id_is_a_polynomial_of_its_bytes(texts, seed):
    expected = [
        spread(
            (
                (seed + 1) * SPLITMIX_STEP
                + sum(0x100000001B3**place * (letter + 1) for place, letter in enumerate(text.encode(), start=1))
            )
            % 2**64
        )
        for text in texts
    ]
    assert hash_ids(pa.array(texts), seed).tolist() == expected
    assert hash_ids(pa.array(["first", *texts]).slice(1), seed).tolist() == expected


@given(st.lists(st.lists(NUMBERS, max_size=5), min_size=1))
def test_the_hash_of_a_list_is_the_sum_of_its_numbers_spread_by_place(lists):
    def of(numbers: list[int]) -> int:
        by_place = (
            spread(spread(number % 2**64) ^ spread(place + SPLITMIX_STEP)) for place, number in enumerate(numbers)
        )
        column = spread((sum(by_place) + len(numbers) * SPLITMIX_STEP) % 2**64)
        return spread((column + SPLITMIX_STEP) % 2**64)

    rows = pa.record_batch({"numbers": pa.array(lists, pa.list_(pa.int32()))})
    assert hash_rows(rows).tolist() == [of(numbers) for numbers in lists]
