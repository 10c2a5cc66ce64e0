"""Settings as a file that `--conf` takes."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from nocturne.core.settings import Settings, load_settings


def settings_toml(settings: Settings, remark: str) -> str:
    """A file of the settings that differ from conf/default.toml; read with `--conf`, it gives the same settings.

    Args:
        remark: a line of its own at the top.
    """
    changed = _difference(settings.model_dump(mode="json"), load_settings().model_dump(mode="json"))
    return "\n".join([f"# {remark}", *_lines(changed)]) + "\n"


def _difference(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are not the default, in their tables."""
    changed = {}
    for name, value in values.items():
        if isinstance(value, dict):
            if below := _difference(value, defaults.get(name, {})):
                changed[name] = below
        elif name not in defaults or value != defaults[name]:
            changed[name] = value
    return changed


def _lines(table: Mapping[str, Any], path: str = "") -> Iterator[str]:
    own = {name: value for name, value in table.items() if not isinstance(value, dict)}
    if own and path:
        yield from ("", f"[{path}]")
    # A number, a string, a boolean and a list of them are written alike in JSON and in TOML.
    yield from (f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in own.items())
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _lines(value, f"{path}.{name}" if path else name)
