"""A server whose `nights` never ends by itself: `slow_server.py FILE [http TOKENS]`; steps are counted in FILE."""

import sys
import time
from pathlib import Path

from nocturne.agents import nights, transports
from nocturne.agents.server import build_server
from nocturne.agents.service import Service
from nocturne.serving.http.tokens import Tokens

COUNTED = Path(sys.argv[1])


def count_for_ever(_service, _run_date, _last, _rows, progress):
    for step in range(1_000_000):
        progress(step, 1_000_000, f"step {step}")
        COUNTED.write_text(str(step))
        time.sleep(0.02)


nights.nights = count_for_ever
server = build_server(Service(None))
if len(sys.argv) > 2:
    listening = transports.listen(0)
    print(f"listening on http://127.0.0.1:{listening.getsockname()[1]}/mcp,", file=sys.stderr, flush=True)
    transports.serve_http(transports.http_app(server, Tokens(Path(sys.argv[3]))), listening)
else:
    transports.serve_stdio(server)
