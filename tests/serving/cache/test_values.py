"""The values that both caches keep, and the rows they are made from."""

import struct
from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.core.errors import InputError
from nocturne.serving.cache import GenerationInfo, ListKind, ServedList
from nocturne.serving.cache import encoding as encoding_of
from nocturne.serving.cache.encoding import Encoder
from nocturne.serving.cache.values import Decoder, ItemsGone
from tests.fixtures.cache_servers import KIND, NIGHT, info, rows

PREVIOUS = ListKind("control", "previous", "als-1")


def listed(*users: tuple[str, ListKind, list[tuple[str | None, float | None]]]) -> pa.RecordBatch:
    kind = pa.list_(pa.struct([("item_id", pa.string()), ("score", pa.float64())]))
    items = [[{"item_id": item, "score": score} for item, score in each] for _, _, each in users]
    return pa.record_batch(
        {
            "user_id": pa.array([user for user, _, _ in users], pa.string()),
            **{name: pa.array([getattr(kind, name) for _, kind, _ in users], pa.string()) for name in ListKind._fields},
            "items": pa.array(items, kind),
        }
    )


class Reader:
    """Decodes values of a generation, and notes the chunks of item ids that it reads."""

    def __init__(self, generation: GenerationInfo) -> None:
        self.chunks, self.read = list(generation.chunks()), []
        self.decoder = Decoder(generation.to_json())

    def chunk(self, number: int) -> bytes:
        self.read.append(number)
        return self.chunks[number]

    def decode(self, value: bytes) -> ServedList:
        return self.decoder.decode(value, self.chunk)


def test_a_value_is_the_number_of_its_head_then_numbers_of_items_then_their_scores():
    generation = info("björk", "b", "c", kinds=[KIND, PREVIOUS])
    batch = listed(("ann", PREVIOUS, [("c", 0.5), ("björk", -2.0)]))
    assert list(Encoder(generation).batch(batch)) == [("ann", struct.pack("<HHIIff", 1, 2, 2, 0, 0.5, -2.0))]


def test_a_value_reads_back_as_the_list_with_scores_rounded_to_float32():
    generation = info("björk", "b", "c", kinds=[KIND, PREVIOUS])
    ((_, value),) = Encoder(generation).batch(listed(("ann", PREVIOUS, [("c", 0.1), ("björk", 1e-50)])))
    served = Reader(generation).decode(value)
    assert served == ServedList(
        date(2026, 3, 2), "control", "previous", "als-1", ("c", "björk"), (0.10000000149011612, 0.0)
    )
    assert served.items == (("c", 0.10000000149011612), ("björk", 0.0))


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 9_999), st.floats(width=32, allow_nan=False, allow_infinity=False))),
        max_size=5,
    )
)
def test_all_lists_read_back_whatever_their_lengths_and_items(lists: list[list[tuple[int, float]]]):
    generation = info(*(f"item-{number}" * (1 + number % 3) for number in range(10_000)))
    ids = generation.item_ids.to_pylist()
    batch = listed(*((f"user-{at}", KIND, [(ids[n], score) for n, score in each]) for at, each in enumerate(lists)))
    reader = Reader(generation)
    found = [(user, reader.decode(value).items) for user, value in ENCODER_OF_10_000.batch(batch)]
    assert found == [(f"user-{at}", tuple((ids[n], score) for n, score in each)) for at, each in enumerate(lists)]


ENCODER_OF_10_000 = Encoder(info(*(f"item-{number}" * (1 + number % 3) for number in range(10_000))))


def test_item_ids_are_read_a_chunk_at_a_time_once_and_only_where_a_list_holds_one():
    generation = info(*(f"i{number}" for number in range(10_000)))
    reader = Reader(generation)
    encoder = Encoder(generation)
    for item in ("i5000", "i9999", "i5001", "i4096"):
        ((_, value),) = encoder.batch(rows(ann=item))
        assert reader.decode(value).item_ids == (item,)
    assert reader.read == [1, 2]


def test_all_lists_of_a_generation_share_the_strings_of_its_items():
    generation = info("long-enough-not-to-be-interned")
    reader = Reader(generation)
    ((_, value),) = Encoder(generation).batch(rows(ann="long-enough-not-to-be-interned"))
    assert reader.decode(value).item_ids[0] is reader.decode(value).item_ids[0]


def test_an_empty_item_id_is_an_item_too():
    generation = info("", "x")
    ((_, value),) = Encoder(generation).batch(rows(ann=""))
    assert Reader(generation).decode(value).item_ids == ("",)


def test_item_ids_that_are_gone_are_told():
    ((_, value),) = Encoder(info("x")).batch(rows(ann="x"))
    with pytest.raises(ItemsGone):
        Decoder(info("x").to_json()).decode(value, lambda _: None)


def test_a_generation_reads_back_what_it_is_about():
    generation = info(*(f"i{number}" for number in range(5_000)), kinds=[KIND, PREVIOUS], lists=7)
    reader = Reader(generation)
    found = reader.decoder.read_info(reader.chunk)
    assert (found.run_date, found.lists, found.kinds) == (NIGHT, 7, (KIND, PREVIOUS))
    assert found.item_ids.to_pylist() == generation.item_ids.to_pylist()


def test_every_row_keeps_its_own_items_also_in_a_slice_of_a_batch():
    generation = info("x", "y", "z", kinds=[KIND, PREVIOUS])
    batch = listed(("ann", KIND, [("x", 3.0)]), ("bob", PREVIOUS, []), ("cec", KIND, [("y", 2.0), ("z", 1.0)]))
    reader = Reader(generation)
    found = {user: reader.decode(value) for user, value in Encoder(generation).batch(batch)}
    assert found["ann"] == ServedList(NIGHT, *KIND, ("x",), (3.0,))
    assert found["bob"] == ServedList(NIGHT, *PREVIOUS, (), ())
    assert found["cec"] == ServedList(NIGHT, *KIND, ("y", "z"), (2.0, 1.0))
    sliced = {user: reader.decode(value) for user, value in Encoder(generation).batch(batch.slice(1))}
    assert sliced == {"bob": found["bob"], "cec": found["cec"]}


@pytest.mark.parametrize("score", [float("nan"), float("-inf"), None, 1e300])
def test_a_score_that_is_missing_or_not_finite_as_float32_is_refused(score: float | None):
    with pytest.raises(InputError, match="not finite"):
        list(Encoder(info("x", "y")).batch(listed(("ann", KIND, [("x", 1.0), ("y", score)]))))


@pytest.mark.parametrize("item", ["z", "xx", "", None])
def test_an_item_that_the_generation_does_not_have_is_refused(item: str | None):
    with pytest.raises(InputError, match="not among the items"):
        list(Encoder(info("x", "y")).batch(listed(("ann", KIND, [("x", 1.0), (item, 1.0)]))))


def test_a_list_of_a_generation_without_items_is_refused():
    with pytest.raises(InputError, match="not among the items"):
        list(Encoder(info()).batch(rows(ann="x")))


def test_a_head_that_the_generation_does_not_have_is_refused():
    with pytest.raises(InputError, match="found: control, previous, als-1"):
        list(Encoder(info("x")).batch(listed(("ann", PREVIOUS, [("x", 1.0)]))))


def test_more_kinds_than_have_a_number_are_refused():
    with pytest.raises(InputError, match="65537"):
        Encoder(info("x", kinds=[KIND] * 65_537))


def test_items_whose_hashes_collide_are_told_apart(monkeypatch: pytest.MonkeyPatch):
    real = encoding_of._hashes
    monkeypatch.setattr(encoding_of, "_hashes", lambda *strings: np.zeros_like(real(*strings)))
    encoder = Encoder(info("x", "y", "z"))
    values = dict(encoder.batch(listed(("ann", KIND, [("z", 1.0), ("x", 1.0), ("y", 1.0)]))))
    assert values["ann"] == struct.pack("<HHIIIfff", 0, 3, 2, 0, 1, 1.0, 1.0, 1.0)
    with pytest.raises(InputError, match="not among the items"):
        list(encoder.batch(rows(ann="w")))


@pytest.mark.parametrize("users", [("bob", "ann"), ("ann", "ann")])
def test_a_part_that_is_not_in_order_or_has_a_listener_twice_is_refused_without_telling_who(users: tuple[str, str]):
    batches = [rows(**{user: "x"}) for user in users]
    with pytest.raises(InputError, match="two lists, or the lists are not in order") as caught:
        list(Encoder(info("x")).part(batches))
    assert users[1] not in str(caught.value)
    both = pa.Table.from_batches(batches).combine_chunks().to_batches()
    with pytest.raises(InputError, match="two lists"):
        list(Encoder(info("x")).part(both))


def test_a_part_is_ordered_by_the_bytes_of_user_ids():
    # as Spark orders them: U+10000 comes after U+FFFF, which UTF-16 has the other way round
    batch = rows(**{"z": "x", "é": "x", "\uffff": "x", "\U00010000": "x"})
    assert [key.decode() for key, _ in Encoder(info("x")).part([batch])] == ["z", "é", "\uffff", "\U00010000"]
