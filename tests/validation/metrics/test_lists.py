"""Metrics of lists: a world of three listeners, derived by hand."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.validation.metrics.item_traits import ItemTraits
from nocturne.validation.metrics.list_loops import divergences, places_among
from nocturne.validation.metrics.lists import Lists, Rows, add_lists, list_metrics
from nocturne.validation.metrics.sums import Labels, SegmentSums

TRACK, EPISODE = "track", "podcast_episode"


def rows(*lists: list[int]) -> Rows:
    return Rows.of(np.array([item for each in lists for item in each], np.int64), np.array([*map(len, lists)]))


def traits() -> ItemTraits:
    """Items 0 to 5: three tracks of ann, two episodes of bo, of which the last is explicit, and a track of nobody."""
    catalogue = pa.table(
        {
            "content_type": [TRACK, TRACK, TRACK, EPISODE, EPISODE, TRACK],
            "creator": ["ann", "ann", "ann", "bo", "bo", None],
            "explicit": [False, False, None, False, True, False],
            "duration_ms": pa.array([1000] * 6, pa.int64()),
        }
    )
    popularity = np.array([10.0, 4.0, 4.0, 2.0, 2.0, 0.0])
    return ItemTraits.of(catalogue, new=np.array([False] * 5 + [True]), popularity=popularity)


def world() -> Lists:
    """Ana keeps her list, Ben's is turned around with one item exchanged, Cleo is new."""
    return Lists(
        items=rows([0, 1], [3, 0, 4], [5, -1]),
        segments={
            "market": Labels.of(pa.array(["SE", "DE", "SE"])),
            "arm": Labels.of(pa.array(["control"] * 3)),
            "source": Labels.of(pa.array(["als", "als", "global_popular"])),
        },
        scores=np.array([2.0, 1.0, 3.0, 2.0, 1.0, 7.0, 6.0]),
        candidates=np.array([6, 5, 4]),
        cold=np.array([False] * 5 + [True, False]),
        explored=np.array([False, True] + [False] * 5),
        personal=np.array([True, True, False]),
        steered=np.array([False, True, False]),
        previous=rows([0, 1], [0, 3, 2], []),
        had_list=np.array([True, True, False]),
        heard=rows([2], [0, 3], []),
        heard_tonight=rows([2], [0], []),
    )


def measured(*lists: Lists) -> dict[tuple[str, str, str], float]:
    sums = SegmentSums()
    for each in lists:
        add_lists(sums, each, traits())
    return {(each.name, each.segment_kind, each.segment): each.value for each in list_metrics(sums, traits())}


def of_all(name: str) -> float:
    return measured(world())[name, "all", ""]


def test_a_list_that_is_last_nights_is_unchanged_and_one_that_is_not_churns() -> None:
    found = measured(world())

    assert found["share_unchanged", "all", ""] == 0.5
    assert (found["mean_churn", "market", "SE"], found["mean_churn", "market", "DE"]) == (0, pytest.approx(1 / 3))
    assert found["churn", "quantile", "0.95"] == pytest.approx(1 / 3)
    # 3 rose by a place, 0 fell by one.
    assert (found["mean_displacement", "market", "DE"], found["mean_displacement", "all", ""]) == (1, 0.5)


def test_who_had_no_list_is_compared_with_nothing() -> None:
    assert of_all("share_new_listeners") == pytest.approx(1 / 3, rel=1e-8)
    assert ("mean_churn", "source", "global_popular") not in measured(world())


def test_what_was_heard_of_last_nights_list_is_a_hit() -> None:
    found = measured(world())

    assert (found["hit_rate", "all", ""], found["share_of_list_heard", "all", ""]) == (0.5, 0.2)
    assert (found["hit_rate", "market", "SE"], found["hit_rate", "market", "DE"]) == (0, 1)


def test_places_are_told_apart_by_their_items() -> None:
    found = {name: of_all(name) * 7 for name in ("share_unknown", "share_explicit", "share_new", "share_cold")}
    found |= {name: of_all(name) * 7 for name in ("share_explored", "share_tail", "share_heard", "mean_popularity")}

    assert found == pytest.approx(
        {
            "share_unknown": 1,
            "share_explicit": 1,
            "share_new": 1,
            "share_cold": 1,
            "share_explored": 1,
            "share_tail": 5,  # but for item 0, the most popular of five
            "share_heard": 2,
            "mean_popularity": 10 + 4 + 2 + 10 + 2,
        }
    )


def test_types_and_creators_of_places() -> None:
    found = measured(world())

    types = {
        segment: value * 7
        for (name, kind, segment), value in found.items()
        if (name, kind) == ("share", "content_type")
    }
    assert types == pytest.approx({TRACK: 4, EPISODE: 2, "unknown": 1})
    assert found["share_of_places", "creator_rank", "1"] == pytest.approx(0.5)  # ann has 3 of 6 known ones
    assert found["share_familiar_creators", "all", ""] == 1


def test_coverage_and_concentration() -> None:
    found = measured(world())

    assert (found["items_listed", "all", ""], found["items_listed", "market", "SE"]) == (5, 3)
    assert found["gini_of_items", "market", "SE"] == 0
    assert found["share_of_top_percent", "all", ""] == pytest.approx(2 / 6)


def test_the_shift_since_last_night_is_of_the_same_listeners() -> None:
    found = measured(world())

    # Of 5 places each: item 4 in the place of item 2, so that bo has one more and ann one less.
    assert (found["item_shift", "all", ""], found["creator_shift", "all", ""]) == (0.2, 0.2)
    assert found["largest_creator_rise", "all", ""] == 0.2


def test_calibration_is_the_distance_of_the_types_of_a_list_from_those_heard() -> None:
    found = measured(world())

    # Ana's is all tracks, as what she heard. Ben heard one of each and gets one track and two episodes.
    one = 0.5 * (1 / 3 * np.log2((1 / 3) / (5 / 12)) + 2 / 3 * np.log2((2 / 3) / (7 / 12)))
    other = 0.5 * (1 / 2 * np.log2((1 / 2) / (5 / 12)) + 1 / 2 * np.log2((1 / 2) / (7 / 12)))
    assert found["mean_type_divergence", "market", "SE"] == 0
    assert found["mean_type_divergence", "market", "DE"] == pytest.approx(one + other)


def test_scores_are_those_of_personal_lists() -> None:
    found = measured(world())

    assert [found[name, "quantile", "0.95"] for name in ("top_score", "last_score", "list_length")] == [3, 1, 3]


def test_the_same_list_for_everyone_covers_little_and_moves_what_is_listed() -> None:
    same = replace(
        world(),
        items=rows([0, 1], [0, 1], [0, 1]),
        scores=np.ones(6),
        cold=np.zeros(6, bool),
        explored=np.zeros(6, bool),
    )
    found = measured(same)

    assert (found["items_listed", "all", ""], found["gini_of_items", "all", ""]) == (2, 0)
    assert found["item_shift", "all", ""] == 0.4


def test_places_are_found_among_those_of_the_same_row_alone() -> None:
    one, other = rows([1, 2, -1], [3]), rows([2, 2, 5], [1, 3])

    assert places_among(one.items, one.offsets, other.items, other.offsets).tolist() == [-1, 0, -1, 1]


def test_labels_apart_diverge_by_a_bit_and_of_nothing_nothing_is_said() -> None:
    one, other = rows([0, 0], [1], []), rows([1], [1, 1], [0])

    found = divergences(one.items, one.offsets, other.items, other.offsets)
    assert found.tolist() == pytest.approx([1, 0, np.nan], nan_ok=True)


ITEMS = st.lists(st.integers(-1, 5), max_size=5, unique=True)


@st.composite
def some_lists(draw: st.DrawFn) -> list[Lists]:
    """The lists of some listeners, one by one."""

    def one() -> Lists:
        items = draw(ITEMS)
        flags = st.lists(st.booleans(), min_size=len(items), max_size=len(items))
        previous, heard = draw(ITEMS), draw(ITEMS)
        return Lists(
            items=rows(items),
            segments={
                kind: Labels.of(pa.array([draw(st.sampled_from(["a", "b", None]))], pa.string()))
                for kind in ("market", "arm", "source")
            },
            scores=np.arange(len(items), 0.0, -1),
            candidates=np.array([draw(st.integers(0, 9))]),
            cold=np.array(draw(flags), bool),
            explored=np.array(draw(flags), bool),
            personal=np.array([draw(st.booleans())]),
            steered=np.array([draw(st.booleans())]),
            previous=rows(previous),
            had_list=np.array([bool(previous)]),
            heard=rows(heard),
            heard_tonight=rows(heard[:1]),
        )

    return [one() for _ in range(draw(st.integers(1, 6)))]


def together(lists: list[Lists]) -> Lists:
    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(each, name) for each in lists])

    def stacked(name: str) -> Rows:
        return rows(*(getattr(each, name).items.tolist() for each in lists))

    kinds = lists[0].segments
    return Lists(
        **{name: stacked(name) for name in ("items", "previous", "heard", "heard_tonight")},
        **{
            name: joined(name)
            for name in ("scores", "candidates", "cold", "explored", "personal", "steered", "had_list")
        },
        segments={
            kind: Labels.of(
                pa.array([each.segments[kind].names[each.segments[kind].codes[0]] for each in lists], pa.string())
            )
            for kind in kinds
        },
    )


@given(some_lists())
def test_sums_of_parts_make_the_metrics_of_the_whole(lists: list[Lists]) -> None:
    whole, parts = SegmentSums(), SegmentSums()
    add_lists(whole, together(lists), traits())
    for each in lists:
        part = SegmentSums()
        add_lists(part, each, traits())
        parts.plus(part)

    def told(sums: SegmentSums) -> dict[tuple[str, str, str], float]:
        return {(each.name, each.segment_kind, each.segment): each.value for each in list_metrics(sums, traits())}

    assert told(parts) == pytest.approx(told(whole), rel=1e-8)
