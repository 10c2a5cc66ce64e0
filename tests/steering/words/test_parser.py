"""Words to plans, by a catalogue of a few names."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.embedding.hashed import HashedEncoder
from nocturne.steering.conditions import Duration, Match, Rule, Years
from nocturne.steering.plan import Leanings, Plan, Size, Wish
from tests.steering.words.catalogue import CREATORS, TAGS, Item, small_parser

PARSER = small_parser()
PLAYING = Item("t9", "Paranoid Android", "Radiohead")


def only(*rules, **members):
    return Plan(only=tuple(Rule(**rule) for rule in rules), **members)


def never(*rules, **members):
    return Plan(never=tuple(Rule(**rule) for rule in rules), **members)


def more(*tags):
    return tuple(Wish(about="tag", value=tag) for tag in tags)


UNDERSTOOD = {
    # names
    "play some jazz": only({"tags": ("jazz",)}),
    "jazz": only({"tags": ("jazz",)}),
    "play beyonce": only({"creators": ("Beyoncé",)}),
    "play Beatles": only({"creators": ("The Beatles",)}),
    "hip-hop": only({"tags": ("hip hop",)}),
    "hiphop please": only({"tags": ("hip hop",)}),
    "play Bohemian Rhapsody": only({"item_ids": ("t1",)}),
    "in spanish": only({"languages": ("es",)}),
    # what stands together, and what is joined
    "dark ambient": only({"tags": ("dark",), "genres": ("ambient",)}),
    "rock or pop": only({"tags": ("rock", "pop")}),
    "jazz and Miles Davis": only({"tags": ("jazz",), "unless": (Match(creators=("Miles Davis",)),)}),
    "play Something by The Beatles": only({"item_ids": ("t2",), "creators": ("The Beatles",)}),
    # negation and its scope
    "no rap": never({"tags": ("rap",)}),
    "no rap except Eminem": never({"tags": ("rap",), "unless": (Match(creators=("Eminem",)),)}),
    "no rap, metal or country": never({"tags": ("rap", "metal", "country")}),
    "no rap, jazz please": only({"tags": ("jazz",)}, never=(Rule(tags=("rap",)),)),
    "play jazz but no Kenny G": only({"tags": ("jazz",)}, never=(Rule(creators=("Kenny G",)),)),
    "play jazz without vocals": only({"tags": ("jazz",)}, never=(Rule(tags=("vocals",)),)),
    "I don't want to hear rap": never({"tags": ("rap",)}),
    "don't play anything by Eminem": never({"creators": ("Eminem",)}),
    "anything but country": never({"tags": ("country",)}),
    "everything except rap and metal": never({"tags": ("rap", "metal")}),
    "nothing older than 2000": never({"years": (Years(last=1999),)}),
    "no explicit lyrics": never({"explicit": True}),
    # wishes
    "more jazz, less pop": Plan(more=more("jazz"), less=more("pop")),
    "something like Radiohead": Plan(more=(Wish(about="creator", value="Radiohead"),)),
    "not too much pop": Plan(less=more("pop")),
    "calmer": Plan(leanings=Leanings(energy=-0.5)),
    "less mainstream please": Plan(leanings=Leanings(popularity=-0.5)),
    "hidden gems": Plan(leanings=Leanings(popularity=-0.5)),
    "shorter": Plan(leanings=Leanings(length=-0.5)),
    "more variety": Plan(diversity=0.6),
    # comparisons
    "older than 2000": only({"years": (Years(last=1999),)}),
    "newer than 2000": only({"years": (Years(first=2001),)}),
    "since 2000": only({"years": (Years(first=2000),)}),
    "before the 80s": only({"years": (Years(last=1979),)}),
    "jazz from the 80s": only({"tags": ("jazz",), "years": (Years(first=1980, last=1989),)}),
    "between 1990 and 1999": only({"years": (Years(first=1990, last=1999),)}),
    "songs shorter than 4 minutes": only({"duration": Duration(at_most=240)}),
    "at least 5 minutes long": only({"duration": Duration(at_least=300)}),
    "podcasts under 30 minutes": only({"content_types": ("podcast_episode",), "duration": Duration(at_most=1800)}),
    # counts and times
    "ten songs": Plan(size=Size(items=10)),
    "ten jazz songs": only({"tags": ("jazz",)}, size=Size(items=10)),
    "at most 15 tracks": Plan(size=Size(items=15)),
    "half an hour of jazz": only({"tags": ("jazz",)}, size=Size(minutes=30)),
    "an hour and a half of techno": only({"tags": ("techno",)}, size=Size(minutes=90)),
    "45min": Plan(size=Size(minutes=45)),
    "no more than two songs by the same artist": Plan(max_per_creator=2),
    "one per artist": Plan(max_per_creator=1),
    # how long it holds; the day is a Saturday
    "never play christmas songs again": never({"tags": ("christmas",)}),
    "no christmas until friday": never({"tags": ("christmas",)}, holds=date(2026, 12, 4)),
    "no christmas until 24 december": never({"tags": ("christmas",)}, holds=date(2026, 12, 24)),
    "no rap for two weeks": never({"tags": ("rap",)}, holds=date(2026, 12, 12)),
    "always without country": never({"tags": ("country",)}, holds="always"),
}


@pytest.mark.parametrize(("text", "plan"), UNDERSTOOD.items(), ids=UNDERSTOOD)
def test_a_request_becomes_its_plan_and_nothing_is_left_over(text, plan):
    understanding = PARSER.parse(text)
    assert (understanding.intent, understanding.plan, understanding.not_understood) == ("steer", plan, ())


MIXED = small_parser(tags=(*TAGS, "history"), content_types=("track", "podcast_episode"))
TRACKS_ALONE = small_parser(content_types=("track",))
TRACKS, PODCASTS = {"content_types": ("track",)}, {"content_types": ("podcast_episode",)}


@pytest.mark.parametrize(
    ("text", "plan"),
    {
        "five calm tracks": only(TRACKS, {"tags": ("calm",)}, size=Size(items=5)),
        "three podcasts about history": only(PODCASTS, {"tags": ("history",)}, size=Size(items=3)),
        "ten songs": only(TRACKS, size=Size(items=10)),
        "play some jazz music": only(TRACKS, {"tags": ("jazz",)}),
        "only podcasts": only(PODCASTS),
        "rock or pop songs": only(TRACKS, {"tags": ("rock", "pop")}),
        "songs like Radiohead": only(TRACKS, more=(Wish(about="creator", value="Radiohead"),)),
        "something like Radiohead": Plan(more=(Wish(about="creator", value="Radiohead"),)),
        "more songs like Radiohead": Plan(more=(Wish(about="creator", value="Radiohead"),)),
        "no songs by Eminem": never({"creators": ("Eminem",)}),
        "no podcasts": never(PODCASTS),
        "no music": never(TRACKS),
    }.items(),
)
def test_a_noun_for_a_kind_of_item_is_a_rule_where_the_catalogue_has_other_kinds(text, plan):
    understanding = MIXED.parse(text)
    assert (understanding.intent, understanding.plan, understanding.not_understood) == ("steer", plan, ())


def test_a_kind_of_item_is_a_rule_though_another_word_was_not_understood():
    plan = MIXED.parse("play three podcasts about history by Foobar Quux").plan
    assert plan == only(PODCASTS, more=more("history"), size=Size(items=3))


def test_a_noun_says_nothing_where_the_catalogue_has_that_kind_alone():
    for text in ("songs like Radiohead", "five calm tracks"):
        assert TRACKS_ALONE.parse(text).plan == PARSER.parse(text).plan
    assert TRACKS_ALONE.parse("five calm tracks").plan == only({"tags": ("calm",)}, size=Size(items=5))


@pytest.mark.parametrize(
    ("text", "plan"),
    {
        "without that one": never({"item_ids": ("t9",)}),
        "without that artist": never({"creators": ("Radiohead",)}),
        "more like this": Plan(more=(Wish(about="item", value="t9"),)),
        "less like that": Plan(less=(Wish(about="item", value="t9"),)),
    }.items(),
)
def test_what_is_pointed_at_is_what_plays(text, plan):
    assert PARSER.parse(text, playing=PLAYING).plan == plan


def test_nothing_is_pointed_at_where_nothing_plays():
    understanding = PARSER.parse("more jazz, without that one")
    assert understanding.plan == Plan(more=more("jazz"))
    assert understanding.not_understood == ("that one",)


def test_shorter_halves_a_list_that_has_a_size():
    before = Plan(size=Size(items=20, minutes=60))
    assert PARSER.parse("shorter", before).plan == Plan(size=Size(items=10, minutes=30))


def test_an_unknown_name_is_not_understood_and_turns_what_is_asked_for_into_wishes():
    understanding = PARSER.parse("play jazz by Foobar Quux")
    assert understanding.plan == Plan(more=more("jazz"))
    assert understanding.not_understood == ("Foobar Quux",)


def test_what_is_forbidden_is_a_rule_whatever_else_was_not_understood():
    understanding = PARSER.parse("play Foobar Quux but no rap")
    assert understanding.plan == never({"tags": ("rap",)})
    assert understanding.not_understood == ("Foobar Quux",)


def test_a_misspelt_name_is_read_as_the_one_that_it_is_like_and_that_is_said():
    understanding = PARSER.parse("play radiohed")
    assert understanding.plan == only({"creators": ("Radiohead",)})
    assert understanding.taken == ("“radiohed” was read as Radiohead",)


def test_a_word_like_a_tag_is_wished_for_and_that_is_said():
    understanding = small_parser(encoder=HashedEncoder()).parse("play party stuff")
    assert understanding.plan == only({"tags": ("party",)})
    liked = small_parser(encoder=HashedEncoder()).parse("play jazz with female vocalizing vocalists")
    assert liked.plan.only == ()
    assert all("by likeness" in sentence for sentence in liked.taken)


def test_parts_that_were_understood_are_told_with_their_places():
    text = "no rap, ten songs"
    read = PARSER.parse(text).understood
    assert [(each.text, each.means) for each in read] == [("rap", "tag rap"), ("ten songs", "10 items")]
    assert [text[each.start : each.end] for each in read] == [each.text for each in read]


@pytest.mark.parametrize(
    ("text", "intent"),
    {
        "add this song to my road trip playlist": "add_to_playlist",
        "rate this book 4 out of 6 stars": "rate",
        "find the movie Quiet Night In": "search",
        "what's the weather like in Boston": "not_understood",
        "book a table for two at a restaurant nearby": "not_understood",
        "how much money is in my account": "not_understood",
        "": "not_understood",
        "?!": "not_understood",
    }.items(),
)
def test_what_is_no_steering_has_another_intent_and_no_plan(text, intent):
    understanding = PARSER.parse(text)
    assert (understanding.intent, understanding.plan) == (intent, Plan())


def test_a_text_beyond_what_is_read_is_not_understood():
    understanding = PARSER.parse(f"no rap {'x' * 3000}")
    assert understanding.not_understood


WORDS = st.sampled_from(
    [*TAGS, *CREATORS, "no", "except", "only", "more", "less", "like", "and", "or", ",", ".", "older than", "2000",
     "80s", "ten", "songs", "minutes", "an hour", "play", "without", "that one", "shorter", "until", "friday"]
)  # fmt: skip


@given(st.lists(WORDS, max_size=12))
def test_any_words_make_a_valid_plan_of_names_that_the_catalogue_has(parts):
    understanding = PARSER.parse(" ".join(parts), playing=PLAYING)
    plan = Plan.model_validate_json(understanding.plan.to_json())
    assert plan == understanding.plan
    conditions = [each for rule in (*plan.only, *plan.never) for each in (rule, *rule.unless)]
    assert {tag for each in conditions for tag in (*each.tags, *each.genres, *each.moods)} <= set(TAGS)
    assert {name for each in conditions for name in each.creators} <= {*CREATORS, "Radiohead"}


@given(
    st.lists(
        st.sampled_from(["no rap", "jazz", "9999 hours", "0 minutes", "from 1990 to 1980", "except Eminem", "80s."]),
        max_size=200,
    )
)
def test_a_text_that_asks_for_more_than_a_plan_holds_still_makes_a_plan(parts):
    assert Plan.model_validate_json(PARSER.parse(", ".join(parts)).plan.to_json())


@given(st.text(max_size=60))
def test_any_text_is_answered(text):
    assert PARSER.parse(text).plan.to_json()


@given(st.sampled_from([tag for tag in TAGS if tag != "80s"]), st.sampled_from(CREATORS))
def test_a_negation_never_becomes_a_wish_for_what_it_forbids(tag, creator):
    plan = PARSER.parse(f"no {tag} except {creator}").plan
    assert plan == never({"tags": (tag,), "unless": (Match(creators=(creator,)),)})
