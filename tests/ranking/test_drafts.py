"""Coins of drafts: even, a listener's own, others on every night and in every experiment."""

from datetime import date

import numpy as np
import pyarrow as pa

from nocturne.ranking.drafts import draft_coins

NIGHT, NEXT = date(2025, 3, 2), date(2025, 3, 3)
USERS = pa.array([f"user-{number}" for number in range(4_000)])


def share_alike(one, other):
    """Share of coins that are the same."""
    return 1 - np.bitwise_count(one ^ other).sum() / (one.size * 64)


def test_half_of_the_coins_of_each_turn_say_that_the_second_team_begins():
    coins = draft_coins(USERS, "salt", NIGHT, 200)
    assert coins.shape == (4_000, 2)
    heads = [int((coins >> np.uint64(bit) & np.uint64(1)).sum(axis=0)[word]) for word in (0, 1) for bit in range(64)]
    assert all(abs(count - 2_000) < 5 * np.sqrt(1_000) for count in heads)  # five standard deviations


def test_coins_are_independent_between_nights_salts_and_listeners():
    coins = draft_coins(USERS, "salt", NIGHT, 128)
    others = [draft_coins(USERS, "salt", NEXT, 128), draft_coins(USERS, "other", NIGHT, 128), np.roll(coins, 1, axis=0)]
    assert all(abs(share_alike(coins, other) - 0.5) < 5 * 0.5 / np.sqrt(coins.size * 64) for other in others)


def test_a_listener_has_the_same_coins_in_any_batch():
    coins = draft_coins(USERS, "salt", NIGHT, 128)
    assert draft_coins(USERS.slice(17, 3), "salt", NIGHT, 128).tolist() == coins[17:20].tolist()
