"""Small nights that are ready to be served: literal lists in a warehouse, every critical expectation held."""

import zlib
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import pyarrow as pa
import world

from nocturne import digests, manifest, nights, tables
from nocturne.cache import About, Head
from nocturne.contracts import contract
from nocturne.flow import GATED_TABLES
from nocturne.night import Night
from nocturne.refresh import LISTS
from nocturne.suites import expected

HEAD = Head("control", "als", "als-1")


@dataclass
class Ready:
    """A night with what `refresh` takes beside the cache."""

    night: Night
    row: dict[str, Any]
    about: About
    parts: list[Any]


def ready(base: Night, run_date: date, **lists: str) -> Ready:
    """A night on which every listener named has a list: items separated by blanks, with scores .75, .5, .25, 0."""
    night = replace(base, run_date=run_date)
    world.write(night, "ranked_lists", [listed(run_date, user, items.split()) for user, items in sorted(lists.items())])
    digest = f"{zlib.crc32(repr(sorted(lists.items())).encode()):08x}00000000"
    write_validations(night, digest)
    row = manifest.sealed(nights.facts(night, len(lists), digest, []))
    items = pa.array(sorted({item for items in lists.values() for item in items.split()}))
    stored = tables.StoredRows.at(night, "ranked_lists", LISTS)
    parts = [stored.of_bucket(bucket) for bucket in range(night.settings.tables.buckets)]
    return Ready(night, row, About(run_date, len(lists), (HEAD,), items), parts)


def listed(run_date: date, user_id: str, items: list[str]) -> dict[str, Any]:
    return {
        "run_date": run_date,
        "bucket": 0,
        "user_id": user_id,
        "arm": HEAD.arm,
        "items": [{"item_id": item, "score": 0.75 - 0.25 * place} for place, item in enumerate(items)],
        "source": HEAD.source,
        "model_version": HEAD.model_version,
        "candidates": len(items),
        "digest": " ".join(items),
    }


def write_validations(night: Night, lists_digest: str) -> None:
    """Every critical expectation of every table, held."""
    rows = [
        {
            "run_date": night.run_date,
            "table": table,
            "expectation": name,
            "severity": "critical",
            "observed": 1.0,
            "limit": ">= 1",
            "outcome": "success",
            "seconds": 0.0,
            "content": lists_digest if table == "ranked_lists" else "0" * 16,
            "files": digests.fingerprint(night, table),
        }
        for table in GATED_TABLES
        for name in sorted(expected()[table])
    ]
    table = pa.Table.from_pylist(rows, schema=contract("validations").arrow_schema)
    tables.replace(table, "validations", night)
