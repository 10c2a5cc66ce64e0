"""Faults of what lands: listens that are missing, doubled, of other ones, or in another unit."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.arena.days import account_of, listens_of
from benchmarks.arena.kinds import BUILD, Rng, kind, some
from benchmarks.arena.night import Night
from nocturne.ingestion.simulator.world import MARKETS

_HOUR = 3_600_000_000
_BOT_PLAYS = 1_400


def _with(night: Night, listens: pa.Table, rejected: dict[str, float] | None = None) -> Night:
    """The night with other listens, and an account of them."""
    listens = listens.sort_by("user_id").combine_chunks()
    of = night.day.rejected if rejected is None else rejected
    account = account_of(listens, of, night.day.account["duplicates"])
    return replace(night, day=replace(night.day, listens=listens, account=account, rejected=of))


def _set(night: Night, column: str, values: pa.Array) -> Night:
    rows = night.day.listens
    return _with(night, rows.set_column(rows.column_names.index(column), column, values))


def _where(night: Night, kept: np.ndarray) -> Night:
    return _with(night, night.day.listens.filter(pa.array(kept)))


def _text(column: pa.ChunkedArray) -> pa.Array:
    return column.cast(pa.string()).combine_chunks()


@kind(BUILD, 0.1, 0.3, 0.7)
def producer_missing(night: Night, rng: Rng, share: float) -> Night:
    """Listens of a producer that did not deliver: a share of all events."""
    return _where(night, rng.random(night.day.listens.num_rows) >= share)


@kind(BUILD, 0.1, 0.3, 1.0)
def producer_doubled(night: Night, rng: Rng, share: float) -> Night:
    """Listens of a producer that delivered twice under new event ids: a share of all events."""
    again = night.day.listens.filter(pa.array(rng.random(night.day.listens.num_rows) < share))
    return _with(night, pa.concat_tables([night.day.listens, again]))


@kind(BUILD, 1, 2, 3)
def device_missing(night: Night, _: Rng, devices: float) -> Night:
    """Listens of some apps that did not deliver: number of devices."""
    lost = pa.array(["car", "tv", "phone"][: int(devices)])
    return _where(night, ~np.asarray(pc.is_in(_text(night.day.listens["device"]), value_set=lost)))


@kind(BUILD, 1, 2, 3)
def market_missing(night: Night, _: Rng, markets: float) -> Night:
    """Listens of some markets that did not arrive: number of markets."""
    lost = pa.array(["JP", "DE", "US"][: int(markets)])
    return _where(night, ~np.asarray(pc.is_in(_text(night.day.listens["market"]), value_set=lost)))


@kind(BUILD, 0.1, 0.4, 1.0)
def seconds_for_milliseconds(night: Night, rng: Rng, share: float) -> Night:
    """Listening times in seconds: of a share of events."""
    ms = night.day.listens["ms_played"].to_numpy()
    return _set(night, "ms_played", pa.array(np.where(rng.random(len(ms)) < share, ms // 1000, ms)))


@kind(BUILD, 0.1, 0.4, 1.0)
def microseconds_for_milliseconds(night: Night, rng: Rng, share: float) -> Night:
    """Listening times a thousandfold: of a share of events."""
    ms = night.day.listens["ms_played"].to_numpy()
    return _set(night, "ms_played", pa.array(np.where(rng.random(len(ms)) < share, ms * 1000, ms)))


@kind(BUILD, 0.2, 0.5, 1.0)
def skips_only(night: Night, rng: Rng, share: float) -> Night:
    """Listening times of a second: of a share of events."""
    ms = night.day.listens["ms_played"].to_numpy()
    return _set(night, "ms_played", pa.array(np.where(rng.random(len(ms)) < share, np.minimum(ms, 1_000), ms)))


@kind(BUILD, 1, 3, 9)
def clock_shift(night: Night, _: Rng, hours: float) -> Night:
    """Listens by a clock that is wrong: hours, within their day."""
    return _shifted(night, np.ones(night.day.listens.num_rows, bool), hours)


@kind(BUILD, 3, 6, 11)
def clock_of_a_market(night: Night, _: Rng, hours: float) -> Night:
    """Listens of the largest market by local time: hours, within their day."""
    return _shifted(night, np.asarray(pc.equal(_text(night.day.listens["market"]), "US")), hours)


def _shifted(night: Night, rows: np.ndarray, hours: float) -> Night:
    at = night.day.listens["listened_at"].cast(pa.int64()).to_numpy()
    day = at // (24 * _HOUR) * 24 * _HOUR
    moved = np.where(rows, day + (at - day + int(hours * _HOUR)) % (24 * _HOUR), at)
    return _set(night, "listened_at", pa.array(moved).cast(pa.timestamp("us", "UTC")))


@kind(BUILD, 0.05, 0.3, 1.0)
def market_mixup(night: Night, _: Rng, share: float) -> Night:
    """Listens under the next market's name: of a share of the listeners."""
    names, rows = list(MARKETS), night.day.listens
    place = pc.index_in(_text(rows["market"]), value_set=pa.array(names)).to_numpy()
    moved = np.where(some(rows["user_id"], share, 11), (place + 1) % len(names), place)
    return _set(night, "market", pa.array(names).take(pa.array(moved)))


@kind(BUILD, 0.1, 0.4, 1.0)
def market_lost(night: Night, rng: Rng, share: float) -> Night:
    """Listens without a market: a share of events."""
    lost = pa.array(rng.random(night.day.listens.num_rows) < share)
    return _set(night, "market", pc.if_else(lost, None, _text(night.day.listens["market"])))


@kind(BUILD, 0.02, 0.2, 1.0)
def listener_ids_recased(night: Night, _: Rng, share: float) -> Night:
    """Listeners under ids in capitals, who are new then: a share."""
    users = _text(night.day.listens["user_id"])
    return _set(night, "user_id", pc.if_else(pa.array(some(users, share, 12)), pc.utf8_upper(users), users))


@kind(BUILD, 0.02, 0.2, 1.0)
def item_ids_recased(night: Night, _: Rng, share: float) -> Night:
    """Items under ids in capitals, which nobody knows: a share."""
    items = _text(night.day.listens["item_id"])
    return _set(night, "item_id", pc.if_else(pa.array(some(items, share, 13)), pc.utf8_upper(items), items))


@kind(BUILD, 0.1, 0.4, 1.0)
def listeners_mixed_up(night: Night, rng: Rng, share: float) -> Night:
    """Listens given to other listeners: a share of events."""
    moved = np.flatnonzero(rng.random(night.day.listens.num_rows) < share)
    order = np.arange(night.day.listens.num_rows)
    order[moved] = rng.permutation(moved)
    return _set(night, "user_id", _text(night.day.listens["user_id"]).take(pa.array(order)))


@kind(BUILD, 0.1, 0.4, 1.0)
def items_mixed_up(night: Night, rng: Rng, share: float) -> Night:
    """Items under each other's ids: a share of the items."""
    ids, items = night.catalogue["item_id"].combine_chunks(), _text(night.day.listens["item_id"])
    order = np.arange(len(ids))
    moved = np.flatnonzero(some(ids, share, 14))
    order[moved] = rng.permutation(moved)
    return _set(night, "item_id", ids.take(pa.array(order)).take(pc.index_in(items, value_set=ids)))


@kind(BUILD, 1, 10, 40)
def bot_burst(night: Night, rng: Rng, bots: float) -> Night:
    """Bots, each below the limit, that play five items over and over: number of bots."""
    farmed = night.catalogue["item_id"].combine_chunks().take(pa.array(rng.integers(night.catalogue.num_rows, size=5)))
    count = int(bots) * _BOT_PLAYS
    rows = night.day.listens.take(pa.array(rng.integers(night.day.listens.num_rows, size=count)))
    users = pa.array([f"v{number // _BOT_PLAYS:08d}" for number in range(count)])
    for name, values in (("user_id", users), ("item_id", farmed.take(pa.array(rng.integers(5, size=count))))):
        rows = rows.set_column(rows.column_names.index(name), name, values)
    return _with(night, pa.concat_tables([night.day.listens, rows]))


@kind(BUILD, 0.01, 0.05, 0.2)
def accounts_taken_over(night: Night, rng: Rng, share: float) -> Night:
    """Listeners whose accounts play one item two hundred times: a share."""
    users = pc.unique(_text(night.day.listens["user_id"]))
    taken = users.filter(pa.array(some(users, share, 15)))
    item = night.catalogue["item_id"][int(rng.integers(night.catalogue.num_rows))].as_py()
    rows = night.day.listens.take(pa.array(rng.integers(night.day.listens.num_rows, size=200 * len(taken))))
    for name, values in (
        ("user_id", taken.take(pa.array(np.repeat(np.arange(len(taken)), 200)))),
        ("item_id", pa.repeat(item, rows.num_rows)),
    ):
        rows = rows.set_column(rows.column_names.index(name), name, values)
    return _with(night, pa.concat_tables([night.day.listens, rows]))


@kind(BUILD, 0.03, 0.15, 0.5)
def creator_runs_away(night: Night, rng: Rng, share: float) -> Night:
    """Listens turned into those of one creator: a share of events."""
    creator = pc.mode(night.catalogue["creator"].drop_null().dictionary_encode().combine_chunks().indices)[0][
        "mode"
    ].as_py()
    names = night.catalogue["creator"].combine_chunks().dictionary_encode()
    own = night.catalogue["item_id"].filter(pc.equal(names.indices, creator)).combine_chunks()
    return _taken_by(night, rng, share, own)


@kind(BUILD, 0.02, 0.1, 0.4)
def item_runs_away(night: Night, rng: Rng, share: float) -> Night:
    """Listens turned into those of one item: a share of events."""
    place = int(rng.integers(night.catalogue.num_rows))
    return _taken_by(night, rng, share, night.catalogue["item_id"].combine_chunks().slice(place, 1))


def _taken_by(night: Night, rng: Rng, share: float, own: pa.Array) -> Night:
    items = _text(night.day.listens["item_id"])
    taken = pa.array(rng.random(len(items)) < share)
    return _set(night, "item_id", pc.if_else(taken, own.take(pa.array(rng.integers(len(own), size=len(items)))), items))


@kind(BUILD, 0.05, 0.3, 1.0)
def plays_inflated(night: Night, rng: Rng, share: float) -> Night:
    """Listens that stand for twenty plays: a share of events."""
    plays = night.day.listens["plays"].to_numpy()
    return _set(night, "plays", pa.array(np.where(rng.random(len(plays)) < share, plays * 20, plays)))


@kind(BUILD, 22, 16, 8)
def day_cut_short(night: Night, _: Rng, hour: float) -> Night:
    """Listens before an hour of the day, UTC, alone."""
    at = night.day.listens["listened_at"].cast(pa.int64()).to_numpy()
    return _where(night, at // _HOUR % 24 < hour)


@kind(BUILD, 0.1, 0.3, 0.7)
def listeners_truncated(night: Night, _: Rng, share: float) -> Night:
    """Listeners at the end of the alphabet, whose file was cut: a share."""
    users = pc.unique(night.day.listens["user_id"]).sort()
    last = users[int((1 - share) * len(users))].as_py()
    return _where(night, np.asarray(pc.less(_text(night.day.listens["user_id"]), last)))


@kind(BUILD, 1, 2, 3)
def content_missing(night: Night, _: Rng, types: float) -> Night:
    """Listens of some content types that did not arrive: number of types."""
    lost = pa.array(["a", "p", "t"][: int(types)])
    kept = ~np.asarray(pc.is_in(pc.utf8_slice_codeunits(_text(night.day.listens["item_id"]), 0, 1), value_set=lost))
    kept[:20] = True
    return _where(night, kept)


@kind(BUILD, 0.3, 0.6, 1.0)
def contexts_renamed(night: Night, rng: Rng, share: float) -> Night:
    """Listens under a context of a new name, which changes no list: a share of events."""
    renamed = pa.array(rng.random(night.day.listens.num_rows) < share)
    return _set(night, "context", pc.if_else(renamed, "home", _text(night.day.listens["context"])))


@kind(BUILD, 0.1, 0.4, 0.9)
def late_flood(night: Night, rng: Rng, share: float) -> Night:
    """Listens that are said to be of the day before: a share of events."""
    at = night.day.listens["listened_at"].cast(pa.int64()).to_numpy()
    moved = np.where(rng.random(len(at)) < share, at - 24 * _HOUR, at)
    events = night.day.listens.drop_columns(["plays", "late"])
    place = events.column_names.index("listened_at")
    events = events.set_column(place, "listened_at", pa.array(moved).cast(pa.timestamp("us", "UTC")))
    return _with(night, listens_of(events, night.run_date))


@kind(BUILD, 0.2, 0.5, 0.9)
def long_tail_lost(night: Night, _: Rng, share: float) -> Night:
    """Listens of what few play: the least played share of the items."""
    items = _text(night.day.listens["item_id"]).dictionary_encode()
    times = np.bincount(items.indices.to_numpy())
    rare = np.argsort(times, kind="stable")[: int(share * len(times))]
    return _where(night, ~np.isin(items.indices.to_numpy(), rare))


@kind(BUILD, 0.01, 0.05, 0.2)
def heavy_listeners_lost(night: Night, _: Rng, share: float) -> Night:
    """Listens of those who play most, taken for bots: a share of the listeners."""
    users = _text(night.day.listens["user_id"]).dictionary_encode()
    times = np.bincount(users.indices.to_numpy())
    most = np.argsort(-times, kind="stable")[: max(1, int(share * len(times)))]
    lost = np.isin(users.indices.to_numpy(), most)
    rejected = night.day.rejected | {"bot": night.day.rejected["bot"] + float(lost.sum())}
    return _with(night, night.day.listens.filter(pa.array(~lost)), rejected)


@kind(BUILD, 0.1, 0.3, 0.7)
def events_rejected(night: Night, rng: Rng, share: float) -> Night:
    """Events of a new client that fail a check: a share of all."""
    lost = rng.random(night.day.listens.num_rows) < share
    rejected = night.day.rejected | {"unparsable": night.day.rejected["unparsable"] + float(lost.sum())}
    return _with(night, night.day.listens.filter(pa.array(~lost)), rejected)


@kind(BUILD, 0.3, 0.6, 1.0)
def yesterday_again(night: Night, _: Rng, share: float) -> Night:
    """Listens of yesterday, under new ids and today's date, in the place of today's: of a share of the listeners."""
    if night.before.day is None:
        return night
    old = night.before.day.listens
    at = pa.array(old["listened_at"].cast(pa.int64()).to_numpy() + 24 * _HOUR).cast(pa.timestamp("us", "UTC"))
    old = old.set_column(old.column_names.index("listened_at"), "listened_at", at)
    parts = (old.filter(pa.array(some(old["user_id"], share, 16))),)
    kept = night.day.listens.filter(pa.array(~some(night.day.listens["user_id"], share, 16)))
    return _with(night, pa.concat_tables([kept, *parts]))
