"""Listeners' rows behind their lists: what goes in comes out, in few bytes."""

import struct

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from nocturne.serving.cache import ListKind
from nocturne.serving.cache.encoding import Encoder
from nocturne.serving.cache.rows import read_row
from nocturne.serving.cache.values import GenerationInfo
from tests.fixtures.cache_servers import KIND, NIGHT

MARKETS = ("NO", "SE")
INFO = GenerationInfo(NIGHT, 1, (KIND,), pa.array(["x", "y", "z"]), MARKETS)

floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
heard_items = st.dictionaries(st.integers(0, 2**31 - 1), st.floats(0, 1, width=16), max_size=5)


def batch(*rows: dict[str, object]) -> pa.RecordBatch:
    pairs, texts = pa.list_(pa.struct([("item_id", pa.string()), ("score", pa.float64())])), pa.string()
    kinds = {"market": texts, "items": pairs, "propensities": pa.list_(pa.float64()), "factors": pa.list_(pa.float32())}
    kinds |= {"heard": pa.list_(pa.int32()), "weights": pa.list_(pa.float32()), "days": pa.list_(pa.int32())}
    kinds |= {"reserve": pa.list_(pa.int32())} if all("reserve" in row for row in rows) else {}
    columns = {name: pa.array([row[name] for row in rows], kind) for name, kind in kinds.items()}
    for name in ListKind._fields:
        columns[name] = pa.array([getattr(KIND, name)] * len(rows))
    columns["user_id"] = pa.array([f"u{number:03}" for number in range(len(rows))])
    return pa.RecordBatch.from_pydict(columns)


@st.composite
def listeners(draw: st.DrawFn) -> dict[str, object]:
    items = draw(st.lists(st.tuples(st.sampled_from("xyz"), floats), max_size=4))
    heard = dict(sorted(draw(heard_items).items()))
    return {
        "market": draw(st.sampled_from([None, *MARKETS])),
        "items": [{"item_id": item, "score": score} for item, score in items],
        "propensities": draw(st.none() | st.just([0.5] * len(items))),
        "factors": draw(st.none() | st.lists(floats, min_size=3, max_size=3)),
        "heard": list(heard),
        "weights": list(heard.values()),
        "days": draw(st.sampled_from([[], [7] * len(heard)])),
    }


@given(st.lists(listeners(), max_size=4))
def test_every_row_reads_back(rows: list[dict[str, object]]):
    for row, (_, value) in zip(rows, Encoder(INFO).batch(batch(*rows)), strict=True):
        read = read_row(value, INFO.kinds, MARKETS)
        assert (read.kind, read.market) == (KIND, row["market"])
        assert [("xyz"[number], score) for number, score in zip(read.numbers, read.scores, strict=True)] == [
            (item["item_id"], item["score"]) for item in row["items"]
        ]
        assert (read.propensities is not None) == bool(row["propensities"])
        assert (None if read.factors is None else read.factors.tolist()) == row["factors"]
        assert (read.heard.tolist(), read.weights.tolist()) == (row["heard"], row["weights"])
        assert (None if read.days is None else read.days.tolist()) == (row["days"] or None)


def test_a_row_is_laid_out_as_the_documentation_says():
    row = {
        "market": "SE", "items": [{"item_id": "z", "score": 0.5}], "propensities": [0.25], "factors": [1.0, -2.0],
        "heard": [3, 5], "weights": [1.0, 0.5], "days": [1, 300], "reserve": [1, 65_536],
    }  # fmt: skip
    ((_, value),) = Encoder(INFO).batch(batch(row))
    head = struct.pack("<HHIf", 0, 1, 2, 0.5)
    assert value == head + struct.pack(
        "<HHfHffIHHHeeHHHIIH", 1, 1, 0.25, 2, 1.0, -2.0, 2, 1, 3, 2, 1.0, 0.5, 1, 1, 300, 1, 65_536, 2
    )


def test_items_far_apart_take_four_bytes_a_step_instead_of_two():
    near, far = ({"heard": [0, 65_535]}, {"heard": [0, 65_536]})
    plain = {"market": None, "items": [], "propensities": None, "factors": None, "weights": [1.0, 1.0], "days": []}
    (_, short), (_, long) = Encoder(INFO).batch(batch(plain | near, plain | far))
    assert len(long) - len(short) == 2 * 2
    assert read_row(long, INFO.kinds, MARKETS).heard.tolist() == [0, 65_536]


def test_a_weight_beyond_half_precision_is_the_largest_there_is():
    plain = {"market": None, "items": [], "propensities": None, "factors": None, "days": []}
    ((_, value),) = Encoder(INFO).batch(batch(plain | {"heard": [1], "weights": [1e9]}))
    assert read_row(value, INFO.kinds, MARKETS).weights.tolist() == [float(np.finfo(np.float16).max)]


def test_a_listener_of_the_usual_size_takes_less_than_a_kilobyte_and_a_half():
    rng = np.random.default_rng(1)
    items = pa.array([f"i{number}" for number in range(100_000)])
    info = GenerationInfo(NIGHT, 1, (KIND,), items, MARKETS)
    row = {
        "market": "SE", "items": [{"item_id": f"i{n}", "score": 1.0} for n in rng.permutation(100_000)[:50]],
        "propensities": None, "factors": rng.normal(size=64).tolist(),
        "heard": np.sort(rng.permutation(100_000)[:100]).tolist(), "weights": [1.0] * 100, "days": [9] * 100,
        "reserve": list(range(10)),
    }  # fmt: skip
    ((_, value),) = Encoder(info).batch(batch(row))
    assert len(value) == 4 + 50 * 8 + 4 + 2 + 64 * 4 + 4 + 2 + 100 * 2 + 100 * 2 + 2 + 100 * 2 + 10 * 4 + 2
    assert len(value) <= 1_500
