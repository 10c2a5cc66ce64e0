"""Lists of two nights compared: distances that can be worked out by hand, and every listener counted once."""

from collections import Counter
from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from nocturne.monitoring.report.changes import OTHERS, changes, market_groups
from nocturne.monitoring.report.compared_lists import ComparedLists, Side, distances_between
from nocturne.monitoring.report.names import Listeners
from tests.fixtures.published_nights import listed
from tests.fixtures.two_listeners import write

SUNDAY, MONDAY = date(2026, 3, 1), date(2026, 3, 2)
ITEMS = {"a": ("track", "Ann"), "b": ("track", "Ann"), "c": ("podcast_episode", "Bob"), "d": ("track", None)}


def side(*lists: str) -> Side:
    """Lists of letters, one of each listener."""
    rows = pa.table({"user_id": pa.array([f"u{place}" for place in range(len(lists))], pa.string())})
    places = [np.arange(1, len(items) + 1) for items in lists]
    row = np.repeat(np.arange(len(lists)), [len(items) for items in lists])
    return Side(rows, pa.array(list("".join(lists)), pa.string()), row, np.concatenate([*places, []]).astype(np.int64))


def distance(before: str, now: str) -> float:
    distances, _ = distances_between(side(before), side(now), np.array([0]))
    return float(distances[0])


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ("ab", "ab", 0),
        ("ab", "cd", 1),
        ("ab", "ba", 1 - 0.45 / 1.0 * 2 / 1.9),  # both shared from the second place on: 0.9 / 2 each
        ("ab", "ac", 1 - 1.45 / 1.9),  # one shared from the first place on
        ("a", "ab", 1 - 1.45 / 1.9),  # a list that ends early has nothing beyond
        ("", "ab", 1),
        ("ab", "", 1),
        ("", "", 0),
        ("aab", "aab", 1 - (1.45 + 0.27 + 0.27) / 2.71),  # an item that comes twice counts once
    ],
)
def test_the_distance_of_two_lists_can_be_worked_out_by_hand(before, now, expected):
    assert distance(before, now) == pytest.approx(expected, abs=1e-11)


def test_a_change_at_the_top_counts_for_more_than_one_at_the_end():
    assert distance("abcdefgh", "xbcdefgh") > 3 * distance("abcdefgh", "abcdefgx")


def test_each_listener_is_compared_with_themselves_whatever_the_order_and_one_without_a_list_before_with_nothing():
    distances, shared = distances_between(side("ab", "cd"), side("cd", "xy", "ab"), np.array([1, -1, 0]))
    assert distances.tolist() == [0, 1, 0]
    assert shared.tolist() == [2, 0, 2]


def write_lists(night, **lists):
    rows = [
        listed(night.run_date, user, items.split())
        | {"bucket": int(user[-1]) % night.settings.tables.buckets, "market": user[:2]}
        for user, items in lists.items()
    ]
    write(night, "ranked_lists", rows)
    items = [
        {"run_date": night.run_date, "item_id": item, "content_type": kind, "title": item.upper(), "creator": creator}
        | {"absent": False}
        for item, (kind, creator) in ITEMS.items()
    ]
    write(night, "items", items)


@pytest.fixture
def two_nights(night):
    """Two buckets: SE1's list is as before, SE2's turned round, DE3 is new, DE4 is gone."""
    monday = night(MONDAY, "tables.buckets=2")
    sunday = monday.on(SUNDAY)
    write_lists(sunday, SE1="a b", SE2="a b", DE4="c")
    write_lists(monday, SE1="a b", SE2="b a", DE3="c x")
    return sunday, monday


def test_every_listener_of_either_night_is_counted_once(two_nights):
    compared = ComparedLists.of(*two_nights)
    assert compared.listeners == {"both": 2, "new": 1, "gone": 1}
    assert compared.new_places == 0
    assert {market: counts.nonzero()[0].tolist() for market, counts in compared.distances.items()} == {"SE": [0, 6]}
    assert compared.sources == Counter(
        {("before", "SE", "als"): 2, ("before", "DE", "als"): 1, ("now", "SE", "als"): 2, ("now", "DE", "als"): 1}
    )
    assert compared.content_types["now", "DE", "unknown"] == 1  # x is not in the catalogue
    assert dict(zip(compared.item_ids.to_pylist(), compared.places_now.tolist(), strict=True)) == {
        "a": 2,
        "b": 2,
        "c": 1,
        "d": 0,
    }


def test_the_most_changed_listener_and_creators_are_told_with_titles(two_nights):
    told = changes(ComparedLists.of(*two_nights), Listeners(None))
    (row,) = told.listeners
    assert (row["listener"], row["new"], row["listed"]) == ("listener 1", 0, 2)
    assert [[item["title"] for item in head] for head in row["heads"]] == [["A", "B"], ["B", "A"]]
    assert told.unmoved == 0.5
    # Ann has four places of five on both nights, and so has Bob one
    assert told.creators == []


def test_a_creator_who_took_places_is_told_with_what_took_them(night):
    monday = night(MONDAY, "tables.buckets=1")
    write_lists(monday.on(SUNDAY), SE1="a b", SE2="a d")
    write_lists(monday, SE1="c b", SE2="c d")
    first, second = changes(ComparedLists.of(monday.on(SUNDAY), monday), Listeners(None)).creators
    assert (first["creator"], first["before"], first["now"]) == ("Ann", 3, 1)
    assert [(item["title"], item["shift"]) for item in first["titles"]] == [("A", "-2")]
    assert (second["creator"], second["before"], second["now"]) == ("Bob", 0, 2)


def test_small_markets_share_a_panel(night):
    monday = night(MONDAY, "tables.buckets=1")
    lists = {f"{chr(65 + place)}X{copy}": "a" for place in range(10) for copy in range(2 if place < 8 else 1)}
    for each in (monday.on(SUNDAY), monday):
        write_lists(each, **lists)
    compared = ComparedLists.of(monday.on(SUNDAY), monday)
    assert [market for market, group in market_groups(compared).items() if group == OTHERS] == ["IX", "JX"]
    panels = changes(compared, Listeners(None)).distances
    assert (panels[-1].title, panels[-1].note) == (OTHERS, "2 listeners")


def test_the_same_nights_give_the_same_whatever_the_number_of_buckets_read_first(two_nights):
    first, second = (changes(ComparedLists.of(*two_nights), Listeners(b"0123456789abcdef")) for _ in range(2))
    assert first == second
