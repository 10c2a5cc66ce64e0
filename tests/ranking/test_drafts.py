"""Drafts: coins that are even and a listener's own, others on every night; lists, teams and digests."""

from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from nocturne.ranking.drafts import coins, draft_lists, draft_seeds

NIGHT, NEXT = date(2025, 3, 2), date(2025, 3, 3)
USERS = pa.array([f"user-{number}" for number in range(4_000)])


def draft_coins(user_ids, salt, night, top_k):
    return coins(draft_seeds(user_ids, salt, night), top_k)


def share_alike(one, other):
    """Share of coins that are the same."""
    return 1 - np.bitwise_count(one ^ other).sum() / (one.size * 64)


def test_half_of_the_coins_of_each_turn_say_that_the_second_team_begins():
    flips = draft_coins(USERS, "salt", NIGHT, 200)
    assert flips.shape == (4_000, 2)
    heads = [int((flips >> np.uint64(bit) & np.uint64(1)).sum(axis=0)[word]) for word in (0, 1) for bit in range(64)]
    assert all(abs(count - 2_000) < 5 * np.sqrt(1_000) for count in heads)  # five standard deviations


def test_coins_are_independent_between_nights_salts_and_listeners():
    flips = draft_coins(USERS, "salt", NIGHT, 128)
    others = [draft_coins(USERS, "salt", NEXT, 128), draft_coins(USERS, "other", NIGHT, 128), np.roll(flips, 1, axis=0)]
    assert all(abs(share_alike(flips, other) - 0.5) < 5 * 0.5 / np.sqrt(flips.size * 64) for other in others)


def test_a_listener_has_the_same_coins_in_any_batch():
    flips = draft_coins(USERS, "salt", NIGHT, 128)
    assert draft_coins(USERS.slice(17, 3), "salt", NIGHT, 128).tolist() == flips[17:20].tolist()


def listed(*lists):
    rows = [{"items": [{"item_id": item, "score": 1.0} for item in items], "source": "als"} for items in lists]
    kinds = [
        ("items", pa.list_(pa.struct([("item_id", pa.string()), ("score", pa.float64())]))),
        ("cold", pa.list_(pa.int32())),
        ("source", pa.string()),
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema(kinds))


@pytest.mark.parametrize(
    ("seed_of", "expected", "teams"),
    [(0, ["a", "c", "b", "d"], ["control", "new", "control", "new"])],
)
def test_teams_pick_in_turn_what_nobody_has_picked(seed_of, expected, teams):
    # The bits of the first two turns are those of the seed: with 00 control begins both times.
    seeds = next(
        np.array([seed], np.uint64)
        for seed in range(100)
        if int(coins(np.array([seed], np.uint64), 4)[0, 0]) & 3 == seed_of
    )
    drafted = draft_lists(listed(["a", "b", "c"]), listed(["a", "c", "d"]), seeds, ("control", "new"), 4)
    assert [entry["item_id"] for entry in drafted.items[0].as_py()] == expected
    assert [entry["score"] for entry in drafted.items[0].as_py()] == [4.0, 3.0, 2.0, 1.0]
    assert drafted.teams[0].as_py() == teams


def test_a_drafted_list_marks_what_either_model_knows_by_text_alone():
    control, treatment = listed(["a", "b"], ["b", "d"]), listed(["a", "c"], ["b", "e"])
    place = control.schema.get_field_index("cold")
    control = control.set_column(place, "cold", pa.array([[1], None], pa.list_(pa.int32())))
    drafted = draft_lists(control, treatment, np.zeros(2, np.uint64), ("control", "new"), 3)
    (first, second) = ([entry["item_id"] for entry in row] for row in drafted.items.to_pylist())
    assert drafted.cold.to_pylist() == [[first.index("b")], [second.index("b")]]


def test_the_same_list_has_the_same_digest_and_another_order_another():
    seeds = np.zeros(2, np.uint64)
    same = draft_lists(listed(["a", "b"], ["b", "a"]), listed(["a", "b"], ["b", "a"]), seeds, ("control", "new"), 2)
    again = draft_lists(listed(["a", "b"]), listed(["a", "b"]), seeds[:1] + np.uint64(1), ("control", "new"), 2)
    assert same.digests[0] == again.digests[0] != same.digests[1]
