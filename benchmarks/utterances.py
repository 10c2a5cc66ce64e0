"""Utterances that people wrote, by the parser of words: slots, intents, and what is not understood.

    .venv/bin/python -m benchmarks.utterances data/sets/nlu-snips data/sets/nlu-clinc150 [--cpcd PATH]

Every utterance of SNIPS' validation files and of CLINC150's validation and test files; weights and language were made
from training files alone (`benchmarks.fit_words`). Slots: artist, track, album, genre, year, sort, playlist and
music_item, exact spans, micro F1; a slot of SNIPS of another type (service, entity_name, object_name ...) is nothing
that could be found, and what is found there under one of the eight names is wrong. Lexicons: the names in the slots of
all training sentences; those and the ones of the validation sentences, a catalogue that knows what is asked for; with
--cpcd, both with 7,527 tracks and their artists besides, which nobody asks for. A CRF (sklearn-crfsuite; word, shape,
prefix, suffix and neighbours, two on each side) is trained on 2,000 training sentences of PlayMusic and AddToPlaylist.

Intents: steer for PlayMusic, add_to_playlist, search, rate. Out of scope, right if `not_understood`: SNIPS' three other
intents, and CLINC150 but play_music, update_playlist (which are asked for), next_song and what_song (either way).
Tables go to stderr; with --json, a line a row to stdout.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cpcd import read_cpcd
from benchmarks.snips import (
    CLINC_EITHER,
    CLINC_INTENT_OF,
    IN_SCOPE,
    INTENT_OF,
    OUT_OF_SCOPE,
    SLOTS,
    Slot,
    Utterance,
    names_of,
    read_clinc,
    read_snips,
)
from nocturne.core.console import print_rows
from nocturne.steering.words.language import load_language
from nocturne.steering.words.lexicon import Entry, Lexicon, entries_of
from nocturne.steering.words.parser import WordsParser
from nocturne.steering.words.tokens import tokenize

CRF_SENTENCES = 2000

Tagger = Callable[[str], Iterable[Slot]]
Row = dict[str, Any]


def score_slots(tagger: Tagger, utterances: Sequence[Utterance]) -> dict[str, Row]:
    """Precision, recall and F1 of each slot type and of all."""
    right: Counter[str] = Counter()
    found: Counter[str] = Counter()
    wanted: Counter[str] = Counter()
    for utterance in utterances:
        given = {slot for slot in tagger(utterance.text) if slot.type in SLOTS}
        truth = {slot for slot in utterance.slots if slot.type in SLOTS}
        for counter, slots in ((right, given & truth), (found, given), (wanted, truth)):
            counter.update(slot.type for slot in slots)
            counter["all"] += len(slots)
    return {
        name: {
            "precision": f"{right[name] / max(1, found[name]):.3f}",
            "recall": f"{right[name] / max(1, wanted[name]):.3f}",
            "F1": f"{2 * right[name] / max(1, found[name] + wanted[name]):.3f}",
            "slots": wanted[name],
        }
        for name in ("all", *SLOTS)
    }


def our_tagger(parser: WordsParser) -> Tagger:
    """The parser's slots."""
    return lambda text: (Slot(slot.type, slot.start, slot.end) for slot in parser.parse(text).slots)


def crf_tagger(utterances: Sequence[Utterance]) -> Tagger:
    """A conditional random field over words, trained on sentences."""
    from sklearn_crfsuite import CRF

    model = CRF(algorithm="lbfgs", c1=0.1, c2=0.1, max_iterations=100)
    rows, labels = [], []
    for utterance in utterances:
        tokens = tokenize(utterance.text)
        rows.append(_crf_rows([token.text for token in tokens]))
        marked = ["O"] * len(tokens)
        for slot in utterance.slots:
            inside = [place for place, token in enumerate(tokens) if slot.start < token.end and token.start < slot.end]
            for place in inside:
                marked[place] = f"{'B' if place == inside[0] else 'I'}-{slot.type}"
        labels.append(marked)
    model.fit(rows, labels)

    def tag(text: str) -> list[Slot]:
        tokens = tokenize(text)
        slots: list[Slot] = []
        for token, label in zip(tokens, model.predict([_crf_rows([each.text for each in tokens])])[0], strict=True):
            begins, _, kind = str(label).partition("-")
            if begins == "B":
                slots.append(Slot(kind, token.start, token.end))
            elif begins == "I" and slots and slots[-1].type == kind:
                slots[-1] = slots[-1]._replace(end=token.end)
        return slots

    return tag


def _crf_rows(words: Sequence[str]) -> list[dict[str, Any]]:
    def word(place: int) -> str:
        return words[place].casefold() if 0 <= place < len(words) else "-"

    return [
        {
            "word": word(at), "prefix": word(at)[:3], "suffix": word(at)[-3:], "title": words[at].istitle(),
            "upper": words[at].isupper(), "digit": words[at].isdigit(), "mark": not words[at].isalnum(),
            "-1": word(at - 1), "-2": word(at - 2), "+1": word(at + 1), "+2": word(at + 2),
            "-1 0": f"{word(at - 1)} {word(at)}", "0 +1": f"{word(at)} {word(at + 1)}", "first": at == 0,
        }
        for at in range(len(words))
    ]  # fmt: skip


def score_intents(parser: WordsParser, sentences: Iterable[tuple[str, Utterance]]) -> list[Row]:
    """Share of utterances of each group that get the intent of the group."""
    groups: dict[str, Counter[str]] = {}
    for wanted, utterance in sentences:
        group = groups.setdefault(f"{utterance.intent} → {wanted}", Counter())
        group[parser.parse(utterance.text).intent] += 1
    return [
        {
            "utterances": name,
            "right": f"{counts[name.split(' → ')[1]] / counts.total():.3f}",
            "of": counts.total(),
            "answered": ", ".join(f"{intent} {count}" for intent, count in counts.most_common()),
        }
        for name, counts in groups.items()
    ]


def clinc_sentences(path: Path) -> list[tuple[str, Utterance]]:
    """CLINC150's validation and test utterances by what is asked for, all that is out of scope as one group."""
    found = []
    for part in ("valid", "test"):
        for utterance in read_clinc(path, part):
            if utterance.intent in CLINC_EITHER:
                continue
            wanted = CLINC_INTENT_OF.get(utterance.intent)
            group = f"CLINC150 {utterance.intent if wanted or utterance.intent == 'oos' else 'other intents'}"
            found.append((wanted or "not_understood", utterance._replace(intent=group)))
    return found


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("snips", type=Path)
    parser.add_argument("clinc", type=Path)
    parser.add_argument("--cpcd", type=Path, help="a catalogue of tracks that nobody asks for")
    parser.add_argument("--seed", type=int, default=1, help="of the draw of the CRF's sentences")
    parser.add_argument("--json", action="store_true", help="a line a row to stdout")
    options = parser.parse_args()
    train = {intent: read_snips(options.snips, intent, "train") for intent in IN_SCOPE}
    valid = {intent: read_snips(options.snips, intent, "validate") for intent in (*IN_SCOPE, *OUT_OF_SCOPE)}
    learned, asked = (names_of([each for intent in IN_SCOPE for each in part[intent]]) for part in (train, valid))
    both = {field: [*learned.get(field, []), *asked.get(field, [])] for field in learned | asked}
    lexicons: dict[str, list[Entry]] = {
        "names of training sentences": entries_of(learned),
        "all names": entries_of(both),
    }
    if options.cpcd:
        strangers = entries_of(read_cpcd(options.cpcd).names())
        lexicons |= {f"{name} + CPCD's": [*entries, *strangers] for name, entries in list(lexicons.items())}
    parsers = {name: WordsParser(Lexicon(entries, load_language("en"))) for name, entries in lexicons.items()}
    taggers = {name: our_tagger(each) for name, each in parsers.items()}
    generator = random.Random(options.seed)  # noqa: S311
    drawn = generator.sample([*train["PlayMusic"], *train["AddToPlaylist"]], CRF_SENTENCES)
    taggers["CRF, 2,000 sentences"] = crf_tagger(drawn)
    groups = {
        "PlayMusic, AddToPlaylist": [*valid["PlayMusic"], *valid["AddToPlaylist"]],
        "all four": [each for intent in IN_SCOPE for each in valid[intent]],
    }
    rows = []
    for name, tagger in taggers.items():
        for group, utterances in groups.items():
            if name.startswith("CRF") and group == "all four":
                continue  # it was taught of two
            started = time.perf_counter()
            scores = score_slots(tagger, utterances)
            milliseconds = 1000 * (time.perf_counter() - started) / len(utterances)
            rows.append({"lexicon": name, "utterances": group, **scores["all"], "ms": f"{milliseconds:.1f}"})
            if group == "PlayMusic, AddToPlaylist":
                by_type = [{"slot": slot, **scores[slot]} for slot in SLOTS]
                print_rows(by_type, f"{name}, {group}", stream=sys.stderr)
    print_rows(rows, "Slots", stream=sys.stderr)
    snips = [(INTENT_OF.get(intent, "not_understood"), each) for intent, part in valid.items() for each in part]
    intents = score_intents(parsers["names of training sentences"], snips)
    intents += score_intents(parsers["names of training sentences"], clinc_sentences(options.clinc))
    print_rows(intents, "Intents", stream=sys.stderr)
    if options.json:
        for row in (*rows, *intents):
            print(json.dumps(row))


if __name__ == "__main__":
    main()
