"""`nocturne serve` as a process: it starts or says why not, stops without losing an answer, and outlives its cache."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import date

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from nocturne.serving.cache import Generation, Pointer, open_cache
from nocturne.serving.http import problems
from tests.fixtures.served_world import GENERATION, LISTENERS, serve_world

pytestmark = pytest.mark.slow

NEXT = Generation("2026-03-03-bbbbbbbb", date(2026, 3, 3))
LIST = "/v1/listeners/ann/list"
START_SECONDS = 120


class Service:
    """A running `nocturne serve`."""

    def __init__(self, process, url, log):
        self.process, self.url, self.log = process, url, log

    def get(self, path, **options):
        return httpx.get(f"{self.url}{path}", timeout=30, **options)

    def workers(self):
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        return self.process.wait(60)


@contextmanager
def serving(folder, cache_url, *options):
    """A service on a free port, as soon as it answers."""
    log = folder / f"serve-{time.monotonic_ns()}.log"
    command = [
        sys.executable,
        "-c",
        "from nocturne.cli.main import run; run()",
        "serve",
        "--cache",
        cache_url,
        "--port",
        "0",
    ]
    with log.open("wb") as output:
        process = subprocess.Popen([*command, *options], stderr=output)
    try:
        until = time.monotonic() + START_SECONDS
        while "listening on " not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        url = log.read_text().partition("listening on ")[2].partition("/,")[0]
        assert httpx.get(f"{url}/livez", timeout=START_SECONDS).status_code == 200
        yield Service(process, url, log)
    finally:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            process.wait()


def refused(*options):
    """Exit status and message of a service that does not start."""
    command = [sys.executable, "-c", "from nocturne.cli.main import run; run()", "serve", *options]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, check=False)
    return ended.returncode, ended.stderr


@pytest.fixture
def cache_url(tmp_path):
    url = f"lmdb:{tmp_path / 'cache'}"
    with open_cache(url) as cache:
        serve_world(cache)
    return url


@pytest.fixture
def landing(tmp_path):
    (tmp_path / "landing").mkdir()
    return tmp_path / "landing"


def exposed(landing):
    """Every exposure on the disk, and the rows that marks tell of."""
    parts = sorted(landing.glob("exposures/*/*/part-*.jsonl"))
    lines = [json.loads(line) for part in parts for line in part.read_text().splitlines()]
    return lines, [json.loads(mark.read_text())["rows"] for mark in landing.glob("exposures/*/*/_SUCCESS")]


def ask_until(service, ending, connections=4):
    """Answers of clients that ask without a pause until the service is gone; `ending` is called meanwhile."""

    def ask(_number):
        answers = []
        with httpx.Client(base_url=service.url, timeout=30) as client:
            while True:
                try:
                    answers.append(client.get(LIST).status_code)
                except httpx.TransportError:
                    return answers

    first = [service.get(LIST).status_code]  # compiled code is loaded by then
    with ThreadPoolExecutor(connections) as threads:
        asking = [threads.submit(ask, number) for number in range(connections)]
        time.sleep(1)
        ending()
        return first + [status for each in asking for status in each.result()]


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_ends_what_is_under_way_and_loses_no_exposure(tmp_path, cache_url, landing, workers):
    with serving(tmp_path, cache_url, "--landing", str(landing), "--workers", str(workers)) as service:
        answers = ask_until(service, lambda: service.process.send_signal(signal.SIGTERM))
        assert service.process.wait(60) == 0
    lines, marked = exposed(landing)
    assert set(answers) == {200}
    assert len(lines) == len({line["exposure_id"] for line in lines}) == sum(marked)
    assert len(lines) >= len(answers) > 10
    assert len(lines) - len(answers) <= 4  # a client may not have read its last answer
    assert len(marked) == len(list(landing.glob("exposures/*/*"))) <= workers
    assert "Traceback" not in service.log.read_text()


def test_ctrl_c_ends_it_as_sigterm_does(tmp_path, cache_url, landing):
    with serving(tmp_path, cache_url, "--landing", str(landing)) as service:
        assert service.get(LIST).status_code == 200
        assert service.stop(signal.SIGINT) == 0
        assert "interrupted" not in service.log.read_text()
    assert exposed(landing)[1] == [1]


def test_a_kill_loses_a_second_of_exposures_at_most_and_leaves_whole_lines_without_a_mark(tmp_path, cache_url, landing):
    with serving(
        tmp_path, cache_url, "--landing", str(landing), "--set", "service.exposure_flush_seconds=0.5"
    ) as service:
        for _ in range(20):
            assert service.get(LIST).status_code == 200
        time.sleep(2)
        service.stop(signal.SIGKILL)
    lines, marked = exposed(landing)
    assert (len(lines), marked) == (20, [])


def test_workers_have_folders_of_their_own_and_their_metrics_add_up(tmp_path, cache_url, landing):
    with serving(tmp_path, cache_url, "--landing", str(landing), "--workers", "2") as service:
        until, asked = time.monotonic() + 60, 0
        while len(list(landing.glob("exposures/*/*"))) < 2 and time.monotonic() < until:
            with ThreadPoolExecutor(8) as threads:
                assert {answer.status_code for answer in threads.map(lambda _: service.get(LIST), range(40))} == {200}
            asked += 40
            time.sleep(0.5)
        time.sleep(1.5)
        metrics = text_string_to_metric_families(service.get("/metrics").text)
        values = {(each.name, each.labels.get("route")): each.value for family in metrics for each in family.samples}
        assert values["nocturne_http_request_seconds_count", "/v1/listeners/{user_id}/list"] == asked
        assert values["nocturne_answers_total", None] == asked
        assert values["nocturne_exposures_written_total", None] == asked
        assert values["nocturne_exposures_waiting", None] == 0
        assert service.stop() == 0
    _, marked = exposed(landing)
    assert (len(marked), sum(marked)) == (2, asked)


def test_a_worker_that_dies_is_replaced(tmp_path, cache_url):
    with serving(tmp_path, cache_url, "--workers", "2") as service:
        first = {worker.pid for worker in service.workers()}
        victim = max(service.workers(), key=lambda worker: worker.memory_info().rss)
        victim.kill()
        until = time.monotonic() + START_SECONDS
        while {worker.pid for worker in service.workers()} in ({*first}, first - {victim.pid}):
            assert time.monotonic() < until
            time.sleep(0.1)
        assert {service.get(LIST).status_code for _ in range(20)} == {200}
        assert service.stop() == 0


def test_every_answer_is_of_one_generation_whatever_the_pointer_does(tmp_path, cache_url):
    first_of = {GENERATION.name: "bay", NEXT.name: "dew"}
    with open_cache(cache_url) as cache:
        before = cache.pointer()
        serve_world(cache, NEXT, LISTENERS | {"ann": LISTENERS["bob"]})
        after = cache.pointer()
        with serving(tmp_path, cache_url) as service, httpx.Client(base_url=service.url) as client:
            seen = Counter()
            for turn in range(6):
                pointer = Pointer(
                    (before, after)[turn % 2].served,
                    (GENERATION, NEXT)[turn % 2 :][:1],
                    version=after.version + turn + 1,
                )
                cache.swap_pointer(cache.pointer(), pointer)
                moved = time.monotonic()
                while time.monotonic() < moved + 1:
                    answer = client.get(LIST).json()
                    assert answer["items"][0]["item_id"] == first_of[answer["generation"]]
                    seen[answer["generation"]] += 1
                assert answer["generation"] == pointer.served.name
            assert min(seen[GENERATION.name], seen[NEXT.name]) > 10


def test_an_empty_cache_is_not_ready_and_is_served_from_without_a_restart_when_it_is_filled(tmp_path):
    url = f"lmdb:{tmp_path / 'cache'}"
    with open_cache(url) as cache, serving(tmp_path, url) as service:
        for path in ("/readyz", LIST, "/v1/generations"):
            answer = service.get(path)
            assert (answer.status_code, answer.json()["type"]) == (503, problems.CACHE_AWAY.type)
            assert answer.json()["detail"] == "the cache serves nothing"
            assert answer.headers["retry-after"] == "1"
        serve_world(cache)
        assert service.get("/readyz").status_code == 200
        assert service.get(LIST).status_code == 200


def wait_until(holds, seconds=60):
    """A service looks at its server several times a second."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_while_redis_is_away_clients_are_told_to_come_back_and_then_are_served(tmp_path, redis_server):
    redis_server.empty()
    with open_cache(redis_server.url) as cache:
        serve_world(cache)
    with serving(tmp_path, redis_server.url) as service:
        assert service.get(LIST).status_code == 200
        redis_server.stop()
        away = service.get(LIST)
        assert (away.status_code, away.headers["retry-after"]) == (503, "1")
        assert service.get("/livez").status_code == 200
        redis_server.start()
        wait_until(lambda: service.get("/readyz").json().get("detail") == "the cache serves nothing")
        with open_cache(redis_server.url) as cache:
            serve_world(cache)
        wait_until(lambda: service.get(LIST).status_code == 200)
        assert "open-sesame" not in service.log.read_text()
        assert service.stop() == 0


def talk(service, data):
    """Everything that a connection answers to bytes."""
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        with suppress(ConnectionError):  # it hangs up on us
            connection.sendall(data)
        received = b""
        while chunk := _received(connection):
            received += chunk
        return received


def _received(connection):
    try:
        return connection.recv(65_536)
    except ConnectionError:
        return b""


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"no http at all\r\n\r\n", problems.MALFORMED),
        (b"GET /livez HTTP/1.1\r\nhost: localhost\r\ncontent-length: no\r\n\r\n", problems.MALFORMED),
        (b"GET / HTTP/1.1\r\nhost: localhost\r\n" + b"a: " + b"b" * 400_000, problems.HEADERS_TOO_LARGE),
        (b"GET /" + b"b" * 400_000, problems.HEADERS_TOO_LARGE),
    ],
    ids=["no HTTP", "no length", "endless header", "endless path"],
)
def test_what_is_no_http_or_has_no_end_is_a_problem_and_the_connection_ends(tmp_path, cache_url, data, kind):
    with serving(tmp_path, cache_url) as service:
        head, _, body = talk(service, data).partition(b"\r\n\r\n")
        assert b"content-type: application/problem+json" in head
        assert json.loads(body)["type"] == kind.type
        assert service.get("/livez").status_code == 200


def test_others_than_this_machine_are_served_with_tokens_alone(tmp_path, cache_url):
    status, message = refused("--cache", cache_url, "--host", "0.0.0.0")
    assert status == 2
    assert "without tokens the service answers this machine only" in message
    tokens = tmp_path / "tokens"
    tokens.write_text("a-token-of-sixteen-letters\n")
    with serving(tmp_path, cache_url, "--host", "0.0.0.0", "--token-file", str(tokens)) as service:
        assert service.get(LIST).status_code == 401
        headers = {"Authorization": "Bearer a-token-of-sixteen-letters", "Host": "anything.example"}
        assert service.get(LIST, headers=headers).status_code == 200


def test_a_port_that_is_taken_is_told(cache_url):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, message = refused("--cache", cache_url, "--port", str(taken.getsockname()[1]))
    assert status == 5
    assert "the service cannot listen" in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--landing", "/nowhere"], "the landing zone cannot be written"),
        (["--token-file", "/nowhere"], "the tokens cannot be read"),
        (["--host", "no such host"], "the service cannot listen there"),
        (
            ["--set", "service.log_requests=true", "--set", "service.log_key_file=/nowhere"],
            "the key of the request log",
        ),
    ],
)
def test_a_start_that_cannot_end_well_is_refused(cache_url, options, message):
    status, told = refused("--cache", cache_url, *options)
    assert status == 2
    assert message in told


def test_a_mistyped_path_is_no_empty_cache(tmp_path):
    status, told = refused("--cache", f"lmdb:{tmp_path / 'none'}")
    assert status == 2
    assert "there is no cache here" in told
    assert not (tmp_path / "none").exists()
