"""Weights of the grammar of words, fitted on SNIPS' training sentences; writes nocturne/steering/words/weights.json.

    .venv/bin/python -m benchmarks.fit_words data/sets/nlu-snips data/sets/nlu-clinc150 data/sets/steer-cpcd-train

An averaged structured perceptron over the paths of a sentence; what lies between the slots may be cut in any way. The
names of a sentence are in the lexicon for half of the sentences and not for the others, so that the weights serve both
who asks for what the catalogue has and who does not; for half of them the lexicon has the tracks and artists of CPCD
too, which nobody asks for: common words are titles. Nothing else than training files is read.
"""

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cpcd import read_cpcd
from benchmarks.snips import (
    CLINC_EITHER,
    CLINC_INTENT_OF,
    IN_SCOPE,
    INTENT_OF,
    NAMES,
    OUT_OF_SCOPE,
    Utterance,
    names_of,
    read_clinc,
    read_snips,
)
from nocturne.steering.words.language import load_language
from nocturne.steering.words.lexicon import Entry, Lexicon, entries_of
from nocturne.steering.words.parser import WEIGHTS, WordsParser
from nocturne.steering.words.segments import FIELD_OF, Lattice, Segment, best_path, path_features
from nocturne.steering.words.tokens import tokenize

KINDS = {
    **{name: frozenset({name}) for name in NAMES},
    "entity_name": frozenset({"title"}),
    "object_name": frozenset({"title"}),
    "music_item": frozenset({"item"}),
    "year": frozenset({"period"}),
    "sort": frozenset({"sort"}),
    "service": frozenset({"service"}),
    "playlist_owner": frozenset({"owner"}),
    "object_type": frozenset({"work", "item"}),
}
"""Classes that a slot may be read as."""

_SCORED = frozenset(FIELD_OF) | {"item", "period", "sort", "service", "owner"}
"""Classes that nothing outside a slot may be."""

START = {
    "function": -0.5, "function:words": 1.0, "other": -1.0, "name": -1.0, "name:words": -0.2, "name:known": 1.0,
}  # fmt: skip
_FOLDS = 8
_SCARCE = 4.0
"""Weight of a sentence of CLINC150 that asks for music, of which there are a tenth as many as of SNIPS."""


def lattice_of(utterance: Utterance, lexicon: Lexicon) -> Lattice:
    """The lattice of a sentence."""
    return Lattice(tokenize(utterance.text), load_language("en"), lexicon)


class Example:
    """A sentence to learn from: its lattice, and the segments that its slots allow."""

    def __init__(self, utterance: Utterance, lexicon: Lexicon) -> None:
        """The example of a sentence."""
        self.lattice = lattice_of(utterance, lexicon)
        tokens = self.lattice.tokens
        self._slots = []
        for slot in utterance.slots:
            inside = [place for place, token in enumerate(tokens) if slot.start < token.end and token.start < slot.end]
            if inside and slot.type in KINDS:
                self._slots.append((inside[0], inside[-1] + 1, KINDS[slot.type]))

    def allows(self, segment: Segment) -> bool:
        """True if a segment is a slot, or outside of all."""
        for start, end, kinds in self._slots:
            if segment.start < end and start < segment.end:
                return (segment.start, segment.end) == (start, end) and segment.kind in kinds
        return segment.kind not in _SCORED


def fit(examples: Sequence[Example], passes: int, seed: int) -> dict[str, float]:
    """Weights after some passes, the mean over all steps."""
    weights, sums, step = defaultdict(float, START), defaultdict(float), 1
    order, generator = list(examples), random.Random(seed)  # noqa: S311
    for number in range(passes):
        generator.shuffle(order)
        wrong = missing = 0
        for example in order:
            wanted = best_path(example.lattice, weights, example.allows)
            found = best_path(example.lattice, weights)
            step += 1
            if wanted is None or found is None:
                missing += 1
                continue
            if found[1] <= wanted[1]:
                continue
            wrong += 1
            change = path_features(wanted[0])
            for name, amount in path_features(found[0]).items():
                change[name] = change.get(name, 0.0) - amount
            for name, amount in change.items():
                weights[name] += amount * 0.3
                sums[name] += amount * 0.3 * step
        print(f"pass {number + 1}: {wrong} of {len(order)} wrong, {missing} not to be read as their slots are")
    return {name: weights[name] - sums[name] / step for name in weights}


def examples_of(utterances: Sequence[Utterance], seed: int, strangers: Sequence[Entry] = ()) -> list[Example]:
    """Examples, half of them with their own names in the lexicon, and half of them with names of strangers in it."""
    generator = random.Random(seed)  # noqa: S311
    order = list(utterances)
    generator.shuffle(order)
    examples = []
    for fold in range(_FOLDS):
        held = order[fold::_FOLDS]
        others = [each for place, each in enumerate(order) if place % _FOLDS != fold]
        known = held[: len(held) // 2]
        for group, extra in ((known, known), (held[len(held) // 2 :], [])):
            names = names_of([*others, *extra])
            lexicon = Lexicon([*entries_of(names), *(strangers if fold % 2 else ())], load_language("en"))
            examples += [Example(each, lexicon) for each in group]
    return examples


def fit_intents(parser: WordsParser, sentences: Sequence[tuple[str, str, float]]) -> dict[str, dict[str, float]]:
    """Weights of intents: a logistic regression on the features of sentences."""
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression

    vectors = DictVectorizer()
    rows = vectors.fit_transform([dict.fromkeys(parser.intent_features(text), 1.0) for text, *_ in sentences])
    model = LogisticRegression(C=0.3, max_iter=2000)
    model.fit(rows, [intent for _, intent, _ in sentences], sample_weight=[weight for *_, weight in sentences])
    return {
        str(intent): {"all": float(bias)} | _kept(dict(zip(vectors.feature_names_, row.tolist(), strict=True)), bias)
        for intent, row, bias in zip(model.classes_, model.coef_, model.intercept_, strict=True)
    }


def _kept(weights: dict[str, float], bias: float = 0.0) -> dict[str, float]:
    """Weights that count, rounded; what every text has takes the bias in."""
    kept = {name: round(weight, 3) for name, weight in sorted(weights.items()) if abs(weight) >= 0.02}
    return kept | ({"all": round(weights["all"] + float(bias), 3)} if "all" in weights else {})


def labelled(snips: Path, clinc: Path, most: int) -> list[tuple[str, str, float]]:
    """Training sentences, their intents and weights; what is asked of other services is not understood."""
    found = [
        (utterance.text, INTENT_OF.get(intent, "not_understood"), 1.0)
        for intent in (*IN_SCOPE, *OUT_OF_SCOPE)
        for utterance in read_snips(snips, intent, "train")[:most]
    ]
    return found + [
        (
            utterance.text,
            CLINC_INTENT_OF.get(utterance.intent, "not_understood"),
            _SCARCE if utterance.intent in CLINC_INTENT_OF else 1.0,
        )
        for utterance in read_clinc(clinc, "train")
        if utterance.intent not in CLINC_EITHER
    ]


def main() -> None:
    """Fit the weights and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("snips", type=Path)
    parser.add_argument("clinc", type=Path)
    parser.add_argument("cpcd", type=Path)
    parser.add_argument(
        "--sentences", type=int, default=2000, help="of playing and of adding, and half as many of others"
    )
    parser.add_argument("--passes", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    utterances = []
    for place, intent in enumerate(IN_SCOPE):
        utterances += read_snips(options.snips, intent, "train")[: options.sentences // (1 if place < 2 else 4)]
    strangers = entries_of(read_cpcd(options.cpcd).names())
    weights = fit(examples_of(utterances, options.seed, strangers), options.passes, options.seed)
    segments = _kept(weights)
    half = names_of(utterances[::2])
    words = WordsParser(Lexicon([*entries_of(half), *strangers], load_language("en")), weights={"segments": segments})
    intents = fit_intents(words, labelled(options.snips, options.clinc, options.sentences // 2))
    document = {"segments": segments, "intents": intents}
    options.out.write_text(json.dumps(document, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(segments)} weights of segments, {sum(map(len, intents.values()))} of intents")


if __name__ == "__main__":
    main()
