"""The file of a generation's items without some listeners: plans that hold, and listens that they set aside."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pyarrow as pa

from nocturne.serving.cache.items_info import ABOUT

_BY_LISTENER = ("planned", "set_aside")


def items_without(path: Path, user_ids: Collection[str]) -> pa.Table | None:
    """The items of a file without what it says of these listeners; None if it says nothing of them."""
    with pa.memory_map(str(path)) as mapped:
        items = pa.ipc.open_file(mapped).read_all()
        info: dict[str, Any] = json.loads(items.schema.metadata[ABOUT])
        if not named_in(info) & set(user_ids):
            return None
        for member in _BY_LISTENER:
            info[member] = {user_id: told for user_id, told in info[member].items() if user_id not in user_ids}
        wanted = set(info["planned"].values())
        info["plans"] = [plan if place in wanted else "{}" for place, plan in enumerate(info["plans"])]
        return items.replace_schema_metadata({**items.schema.metadata, ABOUT: json.dumps(info)}).combine_chunks()


def listeners_of(path: Path) -> set[str]:
    """Listeners of whom a file of items says anything."""
    with pa.memory_map(str(path)) as mapped:
        return named_in(json.loads(pa.ipc.open_file(mapped).schema.metadata[ABOUT]))


def named_in(info: dict[str, Any]) -> set[str]:
    """Listeners of whom the metadata of items says anything."""
    return {user_id for member in _BY_LISTENER for user_id in info.get(member, {})}
