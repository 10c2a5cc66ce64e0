"""Any bytes may be landed: each row is accounted for, or the file named; what was accepted stops no later stage."""

import gzip
import json
import tempfile
from itertools import compress
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from nocturne.core.errors import GateClosed, InputError
from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import load_settings
from nocturne.ingestion import landed_rows
from nocturne.ingestion.catalogue import parse_items
from nocturne.ingestion.landed_rows import is_blank, read_parts
from nocturne.ingestion.landing import read_catalogue, share_out
from nocturne.ingestion.landing_files import EVENT_FIELDS, REQUIRED_EVENT_FIELDS, list_files, look_at
from nocturne.ingestion.plain_objects import parse_plain_objects
from nocturne.pipeline import runner
from nocturne.serving.cache import open_cache
from tests.fixtures.landed_files import DAY, EVENTS, TIME

FIELDS = (*EVENT_FIELDS, "content_type", "markets", "tags", "available_from", "explicit", "User_ID", "a b")
ODD = (
    "",
    " ",
    "\t",
    "\0",
    "\ud83d",
    "😀",
    "\u200b",
    "\u2028",
    "\r",
    "é" * 300,
    "NaN",
    "17850.0",
    "a\nb",
    '"',
    "|",
    "\\",
)
TEXTS = st.one_of(st.sampled_from([*ODD, TIME, "2025-03-02Tgarbage", "track", "u", "i"]), st.text(max_size=8))
VALUES = st.recursive(
    TEXTS | st.none() | st.booleans() | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)
SEPARATORS = (b"\n", b"\r\n", b"\n\n", b"\r", b"", b" ", b"\x00", b"\n\t\n", b"\n\xef\xbb\xbf")


def json_line(pairs: list[tuple[str, Any]], *, ascii_only: bool) -> bytes:
    members = (f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=ascii_only)}" for name, value in pairs)
    return f"{{{', '.join(members)}}}".encode(errors="surrogatepass")


JSON_LINES = st.builds(
    json_line, st.lists(st.tuples(st.sampled_from(FIELDS), VALUES), max_size=6), ascii_only=st.booleans()
)
CSV_LINES = st.lists(TEXTS, min_size=3, max_size=6).map(lambda row: ",".join(row).encode(errors="surrogatepass"))
HEADERS = st.permutations(["event_id", "user_id", "item_id", "listened_at", "x y"]).map(
    lambda names: ",".join(names).encode()
)
LINES = st.one_of(JSON_LINES, CSV_LINES, st.binary(max_size=20))


def joined(lines: list[bytes], separators: list[bytes]) -> bytes:
    return b"".join(part for pair in zip(lines, separators, strict=False) for part in pair)


BODIES = st.builds(joined, st.lists(LINES, max_size=8), st.lists(st.sampled_from(SEPARATORS), min_size=8, max_size=8))


def table(columns: dict[str, tuple[Any, list[Any]]], rows: int) -> bytes:
    """A Parquet file of columns by name: a type, and values, of which there may be too few."""
    arrays = {name: pa.array([*values, *[None] * rows][:rows], kind) for name, (kind, values) in columns.items()}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(arrays), sink, row_group_size=2)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def column(kind: pa.DataType, values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[pa.DataType, list[Any]]]:
    return st.tuples(st.just(kind), st.lists(st.none() | values, max_size=4))


VALID_TEXTS = TEXTS.filter(lambda text: "\ud83d" not in text and text.isprintable())
INTS = st.integers(-(2**63), 2**63 - 1)
TEXT_COLUMNS = column(pa.string(), VALID_TEXTS)
COLUMNS = st.one_of(
    TEXT_COLUMNS,
    *(
        column(kind, INTS)
        for kind in (pa.int64(), pa.timestamp("us"), pa.timestamp("ms", "Europe/Oslo"), pa.timestamp("ns"))
    ),
    column(pa.bool_(), st.booleans()),
    column(pa.binary(), st.binary(max_size=3)),
    column(pa.list_(pa.string()), st.lists(st.none() | VALID_TEXTS, max_size=2)),
    column(pa.date32(), st.integers(-(2**31), 2**31 - 1)),
)
TABLES = st.builds(
    table,
    st.builds(
        lambda sound, others: sound | others,
        st.fixed_dictionaries(dict.fromkeys((*REQUIRED_EVENT_FIELDS, "content_type"), TEXT_COLUMNS)),
        st.dictionaries(st.sampled_from(FIELDS[3:]), COLUMNS, max_size=3),
    ),
    st.integers(0, 4),
)


def damaged(content: bytes, cut: int, flip: int) -> bytes:
    """The content cut short or with another byte, where asked for."""
    if cut:
        content = content[: -(cut % (len(content) + 1)) or None]
    if flip and content:
        place = flip % len(content)
        content = content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :]
    return content


SOMETIMES = st.one_of(st.just(0), st.just(0), st.integers(1, 5_000))
FILES = st.one_of(
    st.tuples(st.just("jsonl"), BODIES),
    st.tuples(st.just("csv"), st.builds(lambda header, body: header + b"\n" + body, HEADERS, BODIES)),
    st.tuples(st.just("csv"), BODIES),
    st.tuples(
        st.just("jsonl.gz"),
        st.builds(damaged, BODIES.map(lambda body: gzip.compress(body, mtime=0)), SOMETIMES, SOMETIMES),
    ),
    st.tuples(st.just("parquet"), st.builds(damaged, TABLES, SOMETIMES, SOMETIMES)),
)
NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=5).filter(
    lambda name: name[0] not in "._"
)


def physical_rows(ending: str, content: bytes) -> int:
    if ending == "parquet":
        return int(pq.read_metadata(pa.BufferReader(content)).num_rows)
    text = (gzip.decompress(content) if ending == "jsonl.gz" else content).removeprefix(b"\xef\xbb\xbf")
    lines = text.split(b"\n")[1 if ending == "csv" else 0 :]
    return sum(bool(line.strip()) for line in lines)


def require_named(name: str, error: InputError) -> None:
    assert name in str(error)


@settings(max_examples=100)
@given(name=NAMES, file=FILES, part_bytes=st.integers(1, 400))
def test_every_row_of_a_file_is_read_once_as_text_or_the_file_is_named(
    name: str, file: tuple[str, bytes], part_bytes: int
) -> None:
    ending, content = file
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{name}.{ending}")
        path.write_bytes(content)
        try:
            files = [look_at(folder, found, EVENT_FIELDS, REQUIRED_EVENT_FIELDS) for found in list_files(folder)]
        except InputError as error:
            require_named(path.name, error)
            return
        shares = share_out(files, part_bytes)
        rows = [row for share in shares for batch in read_parts(share, EVENT_FIELDS) for row in batch.to_pylist()]
    if any(row["failure"] for row in rows):
        assert all(path.name in row["failure"] for row in rows if row["failure"])
        return
    assert len(rows) == files[0].rows == physical_rows(ending, content)
    assert {row["file"] for row in rows} <= {path.name}


@settings(max_examples=100)
@given(file=FILES)
def test_a_catalogue_is_parsed_or_refused_with_the_name_of_its_file(file: tuple[str, bytes]) -> None:
    ending, content = file
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "items", f"some.{ending}")
        path.parent.mkdir()
        path.write_bytes(content)
        try:
            items = parse_items(read_catalogue(folder), folder, 511)
        except InputError as error:
            require_named(path.name, error)
        else:
            items.validate(full=True)
            assert items["item_id"].null_count == items["content_type"].null_count == 0


@settings(max_examples=100)
@given(
    lines=st.lists(
        JSON_LINES
        | st.builds(
            lambda pairs: json_line(pairs, ascii_only=True), st.lists(st.tuples(st.sampled_from(FIELDS), TEXTS | INTS))
        ),
        min_size=1,
        max_size=4,
    )
)
@example([b'{"user_id": "a", "user_id" : "a"}'])
@example([b'{"user_id": -0, "plays": 0}', b'{"plays": 07}', b'{"plays": 7}'])
@example([b'{"plays": "7"}', b'{"plays": 7, "x": 1, "x": 2}', b"{}"])
@example([b'{"user_id": 1}', b'{"user_id": "1"}', b'{"listened_at": "2025-01-01 00:00:00"}'])
@example([b'{"user_id": "a\x00"}', b'{"user_id": "a\xff"}', b'{"user_id": "a"}{"user_id": "b"}', b'{"user_id": "a"},'])
def test_the_quick_way_through_lines_gives_what_the_thorough_one_does(lines: list[bytes]) -> None:
    lines = [line for line in lines if b"\n" not in line]
    plain, raw, columns = parse_plain_objects(lines, EVENT_FIELDS, ["ms_played", "plays"])
    assert [text.encode() for text in raw.to_pylist()] == list(compress(lines, plain))
    texts = [column.cast(pa.string()).to_pylist() for column in columns]
    thorough = [
        landed_rows._json_parser(EVENT_FIELDS)(line.decode())
        for line, is_plain in zip(lines, plain, strict=True)
        if is_plain
    ]
    assert list(map(list, zip(*texts, strict=True))) == thorough


NASTY = [
    *(text for text in ODD if "\ud83d" not in text),
    "u'; DROP",
    "../..",
    "%s",
    "x" * 511,
    "é" * 255,
    "a,b",
    "null",
]


def some_text(rng: Random) -> str:
    """A nasty text, or a short one of any characters but surrogates."""
    if rng.random() < 0.2:
        return rng.choice(NASTY)
    ranges = rng.choice([(1, 0x7F), (1, 0x7FF), (0xE000, 0x10FFFF)])
    return "".join(chr(rng.randint(*ranges)) for _ in range(rng.randint(1, 12)))


def land_some_night(rng: Random, landing: Path) -> list[str]:
    """Land a day of few listeners and items with odd names, and a catalogue of some items; the listeners."""
    users, items, markets = ([some_text(rng) for _ in range(count)] for count in (12, 15, 4))
    lines = [
        json.dumps(
            {
                "event_id": f"{number}{some_text(rng)}",
                "user_id": rng.choice(users),
                "item_id": rng.choice(items),
                "listened_at": rng.choice([TIME, "2025-03-02T10:00,5Z", "2025-03-01 23:59"]),
                "market": rng.choice([*markets, None, [], 7]),
                "plays": rng.choice([1, "2", None, 10**6, 1.5]),
                "context": some_text(rng),
                some_text(rng): some_text(rng),
            },
            ensure_ascii=rng.random() < 0.5,
        ).encode()
        for number in range(150)
    ]
    for place in rng.sample(range(150), 6):
        lines[place] = damaged(lines[place], rng.randrange(2) * rng.randrange(200), rng.randrange(1, 200))
    catalogue = [
        {
            "item_id": item,
            "content_type": rng.choice(["track", "other"]),
            "title": some_text(rng),
            "creator": some_text(rng),
            "tags": [f"x{some_text(rng)}"],
            "markets": rng.choice([[], None, ["SE"], [market for market in markets if not is_blank(market)]]),
            "available_until": rng.choice([None, "2025-03-02", "9999-12-31", "0001-01-01"]),
        }
        for item in {item for item in items if not is_blank(item)}
        if rng.random() < 0.7
    ]
    folder, shelf = landing / EVENTS, landing / "items"
    folder.mkdir(parents=True)
    shelf.mkdir()
    (folder / f"e [1]%20:é{rng.choice('*?{}')}.jsonl").write_bytes(b"\n".join(lines))
    (shelf / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in catalogue))
    (folder / "_SUCCESS").touch()
    return users


@settings(max_examples=1)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_ingestion_accepts_stops_no_later_stage(spark: SparkSession, seed: int) -> None:
    overrides = ("als.factors=4", "ranking.top_k=3", "tables.buckets=1")
    with tempfile.TemporaryDirectory() as folder:
        users = land_some_night(Random(seed), Path(folder, "landing"))
        warehouse = Warehouse(f"{folder}/warehouse", load_settings(overrides=overrides))
        night = Night(warehouse, DAY, f"{folder}/landing", f"lmdb:{folder}/cache")
        try:
            runner.run_nights([night])
        except GateClosed:
            return
        except InputError as error:
            require_named(".jsonl", error)
            return
        with open_cache(night.cache, night.settings.cache, read_only=True) as cache:
            assert any(cache.get(user) for user in users)
            assert cache.get("\udcff") is cache.get("u" * 600) is cache.get("") is None
