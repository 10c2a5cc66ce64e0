"""Lists and next items a second, and how long they take, beside a service as one would write it by hand.

    .venv/bin/python -m benchmarks.serve --listeners 100000 --items 100000 [--workers 2] [--refresh] [--json]

A generation is invented: lists of 50 items, factors of 64, 100 heard items a listener, 25 related items a content type.
It is loaded into LMDB and into a redis-server on loopback, and `nocturne serve` answers from each of them. The peer is
a FastAPI route over the same redis-server that gets a JSON document by redis-py and answers with it; its next items are
the lists of the listener and of the item that plays, fetched in one pipeline and merged by their scores.
Load comes from `wrk`, on the same cores: first as much as is taken, by 16 connections; then half of that, at random
times, which is what the latencies are of. Listeners and items are drawn anew for every request.
With --refresh another generation is loaded meanwhile, niced and at a capped rate, and served at the end.
The bytes are those of files, and of what the server says that it uses more than before.
The tables go to stderr; with --json, a line per row to stdout.
"""

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path

import httpx
import numpy as np
import orjson
import pyarrow as pa
import redis

from benchmarks.cache import server
from benchmarks.load import tell_load
from nocturne.core.console import print_rows, say
from nocturne.serving.cache import Generation, GenerationInfo, ListKind, Pointer, open_cache
from nocturne.serving.cache.items_info import ItemsInfo, with_info
from nocturne.serving.cache.listable import EVERYWHERE

NIGHT = date(2026, 3, 2)
GENERATION, NEXT = Generation("2026-03-02-aaaaaaaa", NIGHT), Generation("2026-03-03-bbbbbbbb", date(2026, 3, 3))
KIND = ListKind("control", "als", "als-20260302")
FACTORS, LISTED, HEARD, RELATED, TYPES = 64, 50, 100, 25, ("track", "podcast_episode", "audiobook")
CONNECTIONS, SECONDS, BATCH = 16, 10, 10_000
ROUTES = ("list", "now playing")
Line = dict[str, object]

SCRIPT = """
local users, items, pause = {users}, {items}, {pause}
local route = "{route}"
math.randomseed({seed})
local counter = 0
function setup(thread) thread:set("seed", counter); counter = counter + 1 end
function init(args) math.randomseed(seed + {seed}) end
function delay() if pause == 0 then return 0 end return -math.log(1 - math.random()) * pause end
function request()
  local user = string.format("u%08d", math.random(0, users - 1))
  if route == "list" then return wrk.format("GET", "/v1/listeners/" .. user .. "/list?limit=20") end
  local item = function() return string.format('"t%07d"', math.random(0, items - 1)) end
  local body = '{{"user_id":"' .. user .. '","playing":' .. item() .. ',"recent":[' .. item() .. ',' .. item() .. ']}}'
  return wrk.format("POST", "/v1/now-playing", {{["content-type"] = "application/json"}}, body)
end
function response(status, headers, body)
  if status ~= 200 then errors = (errors or 0) + 1 end
end
"""


def invent_items(items: int, seed: int) -> pa.Table:
    """The items of the generation, as `serving.items_table` lays them out."""
    random = np.random.default_rng(seed)
    related = RELATED * len(TYPES)
    ids = pa.array([f"t{number:07d}" for number in range(items)])
    offsets = pa.array(np.arange(items + 1, dtype=np.int32) * related)
    factors = random.normal(size=items * FACTORS).astype(np.float32)
    scores = np.sort(random.random((items, related)).astype(np.float32))[:, ::-1].ravel()
    numbers = random.integers(0, items, items * related).astype(np.int32)
    neighbours = random.integers(0, items, items * LISTED).astype(np.int32)
    table = pa.table(
        {
            "item_id": ids,
            "order": pa.array(np.arange(items, dtype=np.int32)),
            "title": pa.array([f"Title of {number}" for number in range(items)]),
            "creator": pa.array([f"Creator {number % 5000}" for number in range(items)]),
            "content_type": pa.array([TYPES[number % 20 % 3 if number % 20 < 3 else 0] for number in range(items)]),
            "duration_ms": pa.array(random.integers(60_000, 600_000, items)),
            "explicit": pa.array(random.random(items) < 0.1),
            "confidence_weight": pa.array(np.ones(items)),
            "score_multiplier": pa.array(np.ones(items)),
            "factors": pa.FixedSizeListArray.from_arrays(pa.array(factors), FACTORS),
            "neighbours": pa.FixedSizeListArray.from_arrays(pa.array(neighbours), LISTED),
            "similarities": pa.FixedSizeListArray.from_arrays(pa.array(np.full(len(neighbours), 0.1, "f4")), LISTED),
            "related": pa.ListArray.from_arrays(offsets, pa.array(numbers)),
            "related_scores": pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(scores))),
            "related_sources": pa.ListArray.from_arrays(offsets, pa.array(np.zeros(len(numbers), np.uint8))),
            "class_0": pa.array(random.random(items) < 0.95),
        }
    )
    info = ItemsInfo(
        model_version=KIND.model_version,
        spectrum=(1.0,) * FACTORS,
        ridge=1.0,
        ridge_exponent=0.0,
        neighbour_weight=0.5,
        candidates=200,
        let_back_after_days=0,
        classes={EVERYWHERE: 0},
        no_market=0,
        popular={EVERYWHERE: list(range(100)), "SE": list(range(100))},
        now_playing={
            "personal_weight": 0.1,
            "session_weight": 0.2,
            "related_weight": 0.3,
            "creator_weight": 1.0,
            "popularity_weight": 0.05,
            "recent_decay": 0.6,
        },
    )
    return with_info(table, info)


class Rows:
    """The listeners of the generation, made as they are loaded."""

    def __init__(self, listeners: int, ids: pa.Array, seed: int) -> None:
        self.listeners, self.ids, self.seed = listeners, ids, seed

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Rows as `ServedRows` puts them together, in order of user_id."""
        items = len(self.ids)
        for first in range(0, self.listeners, BATCH):
            count = min(BATCH, self.listeners - first)
            random = np.random.default_rng([self.seed, first])
            heard = np.sort(random.integers(0, items, (count, HEARD)).astype(np.int32)).ravel()
            listed = self.ids.take(pa.array(random.integers(0, items, count * LISTED)))
            scores = np.sort(random.random((count, LISTED)))[:, ::-1].ravel()
            pairs = pa.StructArray.from_arrays([listed, pa.array(scores)], ["item_id", "score"])
            nothing = pa.array([None] * count, pa.list_(pa.float64()))
            yield pa.RecordBatch.from_pydict(
                {
                    "user_id": pa.array([f"u{first + number:08d}" for number in range(count)]),
                    "market": pa.repeat("SE", count),
                    **{name: pa.repeat(getattr(KIND, name), count) for name in ListKind._fields},
                    "items": _lists(count, LISTED, pairs),
                    "propensities": nothing,
                    "factors": _lists(count, FACTORS, random.normal(size=count * FACTORS).astype(np.float32)),
                    "heard": _lists(count, HEARD, heard),
                    "weights": _lists(count, HEARD, np.ones(len(heard), np.float32)),
                    "days": pa.array([[]] * count, pa.list_(pa.int32())),
                }
            )


def _lists(rows: int, width: int, values: np.ndarray | pa.Array) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(np.arange(rows + 1, dtype=np.int32) * width), values)


def load(url: str, options: argparse.Namespace, generation: Generation, rate: int = 0) -> None:
    """Load the generation, and serve it."""
    items = invent_items(options.items, options.seed)
    from nocturne.core.settings import load_settings

    settings = load_settings(overrides=[f"cache.lists_per_second={rate}"]).cache
    with open_cache(url, settings) as cache:
        info = GenerationInfo(generation.run_date, options.listeners, (KIND,), items["item_id"], ("SE",), items)
        cache.load(generation.name, info, [Rows(options.listeners, items["item_id"].combine_chunks(), options.seed)])
        pointer = cache.pointer()
        earlier = pointer.retained if pointer else ()
        cache.swap_pointer(
            pointer, replace(Pointer(generation, earlier), version=pointer.version + 1 if pointer else 1)
        )


def lmdb_bytes(folder: Path, options: argparse.Namespace) -> Line:
    """Bytes of a listener and of an item in files."""
    (items,), (lists,) = (list(folder.glob(f"generations/*/{name}")) for name in ("items.arrow", "data.mdb"))
    return {
        "store": "LMDB",
        "bytes_a_listener": round(lists.stat().st_size / options.listeners),
        "bytes_an_item": round(items.stat().st_size / options.items),
    }


def redis_bytes(port: int, options: argparse.Namespace) -> Line:
    """Bytes of a listener and of an item in a server that has one generation, as it counts them."""
    client = redis.Redis(port=port)
    (key,) = client.keys("nocturne:*:items")
    items = client.memory_usage(key, samples=0)
    used = client.info("memory")["used_memory"] - client.info("memory")["used_memory_startup"] - items
    return {
        "store": "Redis",
        "bytes_a_listener": round(used / options.listeners),
        "bytes_an_item": round(items / options.items),
    }


def load_by_hand(port: int, options: argparse.Namespace) -> None:
    """JSON documents for the peer: a list a listener, and the related items of each item."""
    client = redis.Redis(port=port)
    ids = pa.array([f"t{number:07d}" for number in range(options.items)])
    for batch in Rows(options.listeners, ids, options.seed):
        pipeline = client.pipeline(transaction=False)
        for user, items in zip(batch["user_id"].to_pylist(), batch["items"].to_pylist(), strict=True):
            listed = [_by_hand(item["item_id"], item["score"]) for item in items]
            pipeline.set(f"list:{user}", orjson.dumps({"run_date": str(NIGHT), "items": listed}))
        pipeline.execute()
    random = np.random.default_rng(options.seed)
    for first in range(0, options.items, BATCH):
        pipeline = client.pipeline(transaction=False)
        for number in range(first, min(first + BATCH, options.items)):
            others = zip(random.integers(0, options.items, RELATED * 3).tolist(), np.linspace(1, 0, 75), strict=True)
            document = [_by_hand(f"t{other:07d}", float(score)) for other, score in others]
            pipeline.set(f"related:t{number:07d}", orjson.dumps(document))
        pipeline.execute()


def _by_hand(item: str, score: float) -> Line:
    number = int(item[1:])
    return {"item_id": item, "title": f"Title of {number}", "creator": f"Creator {number % 5000}", "score": score}


PEER = """
import os
import orjson
import redis.asyncio as redis
from fastapi import FastAPI, Response

app, client = FastAPI(), redis.Redis(port=int(os.environ["REDIS_PORT"]))

@app.get("/v1/listeners/{user_id}/list")
async def nightly_list(user_id: str, limit: int = 20):
    found = orjson.loads(await client.get(f"list:{user_id}"))
    found["items"] = found["items"][:limit]
    return Response(orjson.dumps(found), media_type="application/json")

@app.post("/v1/now-playing")
async def now_playing(body: dict):
    names = [body["playing"], *reversed(body["recent"])]
    texts = await client.mget([f"list:{body['user_id']}", *(f"related:{name}" for name in names)])
    scores, items = {}, {}
    for weight, text in zip((0.5, 2.0, 1.4, 1.0), texts):
        found = orjson.loads(text)
        for item in found["items"] if isinstance(found, dict) else found:
            items[item["item_id"]] = item
            scores[item["item_id"]] = scores.get(item["item_id"], 0) + weight * item["score"]
    for name in names:
        scores.pop(name, None)
    best = sorted(scores, key=scores.get, reverse=True)[:20]
    return Response(orjson.dumps({"items": [items[item] for item in best]}), media_type="application/json")
"""


@contextmanager
def serving(command: list[str], port: int, **environment: str) -> Iterator[float]:
    """A service, once it answers; yields the seconds until then."""
    started = time.perf_counter()
    process = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL)
    try:
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/v1/listeners/u00000000/list").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.01)
            if process.poll() is not None:
                raise SystemExit(f"{command} ended with {process.returncode}")
        yield time.perf_counter() - started
    finally:
        process.terminate()
        process.wait(60)


def blow(port: int, route: str, options: argparse.Namespace, folder: Path, rate: float = 0) -> dict[str, float]:
    """Ask by `wrk`, as fast as it is answered or at a rate; requests a second, errors, and latencies in ms."""
    pause = CONNECTIONS / rate * 1000 if rate else 0
    script = folder / "ask.lua"
    values = {"users": options.listeners, "items": options.items, "pause": pause, "route": route, "seed": options.seed}
    script.write_text(SCRIPT.format(**values), encoding="utf-8")
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{options.seconds}s", "--latency", "-s", str(script)]
    told = subprocess.run([*command, f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=True).stdout
    of = {name: _milliseconds(told, name) for name in ("50%", "99%")}
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", told)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", told)
    failed = int(errors[1]) if errors else 0
    rate_met = re.search(r"Requests/sec:\s+([\d.]+)", told)
    assert rate_met
    return {
        "requests_a_second": float(rate_met[1]),
        "failed": failed + sum(map(int, broken.groups() if broken else ())),
        **of,
    }


def _milliseconds(told: str, percentile: str) -> float:
    found = re.search(rf"{percentile}\s+([\d.]+)(us|ms|s)\b", told)
    assert found, told
    return float(found[1]) * {"us": 0.001, "ms": 1, "s": 1000}[found[2]]


def measure(name: str, port: int, started: float, options: argparse.Namespace, folder: Path) -> Iterator[Line]:
    """A row a route: what is taken at most, and latencies at half of it."""
    for route in ROUTES:
        blow(port, route, argparse.Namespace(**vars(options) | {"seconds": 3}), folder)
        most = blow(port, route, options, folder)
        half = blow(port, route, options, folder, most["requests_a_second"] / 2)
        yield {
            "service": name,
            "route": route,
            "first_answer_s": round(started, 2),
            "requests_a_second": round(most["requests_a_second"]),
            "at_half": round(half["requests_a_second"]),
            "p50_ms": round(half["50%"], 2),
            "p99_ms": round(half["99%"], 2),
            "failed": most["failed"] + half["failed"],
        }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def lines(options: argparse.Namespace, folder: Path) -> Iterator[Line]:
    """Sizes of both caches; ours from both, and the peer."""
    program = Path(sys.executable).with_name("nocturne")
    with server(folder) as redis_port:
        urls = {"LMDB": f"lmdb:{folder / 'cache'}", "Redis": f"redis://127.0.0.1:{redis_port}/0"}
        for url in urls.values():
            load(url, options, GENERATION)
        yield lmdb_bytes(folder / "cache", options)
        yield redis_bytes(redis_port, options)
        load_by_hand(redis_port, options)
        for name, url in urls.items():
            port = _free_port()
            command = [str(program), "serve", "--cache", url, "--port", str(port), "--workers", str(options.workers)]
            with serving(command, port) as started:
                yield from measure(f"nocturne, {name}", port, started, options, folder)
                if options.refresh:
                    yield from _beside_refresh(name, url, port, options, folder)
        (folder / "peer.py").write_text(PEER, encoding="utf-8")
        port = _free_port()
        command = [sys.executable, "-m", "uvicorn", "peer:app", "--app-dir", str(folder), "--port", str(port)]
        command += ["--log-level", "warning", "--workers", str(options.workers)]
        with serving(command, port, REDIS_PORT=str(redis_port)) as started:
            yield from measure("by hand, Redis", port, started, options, folder)


def _beside_refresh(name: str, url: str, port: int, options: argparse.Namespace, folder: Path) -> Iterator[Line]:
    arguments = json.dumps([url, options.listeners, options.items, options.seed])
    code = f"import json, argparse; from benchmarks.serve import NEXT, load; url, l, i, s = json.loads({arguments!r})\n"
    code += "load(url, argparse.Namespace(listeners=l, items=i, seed=s), NEXT, rate=20_000)"
    refresh = subprocess.Popen(["nice", "-n", "10", sys.executable, "-c", code])
    yield from measure(f"nocturne, {name}, beside a refresh", port, 0.0, options, folder)
    refresh.wait()
    served = httpx.get(f"http://127.0.0.1:{port}/readyz").json()
    say(f"{name}: {served} after the refresh")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listeners", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=SECONDS, help="of each measurement")
    parser.add_argument("--refresh", action="store_true", help="also beside a refresh")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    tell_load()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is needed: apt-get install wrk")
    say(f"load of the machine: {os.getloadavg()[0]:.2f}")
    with tempfile.TemporaryDirectory() as folder:
        measured = list(lines(options, Path(folder)))
    size = f"{options.listeners:,} listeners, {options.items:,} items"
    print_rows([line for line in measured if "route" in line], f"{size}, {options.workers} workers")
    print_rows([line for line in measured if "store" in line], size)
    if options.json:
        for line in measured:
            print(json.dumps(line))


if __name__ == "__main__":
    main()
