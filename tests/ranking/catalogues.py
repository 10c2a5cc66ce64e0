"""Catalogues and listeners of every awkward kind, for the property tests of ranking."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from nocturne.ranking.items import Eligible, Items, lay_out
from nocturne.ranking.rows import Rows
from nocturne.ranking.select import Top, may_get, top_k

KINDS = ("normal", "near copies", "equal", "small integers", "skewed norms", "some zeros", "zeros", "negative scores")


@dataclass(frozen=True)
class World:
    users: np.ndarray
    items: Items
    seen: Rows
    classes: np.ndarray
    eligible: Eligible

    def top(self, k: int, **options: object) -> Top:
        return top_k(self.users, self.items, k, self.seen, self.classes, self.eligible, **options)

    def of(self, listeners: np.ndarray) -> "World":
        return World(
            self.users[listeners], self.items, self.seen.take(listeners), self.classes[listeners], self.eligible
        )

    def allowed(self, listener: int) -> np.ndarray:
        return may_get(listener, self.seen, self.classes, self.eligible)


def rows_of(lists: list[list[int]]) -> Rows:
    """Rows as a test writes them."""
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in lists])]).astype(np.int64)
    return Rows(offsets, np.array([position for each in lists for position in each], dtype=np.int32))


def make(
    seed: int, listeners: int, items: int, width: int, kind: str = "normal", seen: float = 0.1, barred: float = 0.0
) -> World:
    rng = np.random.default_rng(seed)
    users, factors = rng.normal(size=(listeners, width)), rng.normal(size=(items, width))
    if kind == "near copies":
        originals = factors[rng.integers(0, max(1, items // 8), items)]
        factors = originals * (1 + rng.integers(-1, 2, (items, 1)) * 1e-7)
    elif kind == "equal":
        factors[:] = factors[0]
    elif kind == "small integers":
        users, factors = users.round(), factors.round()
    elif kind == "skewed norms":
        factors *= 10 ** rng.uniform(-3, 3, (items, 1))
    elif kind == "some zeros":
        users[rng.random(listeners) < 0.3] = 0
        factors[rng.random(items) < 0.5] = 0
    elif kind == "zeros":
        factors[:] = 0
    elif kind == "negative scores":
        users, factors = -np.abs(users), np.abs(factors)
    multipliers = rng.choice([0.5, 1.0, 3.0], items) if seed % 2 else np.ones(items)
    heard = [rng.integers(0, items, rng.binomial(2 * items, seen)).tolist() for _ in range(listeners)]
    masks = rng.random((3, items)) >= barred
    masks[2] &= seed % 3 > 0
    laid_out = lay_out(factors.astype(np.float32), multipliers, rng.permutation(items))
    classes = rng.integers(0, 3, listeners).astype(np.int32)
    return World(
        users * 10.0 ** rng.choice([-30, -4, 0, 4, 30]), laid_out, rows_of(heard), classes, Eligible.of(masks, laid_out)
    )


def worlds() -> st.SearchStrategy[World]:
    """Few listeners, for each may be scored in full; catalogues of less than a block to several."""
    return st.builds(
        make,
        seed=st.integers(0, 2**32 - 1),
        listeners=st.integers(0, 6),
        items=st.one_of(st.integers(1, 60), st.sampled_from([511, 512, 513, 1300, 2600, 5200])),
        width=st.integers(1, 40),
        kind=st.sampled_from(KINDS),
        seen=st.sampled_from([0.0, 0.05, 0.5, 3 / 4]),
        barred=st.sampled_from([0.0, 0.5, 0.99, 1.0]),
    )


LENGTHS = st.one_of(st.integers(1, 20), st.sampled_from([100, 700]))
