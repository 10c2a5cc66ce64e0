import struct
from datetime import date

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.cache.served import ServedList, decode, encode, served_lists
from nocturne.errors import InputError

NIGHT = date(2026, 3, 2)


def test_a_list_is_stored_as_compact_json():
    served = ServedList(NIGHT, "control", "als", "als-1", (("björk", 0.1), ("b", -2.0)))
    assert encode(served).decode() == (
        '{"run_date":"2026-03-02","arm":"control","source":"als","model_version":"als-1","items":[["björk",0.1],["b",-2.0]]}'
    )


@given(st.lists(st.tuples(st.text(), st.floats(allow_nan=False, allow_infinity=False))))
def test_every_score_reads_back_to_the_same_bits(items: list[tuple[str, float]]):
    read = decode(encode(ServedList(NIGHT, "control", "als", "als-1", tuple(items)))).items
    assert [(item_id, struct.pack("d", score)) for item_id, score in read] == [
        (item_id, struct.pack("d", score)) for item_id, score in items
    ]


@pytest.mark.parametrize("score", [float("nan"), float("-inf"), None])
def test_a_score_that_json_cannot_carry_is_refused(score: float | None):
    row = {"user_id": "ann", "run_date": NIGHT, "arm": "control", "source": "als", "model_version": "m"}
    items = [{"item_id": "x", "score": 1.0}, {"item_id": "y", "score": score}]
    with pytest.raises(InputError, match="not finite"):
        list(served_lists(pa.RecordBatch.from_pylist([row | {"items": items}])))


def test_every_row_keeps_its_own_items_also_in_a_slice_of_a_batch():
    rows = pa.RecordBatch.from_pylist(
        [
            {
                "user_id": user,
                "run_date": NIGHT,
                "arm": "control",
                "source": source,
                "model_version": "m",
                "items": items,
            }
            for user, source, items in [
                ("ann", "als", [{"item_id": "x", "score": 3.0}]),
                ("bob", "previous", []),
                ("cec", "als", [{"item_id": "y", "score": 2.0}, {"item_id": "z", "score": 1.0}]),
            ]
        ],
    )
    ann = ("ann", ServedList(NIGHT, "control", "als", "m", (("x", 3.0),)))
    bob = ("bob", ServedList(NIGHT, "control", "previous", "m", ()))
    cec = ("cec", ServedList(NIGHT, "control", "als", "m", (("y", 2.0), ("z", 1.0))))
    assert list(served_lists(rows)) == [ann, bob, cec]
    assert list(served_lists(rows.slice(1))) == [bob, cec]
