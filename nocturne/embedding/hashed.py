"""Hashed text: an item's tags, creator, title and description as signed hashes of words and of letters.

Needs no vocabulary and no download, and a word that nobody has used before has a place of its own.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import repeat

import numpy as np
import pyarrow as pa

from nocturne.core.arrays import Factors, Floats, Positions
from nocturne.core.hashing import hash_ids

VERSION = 1
"""To be raised whenever the same text gets another embedding."""

TAGS, CREATOR, TITLE, DESCRIPTION, TYPE, TAG_COUNT = range(6)
"""Parts of an embedding. Each gets its share of the length, however much or little there is of it."""

WEIGHTS = (1.0, 0.25, 0.25, 0.5, 0.1, 0.7)
"""Length of each part before the whole is given unit length."""

TAG_WORD, LETTERS = 0.5, 0.3
"""Weight of a word of a tag beside the tag as it stands, and of a sequence of letters beside the word it is from."""

SEQUENCE = 3
"""Letters hashed together."""

COUNT_STEP = 0.5
"""Octaves of the number of tags between two places of `TAG_COUNT`."""

_MARKS = re.compile("[\u0300-\u036f]")
_WORD = re.compile(r"\w+")
_ITEMS_AT_ONCE = 4096


@dataclass(frozen=True)
class HashedEncoder:
    """Words, tags and letters hashed into a vector of fixed width.

    Each feature has a place and a sign by its hash, so that what falls into one place cancels as often as it adds.
    A tag that is there several times counts as 1 + log2 of how often. The number of tags is a feature of its own:
    it tells how well known an item is.

    Source: Weinberger et al. (2009), "Feature hashing for large scale multitask learning", section 2.
    """

    width: int = 1024

    @property
    def name(self) -> str:
        """Encoder, width and version."""
        return f"hashed-{self.width}-v{VERSION}"

    def encode(self, items: pa.Table) -> Factors:
        """Embed items, each by its own text alone.

        Args:
            items: title, creator, content_type, tags and description, any of them null.

        Returns:
            Rows of norm 1, zeros where there is neither title nor creator, tags nor description; (items, width).
        """
        embeddings = np.empty((items.num_rows, self.width), np.float32)
        for first in range(0, items.num_rows, _ITEMS_AT_ONCE):
            rows = items.slice(first, _ITEMS_AT_ONCE)
            embeddings[first : first + rows.num_rows] = self._encode(rows)
        return embeddings

    def _encode(self, items: pa.Table) -> Factors:
        features = _features(items)
        item, part, weight = features.arrays()
        lengths = np.sqrt(np.bincount(item * len(WEIGHTS) + part, weight**2, items.num_rows * len(WEIGHTS)))
        weight *= np.array(WEIGHTS)[part] / lengths[item * len(WEIGHTS) + part]
        hashes = hash_ids(pa.array(features.names, pa.string()), VERSION)
        sign = 1.0 - 2.0 * (hashes & np.uint64(1)).astype(np.float64)
        place = ((hashes >> np.uint64(1)) % np.uint64(self.width)).astype(np.int64)
        sums = np.bincount(item * self.width + place, sign * weight, items.num_rows * self.width)
        vectors = sums.reshape(items.num_rows, self.width)
        norms = np.sqrt((vectors**2).sum(axis=1, keepdims=True))
        unit: Factors = (vectors / np.maximum(norms, np.finfo(np.float64).tiny)).astype(np.float32)
        return unit


@dataclass
class _Features:
    """Features of some items, item after item within each part."""

    items: list[int] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    def add(self, item: int, part: int, weights: dict[str, float]) -> None:
        """Add one item's features of one part."""
        self.items.extend(repeat(item, len(weights)))
        self.parts.extend(repeat(part, len(weights)))
        self.names.extend(weights)
        self.weights.extend(weights.values())

    def arrays(self) -> tuple[Positions, Positions, Floats]:
        """Item, part and weight of each feature."""
        return np.array(self.items, np.int64), np.array(self.parts, np.int64), np.array(self.weights, np.float64)


def normalized(text: str) -> str:
    """Text as it is compared: compatible forms as one, without case, and without accents of Latin letters."""
    bare = _MARKS.sub("", unicodedata.normalize("NFKD", text))
    return unicodedata.normalize("NFKC", bare.casefold())


def words(text: str) -> list[str]:
    """Letters and digits that stand together, normalized."""
    return _WORD.findall(normalized(text))


def _features(items: pa.Table) -> _Features:
    features = _Features()
    columns = (items[name].to_pylist() for name in ("title", "creator", "content_type", "tags", "description"))
    for item, (title, creator, kind, tags, description) in enumerate(zip(*columns, strict=True)):
        texts = {TITLE: title, CREATOR: creator, DESCRIPTION: description}
        by_part = {part: _word_features(words(text)) for part, text in texts.items() if text}
        if creator:
            by_part[CREATOR][f"creator {' '.join(words(creator))}"] = 1.0
        if tags:
            by_part[TAGS] = _tag_features(tags)
        if not any(by_part.values()):
            continue
        if kind:
            by_part[TYPE] = {f"type {kind}": 1.0}
        by_part[TAG_COUNT] = _count_features(len(tags or ()))
        for part, weights in by_part.items():
            features.add(item, part, weights)
    return features


def _word_features(found: Sequence[str]) -> dict[str, float]:
    """Words of a text, more if they are there more often, and the sequences of letters in them."""
    weights: dict[str, float] = {}
    for word, count in Counter(found).items():
        amount = _amount(count)
        weights[f"word {word}"] = amount
        for sequence in _sequences(word):
            weights[sequence] = weights.get(sequence, 0.0) + LETTERS * amount
    return weights


def _tag_features(tags: Iterable[str]) -> dict[str, float]:
    """Tags as they stand, and the words of those that have several."""
    weights: dict[str, float] = {}
    counts = Counter(tuple(words(tag)) for tag in tags)
    for found, count in counts.items():
        if not found:
            continue
        amount = _amount(count)
        tag = f"tag {' '.join(found)}"
        weights[tag] = weights.get(tag, 0.0) + amount
        for word in found:
            weights[f"word {word}"] = weights.get(f"word {word}", 0.0) + TAG_WORD * amount
    return weights


def _count_features(tags: int) -> dict[str, float]:
    """The number of tags, shared between the two nearest steps of its logarithm."""
    step = float(np.log2(1 + tags)) / COUNT_STEP
    lower = int(step)
    shares = {lower: 1 - (step - lower), lower + 1: step - lower}
    return {f"tags {place}": share for place, share in shares.items() if share}


def _amount(count: int) -> float:
    return 1 + float(np.log2(count))


def _sequences(word: str) -> list[str]:
    bounded = f"<{word}>"
    return [f"letters {bounded[start : start + SEQUENCE]}" for start in range(len(bounded) - SEQUENCE + 1)]
