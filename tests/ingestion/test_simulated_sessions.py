"""Sessions of the simulated service: topics drift in them by a known law, and no two of a listener meet."""

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nocturne.core.arrays import Floats
from nocturne.ingestion.simulator.sessions import DAY_MS, SILENCE_MS, drift, schedule, split_sessions
from nocturne.ingestion.simulator.simulate import simulate

MINUTE = 60_000


def test_a_session_is_of_one_listener_and_six_events_on_average():
    listener = np.repeat(np.arange(2_000), 60)
    session = split_sessions(listener, np.random.default_rng(1))
    same = np.diff(session) == 0
    assert (np.diff(listener)[same] == 0).all()
    assert np.diff(session).max() == 1
    assert same[np.diff(listener) == 0].mean() == pytest.approx(5 / 6, abs=0.005)


def test_a_topic_stays_within_its_session_and_every_event_alone_follows_the_tastes():
    rng = np.random.default_rng(1)
    session = np.repeat(np.arange(20_000), 5)
    topic = drift(session, rng.choice(3, size=100_000, p=[0.5, 0.3, 0.2]), rng)
    by_place = topic.reshape(-1, 5)
    # by chance two events agree in .5 x .5 + .3 x .3 + .2 x .2 = .38 of all cases; by drift in .8 + .2 x .38 = .876
    assert (by_place[:, 1:] == by_place[:, :-1]).mean() == pytest.approx(0.876, abs=0.005)
    # four steps: .8 ^ 4 = .4096, and .4096 + .5904 x .38 = .634
    assert (by_place[:, 4] == by_place[:, 0]).mean() == pytest.approx(0.634, abs=0.015)
    assert (by_place[1:, 0] == by_place[:-1, 4]).mean() == pytest.approx(0.38, abs=0.015)
    for place in range(5):
        assert np.bincount(by_place[:, place]) / 20_000 == pytest.approx([0.5, 0.3, 0.2], abs=0.015)


def test_what_is_left_out_of_a_session_ends_none():
    session = np.array([0, 0, 0, 1, 2])
    kept = np.array([1, 2, 4])  # the first event of one session, and all of another
    minutes = np.full(3, 10 * MINUTE)
    time, context, device = schedule(
        np.zeros(3, np.int64), session[kept], minutes, np.zeros(3, np.int64), np.random.default_rng(1)
    )
    assert time[1] - time[0] == 10 * MINUTE
    assert (context[0], device[0]) == (context[1], device[1])
    assert time[2] - time[1] >= 10 * MINUTE + SILENCE_MS


def test_the_sessions_of_a_listener_leave_silence_between_them_and_end_within_the_day():
    rng = np.random.default_rng(2)
    listener = np.repeat(np.arange(500), 40)
    session, length = split_sessions(listener, rng), rng.integers(MINUTE, 5 * MINUTE, len(listener))
    time, _, _ = schedule(listener, session, length, rng.integers(6, size=500)[listener], rng)
    silence = time[1:] - (time + length)[:-1]
    same_listener, same_session = np.diff(listener) == 0, np.diff(session) == 0
    assert np.abs(silence[same_session]).max() <= 1  # rounding
    assert silence[same_listener & ~same_session].min() >= SILENCE_MS - 1
    assert time.min() >= 0
    assert (time + length).max() <= DAY_MS - SILENCE_MS


def test_a_day_that_is_too_short_is_shortened_in_proportion():
    # Three sessions of 20 hours: with silence 62 hours, put into 24.
    listener, hours = np.zeros(3, np.int64), np.full(3, 20 * 60 * MINUTE)
    time, _, _ = schedule(listener, np.arange(3), hours, listener, np.random.default_rng(1))
    assert time.tolist() == pytest.approx([0, DAY_MS / 3, DAY_MS * 2 / 3], abs=3)
    assert [array.tolist() for array in schedule(*[np.empty(0, np.int64)] * 4, np.random.default_rng(1))] == [
        [],
        [],
        [],
    ]


def test_what_plays_tells_of_what_comes_next(tmp_path: Path):
    """Events of a simulation against the law that its truth states, and against tastes alone."""
    summary = simulate(tmp_path / "landing", 1_500, 400, 1, seed=3, start=date(2026, 1, 1), corruption=0.0)
    assert pq.read_table(summary.truth / "sessions.parquet").to_pylist() == [{"stay": 0.8, "end": 1 / 6}]
    tastes, shares = (_factors(summary.truth / f"{name}.parquet") for name in ("listeners", "items"))
    listener, item, starts, ends = _in_order(tmp_path / "landing", summary.truth)
    pair = np.flatnonzero((np.diff(listener) == 0) & (starts[1:] - ends[:-1] < MINUTE))
    user, playing, after = listener[pair], item[pair], item[pair + 1]
    belief = tastes[user] * shares[playing]  # of the topic of the one that plays, by that alone
    belief /= belief.sum(axis=1, keepdims=True)
    assert len(pair) > 5_000
    by_tastes = (tastes[user] * shares[after]).sum(axis=1)
    by_drift = 0.8 * (belief * shares[after]).sum(axis=1) + 0.2 * by_tastes
    assert np.log(by_drift / by_tastes).mean() > 0.45
    # the share of next items whose own topic is that of the one that plays, as it is and as either would have it
    own = shares[:, :-1].argmax(axis=1)
    of_topic = np.array([shares[own == topic].sum(axis=0) for topic in range(shares.shape[1])])[own[playing]]
    as_tastes = (tastes[user] * of_topic).sum(axis=1)
    as_drift = 0.8 * (belief * of_topic).sum(axis=1) + 0.2 * as_tastes
    same = own[playing] == own[after]
    assert same.mean() == pytest.approx(as_drift.mean(), abs=0.02)
    assert same.mean() > as_tastes.mean() + 0.1


def _factors(path: Path) -> Floats:
    return np.array(pq.read_table(path)["factors"].to_pylist())


def _in_order(landing: Path, truth: Path) -> tuple[np.ndarray, ...]:
    """Listener and item of each event by number, and when it began and ended in milliseconds; in order of time."""
    events = pa.concat_tables([pq.read_table(path) for path in sorted(landing.glob("events/*/*.parquet"))])
    bots = pq.read_table(truth / "listeners.parquet", filters=[("bot", "==", True)])["user_id"].to_pylist()
    events = events.filter(pa.compute.invert(pa.compute.is_in(events["user_id"], value_set=pa.array(bots))))
    events = events.group_by(["event_id", "user_id", "item_id", "listened_at", "ms_played"]).aggregate([])
    events = events.sort_by([("user_id", "ascending"), ("listened_at", "ascending")])
    numbers = [
        pa.compute.index_in(events[name], value_set=pq.read_table(truth / f"{table}.parquet")[name].combine_chunks())
        for name, table in (("user_id", "listeners"), ("item_id", "items"))
    ]
    starts = events["listened_at"].cast(pa.int64()).to_numpy() // 1_000
    listener, item = (column.to_numpy() for column in numbers)
    return listener, item, starts, starts + events["ms_played"].to_numpy()
