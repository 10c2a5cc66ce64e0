"""Pictures for the documentation: the page of the service, a finished run in Airflow's UI, Data Docs, a night's page.

    docs/tools/screenshots.py [AIRFLOW_URL [WAREHOUSE [SERVICE_URL]]]

Airflow (`make airflow`, with a finished run of nightly_lists) and `nocturne serve` have to be running; of what is not,
the picture stays as it is. Chromium is driven through its DevTools protocol, because the pages draw themselves long
after they are loaded.
"""

import base64
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import websocket
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
LISTENER = "u00000007"
DRAW_SECONDS = 300
SETTLE_SECONDS = 10


class Page:
    """One page of a browser."""

    def __init__(self, address: str) -> None:
        # Chromium refuses callers that name an origin it does not know.
        self._socket = websocket.create_connection(address, timeout=DRAW_SECONDS, suppress_origin=True)
        self._sent = 0

    def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a DevTools command and return its result."""
        self._sent += 1
        self._socket.send(json.dumps({"id": self._sent, "method": method, "params": parameters}))
        while (answer := json.loads(self._socket.recv())).get("id") != self._sent:
            continue
        return dict(answer["result"])

    def value(self, expression: str) -> Any:
        """Value of a JavaScript expression on the page."""
        return self.do("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def show(self, url: str, expected: str) -> None:
        """Open the address and wait until the text is on the page and nothing moves any more.

        Raises:
            TimeoutError: the text does not come.
        """
        self.do("Page.navigate", url=url)
        deadline = time.monotonic() + DRAW_SECONDS
        while expected not in (self.value("document.body ? document.body.innerText : ''") or ""):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{url} does not show {expected!r}")
            time.sleep(0.5)
        time.sleep(SETTLE_SECONDS)

    def picture(self, path: Path) -> None:
        """Write what can be seen as PNG of 256 colours, a third of the bytes of all of them."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(BytesIO(base64.b64decode(self.do("Page.captureScreenshot")["data"]))) as picture:
            picture.convert("RGB").quantize(256).save(path, optimize=True)
        print(path)


@contextmanager
def browser(width: int, height: int) -> Iterator[Page]:
    """A fresh headless Chromium with one page of that size."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        sys.exit("screenshots need Chromium: apt-get install --no-install-recommends chromium")
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        command = [program, *FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"]
        process = subprocess.Popen([*command, "--remote-debugging-port=0", "about:blank"], stderr=subprocess.DEVNULL)
        try:
            page = Page(_first_page(Path(profile) / "DevToolsActivePort"))
            page.do("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
            try:
                yield page
            finally:
                page.close()
        finally:
            process.terminate()
            process.wait()


def _first_page(port_file: Path) -> str:
    deadline = time.monotonic() + DRAW_SECONDS
    while not (port_file.exists() and port_file.read_text(encoding="utf-8").count("\n")):
        if time.monotonic() > deadline:
            raise TimeoutError("Chromium does not start")
        time.sleep(0.1)
    port = port_file.read_text(encoding="utf-8").splitlines()[0]
    pages = _ask(f"http://127.0.0.1:{port}/json")
    return str(next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page"))


def _ask(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - an address of this machine
        return json.load(answer)


def answers(url: str, started_by: str) -> bool:
    """True if a server is there; says how to start it if not."""
    try:
        urllib.request.urlopen(url, timeout=30).close()  # noqa: S310 - an address of this machine
    except urllib.error.URLError as error:
        print(f"nothing answers at {url} ({error.reason}): `{started_by}` starts it", file=sys.stderr)
        return False
    return True


def finished_run(airflow: str) -> str:
    """Id of the newest successful run."""
    runs = _ask(f"{airflow}/api/v2/dags/nightly_lists/dagRuns?state=success&order_by=-run_after&limit=1")["dag_runs"]
    if not runs:
        sys.exit("no run of nightly_lists has succeeded yet: trigger one in the UI")
    return str(runs[0]["dag_run_id"])


def newest_docs(warehouse: Path) -> Path:
    """The Data Docs of the newest night."""
    nights = sorted((warehouse.resolve() / "_data_docs").glob("????-??-??.html"))
    if not nights:
        sys.exit(f"no night of {warehouse} has been validated: `make night`")
    return nights[-1]


def picture_report(warehouse: Path) -> None:
    """The page of the newest night that has one."""
    pages = sorted((warehouse.resolve() / "_data_docs").glob("????-??-??-report.html"))
    if not pages:
        print("no page of a night: `nocturne report` writes one", file=sys.stderr)
        return
    with browser(1280, 1500) as page:
        page.show(pages[-1].as_uri(), "What changed")
        page.picture(IMAGES / "night-report.png")


def first_plot(report: Path) -> str:
    """The first plot of a backtest's page."""
    drawn = re.search(r"<svg.*?</svg>", report.read_text(encoding="utf-8"), re.DOTALL)
    if drawn is None:
        sys.exit(f"{report} has no plot: `nocturne evaluate backtest --report {report}` with something to compare")
    return drawn[0] + "\n"


def picture_service(service: str) -> None:
    """What comes next for a listener of `make night` who plays the second item of their list."""
    with browser(1280, 900) as page:
        page.show(service, "Listener")
        page.value(f"document.getElementById('listener').value = '{LISTENER}'")
        page.value("document.querySelector('button[type=submit]').click()")
        time.sleep(SETTLE_SECONDS)
        page.value("document.querySelectorAll('#list button')[1].click()")
        time.sleep(SETTLE_SECONDS)
        page.picture(IMAGES / "now-playing.png")


def picture_run(airflow: str, run: str, expected: str, name: str, height: int = 620) -> None:
    """A run in the UI of Airflow.

    Args:
        run: its path in the API, dags/DAG/dagRuns/ID.
        expected: what the page shows when it is drawn.
    """
    with browser(1440, height) as page:
        page.show(f"{airflow}/{run.replace('/dagRuns/', '/runs/')}", expected)
        page.picture(IMAGES / name)


def picture_data_docs(warehouse: Path) -> None:
    """The results of the newest night."""
    with browser(1280, 900) as page:
        page.show(newest_docs(warehouse).as_uri(), "listens")
        page.picture(IMAGES / "data-docs.png")


def main(
    airflow: str = "http://127.0.0.1:8080",
    warehouse: str = str(ROOT / "data" / "warehouse"),
    service: str = "http://127.0.0.1:8000",
) -> None:
    """Take the pictures of what is running, of the Data Docs, and the plot in README.md if there is a backtest."""
    if answers(service, "nocturne serve --cache lmdb:data/cache"):
        picture_service(service)
    if answers(airflow, "make airflow"):
        run = f"dags/nightly_lists/dagRuns/{quote(finished_run(airflow))}"
        picture_run(airflow, run, "refresh_cache", "airflow-run.png", height=900)
    picture_data_docs(Path(warehouse))
    picture_report(Path(warehouse))
    if (report := ROOT / "data" / "backtest.html").exists():
        (IMAGES / "backtest.svg").write_text(first_plot(report), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
