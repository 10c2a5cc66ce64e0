"""Words on items: the last one holds, whatever order they come in."""

from hypothesis import given
from hypothesis import strategies as st

from nocturne.core.takedowns import Takedowns
from tests.fixtures.takedowns import word

words = st.lists(
    st.builds(
        word,
        st.sampled_from("xy"),
        st.sampled_from([None, "NO", "SE"]),
        st.integers(0, 5),
        lifts=st.booleans(),
    ),
    max_size=6,
)


def down(*some):
    return [word.key for word in Takedowns.of(some).in_force]


def test_an_item_is_down_until_a_later_word_lifts_it():
    assert down(word("x")) == [("x", None)]
    assert down(word("x"), word("x", minute=1, lifts=True)) == []
    assert down(word("x", minute=1), word("x", lifts=True)) == [("x", None)]
    assert down(word("x"), word("x", minute=1, lifts=True), word("x", minute=2)) == [("x", None)]


def test_a_lift_everywhere_ends_what_was_said_of_each_market_before():
    assert down(word("x", "SE"), word("x", minute=1, lifts=True)) == []
    assert down(word("x", "SE", minute=2), word("x", minute=1, lifts=True)) == [("x", "SE")]


def test_a_lift_in_a_market_leaves_the_others():
    assert down(word("x", "NO"), word("x", "SE"), word("x", "SE", 1, lifts=True)) == [("x", "NO")]


def test_an_item_that_is_down_in_a_market_is_barred_there_and_where_the_market_is_not_known():
    takedowns = Takedowns.of([word("x", "SE"), word("y")])
    assert takedowns.barred("SE") == takedowns.barred(None) == {"x", "y"}
    assert takedowns.barred("NO") == {"y"}
    assert (takedowns.item_ids, takedowns.markets) == ({"x", "y"}, {"SE"})


@given(words, st.randoms())
def test_the_order_of_words_and_their_number_do_not_matter(some, random):
    again = [*some, *some]
    random.shuffle(again)
    assert Takedowns.of(again) == Takedowns.of(some)
    assert Takedowns.of(some[:2]).with_words(some[2:]) == Takedowns.of(some)
