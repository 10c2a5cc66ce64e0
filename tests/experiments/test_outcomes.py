"""Outcomes: a handful of listens and exposures, and what each listener's columns are by hand."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from nocturne.experiments.outcomes import Outcomes, Window, segments
from nocturne.storage.contracts import contract

START = date(2025, 3, 1)
LISTENERS = ["ana", "ben", "cleo"]
CONTENT_TYPES = pa.table({"item_id": ["song", "tune", "show"], "content_type": ["track", "track", "podcast_episode"]})


def day(offset):
    return START + timedelta(days=offset)


def at(offset, hour=12):
    return datetime(2025, 3, 1, hour, tzinfo=UTC) + timedelta(days=offset)


def window(first, last):
    epoch = date(1970, 1, 1)
    return Window((day(first) - epoch).days, (day(last) - epoch).days)


def listen(user, item, when, plays=1, minutes=0.0):
    values = {"user_id": user, "item_id": item, "plays": plays, "ms_played": round(60_000 * minutes)}
    return values | {"listened_at": when if isinstance(when, datetime) else at(when)}


def exposure(user, items, when, list_day=None):
    when = when if isinstance(when, datetime) else at(when)
    shown = [{"item_id": item, "propensity": 1.0} for item in items.split()]
    night = when.date() - timedelta(days=1) if list_day is None else day(list_day)
    return {"user_id": user, "shown_at": when, "list_run_date": night, "items": shown, "differences": None}


def table(rows, name, columns):
    schema = contract(name).arrow_schema
    return pa.Table.from_pylist(rows, pa.schema([schema.field(column) for column in columns]))


def outcomes(listens=(), exposures=(), heard=(), within=(1, 3), listeners=LISTENERS):
    return Outcomes(
        pa.array(listeners),
        table(list(listens), "listens", ("user_id", "item_id", "plays", "ms_played", "listened_at")),
        table(list(exposures), "exposures", ("user_id", "shown_at", "list_run_date", "items", "differences")),
        pa.table(
            {
                "user_id": pa.array([user for user, _ in heard], pa.string()),
                "item_id": pa.array([item for _, item in heard], pa.string()),
            }
        ),
        CONTENT_TYPES,
        window(*within),
    )


def column(name, *arguments, **options):
    return outcomes(*arguments, **options).columns([name])[name].tolist()


LISTENS = [
    listen("ana", "song", 1, plays=2, minutes=3),
    listen("ana", "song", at(1, 20), minutes=1.5),
    listen("ana", "show", 2, minutes=30),
    listen("ben", "tune", 3, minutes=2),
    listen("dan", "tune", 2, plays=9, minutes=9),  # of no arm
]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plays", [4, 1, 0]),
        ("minutes", [34.5, 2, 0]),
        ("active_days", [2, 1, 0]),
        ("active", [1, 1, 0]),
        ("discoveries", [2, 1, 0]),
        ("list_plays", [0, 0, 0]),
        ("exposures", [0, 0, 0]),
        ("plays:track", [3, 1, 0]),
        ("minutes:podcast_episode", [30, 0, 0]),
        ("active_days:track", [1, 1, 0]),
        ("active:podcast_episode", [1, 0, 0]),
        ("plays:audiobook", [0, 0, 0]),
    ],
)
def test_a_listener_is_measured_by_their_own_listens(name, expected):
    assert column(name, LISTENS) == expected


def test_both_ends_of_the_window_count_and_nothing_outside():
    edges = [
        listen("ana", "song", datetime(2025, 3, 1, 23, 59, 59, 999_999, tzinfo=UTC)),
        listen("ana", "song", datetime(2025, 3, 2, tzinfo=UTC), plays=10),
        listen("ana", "song", datetime(2025, 3, 4, 23, 59, 59, 999_999, tzinfo=UTC), plays=100),
        listen("ana", "song", datetime(2025, 3, 5, tzinfo=UTC), plays=1000),
    ]
    shown = [exposure("ana", "song", each["listened_at"]) for each in edges]
    assert column("plays", edges) == [110, 0, 0]
    assert column("exposures", edges, shown) == [2, 0, 0]


def test_an_item_is_discovered_once_and_never_if_it_was_heard_before():
    heard = [("ana", "song"), ("ben", "tune"), ("ana", "never landed"), ("dan", "show")]
    assert column("discoveries", LISTENS, (), heard) == [1, 0, 0]
    assert column("discoveries:track", LISTENS, (), heard) == [0, 0, 0]


@pytest.mark.parametrize(("shown_on", "counts"), [(0, 0), (1, 1), (2, 1), (3, 0)])
def test_a_play_is_of_the_list_if_its_item_was_shown_that_day_or_the_day_before(shown_on, counts):
    # ana plays on day 2; two days after an exposure, or a day before it, is none of its doing
    exposures = [exposure("ana", "tune song", shown_on), exposure("ben", "song", 2)]
    assert column("list_plays", [listen("ana", "song", 2)], exposures, within=(0, 3)) == [counts, 0, 0]


def test_what_was_shown_before_the_window_has_no_part_in_it():
    played = [listen("ana", "song", 1, plays=3)]
    assert column("list_plays", played, [exposure("ana", "song", 0)]) == [0, 0, 0]
    assert column("list_plays", played, [exposure("ana", "song", 1)]) == [3, 0, 0]


def test_plays_of_the_list_are_of_the_type_that_is_asked_for():
    played = [listen("ana", "song", 2), listen("ana", "show", 2, plays=5), listen("ana", "tune", 2, plays=7)]
    shown = [exposure("ana", "song show", 2)]
    names = ("list_plays", "list_plays:track", "list_plays:podcast_episode")
    assert [column(name, played, shown)[0] for name in names] == [6, 1, 5]


def test_an_exposure_counts_once_however_many_items_it_shows():
    shown = [exposure("ana", "song tune show", 1), exposure("ana", "song", at(1, 18)), exposure("ben", "show", 3)]
    assert column("exposures", (), shown) == [2, 1, 0]
    assert column("exposures:podcast_episode", (), shown) == [1, 1, 0]


def test_values_are_in_the_order_of_the_listeners_that_are_given():
    assert column("plays", LISTENS, listeners=["cleo", "ben", "ana"]) == [0, 1, 4]


def test_the_columns_of_nobody_and_of_nothing_are_zero():
    names = ["plays", "minutes", "active_days", "active", "discoveries", "list_plays", "exposures", "plays:track"]
    for columns in (outcomes().columns(names), outcomes(within=(9, 9)).columns(names)):
        assert {name: values.tolist() for name, values in columns.items()} == {name: [0.0] * 3 for name in names}


def drafts(*rows):
    users, days, items, teams = zip(*rows, strict=True)
    columns = {"user_id": users, "run_date": [day(offset) for offset in days], "item_id": items}
    return pa.table(columns | {"team": pa.array(teams, pa.string())})


DRAFTED = drafts(
    ("ana", 0, "song", "control"),
    ("ana", 0, "tune", "plain"),
    ("ana", 0, "show", None),
    ("ana", 1, "song", "plain"),
    ("ben", 0, "song", "plain"),
)


def credit(listens, exposures, **options):
    found = outcomes(listens, exposures, **options).credit(DRAFTED, ("control", "plain"))
    return {team: values.tolist() for team, values in found.items()}


def test_a_play_is_credited_to_the_team_that_picked_the_item():
    played = [listen("ana", "song", 1), listen("ana", "tune", 1, plays=3), listen("ben", "song", 2, plays=5)]
    shown = [exposure("ana", "song tune show", 1), exposure("ben", "song", 1)]
    assert credit(played, shown) == {"control": [1, 0, 0], "plain": [3, 5, 0]}


def test_nobody_is_credited_for_what_neither_picked_or_nobody_was_shown():
    played = [listen("ana", "show", 1), listen("ana", "tune", 1), listen("ben", "tune", 1), listen("ana", "song", 3)]
    shown = [exposure("ana", "song show", 1)]
    assert credit(played, shown) == {"control": [0, 0, 0], "plain": [0, 0, 0]}


def test_a_play_goes_to_the_team_of_the_list_that_showed_the_item_last():
    # song is control's on the list of day 0, shown on day 1, and plain's on that of day 1, shown on day 2
    shown = [exposure("ana", "song", 1), exposure("ana", "song", 2)]
    assert credit([listen("ana", "song", 1)], shown) == {"control": [1, 0, 0], "plain": [0, 0, 0]}
    assert credit([listen("ana", "song", 2)], shown) == {"control": [0, 0, 0], "plain": [1, 0, 0]}
    assert credit([listen("ana", "song", 2)], shown[:1]) == {"control": [1, 0, 0], "plain": [0, 0, 0]}
    late = [exposure("ana", "song", at(2, 9), list_day=0), exposure("ana", "song", at(2, 8), list_day=1)]
    assert credit([listen("ana", "song", 2)], late) == {"control": [1, 0, 0], "plain": [0, 0, 0]}


def test_segments_are_markets_and_how_much_was_heard():
    found = segments(pa.array(["SE", None, "SE", "NO"]), np.array([0, 20, 21, 1]))
    assert {name: members.tolist() for name, members in found.items()} == {
        "market:SE": [True, False, True, False],
        "market:none": [False, True, False, False],
        "market:NO": [False, False, False, True],
        "history:none": [True, False, False, False],
        "history:up to 20 items": [False, True, False, True],
        "history:over 20 items": [False, False, True, False],
    }
