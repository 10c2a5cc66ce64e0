"""Prompts in words against what they bring: prompts of tags on tagged catalogues, and conversations about a playlist.

    .venv/bin/python -m benchmarks.prompts jamendo data/sets/jamendo-tags [--prompts 200] [--seed 1] [--json]
    .venv/bin/python -m benchmarks.prompts lastfm-2k data/sets/lastfm-2k
    .venv/bin/python -m benchmarks.prompts cpcd data/sets/steer-cpcd-train

Tags: prompts name tags that at least 20 items have (`some jazz please`), pairs of them that 20 items have together
(`calm jazz`), and one without the other (`jazz without vocals`); the truth is the items whose tags are so. Measured are
the precision of the first 20, the share of them that the prompt forbids, and how many prompts became exactly their
plan. Words: the items that obey the plan, the most tagged first; BM25 (bm25s) over the tags and names of each item, and
the hashed encoder's embeddings of the same by the cosine with the prompt's, both over all items, as retrieval is done.
Of Last.fm an artist has the tags that two listeners gave.

Conversations (CPCD): at each turn with liked tracks, the 7,527 named tracks but those judged before are ranked by what
was said up to then. Words: the plans of the turns, each refined by the next, as wishes over items (a title, its
creators, others of the same creator) and rules; `+ likes` adds the tracks liked and disliked in turns before as
wishes for and against their creators; BM25 over title, artists and album, asked by the last turn or by all, with the
same likes in one row. Measured: liked tracks of the turn among the first 20, and pairs of a liked and a disliked
track of the same turn that stand in the right order, ties counted half. No weight is fitted to these sets, but
prompts and conversations that failed were read while the parser was written. Tables go to stderr; with --json, a line a
row to stdout.
"""

import argparse
import json
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import bm25s
import numpy as np
import pyarrow as pa

from benchmarks.cold_sets import read_lastfm
from benchmarks.cpcd import Conversations, Track, read_cpcd
from nocturne.core.arrays import Floats, Mask
from nocturne.core.console import print_rows
from nocturne.embedding.hashed import HashedEncoder, words
from nocturne.ingestion.importers.archive import open_source
from nocturne.steering.conditions import Match
from nocturne.steering.parsing import Parser
from nocturne.steering.plan import Plan, Wish
from nocturne.steering.words.language import load_language
from nocturne.steering.words.lexicon import Entry, Lexicon, entries_of
from nocturne.steering.words.parser import WordsParser

K = 20
Row = dict[str, Any]

Ranked = Callable[[str], Sequence[int]]
"""The best items for a prompt."""

ScoredTurn = Callable[[int, int], Floats]
"""Scores of every track at a turn: numbers of the conversation, from 0, and of the turn, from 1."""

TOGETHER = "words + likes + BM25, last turn"
FUSION = 60


class Tagged(NamedTuple):
    """Items with a name each and tags, the items with most tags first."""

    names: list[str]
    tags: list[tuple[str, ...]]


class Prompt(NamedTuple):
    """A prompt and its truth: tags that an item has to have, and tags that it may not have."""

    kind: str
    text: str
    wanted: tuple[str, ...]
    barred: tuple[str, ...]


def read_jamendo(path: Path) -> Tagged:
    """Tracks of MTG-Jamendo with every tag that any of the files gives them."""
    tags: dict[str, set[str]] = defaultdict(set)
    artists: dict[str, str] = {}
    with open_source(path) as files:
        for file in files.find_all("autotagging_*.tsv"):
            for line in file.read_text(encoding="utf-8").splitlines()[1:]:
                track, artist, _, _, _, *given = line.split("\t")
                tags[track] |= {tag.partition("---")[2] for tag in given}
                artists[track] = artist
    return _ordered([artists[track] for track in tags], [tuple(sorted(given)) for given in tags.values()])


def read_tagged_artists(path: Path) -> Tagged:
    """Artists of Last.fm with the tags that at least two listeners gave them."""
    texts = read_lastfm(path)
    given = Counter(map(tuple, texts.taggings[:, 1:].tolist()))
    tags: dict[int, list[str]] = defaultdict(list)
    for (item, tag), listeners in given.items():
        if listeners > 1:
            tags[item].append(texts.tag_names[tag])
    names = texts.texts["title"].to_pylist()
    return _ordered([names[item] for item in tags], [tuple(each) for each in tags.values()])


def _ordered(names: Sequence[str], tags: Sequence[tuple[str, ...]]) -> Tagged:
    order = sorted(range(len(names)), key=lambda at: (-len(tags[at]), at))
    return Tagged([names[at] for at in order], [tags[at] for at in order])


def prompts_of(tagged: Tagged, count: int, seed: int) -> list[Prompt]:
    """So many prompts of each kind, drawn."""
    generator = random.Random(seed)  # noqa: S311
    counts = Counter(tag for tags in tagged.tags for tag in tags)
    usual = sorted(tag for tag, items in counts.items() if items >= K and words(tag))
    pairs = Counter((a, b) for tags in tagged.tags for a in tags for b in tags if a != b)
    known = set(usual)
    together = sorted(pair for pair, items in pairs.items() if items >= K and known.issuperset(pair))
    apart = [pair for pair in together if counts[pair[0]] - pairs[pair] >= K]
    drawn = {
        name: generator.sample(each, min(count, len(each)))
        for name, each in (("one", usual), ("both", together), ("without", apart))
    }
    return [
        *(Prompt("one", f"some {tag} please", (tag,), ()) for tag in drawn["one"]),
        *(Prompt("both", f"play {a} {b}", (a, b), ()) for a, b in drawn["both"]),
        *(Prompt("without", f"{a} without {b}", (a,), (b,)) for a, b in drawn["without"]),
    ]


def true_items(tagged: Tagged, prompt: Prompt) -> Mask:
    """True for items that have what is wanted and nothing that is barred."""
    return np.array([
        set(prompt.wanted) <= set(tags) and not set(prompt.barred) & set(tags) for tags in tagged.tags
    ])  # fmt: skip


def obeys(plan: Plan, tags: set[str]) -> bool:
    """True if an item with such tags obeys the rules on tags of a plan."""

    def matches(condition: Match) -> bool:
        fields = [set(each) for each in (condition.tags, condition.genres, condition.moods) if each]
        return (
            bool(fields) and all(each & tags for each in fields) and not condition.creators and not condition.item_ids
        )

    def excused(rule: Any) -> bool:
        return any(matches(each) for each in rule.unless)

    kept = all(matches(rule) or excused(rule) for rule in plan.only)
    return kept and not any(matches(rule) and not excused(rule) for rule in plan.never)


def rank_by_words(parser: Parser, tagged: Tagged) -> Ranked:
    """The items that obey the plan of a prompt, those with most of the wished tags first; none for an empty plan."""
    sets = [set(tags) for tags in tagged.tags]

    def rank(text: str) -> Sequence[int]:
        plan = parser.parse(text).plan
        if plan.empty:
            return []
        wished = {wish.value for wish in plan.more}
        found = [at for at, tags in enumerate(sets) if obeys(plan, tags) and (plan.only or wished & tags)]
        return sorted(found, key=lambda at: -len(wished & sets[at]))[:K]

    return rank


def rank_by_bm25(texts: Sequence[list[str]]) -> Ranked:
    """The best items by BM25."""
    index = bm25s.BM25()
    index.index(list(texts), show_progress=False)
    return lambda text: np.argsort(-index.get_scores(words(text)), kind="stable")[:K].tolist()


def embed_tagged(names: Sequence[str | None], tags: Sequence[Sequence[str]]) -> Floats:
    """Hashed embeddings of names and tags; shape (items, width)."""
    nothing = pa.nulls(len(tags), pa.string())
    columns = {"title": nothing, "creator": pa.array(names, pa.string()), "content_type": nothing,
               "tags": pa.array(tags, pa.list_(pa.string())), "description": nothing}  # fmt: skip
    vectors: Floats = HashedEncoder().encode(pa.table(columns))
    return vectors


def rank_by_embedding(tagged: Tagged) -> Ranked:
    """The best items by the cosine of hashed embeddings, the prompt's words as tags."""
    items = embed_tagged(tagged.names, tagged.tags)
    return lambda text: np.argsort(-(items @ embed_tagged([None], [words(text)])[0]), kind="stable")[:K].tolist()


def measure_tags(tagged: Tagged, prompts: Sequence[Prompt], others: Mapping[str, Ranked] | None = None) -> list[Row]:
    """A row for each system, others among them, and kind of prompt."""
    counts = Counter(tag for tags in tagged.tags for tag in tags)
    lexicon = Lexicon(
        [Entry("tags", tag, items, tag) for tag, items in counts.items()], load_language("en"), frozenset()
    )
    parser = WordsParser(lexicon)
    texts = [[*words(name), *(word for tag in tags for word in words(tag))] for name, tags in zip(*tagged, strict=True)]
    systems = {
        "words": rank_by_words(parser, tagged),
        "BM25": rank_by_bm25(texts),
        "hashed embeddings": rank_by_embedding(tagged),
        **(others or {}),
    }
    rows = []
    for system, rank in systems.items():
        for kind in ("one", "both", "without"):
            asked = [prompt for prompt in prompts if prompt.kind == kind]
            hits, barred = [], []
            for prompt in asked:
                best = list(rank(prompt.text))
                truth = true_items(tagged, prompt)
                hits.append(truth[best].sum() / K)
                barred.append(sum(bool(set(prompt.barred) & set(tagged.tags[at])) for at in best) / K)
            rows.append({
                "system": system, "prompts": kind, "of": len(asked), "precision@20": f"{np.mean(hits):.3f}",
                "forbidden": f"{np.mean(barred):.3f}",
                "every item right": f"{np.mean(np.array(hits) == 1):.3f}",
            })  # fmt: skip
    return rows


class Tracks:
    """Tracks to be ranked, and their places by title, artist and id."""

    def __init__(self, tracks: Mapping[str, Track]) -> None:
        """Tracks by id."""
        self.ids = list(tracks)
        self.place = {name: at for at, name in enumerate(self.ids)}
        self.by_artist: dict[str, list[int]] = defaultdict(list)
        for at, track in enumerate(tracks.values()):
            for artist in track.artists:
                self.by_artist[artist].append(at)
        self.artists = [track.artists for track in tracks.values()]
        self.texts = [
            [word for text in (track.title, *track.artists, track.album) for word in words(text)]
            for track in tracks.values()
        ]

    def wish(self, wish: Wish) -> Floats:
        """Match of every track with a wish, as `nocturne.steering.wishes` has it for items without factors."""
        match = np.zeros(len(self.ids))
        if wish.about == "creator":
            match[self.by_artist.get(wish.value, [])] = 1
        elif wish.about == "item" and wish.value in self.place:
            match[[other for artist in self.artists[self.place[wish.value]] for other in self.by_artist[artist]]] = 0.5
            match[self.place[wish.value]] = 1
        return wish.strength * match

    def of_rule(self, condition: Match) -> Floats:
        """True for tracks of a condition on creators and items."""
        fields = []
        if condition.creators:
            fields.append({at for artist in condition.creators for at in self.by_artist.get(artist, [])})
        if condition.item_ids:
            fields.append({self.place[name] for name in condition.item_ids if name in self.place})
        mask = np.zeros(len(self.ids))
        if fields:
            mask[list(set.intersection(*fields))] = 1
        return mask


def plan_scores(tracks: Tracks, plans: Sequence[Plan]) -> Floats:
    """Scores of every track by the plans of all turns, the later ones stronger: what is asked for last is asked now."""
    scores = np.zeros(len(tracks.ids))
    for age, plan in enumerate(reversed(plans)):
        fading = 0.5**age
        for wish in plan.more:
            scores += fading * tracks.wish(wish)
        for rule in plan.only:
            scores += fading * np.maximum(tracks.of_rule(rule), sum(tracks.of_rule(each) for each in rule.unless))
        for wish in plan.less:
            scores -= fading * tracks.wish(wish)
        for rule in plan.never:
            scores -= 10 * tracks.of_rule(rule)
    return scores


def liking_scores(tracks: Tracks, liked: Sequence[str], disliked: Sequence[str]) -> Floats:
    """Scores of every track by the creators of what was liked and disliked before."""
    scores = np.zeros(len(tracks.ids))
    for sign, names in ((0.1, liked), (-0.1, disliked)):
        for name in names:
            scores += sign * tracks.wish(Wish(about="item", value=name, strength=1.0))
    return scores


def measure_conversations(
    conversations: Conversations, others: Mapping[str, ScoredTurn] | None = None, fused_with: str = ""
) -> list[Row]:
    """A row for each system and turn.

    Args:
        others: systems beside those of this file.
        fused_with: the one of them that is put together with the best of this file, by reciprocal ranks.

    Source: Cormack, Clarke and Buettcher (2009), "Reciprocal rank fusion outperforms Condorcet".
    """
    tracks = Tracks(conversations.tracks)
    entries = [Entry("titles", track.id, 1, track.title) for track in conversations.tracks.values()]
    entries += entries_of({"creators": [name for track in conversations.tracks.values() for name in track.artists]})
    parser = WordsParser(Lexicon(entries, load_language("en")))
    index = bm25s.BM25()
    index.index(tracks.texts, show_progress=False)
    results: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for conversation, turns in enumerate(conversations.turns):
        plans: list[Plan] = []
        liked: list[str] = []
        disliked: list[str] = []
        for number, turn in enumerate(turns, start=1):
            plans.append(parser.parse(turn.said, steering=True).plan)
            good, bad = ([tracks.place[name] for name in names if name in tracks.place] for names in turn[1:])
            if good:
                said = " ".join(each.said for each in turns[:number])
                last, every = (
                    index.get_scores(words(text)) if words(text) else np.zeros(len(tracks.ids))
                    for text in (turn.said, said)
                )
                ours, likes = plan_scores(tracks, plans), liking_scores(tracks, liked, disliked)
                systems = {
                    "words": ours, "words + likes": ours + likes, "BM25, last turn": last, "BM25, all turns": every,
                    "BM25, last turn + likes": _share(last) + likes,
                    TOGETHER: ours + likes + _share(last),
                    **{name: score(conversation, number) for name, score in (others or {}).items()},
                }  # fmt: skip
                if fused_with:
                    systems[f"{TOGETHER} + {fused_with}"] = _fused(systems[TOGETHER], systems[fused_with])
                judged = [tracks.place[name] for name in (*liked, *disliked) if name in tracks.place]
                for system, scores in systems.items():
                    measured = judge(scores, good, bad, judged)
                    for part in (str(number) if number < 5 else "5 and later", "all"):
                        results[system][part].append(measured)
            liked += turn.liked
            disliked += turn.disliked
    return [
        {
            "system": system,
            "turn": part,
            "turns": len(rows),
            f"liked in first {K}": f"{np.mean([row[0] for row in rows]):.3f}",
            "pairs in order": f"{np.nanmean([row[1] for row in rows]):.3f}",
        }
        for system, parts in results.items()
        for part, rows in sorted(parts.items())
    ]


def _fused(*scores: Floats) -> Floats:
    ranks = [np.argsort(np.argsort(-each, kind="stable"), kind="stable") for each in scores]
    fused: Floats = np.sum([1 / (FUSION + rank) for rank in ranks], axis=0)
    return fused


def _share(scores: Floats) -> Floats:
    return scores / max(float(scores.max(initial=0.0)), 1e-12)


def judge(scores: Floats, good: Sequence[int], bad: Sequence[int], judged: Sequence[int]) -> tuple[float, float]:
    """Share of the liked tracks among the first, nothing that was judged before; share of pairs in order, or NaN."""
    open_ = scores + np.random.default_rng(0).random(len(scores)) * 1e-9  # ties in no order of the file
    open_[[at for at in judged if at not in good]] = -np.inf
    first = set(np.argsort(-open_, kind="stable")[:K].tolist())
    order = [(scores[a] > scores[b]) + 0.5 * (scores[a] == scores[b]) for a in good for b in bad]
    return sum(at in first for at in good) / len(good), float(np.mean(order)) if order else float("nan")


def main() -> None:
    """Measure one set and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=["jamendo", "lastfm-2k", "cpcd"])
    parser.add_argument("path", type=Path, help="folder or archive of the set")
    parser.add_argument("--prompts", type=int, default=200, help="of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="a line a row to stdout")
    options = parser.parse_args()
    if options.set == "cpcd":
        rows = measure_conversations(read_cpcd(options.path))
    else:
        tagged = {"jamendo": read_jamendo, "lastfm-2k": read_tagged_artists}[options.set](options.path)
        rows = measure_tags(tagged, prompts_of(tagged, options.prompts, options.seed))
    print_rows(rows, options.set, stream=sys.stderr)
    if options.json:
        for row in rows:
            print(json.dumps({"set": options.set} | row))


if __name__ == "__main__":
    main()
