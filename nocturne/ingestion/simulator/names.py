"""Names of simulated items and creators, so that a list reads well to a human."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Topic:
    """A taste that items and listeners share."""

    name: str
    content_type: str
    tags: tuple[str, ...]


def _topics(content_type: str, text: str) -> tuple[Topic, ...]:
    rows = [line.strip().split(": ") for line in text.strip().splitlines()]
    return tuple(Topic(name, content_type, (name, *tags.split(", "))) for name, tags in rows)


TOPICS = (
    *_topics(
        "track",
        """
        dream pop: shoegaze, ethereal
        indie folk: acoustic, singer-songwriter
        deep house: electronic, club
        techno: electronic, warehouse
        ambient: instrumental, calm
        hip hop: rap, beats
        trap: rap, bass
        neo soul: r&b, smooth
        classic rock: guitar, 70s
        heavy metal: guitar, loud
        punk: guitar, fast
        jazz: instrumental, standards
        classical piano: instrumental, calm
        reggaeton: latin, dance
        bossa nova: latin, brazil
        k-pop: dance, idol
        country: americana, guitar
        afrobeats: dance, lagos
        synthwave: electronic, 80s
        chart pop: dance, radio
        """,
    ),
    *_topics(
        "podcast_episode",
        """
        true crime: investigation, story
        science: research, explained
        history: story, explained
        football: sport, talk
        start-ups: business, interview
        comedy: talk, interview
        news: politics, daily
        mindfulness: health, calm
        """,
    ),
    *_topics(
        "audiobook",
        """
        fantasy: fiction, epic
        mystery: fiction, detective
        memoir: non-fiction, life
        popular science: non-fiction, ideas
        """,
    ),
)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_ADJECTIVES = _words(
    """Amber Blue Broken Burning Crystal Distant Electric Empty Endless Falling Fading Fever Foreign Frozen
Gentle Ghostly Golden Hidden Hollow Honey Hungry Late Little Lonely Lost Lucky Midnight Neon Northern Paper Quiet Red
Restless Salt Silver Slow Strange Velvet Violet Wild"""
)
_NOUNS = _words(
    """Anthem Avenue Bridge Canyon City Coast Compass Diamond Dream Arrow Ember Fire Garden Ghost Harbour Heart
Horizon Island Kingdom Lantern Letter Lighthouse Machine Memory Mirror Moon Mountain Ocean Orchard Parade Planet Radio
Rain River Road Season Shadow Signal Sky Song Station Storm Summer Sun Thunder Tide Tiger Tower Train Valley Wave
Window Winter Willow"""
)
_FIRST_NAMES = _words(
    """Ada Amara Anders Bianca Carlos Chiara Dev Elif Emil Fatima Freya Hana Hugo Ines Ivo Jonas Kaya Kenji
Lena Leo Linnea Lucas Maja Marta Mateo Mina Nadia Nils Noor Olivia Oskar Priya Rafael Rosa Sana Sofia Theo Vera Yuki
Zoe"""
)
_LAST_NAMES = _words(
    """Adeyemi Almeida Andersson Becker Bergman Castro Chen Costa Duarte Eriksen Fischer Fontaine Garcia
Hansen Haddad Ivanova Jensen Kapoor Keller Kimura Larsen Lindqvist Marino Moreau Nakamura Novak Okafor Olsen Park
Pereira Quinn Ricci Rossi Santos Schmidt Silva Suzuki Tanaka Walsh Weber"""
)
_TRACK_TITLES = ("{adjective} {noun}", "{noun} in the {noun2}", "Your {adjective} {noun}", "{noun} & {noun2}")
_BOOK_TITLES = (
    "The {adjective} {noun}",
    "The {noun} and the {noun2}",
    "{noun} of the {adjective} {noun2}",
    "The Last {noun}",
)
_EPISODE_TITLES = ("{number}. The {adjective} {noun}", "{number}. On {noun} and {noun2}", "{number}. Inside the {noun}")
_BANDS = ("The {adjective} {plural}", "{noun} {noun2}", "{first} {last}")
_SHOWS = ("{topic} with {first} {last}", "The {topic} Hour", "Daily {topic}", "{adjective} {topic}", "Talking {topic}")
_PATTERNS = {
    "track": (_TRACK_TITLES, _BANDS, 12),
    "podcast_episode": (_EPISODE_TITLES, _SHOWS, 20),
    "audiobook": (_BOOK_TITLES, ("{first} {last}",), 4),
}


def name_items(topics: npt.NDArray[np.integer], rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Titles and creators of items.

    Args:
        topics: the topic of each item, index into TOPICS, (items,).
        rng: source of the names.

    Returns:
        Title and creator of each item. A creator has several items, all of one topic.
    """
    titles = [""] * len(topics)
    creators = [""] * len(topics)
    for index, topic in enumerate(TOPICS):
        members = np.flatnonzero(topics == index)
        if not len(members):
            continue
        title_patterns, creator_patterns, items_each = _PATTERNS[topic.content_type]
        names = _fill(creator_patterns, -(-len(members) // items_each), topic, rng)
        choices = rng.integers(len(names), size=len(members))
        for member, title, choice in zip(
            members, _fill(title_patterns, len(members), topic, rng), choices, strict=True
        ):
            titles[member] = title
            creators[member] = names[choice]
    return titles, creators


def _fill(patterns: tuple[str, ...], count: int, topic: Topic, rng: np.random.Generator) -> list[str]:
    """That many names, each a pattern filled with words."""
    pattern, adjective, noun, other, first, last = rng.integers(2**31, size=(6, count))
    return [
        patterns[pattern[row] % len(patterns)].format(
            adjective=_ADJECTIVES[adjective[row] % len(_ADJECTIVES)],
            noun=_NOUNS[noun[row] % len(_NOUNS)],
            plural=_plural(_NOUNS[noun[row] % len(_NOUNS)]),
            noun2=_NOUNS[(noun[row] + 1 + other[row] % (len(_NOUNS) - 1)) % len(_NOUNS)],
            first=_FIRST_NAMES[first[row] % len(_FIRST_NAMES)],
            last=_LAST_NAMES[last[row] % len(_LAST_NAMES)],
            topic=topic.name.capitalize(),
            number=row + 1,
        )
        for row in range(count)
    ]


def _plural(noun: str) -> str:
    return f"{noun[:-1]}ies" if noun.endswith("y") and not noun.endswith("ey") else f"{noun}s"
