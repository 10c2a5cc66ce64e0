"""Lists in words to alternatives of a rule, and what a plan has no room for."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.steering.conditions import MOST_EXCEPTIONS, MOST_YEARS, Duration, Match, Years
from nocturne.steering.plan import MOST_RULES, Plan
from nocturne.steering.words import language
from tests.steering.words.catalogue import CREATORS, TAGS, Item, small_parser
from tests.steering.words.test_parser import never, only

PARSER = small_parser()
MIXED = small_parser(tags=(*TAGS, "history"), content_types=("track", "podcast_episode", "audiobook"))
PLAYING = Item("t9", "Paranoid Android", "Radiohead")

EIGHTIES, NINETIES = Years(first=1980, last=1989), Years(first=1990, last=1999)
EITHER = {"years": (EIGHTIES, NINETIES)}
TRACKS = {"content_types": ("track",)}


def decades(*firsts):
    return {"years": tuple(Years(first=first, last=first + 9) for first in firsts)}


@pytest.mark.parametrize(
    ("text", "plan"),
    {
        # years
        "80s and 90s": only(EITHER),
        "80s or 90s": only(EITHER),
        "80s 90s": only(EITHER),
        "only 80s and 90s": only(EITHER),
        "80s, 90s and 2000s": only(decades(1980, 1990, 2000)),
        "80s 90s 70s 60s 50s 40s music": only(decades(1980, 1990, 1970, 1960, 1950, 1940)),
        "1980 to 1985 and 1990 to 1995": only({"years": (Years(first=1980, last=1985), Years(first=1990, last=1995))}),
        "older than 1980 or newer than 2000": only({"years": (Years(last=1979), Years(first=2001))}),
        "after 1980 and before 1990": only({"years": (Years(first=1981, last=1989),)}),
        "since 1980, before 1990": only({"years": (Years(first=1980, last=1989),)}),
        "no rap from the 80s and 90s": never({"tags": ("rap",)} | EITHER),
        "no 80s and 90s rock": never({"tags": ("rock",)} | EITHER),
        "nothing before 1980 and after 1990": never({"years": (Years(last=1979), Years(first=1991))}),
        "everything except the 80s and 90s": never(EITHER),
        "no jazz except from the 80s and 90s": never({"tags": ("jazz",), "unless": (Match(**EITHER),)}),
        # what is said at an end of a list
        "rock and jazz": only({"tags": ("rock", "jazz")}),
        "rock from the 80s and 90s": only({"tags": ("rock",)} | EITHER),
        "80s and 90s rock": only({"tags": ("rock",)} | EITHER),
        "rock and jazz from the 80s and 90s": only({"tags": ("rock", "jazz")} | EITHER),
        "80s rock and pop": only({"tags": ("rock", "pop"), "years": (EIGHTIES,)}),
        "Radiohead and Eminem from the 90s": only({"creators": ("Radiohead", "Eminem"), "years": (NINETIES,)}),
        "from the 80s, jazz and rock": only({"years": (EIGHTIES,)}, {"tags": ("jazz", "rock")}),
        "jazz and Miles Davis, before 2000": only({
            "tags": ("jazz",), "years": (Years(last=1999),),
            "unless": (Match(creators=("Miles Davis",), years=(Years(last=1999),)),),
        }),
        "no rap or metal from the 90s": never({"tags": ("rap",)}, {"tags": ("metal",), "years": (NINETIES,)}),
        "80s rock and 90s pop": only({
            "tags": ("rock",), "years": (EIGHTIES,), "unless": (Match(tags=("pop",), years=(NINETIES,)),),
        }),
        "jazz or Radiohead or pop or Eminem": only({
            "tags": ("jazz", "pop"), "unless": (Match(creators=("Radiohead", "Eminem")),),
        }),
        # languages and lengths
        "jazz in english and spanish": only({"tags": ("jazz",), "languages": ("en", "es")}),
        "jazz, in spanish": only({"tags": ("jazz",), "languages": ("es",)}),
        "longer than 3 minutes and shorter than 5 minutes": only({"duration": Duration(at_least=180, at_most=300)}),
        "shorter than 2 minutes or longer than 10 minutes": only({
            "duration": Duration(at_most=120), "unless": (Match(duration=Duration(at_least=600)),),
        }),
        # more tags than one condition has fields for
        "dark calm party rock": only(
            {"tags": ("dark",), "genres": ("calm",), "moods": ("party",)}, {"tags": ("rock",)},
        ),
    }.items(),
)  # fmt: skip
def test_a_list_is_any_of_it(text, plan):
    understanding = PARSER.parse(text)
    assert (understanding.intent, understanding.plan, understanding.not_understood) == ("steer", plan, ())


@pytest.mark.parametrize(
    ("text", "plan"),
    {
        "songs from the 80s and 90s": only(TRACKS, EITHER),
        "tracks and podcasts": only({"content_types": ("track", "podcast_episode")}),
        "podcasts and audiobooks": only({"content_types": ("podcast_episode", "audiobook")}),
        "podcasts and songs about history": only(
            {"content_types": ("podcast_episode", "track")}, {"tags": ("history",)}
        ),
        "no podcasts and songs": never({"content_types": ("podcast_episode", "track")}),
        "jazz and podcasts": only({"tags": ("jazz",), "unless": (Match(content_types=("podcast_episode",)),)}),
        "podcasts about history and jazz": only({"content_types": ("podcast_episode",), "tags": ("history", "jazz")}),
    }.items(),
)
def test_kinds_of_items_in_a_list_are_any_of_it(text, plan):
    understanding = MIXED.parse(text)
    assert (understanding.intent, understanding.plan, understanding.not_understood) == ("steer", plan, ())


def test_years_beyond_those_of_a_rule_are_told():
    years = [str(year) for year in range(1950, 1950 + 2 * MOST_YEARS + 4, 2)]
    understanding = PARSER.parse(f"jazz from {' and '.join(years)}")
    assert understanding.plan == only({"tags": ("jazz",), "years": tuple(map(year, years[:MOST_YEARS]))})
    assert understanding.not_understood == tuple(years[MOST_YEARS:])


def year(text):
    return Years(first=int(text), last=int(text))


def test_exceptions_beyond_those_of_a_rule_are_told():
    tags = ("jazz", "piano", "dark", "calm", "blues", "rock", "pop")
    understanding = PARSER.parse(f"no rap {' '.join(f'except {tag}' for tag in tags)}")
    unless = tuple(Match(tags=(tag,)) for tag in tags[:MOST_EXCEPTIONS])
    assert understanding.plan == never({"tags": ("rap",), "unless": unless})
    assert understanding.not_understood == tags[MOST_EXCEPTIONS:]


def test_a_sentence_for_which_a_plan_has_no_room_is_told():
    genres = [f"style{number}" for number in range(MOST_RULES + 20)]
    parser = small_parser(tags=(*TAGS, *genres))
    first = " ".join(f"no {genre}." for genre in genres[:15])
    rest = " ".join(f"no {genre}" for genre in genres[15:])
    understanding = parser.parse(f"{first} {rest}. no rap.")
    barred = [rule.tags[0] for rule in understanding.plan.never]
    assert barred == [*genres[:15], "rap"]
    assert understanding.not_understood[0].startswith("no style15")


def test_a_creator_whose_name_no_rule_takes_is_not_pointed_at():
    understanding = PARSER.parse("without that artist", playing=Item("t9", "Song", "x" * 201))
    assert (understanding.plan, understanding.not_understood) == (Plan(), ("without that artist",))


def phrases(part):
    if isinstance(part, str):
        return [part]
    parts = [*part.values(), *part] if isinstance(part, dict) else part if isinstance(part, list) else []
    return [phrase for each in parts for phrase in phrases(each)]


ENGLISH = tomllib.loads((Path(language.__file__).parent / "languages" / "en.toml").read_text(encoding="utf-8"))
LIMITS = ["80s", "1985", "9999", "0", "2026-13-40", "9" * 400, "²", "½", ",", ".", "and", "or", "except", "only", "no"]
ANY = st.sampled_from([*sorted(set(phrases(ENGLISH))), *TAGS, *CREATORS]) | st.sampled_from(LIMITS)


@given(st.lists(ANY, max_size=60), st.booleans())
def test_no_phrases_make_anything_but_a_plan_that_its_schema_allows(parts, steering):
    plan = MIXED.parse(" ".join(parts), playing=PLAYING, steering=steering).plan
    assert Plan.model_validate_json(plan.to_json()) == plan


NAMED = st.sampled_from([*TAGS, *CREATORS, "Something", "in spanish", "podcasts", "songs", "80s", "1999", "i know"])
JOINED = st.sampled_from([" ", " and ", " or ", ", ", " except ", " but no ", " only ", " more ", " without ", ". "])


@given(st.lists(st.tuples(NAMED, JOINED), max_size=80))
def test_no_list_makes_anything_but_a_plan_that_its_schema_allows(parts):
    plan = MIXED.parse("".join(word for part in parts for word in part), steering=True).plan
    assert Plan.model_validate_json(plan.to_json()) == plan
