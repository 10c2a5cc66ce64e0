"""Sessions by hand: cut where half an hour was silent, and asked for what comes next."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa

from nocturne.evaluation.sessions import Questions, Sessions, cut_sessions, questions_of

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
ITEMS = pa.array(["a", "b", "c", "d"])


def listens(*events: tuple[str, str, float, float | None]) -> pa.Table:
    """User, item, minute from noon and minutes played of each."""
    rows = [
        {
            "event_id": str(number),
            "user_id": user,
            "item_id": item,
            "listened_at": NOON + timedelta(minutes=minute),
            "ms_played": None if played is None else round(played * 60_000),
            "market": "SE" if minute < 100 else "NO",
        }
        for number, (user, item, minute, played) in enumerate(events)
    ]
    types = [(name, pa.string()) for name in ("event_id", "user_id", "item_id", "market")]
    schema = pa.schema([*types, ("listened_at", pa.timestamp("us", "UTC")), ("ms_played", pa.int64())])
    return pa.Table.from_pylist(rows, schema)


def shown(sessions: Sessions) -> list[tuple[str, str]]:
    users = sessions.user_ids.take(pa.array(sessions.listener)).to_pylist()
    return [
        (user, "".join(ITEMS.take(pa.array(sessions.items.row(row))).to_pylist())) for row, user in enumerate(users)
    ]


def asked(questions: Questions) -> list[tuple[str, str, str]]:
    """User, context and next item of each."""
    return [
        (
            questions.user_ids[int(listener)].as_py(),
            "".join(ITEMS.take(pa.array(questions.context.row(place))).to_pylist()),
            ITEMS[int(questions.next_item[place])].as_py(),
        )
        for place, listener in enumerate(questions.listener)
    ]


def test_a_session_ends_with_half_an_hour_of_silence_after_the_end_of_a_listen():
    events = [
        ("ann", "a", 0, 3.0),
        ("ann", "b", 33, 3.0),  # 30 minutes after the end of a
        ("ann", "c", 66.1, None),  # 30.1 after the end of b
        ("ann", "d", 96.1, None),  # 30 after the beginning of c
        ("ann", "a", 126.2, None),
    ]
    assert shown(cut_sessions(listens(*events), ITEMS)) == [("ann", "ab"), ("ann", "cd"), ("ann", "a")]


def test_sessions_are_of_one_listener_in_order_of_time_whatever_the_order_of_rows():
    events = [("bob", "c", 9, 1.0), ("ann", "b", 5, 1.0), ("bob", "d", 5, 1.0), ("ann", "a", 1, 1.0)]
    sessions = cut_sessions(listens(*events), ITEMS)
    assert shown(sessions) == [("ann", "ab"), ("bob", "dc")]
    assert sessions.markets.to_pylist() == ["SE", "SE"]


def test_the_market_of_a_listener_is_that_of_their_last_listen():
    sessions = cut_sessions(listens(("ann", "a", 0, 1.0), ("ann", "b", 200, 1.0), ("bob", "b", 0, 1.0)), ITEMS)
    assert sessions.markets.to_pylist() == ["NO", "SE"]


def test_an_item_without_a_number_is_passed_over_and_without_listens_there_are_no_sessions():
    assert shown(cut_sessions(listens(("ann", "a", 0, 1.0), ("ann", "z", 1, 1.0), ("ann", "b", 2, 1.0)), ITEMS)) == [
        ("ann", "ab")
    ]
    nothing = cut_sessions(listens(), ITEMS)
    assert shown(nothing) == []
    assert len(questions_of(nothing, 9)) == 0


def test_every_listen_but_the_last_of_a_session_asks_for_the_next_one():
    events = [("ann", "a", 0, 1.0), ("ann", "b", 5, 1.0), ("ann", "a", 9, 1.0), ("ann", "d", 99, 1.0)]
    events += [("bob", "c", 0, 1.0), ("bob", "b", 2, 1.0)]
    questions = questions_of(cut_sessions(listens(*events), ITEMS), 9)
    assert asked(questions) == [("ann", "a", "b"), ("ann", "ab", "a"), ("bob", "c", "b")]
    assert questions.played_before.tolist() == [False, True, False]
    assert asked(questions_of(cut_sessions(listens(*events), ITEMS), 1)) == [
        ("ann", "a", "b"), ("ann", "b", "a"), ("bob", "c", "b"),
    ]  # fmt: skip


def test_an_item_was_played_before_if_it_was_on_an_earlier_day_too():
    events = [("ann", "a", 0, 1.0), ("ann", "b", 5, 1.0), ("ann", "c", 2_000, 1.0), ("ann", "b", 2_001, 1.0)]
    questions = questions_of(cut_sessions(listens(*events), ITEMS), 9)
    assert questions.played_before.tolist() == [False, True]


def test_some_listeners_keep_all_of_their_questions():
    events = [(user, item, minute, 1.0) for user in ("ann", "bob", "cec") for minute, item in enumerate("abc")]
    questions = questions_of(cut_sessions(listens(*events), ITEMS), 9)
    assert [user for user, _, _ in asked(questions.of_listeners(2))] == ["ann", "ann", "cec", "cec"]
    assert len(questions.of_listeners(3)) == 6
