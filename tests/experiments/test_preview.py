"""Previews: whose lists differ, where from, and which items and creators gain or lose by it."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.core.errors import InputError
from nocturne.experiments.preview import Change, GroupDifference, compare_lists, preview

ITEMS = ["a", "b", "c", "d"]
CATALOGUE = pa.table(
    {
        "item_id": ITEMS,
        "content_type": ["track", "track", "track", "podcast_episode"],
        "creator": ["Ann", "Ann", "Bob", None],
    }
)
ITEM_IDS = CATALOGUE["item_id"].combine_chunks()
LIST = pa.list_(pa.struct([("item_id", pa.string()), ("score", pa.float64())]))


def lists(of_users, **columns):
    """Rows of lists, given as the letters of their items by listener."""
    items = [[{"item_id": item, "score": 1.0} for item in letters] for letters in of_users.values()]
    return pa.table({"user_id": list(of_users), "items": pa.array(items, LIST), **columns})


CONTROL = lists(
    {"u": "abc", "v": "abc", "w": "ab", "x": "", "y": "abc"},
    market=["SE", "SE", "NO", None, "NO"],
    segment=["new", "old", "old", "old", "old"],
)
TREATMENT = lists({"y": "dab", "x": "", "w": "abd", "v": "abc", "u": "acb"})


def compared(control=CONTROL, treatment=TREATMENT, top_k=3):
    return preview(compare_lists(control, treatment, ITEM_IDS, top_k), CATALOGUE)


def test_lists_differ_by_listener_market_and_segment():
    # u: abc acb, from place 2, overlap 1; v the same; w: ab abd, from place 3, 2/3; x: nothing; y: abc dab, 1, 2/3
    assert compared().groups == (
        GroupDifference("all", None, 5, 0.6, 0.2, pytest.approx((1 + 1 + 2 / 3 + 1 + 2 / 3) / 5), 2),
        GroupDifference("market", "NO", 2, 1.0, 0.5, pytest.approx(2 / 3), 1),
        GroupDifference("market", "SE", 2, 0.5, 0.0, 1.0, 2),
        GroupDifference("market", None, 1, 0.0, 0.0, 1.0, None),
        GroupDifference("segment", "old", 4, 0.5, 0.25, pytest.approx((1 + 2 / 3 + 1 + 2 / 3) / 4), 1),
        GroupDifference("segment", "new", 1, 1.0, 0.0, 1.0, 2),
    )


def test_only_the_first_places_count():
    # of two places: u ab ac differ at 2, share one of two; v ab ab; w ab ab; y ab da: at 1, one of two
    everyone = compared(top_k=2).groups[0]
    assert everyone == GroupDifference("all", None, 5, 0.4, 0.2, pytest.approx((0.5 + 1 + 1 + 1 + 0.5) / 5), 1)


def test_places_move_between_content_types_and_creators():
    found = compared()
    # control: a 4, b 4, c 3 places; treatment: a 4, b 4, c 2, d 2
    assert found.content_types == (
        Change("track", 1.0, pytest.approx(10 / 12)),
        Change("podcast_episode", 0.0, pytest.approx(2 / 12)),
    )
    assert found.content_types[1].change == pytest.approx(1 / 6)
    assert (found.gaining, found.losing) == ((), (Change("Bob", 3, 2),))


def test_concentration_is_that_of_creators():
    # Ann 8, Bob 3; then Ann 8, Bob 2: the Gini coefficient of two is half their difference, over their sum
    assert compared().catalogue == (
        Change("distinct items", 3, 4),
        Change("creators with a place", 2, 2),
        Change("Gini coefficient of creators", pytest.approx(5 / 2 / 11), pytest.approx(6 / 2 / 10)),
        Change("share of the top 1 % of creators", pytest.approx(8 / 11), pytest.approx(0.8)),
    )


def test_creators_are_named_by_how_much_they_gain_or_lose():
    names = [f"creator {number:02}" for number in range(30)]
    catalogue = pa.table({"content_type": ["track"] * 30, "creator": names})
    item_ids = pa.array([f"i{number:02}" for number in range(30)])

    def arm(order):
        """Listener n has the first n items of an order, which differ in the number of their places."""
        rows = [[{"item_id": item_ids[int(place)].as_py(), "score": 1.0} for place in order[:n]] for n in range(1, 31)]
        return pa.table({"user_id": [f"u{n}" for n in range(30)], "items": pa.array(rows, LIST)})

    found = preview(compare_lists(arm(np.arange(30)), arm(np.arange(30)[::-1]), item_ids, 30), catalogue)
    # item n has 30 - n places in control, and n + 1 in the treatment
    assert found.gaining == tuple(Change(names[n], 30 - n, n + 1) for n in range(29, 19, -1))
    assert found.losing == tuple(Change(names[n], 30 - n, n + 1) for n in range(10))


def test_nobody_and_nothing_are_compared_as_well():
    none = compared(CONTROL.slice(0, 0), TREATMENT.slice(0, 0))
    assert none.groups == (GroupDifference("all", None, 0, 0.0, 0.0, 0.0, None),)
    assert none.catalogue[0] == Change("distinct items", 0, 0)
    assert [change.treatment for change in none.content_types] == [0, 0]


@pytest.mark.parametrize(
    "treatment",
    [
        TREATMENT.slice(1),
        lists({"u": "", "v": "", "w": "", "x": "", "z": ""}),
        lists(dict.fromkeys("uvwx", "a") | {"y ": ""}),
    ],
)
def test_other_listeners_are_refused(treatment):
    with pytest.raises(InputError, match="not of the same listeners"):
        compared(treatment=treatment)


def test_a_listener_twice_is_refused():
    twice = pa.concat_tables([TREATMENT.slice(1), TREATMENT.slice(1, 1)])
    with pytest.raises(InputError, match="not of the same listeners"):
        compared(treatment=twice)


def test_items_out_of_the_catalogue_are_refused():
    with pytest.raises(InputError, match=r"(?s)lists hold items that the catalogue has not.*treatment.*2 places"):
        compared(treatment=lists(dict.fromkeys("uvwx", "a") | {"y": "qaz"}))


row = st.lists(st.sampled_from(ITEMS), unique=True)


@given(st.lists(st.tuples(row, row, st.sampled_from(["SE", "NO", None])), max_size=8), st.integers(0, 8))
def test_sums_of_parts_are_those_of_all_and_figures_those_of_plain_sets(world, cut):
    users, markets = [f"u{number}" for number in range(len(world))], pa.array([each[2] for each in world], pa.string())
    control = lists({user: one for user, (one, _, _) in zip(users, world, strict=True)}, market=markets)
    treatment = lists({user: other for user, (_, other, _) in zip(users, world, strict=True)})
    whole = compare_lists(control, treatment, ITEM_IDS, 3)
    parts = [compare_lists(control.slice(*at), treatment.slice(*at), ITEM_IDS, 3) for at in ((0, cut), (cut,))]
    assert preview(parts[0] + parts[1], CATALOGUE) == approx(preview(whole, CATALOGUE))
    pairs = [(one[:3], other[:3]) for one, other, _ in world]
    everyone = preview(whole, CATALOGUE).groups[0]
    assert everyone.differing == pytest.approx(sum(one != other for one, other in pairs) / max(len(pairs), 1))
    overlaps = [len({*one} & {*other}) / max(len(one), len(other), 1) if one or other else 1 for one, other in pairs]
    assert everyone.overlap == pytest.approx(sum(overlaps) / max(len(pairs), 1))
    assert whole.control.tolist() == [sum(item in one for one, _ in pairs) for item in ITEMS]


def approx(expected):
    """The same preview, but for the last digits of overlaps, which are summed in another order."""
    groups = tuple(replace(group, overlap=pytest.approx(group.overlap)) for group in expected.groups)
    return replace(expected, groups=groups)
