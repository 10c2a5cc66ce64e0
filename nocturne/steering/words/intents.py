"""Intents: the kind of a request, by the classes of its words; one that is for another service is not understood.

A text that is understood in full, or nearly so, asks for a list. Of any other, fitted weights of the classes that it
has decide, as they do of what is a name: no weight is of a single word.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

from nocturne.steering.parsing import Intent
from nocturne.steering.words.language import Language
from nocturne.steering.words.segments import FIELD_OF, Segment
from nocturne.steering.words.tokens import Token

FOREIGN = frozenset({"search", "rate", "add", "use", "work", "points", "offer"})
"""Classes of words that no list is asked for with."""

INTENTS: tuple[Intent, ...] = ("steer", "add_to_playlist", "search", "rate", "not_understood")

_TOGETHER = frozenset({
    "play", "offer", "search", "add", "rate", "work", "item", "list", "music", "items", "points", "number", "owner",
    "name", "known", "strange", "shown", "asks", "other", "to", "unit", "on",
})  # fmt: skip
"""Classes of which it matters which others there are."""

_LISTENING = frozenset({"music", "item", "items", "list", "type"})
SCOPED = frozenset({"no", "except", "only", "more", "less", "like"})
"""Classes of words that reach over names, of which no weight of segments is fitted."""

_ASKED, _MOST, _NEARLY, _PARTLY = 2, 3, 0.75, 0.3

IntentWeights = Mapping[str, Mapping[str, float]]


class Evidence(NamedTuple):
    """The evidence of a reading about the intent of its text.

    Attributes:
        understood: words that rules and wishes stand for.
        lost: words that nothing stands for.
        names: words among the understood that name tags, creators or titles.
        strange: phrases of other services.
        outside: those of them that are not within a name.
        shown: phrases of what is shown somewhere else.
        asks: True if it begins as a question.
        says: True if a plan was made of it that asks for something.
    """

    understood: int
    lost: int
    names: int
    strange: int
    outside: int
    shown: int
    asks: bool
    says: bool

    @property
    def share(self) -> float:
        """Share of the words with a content that were understood."""
        return self.understood / max(1, self.understood + self.lost)


def elsewhere(tokens: Sequence[Token], segments: Sequence[Segment], language: Language) -> tuple[int, int, int, bool]:
    """Phrases of other services, those outside names, phrases of what is shown, and whether it begins as a question."""
    strange, shown = (_mentions(tokens, each, language.longest) for each in (language.elsewhere, language.screenings))
    named = [at for each in segments if each.kind in FIELD_OF for at in range(each.start, each.end)]
    apart = [token if at not in named else token._replace(key="") for at, token in enumerate(tokens)]
    outside = _mentions(apart, language.elsewhere, language.longest)
    return strange, outside, shown, bool(_mentions(tokens[:_ASKED], language.questions, _ASKED))


def intent_of(segments: Sequence[Segment], evidence: Evidence, weights: IntentWeights) -> Intent:
    """The intent of a text."""
    if evidence.says and not evidence.asks and evidence.strange + evidence.shown <= evidence.names:
        kinds = {segment.kind for segment in segments}
        if evidence.share == 1 and not kinds & FOREIGN:
            return "steer"
        if evidence.share >= _NEARLY and kinds & _LISTENING and not kinds & FOREIGN:
            return "steer"
        if evidence.share >= _NEARLY and evidence.names and not kinds & FOREIGN:
            return "steer"
        if evidence.share > _PARTLY and evidence.names and kinds & SCOPED and not kinds & FOREIGN:
            return "steer"
    features = intent_features(segments, evidence)
    scores = {intent: sum(weights[intent].get(name, 0.0) for name in features) for intent in INTENTS}
    return max(INTENTS, key=lambda intent: scores[intent])


def intent_features(segments: Sequence[Segment], evidence: Evidence) -> list[str]:
    """Names of the features of a text, each of which it has once."""
    said = [segment.kind for segment in segments if segment.kind not in {"det", "wish", "mark", "stop", "comma"}]
    has = {f"is:{kind}" if kind in FIELD_OF else kind for kind in said}
    order = ["start", *("name" if kind in FIELD_OF else kind for kind in said), "end"]
    flags = {
        "name": any(kind in FIELD_OF for kind in said),
        "known": any(segment.known for segment in segments),
        "strange": evidence.strange > 0,
        "shown": evidence.shown > 0,
        "inside": evidence.strange > evidence.outside,
        "asks": evidence.asks,
        "says": evidence.says,
    }
    has |= {name for name, flag in flags.items() if flag}
    others = min(_MOST, said.count("other"))
    pairs = (f"{one}+{other}" for one, other in combinations(sorted(has & _TOGETHER), 2))
    counted = [f"others{others}", f"strange{min(_MOST, evidence.strange)}", f"shown{min(_MOST, evidence.shown)}"]
    beside = {f"{one}>{other}" for one, other in pairwise(order)}
    shares = [f"share{round(evidence.share * 4)}", f"long{min(_MOST, len(segments) // 4)}"]
    first = (f"{at}:{kind}" for at, kind in enumerate(said[:2]))
    return ["all", *sorted(has), *pairs, *counted, *shares, *first, *sorted(beside)]


def _mentions(tokens: Sequence[Token], phrases: frozenset[str], longest: int) -> int:
    """Number of the phrases that words of a text make."""
    keys = [token.key for token in tokens]
    ends = ((start, end) for start in range(len(keys)) for end in range(start + 1, min(len(keys), start + longest) + 1))
    return len({"".join(keys[start:end]) for start, end in ends} & phrases)
