"""Marks around texts of strangers: nothing gets out of them, nothing is hidden in them, and nothing is lost."""

import doctest
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.agents import strangers
from nocturne.agents.strangers import escaped, is_plain, marked, unmarked

TEXTS = st.text(st.characters() | st.sampled_from("⟦⟧\\u27e\n\x1b\u202e\u200b"))


@given(TEXTS)
def test_a_marked_text_comes_back_whole(text):
    assert unmarked(marked(text)) == text


@given(TEXTS)
def test_no_text_ends_its_own_marking(text):
    shown = marked(text)
    assert (shown.count("⟦"), shown.count("⟧")) == (1, 1)
    assert (shown[0], shown[-1]) == ("⟦", "⟧")


@given(TEXTS)
def test_all_that_is_in_a_text_can_be_seen(text):
    kinds = {unicodedata.category(character) for character in escaped(text)}
    assert not kinds & {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}


@given(TEXTS, TEXTS)
def test_different_texts_are_shown_differently(one, other):
    assert (escaped(one) == escaped(other)) == (one == other)


@pytest.mark.parametrize("text", ["a\\b", "a\nb", "a\u202eb", "a\u200bb", "⟦", "⟧"])
def test_a_text_that_needs_an_escape_is_not_plain(text):
    assert not is_plain(text)


@pytest.mark.parametrize("text", ["Window & Wave", "Björk: Jóga", "椎名林檎", "Σ", "مرحبا", "🎵", "e\u0301"])
def test_texts_of_any_script_are_shown_as_they_are(text):
    assert is_plain(text)
    assert marked(text) == f"⟦{text}⟧"


@pytest.mark.parametrize("text", ["t0000697", "⟦", "⟧", "", "⟦a", "a⟧"])
def test_a_text_without_marks_is_taken_as_it_is(text):
    assert unmarked(text) == text


def test_a_long_text_is_cut_behind_its_marks():
    assert marked("a" * 10, 4) == "⟦aaaa⟧…"
    assert marked("a" * 4, 4) == "⟦aaaa⟧"


def test_the_example_is_right():
    assert doctest.testmod(strangers).failed == 0
