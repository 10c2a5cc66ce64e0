"""Samples: a hash of the id decides, derivable by hand; shares are kept, and nest."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.core.hashing import hash_ids
from nocturne.training.sampling import doubled, levels

MODULUS = 2**64
MANY = pa.array([f"listener-{number}" for number in range(20_000)])


def hashed(user_id: str, seed: int) -> int:
    """The same, letter by letter, in Python's own integers."""
    state = sum((letter + 1) * 0x100000001B3 ** (place + 1) for place, letter in enumerate(user_id.encode()))
    state = (state + (seed + 1) * 0x9E3779B97F4A7C15) % MODULUS
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state = (state ^ state >> shift) * factor % MODULUS
    return state ^ state >> 31


@given(ids=st.lists(st.text(), max_size=9), seed=st.integers(0, 2**32 - 1), skipped=st.integers(0, 3))
def test_every_id_has_its_own_hash_whatever_lies_beside_it(ids: list[str], seed: int, skipped: int) -> None:
    found = hash_ids(pa.array(ids, pa.string()).slice(skipped), seed)
    assert found.tolist() == [hashed(user_id, seed) for user_id in ids[skipped:]]


def test_no_two_of_many_ids_share_a_hash() -> None:
    assert len(np.unique(hash_ids(MANY, 1))) == len(MANY)


@pytest.mark.parametrize(
    ("share", "tried"), [(1.0, (1.0,)), (0.5, (0.5, 1.0)), (0.3, (0.3, 0.6, 1.0)), (0.2, (0.2, 0.4, 0.8, 1.0))]
)
def test_a_share_is_doubled_until_it_is_everyone(share: float, tried: tuple[float, ...]) -> None:
    assert doubled(share) == tried


def test_a_level_holds_its_share_of_listeners_and_all_smaller_ones() -> None:
    level = levels(MANY, (0.2, 0.4, 0.8, 1.0), seed=1)
    found = [(level <= position).mean() for position in range(4)]
    assert found == pytest.approx([0.2, 0.4, 0.8, 1.0], abs=0.02)
    assert ((level <= 1) == (levels(MANY, (0.4, 1.0), seed=1) == 0)).all()


def test_another_seed_picks_other_listeners() -> None:
    first, second = (levels(MANY, (0.5, 1.0), seed) == 0 for seed in (1, 2))
    assert (first == second).mean() == pytest.approx(0.5, abs=0.02)
