"""One listener's list as it is served, and the bytes that both stores keep of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
from pydantic_core import from_json, to_json

from nocturne.errors import InputError


@dataclass(frozen=True)
class ServedList:
    """What the playback service reads for one listener.

    Attributes:
        run_date: night the list was computed for.
        arm: arm of the experiment.
        source: als, previous, market_popular or global_popular.
        model_version: model the list depends on.
        items: (item_id, score), best first.
    """

    run_date: date
    arm: str
    source: str
    model_version: str
    items: tuple[tuple[str, float], ...]


def encode(served: ServedList) -> bytes:
    """Compact JSON, UTF-8; every finite score reads back to the same bits."""
    # pydantic's encoder: the standard library's takes six times as long, nearly all of it for the scores
    return to_json(served)


def decode(value: bytes) -> ServedList:
    """The list that `encode` wrote."""
    fields = from_json(value)
    return ServedList(
        run_date=date.fromisoformat(fields["run_date"]),
        arm=fields["arm"],
        source=fields["source"],
        model_version=fields["model_version"],
        items=tuple((item_id, score) for item_id, score in fields["items"]),
    )


def served_lists(rows: pa.RecordBatch) -> Iterator[tuple[str, ServedList]]:
    """(user_id, list) of every row of `ranked_lists`.

    Raises:
        InputError: a score is missing or not finite, which JSON cannot carry.
    """
    columns = [rows.column(name).to_pylist() for name in ("user_id", "run_date", "arm", "source", "model_version")]
    # flattened once: a Python dict per listed item would cost more than all the rest
    items = rows.column("items")
    listed = items.flatten()
    if not pc.all(pc.is_finite(listed.field("score")), skip_nulls=False, min_count=0).as_py():
        raise InputError(
            "a list has a score that is not finite",
            where="ranked_lists",
            fix="run rank_users and validate_table for the night again",
        )
    scored = list(zip(listed.field("item_id").to_pylist(), listed.field("score").to_pylist(), strict=True))
    end = 0
    for user_id, run_date, arm, source, model_version, length in zip(
        *columns, pc.list_value_length(items).to_pylist(), strict=True
    ):
        start, end = end, end + length
        yield user_id, ServedList(run_date, arm, source, model_version, tuple(scored[start:end]))
