"""Next items by hand: the parts of a score, what may be shown, and what follows where too little is left."""

from collections.abc import Iterator
from math import log2

import pytest

from nocturne.serving.cache import open_cache
from nocturne.serving.now_playing import Answer, Filters, nightly_list, now_playing, related
from nocturne.serving.reader import Reader, Served
from tests.fixtures.served_world import ITEMS, MODEL, serve_world


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with open_cache(f"lmdb:{tmp_path_factory.mktemp('cache')}") as cache:
        serve_world(cache)
        reader = Reader(cache)
        yield reader.served()
        reader.close()


def ids(answer: Answer | None) -> list[str]:
    assert answer is not None
    return [ITEMS[suggestion.number] for suggestion in answer.suggestions]


def test_a_list_is_the_nights_then_the_exact_ranking_of_the_rest(served: Served):
    answer = nightly_list(served, "ann", Filters(limit=2))
    assert ids(answer) == ["bay", "fir"]
    assert [round(suggestion.score, 3) for suggestion in answer.suggestions] == [0.9, 0.8]
    # by the first factor alone: gum .7, elm .1, dew 0; ash was heard, hop is not in the model
    assert ids(nightly_list(served, "ann", Filters(limit=9))) == ["bay", "fir", "cob", "gum", "elm", "dew"]


def test_a_list_says_whose_it_is_and_how_likely_its_drawn_places_were(served: Served):
    answer = nightly_list(served, "bob", Filters(limit=2))
    assert (answer.source, answer.arm, answer.model_version) == ("als", "control", MODEL)
    assert [suggestion.propensity for suggestion in answer.suggestions] == [1.0, 0.25]
    assert {suggestion.why for suggestion in answer.suggestions} == {"for you"}


def test_a_listener_without_a_list_has_none_and_one_without_factors_goes_on_with_what_is_popular(served: Served):
    assert nightly_list(served, "eve", Filters()) is None
    answer = nightly_list(served, "cec", Filters())
    assert ids(answer) == ["ash", "dew", "gum"]
    assert answer.suggestions[2].why == "popular in SE"
    assert ids(nightly_list(served, "dan", Filters())) == ["ash", "dew", "bay"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(explicit=False), ["bay", "cob", "gum", "elm", "dew"]),
        (Filters(content_types=frozenset({"podcast_episode"})), ["elm", "dew"]),
        (Filters(content_types=frozenset({"no such type"})), []),
        (Filters(market="NO"), ["bay", "fir", "cob", "elm", "dew"]),
        (Filters(allow_heard=True, limit=4), ["bay", "fir", "cob", "ash"]),
    ],
)
def test_filters_hold_for_the_list_and_for_what_follows_it(served: Served, filters: Filters, expected: list[str]):
    assert ids(nightly_list(served, "ann", filters)) == expected


def test_a_score_adds_listener_list_context_and_popularity(served: Served):
    # ann, with ash playing. Candidates: her list bay, fir, cob; related bay 1.5, fir 1, dew .25.
    # personal: bay .9/.9, fir .8/.9, cob .5/.9, dew 0; list: 1, 1/log2 3, 1/2; popular in SE: ash, dew, gum
    answer = now_playing(served, "ann", "ash", [], Filters(limit=4))
    assert ids(answer) == ["bay", "fir", "cob", "dew"]
    expected = [
        1 + 0.5 * 1 + 2 * 1.5,
        0.8 / 0.9 + 0.5 / log2(3) + 2 * 1.0,
        0.5 / 0.9 + 0.5 / 2,
        2 * 0.25 + 0.125 / log2(3),
    ]
    assert [suggestion.score for suggestion in answer.suggestions] == pytest.approx(expected, rel=1e-6)
    assert [suggestion.why for suggestion in answer.suggestions] == [
        "goes with Ash", "goes with Ash", "for you", "goes with Ash",
    ]  # fmt: skip


def test_what_was_played_before_counts_for_less_and_is_not_offered(served: Served):
    # bay plays after ash: cob .5 from bay, of weight 1; fir 1 and dew .25 from ash, of weight .5; divided by 1.5
    answer = now_playing(served, "cec", "bay", ["ash"], Filters(limit=3))
    # cec's list is ash, dew; popular in SE are ash, dew, gum
    scores = {
        "fir": 2 * 0.5 / 1.5,
        "cob": 2 * 0.5 / 1.5,
        "dew": 0.5 / log2(3) + 2 * 0.125 / 1.5 + 0.125 / log2(3),
    }
    assert ids(answer) == ["cob", "fir", "dew"]
    assert {ITEMS[s.number]: s.score for s in answer.suggestions} == pytest.approx(scores, rel=1e-6)
    assert [s.why for s in answer.suggestions] == ["goes with Bay", "goes with Ash", "for you"]


def test_a_related_score_below_zero_takes_nothing_away(served: Served):
    answer = now_playing(served, "cec", "dew", [], Filters(limit=2))
    assert {ITEMS[s.number]: s.score for s in answer.suggestions} == pytest.approx({"elm": 2.0, "ash": 0.5 + 0.125})


def test_an_unknown_listener_gets_what_goes_with_the_item_and_what_is_popular(served: Served):
    answer = now_playing(served, "eve", "dew", [], Filters(market="SE"))
    assert ids(answer) == ["elm", "ash", "gum"]
    assert [s.why for s in answer.suggestions] == ["goes with Dew", "popular in SE", "popular in SE"]
    assert (answer.source, answer.arm, answer.model_version) == ("related", "control", MODEL)


def test_with_nothing_known_at_all_the_market_decides_and_then_everyone(served: Served):
    answer = now_playing(served, "eve", "no such item", [], Filters(market="NO"))
    assert (ids(answer), answer.source) == (["dew", "ash"], "market_popular")
    answer = now_playing(served, "eve", None, [], Filters())
    assert (ids(answer), answer.source) == (["ash", "dew", "bay"], "global_popular")
    assert {s.why for s in answer.suggestions} == {"popular"}


def test_an_unknown_item_gives_the_listeners_list(served: Served):
    assert now_playing(served, "bob", "no such item", [], Filters(limit=2)) == nightly_list(
        served, "bob", Filters(limit=2)
    )


def test_heard_items_come_only_when_asked_for(served: Served):
    assert "ash" not in ids(now_playing(served, "ann", "dew", [], Filters()))
    assert "ash" in ids(now_playing(served, "ann", "dew", [], Filters(allow_heard=True)))


def test_what_follows_the_candidates_is_exact_and_nothing_comes_twice(served: Served):
    assert ids(now_playing(served, "ann", "bay", [], Filters(limit=9))) == ["cob", "fir", "gum", "elm", "dew"]


def test_related_items_are_filtered_and_say_what_they_go_with(served: Served):
    answer = related(served, "ash", Filters())
    assert ids(answer) == ["bay", "fir", "dew"]
    assert {s.why for s in answer.suggestions} == {"goes with Ash"}
    assert ids(related(served, "ash", Filters(explicit=False, limit=1))) == ["bay"]
    assert ids(related(served, "ash", Filters(content_types=frozenset({"podcast_episode"})))) == ["dew"]
    assert ids(related(served, "elm", Filters())) == []
    assert related(served, "no such item", Filters()) is None
