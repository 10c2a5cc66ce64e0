"""Print docs/openapi.json: every route of `nocturne serve` with its parameters, answers and errors."""

import json
from typing import Any

from nocturne.core.settings import load_settings
from nocturne.serving.http.app import build_app, document
from nocturne.serving.http.queries import Queries


def openapi_document() -> str:
    """The document of a service with the settings of conf/default.toml, as JSON."""
    settings = load_settings().service
    nobody: Any = None  # is asked
    app = build_app(nobody, nobody, nobody, nobody, settings).app
    return json.dumps(document(Queries(settings), app), indent=2, ensure_ascii=False)


if __name__ == "__main__":
    print(openapi_document())
