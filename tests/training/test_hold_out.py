"""The hold-out: items withheld from listeners, by which a race judges recipes."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from nocturne.training.hold_out import are_asked, gather, share_asked, withhold

FIRST = datetime(2025, 3, 1, 9, tzinfo=UTC)
Listens = list[tuple[int, int]]
"""Items and days."""


def rows(*histories: Listens, times: bool = True) -> pa.RecordBatch:
    heard = [sorted({item for item, _ in history}) for history in histories]
    return pa.RecordBatch.from_pydict(
        {
            "user_id": pa.array([f"u{number:03d}" for number in range(len(histories))]),
            "item_indexes": pa.array(heard, pa.list_(pa.int32())),
            "play_sums": pa.array([[10 * item for item in items] for items in heard], pa.list_(pa.int64())),
            "second_sums": pa.array([[20 * item for item in items] for items in heard], pa.list_(pa.int64())),
            "recent_items": pa.array(
                [[item for item, _ in history] if times else [] for history in histories], pa.list_(pa.int32())
            ),
            "recent_times": pa.array(
                [
                    [FIRST + timedelta(days=day, minutes=place) for place, (_, day) in enumerate(history)]
                    if times
                    else []
                    for history in histories
                ],
                pa.list_(pa.timestamp("us", "UTC")),
            ),
        }
    )


def withheld(*histories: Listens) -> tuple[pa.RecordBatch, list[list[int]]]:
    """Of everyone, whom the largest share that there is asks."""
    ((left, items, _),) = withhold([rows(*histories)], 1.0)
    return left, [items.row(listener).tolist() for listener in range(len(histories))]


def test_what_is_new_on_the_last_day_is_withheld_and_leaves_no_trace() -> None:
    left, items = withheld([(1, 0), (2, 0), (5, 2), (1, 2), (4, 2)])
    assert items == [[4, 5]]
    assert left.column("item_indexes").to_pylist() == [[1, 2]]
    assert left.column("play_sums").to_pylist() == [[10, 20]]
    assert left.column("second_sums").to_pylist() == [[20, 40]]
    assert left.column("recent_items").to_pylist() == [[1, 2, 1]]
    assert [len(times) for times in left.column("recent_times").to_pylist()] == [3]


def test_who_listened_on_a_single_day_loses_a_share_and_does_not_judge_order() -> None:
    of_one_day = [[(item, user % 2) for item in range(20)] for user in range(200)]
    batch = rows(*of_one_day, [(1, 0), (2, 0), (3, 1)])
    ((left, items, several_days),) = parts = list(withhold([batch], 1.0))
    assert 0.17 < (len(items.positions) - 1) / 4_000 < 0.23
    assert items.row(200).tolist() == [3]
    assert several_days.tolist() == [False] * 200 + [True]
    hold_out = gather(parts, [np.zeros(201, dtype=np.bool_)], 1.0)
    assert hold_out.followed.sum() == 1
    assert hold_out.asked.equals(left.filter(pa.array(items.lengths > 0)))


def test_who_heard_nothing_new_on_their_last_day_is_not_asked() -> None:
    _, items = withheld([(1, 0), (2, 0), (3, 0), (2, 1)], [(1, 0), (2, 0), (3, 1)])
    assert items == [[], [3]]


def test_who_would_be_left_with_nothing_or_heard_too_little_is_not_asked() -> None:
    left, items = withheld([(1, 0), (2, 0)], [(1, 0), (1, 1), (1, 2)], [(1, 0), (2, 0), (1, 1), (3, 1)])
    assert items == [[], [], [3]]
    assert left.column("item_indexes").to_pylist() == [[1, 2], [1], [1, 2]]


def test_without_order_a_fifth_of_the_items_is_withheld() -> None:
    histories = [[(item, 0) for item in range(20)] for _ in range(200)]
    ((left, items, several_days),) = withhold([rows(*histories, times=False)], 1.0)
    assert not several_days.any()
    assert 0.17 < len(items.positions) / 4_000 < 0.23
    kept = left.column("item_indexes").to_pylist()
    assert all(sorted([*kept[user], *items.row(user).tolist()]) == [*range(20)] for user in range(200))


def test_only_the_share_that_is_asked_loses_anything_and_a_larger_share_holds_a_smaller() -> None:
    histories = [[(1, 0), (2, 0), (3, 1)] for _ in range(400)]
    batch = rows(*histories)
    ((left, items, _),) = withhold([batch], 0.25)
    asked = are_asked(batch.column("user_id"), 0.25)
    assert ((items.lengths > 0) == asked).all()
    assert 60 < asked.sum() < 140
    assert left.filter(pa.array(~asked)).equals(batch.filter(pa.array(~asked)))
    assert (asked <= are_asked(batch.column("user_id"), 0.5)).all()
    assert are_asked(batch.column("user_id"), 1.0).all()


def test_at_most_half_of_few_listeners_and_as_many_of_many_as_the_catalogue_allows_are_asked() -> None:
    assert share_asked(300, 10) == 0.5
    assert share_asked(1_000_000, 1_000_000) * 1_000_000 == 2_000
    assert share_asked(1_000_000, 20_000) * 1_000_000 == 5_000


def test_what_is_withheld_does_not_depend_on_batches() -> None:
    rng = np.random.default_rng(1)
    histories = [sorted(zip(*rng.integers(0, 6, (2, 9)).tolist(), strict=True), key=lambda listen: listen[1])] * 30
    whole = rows(*histories)
    ((left, items, several_days),) = withhold([whole], 1.0)
    parts = list(withhold([whole.slice(0, 7), whole.slice(7)], 1.0))
    assert pa.Table.from_batches([part for part, *_ in parts]).equals(pa.Table.from_batches([left]))
    assert np.concatenate([several for *_, several in parts]).tolist() == several_days.tolist()
    assert [part.row(listener).tolist() for _, part, _ in parts for listener in range(len(part.lengths))] == [
        items.row(listener).tolist() for listener in range(30)
    ]
