"""Sentences of a text, each of which is read for itself."""

from collections.abc import Sequence

from nocturne.steering.words.language import Language
from nocturne.steering.words.tokens import Token

MOST = 20
"""Sentences that are told apart; the last one takes what is left."""

_ENDS = frozenset(".!?;")
_GOES_ON = frozenset({"by", "from", "on", "to", "with", "and", "or", "except", "but"})
_ABBREVIATED = 2
"""Letters of a word that a full stop may stand behind without an end, as in `Dr. Dre`."""


def sentences_of(tokens: Sequence[Token], language: Language) -> list[Sequence[Token]]:
    """The tokens of each sentence that has a word.

    A mark ends one if a blank is behind it and no word that goes on: `Help! by The Beatles` is one sentence.
    """
    found, start = [], 0
    for place, token in enumerate(tokens[:-1]):
        after = tokens[place + 1]
        short = token.text == "." and place > 0 and len(tokens[place - 1].key) <= _ABBREVIATED
        goes_on = any(meaning.kind in _GOES_ON for meaning in language.meanings([after])) and token.text != "."
        if token.text in _ENDS and after.key and token.end < after.start and not short and not goes_on:
            found.append(tokens[start : place + 1])
            start = place + 1
    parts = [*found, tokens[start:]]
    if len(parts) > MOST:
        rest = [token for part in parts[MOST - 1 :] for token in part]
        parts = [*parts[: MOST - 1], rest]
    return [part for part in parts if any(token.key for token in part)] or [tokens]
