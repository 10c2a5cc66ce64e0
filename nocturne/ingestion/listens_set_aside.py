"""Listens that listeners said are not their taste, through a night: which they are, and the rows without them."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.night import Night
from nocturne.core.xxhash import buckets_of
from nocturne.ingestion.interactions import ROW, WEIGHTED, add_listens, weigh_listens
from nocturne.ingestion.not_taste import NotTaste, as_text, conditions_of, not_taste
from nocturne.ingestion.set_aside import has_sums, learned_rows, older_rows, split
from nocturne.storage import tables
from nocturne.storage.contracts import contract
from nocturne.storage.history import retained_listens
from nocturne.storage.proofs import require_unchanged
from nocturne.storage.stored_rows import StoredRows, whole_index

_SCHEMA = contract("set_aside").arrow_schema
_TOLD = ["user_id", "not_taste", "asked_on", "listens", "older"]
_LISTENS = ("user_id", "item_id", "listened_at", "ms_played", "plays", "market", "context")
_BESIDE = ("item_id", "listened_at", "context")
_WEIGHED = pa.schema([*WEIGHTED, *(contract("listens").arrow_schema.field(name) for name in _BESIDE)])
_LEARNED = pa.schema([*ROW, pa.field("digest", pa.string())])


@dataclass(frozen=True)
class SetAside:
    """The rows of listeners who say, or said on the night before, that some listens are not their taste.

    Attributes:
        user_ids: these listeners.
        rows: theirs in `interactions`, whole again for those who no longer say so; ROW and digest, by user_id.
        stored: the rows of `set_aside`.
    """

    user_ids: tuple[str, ...]
    rows: pa.Table
    stored: pa.Table


def set_aside(night: Night, since: date | None, publications: Sequence[date]) -> SetAside:
    """The rows of a night, made from those of the night before and the listens since.

    A request that is new, or another than the night before, is applied to the listens of all nights that retention
    keeps; one that stands, to the listens since.

    Args:
        since: the night before, whose rows are built upon; None without one.
        publications: nights that ingested the listens since.
    """
    asked = _asked(night)
    if since:
        require_unchanged(night.on(since), "set_aside")
    of_since = pc.field("run_date") == since
    before = tables.rows(night.warehouse, "set_aside", of_since) if since else _SCHEMA.empty_table()
    stood = {row["user_id"]: row for row in before.select(_TOLD).to_pylist()}
    user_ids = sorted({*asked, *stood})
    if not user_ids:
        return SetAside((), _LEARNED.empty_table(), _SCHEMA.empty_table())
    listens = _Listens(night, tuple(user_ids))
    earlier, added = listens.rows_of(since), listens.of_nights(publications)
    whole_before = pa.concat_tables([_others(earlier, stood), before.select(ROW.names).cast(ROW)])
    whole = add_listens(whole_before, added.select(WEIGHTED.names))

    standing = {each for each in asked if each in stood and stood[each]["not_taste"] == as_text(asked[each])}
    fresh = sorted({*asked} - standing)
    past = listens.only(fresh).of_nights(retained_listens(night, since) if fresh else [])
    older = older_rows(_of(whole_before, fresh), past)
    heard = pa.concat_tables([past, _of(added, asked)])
    kept, aside = split(heard, not_taste(heard, asked, _catalogue(night)))
    whole_of_asked = _of(whole, asked)
    learned = learned_rows(whole_of_asked, pa.concat_tables([_of(earlier, standing), older]), kept)
    rows = pa.concat_tables([_others(whole, asked), learned.select(whole.column_names).cast(whole.schema)])
    counts = Counter(aside["user_id"].to_pylist())
    new = {"asked_on": night.run_date, "listens": 0}
    told = {each: stood[each] for each in standing}
    told |= {each: new | {"not_taste": as_text(asked[each]), "older": False} for each in fresh}
    for row in filter(has_sums, older.to_pylist()):
        told[row["user_id"]]["older"] = True
    stored = [told[each] | {"listens": told[each]["listens"] + counts[each]} for each in _ids(whole_of_asked)]
    return SetAside(tuple(user_ids), rows.sort_by("user_id"), _stored(whole_of_asked, stored, night.run_date))


def _stored(whole: pa.Table, told: Sequence[dict[str, Any]], run_date: date) -> pa.Table:
    """Rows of the table: whole rows, and what is told beside each."""
    columns = {name: pa.array([row[name] for row in told], _SCHEMA.field(name).type) for name in _TOLD[1:]}
    columns["run_date"] = pa.repeat(pa.scalar(run_date, pa.date32()), whole.num_rows)
    for name, column in columns.items():
        whole = whole.append_column(name, column)
    return whole.select(_SCHEMA.names).cast(_SCHEMA)


@dataclass(frozen=True)
class _Listens:
    """Stored rows of some listeners."""

    night: Night
    user_ids: tuple[str, ...]

    def only(self, user_ids: Sequence[str]) -> "_Listens":
        return replace(self, user_ids=tuple(user_ids))

    def rows_of(self, day: date | None) -> pa.Table:
        """Their rows of `interactions` of a night, ROW."""
        return self._stored(day, "interactions", ROW.names).cast(ROW) if day else ROW.empty_table()

    def of_nights(self, days: Sequence[date]) -> pa.Table:
        """Their listens that some nights ingested, WEIGHTED, item_id, listened_at and context beside."""
        index = whole_index(self.night).to_table().combine_chunks()
        half_life = self.night.settings.interactions.half_life_days
        weighed = [_weighed(self._stored(day, "listens", _LISTENS), day, half_life, index) for day in days]
        return pa.concat_tables([_WEIGHED.empty_table(), *weighed])

    def _stored(self, day: date, table: str, columns: Sequence[str]) -> pa.Table:
        buckets = self.night.settings.tables.buckets
        stored = StoredRows.at(self.night.on(day), table, tuple(columns))
        theirs = set(buckets_of(pa.array(self.user_ids, pa.string()), buckets).tolist())
        files = tuple(file for file in stored.files if file[1]["bucket"] in theirs)
        if not files:
            return pa.schema(contract(table).arrow_schema.field(name) for name in columns).empty_table()
        return replace(stored, files=files).of_listeners(self.user_ids)


def _weighed(listens: pa.Table, day: date, half_life_days: float, index: pa.Table) -> pa.Table:
    place = pc.index_in(listens["item_id"], value_set=index["item_id"].combine_chunks())
    listens = listens.append_column("item_index", index["item_index"].combine_chunks().take(place.combine_chunks()))
    weighed = weigh_listens(listens, day, half_life_days)
    for name in _BESIDE:
        weighed = weighed.append_column(name, listens[name])
    return weighed.cast(_WEIGHED)


def _asked(night: Night) -> dict[str, tuple[NotTaste, ...]]:
    """Conditions of the listeners who have a plan with some on the night."""
    rows = tables.night_rows(night, "steers", ["user_id", "plan"]).to_pylist()
    return {row["user_id"]: said for row in rows if (said := conditions_of(row["plan"]))}


def _catalogue(night: Night) -> pa.Table:
    return tables.night_rows(night, "items", ["item_id", "content_type", "creator", "tags"])


def _of(rows: pa.Table, user_ids: Collection[str]) -> pa.Table:
    return rows.filter(_theirs(rows, user_ids))


def _others(rows: pa.Table, user_ids: Collection[str]) -> pa.Table:
    return rows.filter(pc.invert(_theirs(rows, user_ids)))


def _ids(rows: pa.Table) -> list[str]:
    ids: list[str] = rows["user_id"].to_pylist()
    return ids


def _theirs(rows: pa.Table, user_ids: Collection[str]) -> pa.ChunkedArray:
    return pc.is_in(rows["user_id"], value_set=pa.array(list(user_ids), pa.string()))
