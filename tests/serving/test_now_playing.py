"""Next items by hand: the parts of a score, what may be shown, and what follows where too little is left."""

from math import log2, sqrt

import pytest

from nocturne.serving.cache.rows import ServedRow
from nocturne.serving.now_playing import Answer, Filters, nightly_list, now_playing, related
from nocturne.serving.reader import Served
from tests.fixtures.served_world import ITEMS, MODEL


def row_of(served: Served, user_id: str) -> ServedRow:
    row = served.row(user_id)
    assert row is not None
    return row


def ids(answer: Answer | None) -> list[str]:
    assert answer is not None
    return [ITEMS[suggestion.number] for suggestion in answer.suggestions]


def test_a_list_is_the_nights_then_the_exact_ranking_of_the_rest(served: Served):
    answer = nightly_list(served.items, row_of(served, "ann"), Filters(limit=2))
    assert ids(answer) == ["bay", "fir"]
    assert [round(suggestion.score, 3) for suggestion in answer.suggestions] == [0.9, 0.8]
    # by the first factor alone: gum .7, elm .1, dew 0; ash was heard, hop is not in the model
    assert ids(nightly_list(served.items, row_of(served, "ann"), Filters(limit=9))) == [
        "bay",
        "fir",
        "cob",
        "gum",
        "elm",
        "dew",
    ]


def test_a_list_says_whose_it_is_and_how_likely_its_drawn_places_were(served: Served):
    answer = nightly_list(served.items, row_of(served, "bob"), Filters(limit=2))
    assert (answer.source, answer.arm, answer.model_version) == ("als", "control", MODEL)
    assert [suggestion.propensity for suggestion in answer.suggestions] == [1.0, 0.25]
    assert {suggestion.why for suggestion in answer.suggestions} == {"for you"}


def test_a_list_of_a_listener_without_factors_goes_on_with_what_is_popular(served: Served):
    answer = nightly_list(served.items, row_of(served, "cec"), Filters())
    assert ids(answer) == ["ash", "dew", "gum"]
    assert answer.suggestions[2].why == "popular in SE"
    assert ids(nightly_list(served.items, row_of(served, "dan"), Filters())) == ["ash", "dew", "bay"]


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
    assert ids(nightly_list(served.items, row_of(served, "ann"), filters)) == expected


def scores(answer: Answer) -> dict[str, float]:
    return {ITEMS[suggestion.number]: suggestion.score for suggestion in answer.suggestions}


def test_a_score_is_liking_times_fit_and_what_is_related_and_popular_beside_it(served: Served):
    # ann, with ash playing. Candidates: her list bay, fir, cob; related bay 1.5, fir 1, dew .25.
    # liking: bay .9/.9, fir .8/.9, cob .5/.9, dew 0, and session the same, since ann's factors, (1, 0), are ash's.
    # Popular in SE: ash, dew, gum.
    bay, fir, cob = 0.9 / sqrt(0.82), 0.8 / sqrt(0.68), 0.5 / sqrt(0.5)
    answer = now_playing(served.items, served.row("ann"), "ash", [], Filters(limit=4))
    assert ids(answer) == ["bay", "fir", "cob", "dew"]
    assert scores(answer) == pytest.approx(
        {
            "bay": 1 * (0.25 + bay) + 0.1 * 1 + 0.5 * (1.5 - bay),
            "fir": 0.8 / 0.9 * (0.25 + fir) + 0.1 * 0.8 / 0.9 + 0.5 * (1.0 - fir),
            "cob": 0.5 / 0.9 * (0.25 + cob) + 0.1 * 0.5 / 0.9,
            "dew": 0.5 * 0.25 + 0.125 / log2(3),
        },
        rel=1e-6,
    )


def test_what_is_liked_more_than_it_fits_is_for_the_listener(served: Served):
    # with dew, (0, 1), playing: bay fits by .1 / sqrt(.82) and is liked by 1, cob by .71 and .56, elm by .99 and .11
    answer = now_playing(served.items, served.row("ann"), "dew", [], Filters(limit=4))
    whys = {ITEMS[suggestion.number]: suggestion.why for suggestion in answer.suggestions}
    assert whys == {"bay": "for you", "fir": "for you", "cob": "goes with Dew", "elm": "goes with Dew"}


def test_liking_is_a_share_of_the_largest_that_may_be_shown(served: Served):
    # ash, which ann likes best, is related to dew and heard; fir is explicit
    # The session is dew, (0, 1): it likes elm by .9 and cob by .5.
    session = 0.1 * 0.5 / 0.9
    answer = now_playing(served.items, served.row("ann"), "dew", [], Filters(limit=9))
    assert scores(answer)["cob"] == pytest.approx(0.5 / 0.9 * (0.25 + sqrt(0.5)) + session, rel=1e-6)
    answer = now_playing(served.items, served.row("ann"), "dew", [], Filters(limit=9, allow_heard=True))
    assert scores(answer)["cob"] == pytest.approx(0.5 / 1 * (0.25 + sqrt(0.5)) + session, rel=1e-6)


def test_what_was_played_before_counts_for_less_and_is_not_offered(served: Served):
    # bay, (.9, .1), plays, of weight 2/3, after ash, (1, 0), of weight 1/3: the session is (2.8, .2) / 3.
    # Of cec nothing is known but her list: ash, dew.
    answer = now_playing(served.items, served.row("cec"), "bay", ["ash"], Filters(limit=3))
    assert ids(answer) == ["fir", "cob", "dew"]
    norms = {"bay": sqrt(0.82), "fir": sqrt(0.68), "cob": sqrt(0.5)}
    fir_bay, fir_ash = (0.72 + 0.02) / (norms["fir"] * norms["bay"]), 0.8 / norms["fir"]
    cob_bay, cob_ash = (0.45 + 0.05) / (norms["cob"] * norms["bay"]), 0.5 / norms["cob"]
    expected = {
        "fir": 0.25 + (2 * fir_bay + fir_ash) / 3 + 0.1 + 0.5 * (1.0 - fir_ash) / 3,
        # its related score, .5, has nothing beyond the cosine
        "cob": 0.25 + (2 * cob_bay + cob_ash) / 3 + 0.1 * (0.5 * 2.8 + 0.5 * 0.2) / (0.8 * 2.8 + 0.2 * 0.2),
        "dew": 0.25 + 2 * 0.1 / norms["bay"] / 3 + 0.1 * 0.2 / 2.28 + 0.5 * 0.25 / 3 + 0.125 / log2(3),
    }
    assert scores(answer) == pytest.approx(expected, rel=1e-6)
    assert {s.why for s in answer.suggestions} == {"goes with Bay"}


def test_a_related_score_below_the_cosine_takes_nothing_away(served: Served):
    answer = now_playing(served.items, served.row("cec"), "dew", [], Filters(limit=2))
    elm = 0.9 / sqrt(0.82)
    assert scores(answer) == pytest.approx({"elm": 0.25 + elm + 0.1 + 0.5 * (1 - elm), "ash": 0.25 + 0.125})


def test_what_else_the_creator_has_is_related_where_the_model_lacks_the_item(served: Served):
    # the model does not know hop; dew is of the same creator
    answer = now_playing(served.items, served.row("bob"), "hop", [], Filters(limit=2))
    # bob likes dew by 1 and elm by .9; in NO dew is most popular
    assert scores(answer) == pytest.approx({"dew": 1 * 0.25 + 0.75 + 0.125, "elm": 0.9 * 0.25}, rel=1e-6)
    assert [s.why for s in answer.suggestions] == ["for you", "for you"]
    assert (
        now_playing(served.items, served.row("eve"), "hop", [], Filters(limit=1)).suggestions[0].why == "goes with Hop"
    )


def test_heard_items_are_candidates_where_they_are_allowed(served: Served):
    # nothing is related to cob, and ash is not in ann's list: liked by 1 it scores 1 x (.25 + .71) + .125
    assert ids(now_playing(served.items, served.row("ann"), "cob", [], Filters(limit=3))) == ["bay", "fir", "gum"]
    assert ids(now_playing(served.items, served.row("ann"), "cob", [], Filters(limit=3, allow_heard=True))) == [
        "ash",
        "bay",
        "fir",
    ]


def test_an_unknown_listener_gets_what_goes_with_the_item_and_what_is_popular(served: Served):
    answer = now_playing(served.items, served.row("eve"), "dew", [], Filters(market="SE"))
    assert ids(answer) == ["elm", "gum", "ash"]  # gum, (.7, .3), fits by .39, ash, (1, 0), not at all
    assert [s.why for s in answer.suggestions] == ["goes with Dew", "goes with Dew", "popular in SE"]
    assert (answer.source, answer.arm, answer.model_version) == ("related", "control", MODEL)


def test_with_nothing_known_at_all_the_market_decides_and_then_everyone(served: Served):
    answer = now_playing(served.items, served.row("eve"), "no such item", [], Filters(market="NO"))
    assert (ids(answer), answer.source) == (["dew", "ash"], "market_popular")
    answer = now_playing(served.items, served.row("eve"), None, [], Filters())
    assert (ids(answer), answer.source) == (["ash", "dew", "bay"], "global_popular")
    assert {s.why for s in answer.suggestions} == {"popular"}


def test_an_unknown_item_gives_the_listeners_list(served: Served):
    assert now_playing(served.items, served.row("bob"), "no such item", [], Filters(limit=2)) == nightly_list(
        served.items, row_of(served, "bob"), Filters(limit=2)
    )


def test_heard_items_come_only_when_asked_for(served: Served):
    assert "ash" not in ids(now_playing(served.items, served.row("ann"), "dew", [], Filters()))
    assert "ash" in ids(now_playing(served.items, served.row("ann"), "dew", [], Filters(allow_heard=True)))


def test_what_follows_the_candidates_is_exact_and_nothing_comes_twice(served: Served):
    assert ids(now_playing(served.items, served.row("ann"), "bay", [], Filters(limit=9))) == [
        "fir",
        "cob",
        "gum",
        "elm",
        "dew",
    ]


def test_related_items_are_filtered_and_say_what_they_go_with(served: Served):
    answer = related(served.items, "ash", Filters())
    assert ids(answer) == ["bay", "fir", "dew"]
    assert {s.why for s in answer.suggestions} == {"goes with Ash"}
    assert ids(related(served.items, "ash", Filters(explicit=False, limit=1))) == ["bay"]
    assert ids(related(served.items, "ash", Filters(content_types=frozenset({"podcast_episode"})))) == ["dew"]
    assert ids(related(served.items, "elm", Filters())) == []
    assert related(served.items, "no such item", Filters()) is None
