"""Published splits of a data set: listeners' items, cut into train, valid and test by its authors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from nocturne.core.csr import CsrRows
from nocturne.core.errors import InputError
from nocturne.core.list_arrays import Lists, lists_array
from nocturne.core.settings import Settings
from nocturne.evaluation.metrics import accuracy
from nocturne.ingestion.importers.archive import open_source
from nocturne.ingestion.importers.gowalla import read_part
from nocturne.ingestion.interactions import EPOCH, UNIT
from nocturne.ingestion.row_merge import WINDOW_LISTENS
from nocturne.kernel.layout import lay_out_items
from nocturne.ranking.eligibility import Markets
from nocturne.ranking.ranker import Ranker
from nocturne.ranking.spark_tasks import Aligned
from nocturne.ranking.stats import RankingStats
from nocturne.training.als import train
from nocturne.training.model import Model
from nocturne.training.race import Race, run_race

TRAIN, VALID, TEST = PARTS = ("train.txt", "valid.txt", "test.txt")

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Split:
    """The parts of a split as matrices of ones; shape (listeners, items).

    Attributes:
        users, items: ids as in the files, as numbers or texts sort.
        valid: of a split without such a part, empty.
    """

    users: tuple[str, ...]
    items: tuple[str, ...]
    train: csr_matrix
    valid: csr_matrix
    test: csr_matrix

    @cached_property
    def train_and_valid(self) -> csr_matrix:
        """The published training set."""
        both = (self.train + self.valid).tocsr()
        both.data[:] = 1
        both.sort_indices()
        return both


def read_split(path: Path) -> Split:
    """Read train.txt, test.txt and, where there is one, valid.txt: a line is a user and then their items, all numbers.

    Args:
        path: the folder that holds them, or an archive of it.

    Raises:
        InputError: a file is missing, holds nothing, or is of another form.
    """
    with open_source(path) as files:
        names = [name for name in PARTS if name != VALID or files.has(name)]
        pairs_by_part = {name: _read_pairs(files.find(name)) for name in names}
    for name, pairs in pairs_by_part.items():
        if not pairs:
            raise InputError("a part of the split is empty", where=f"{path}: {name}", expected="user id, item ids")
    parts = [pairs_by_part.get(name, []) for name in PARTS]
    users, items = (sort_ids({pair[side] for pairs in parts for pair in pairs}) for side in (0, 1))
    user_places, item_places = ({id_: place for place, id_ in enumerate(ids)} for ids in (users, items))
    return Split(users, items, *(_matrix(pairs, user_places, item_places) for pairs in parts))


def score(lists: Lists, held_out: csr_matrix, metrics: Sequence[str]) -> dict[str, float]:
    """Means of metrics such as recall@20 over those from whom something was withheld."""
    scored = np.flatnonzero(np.diff(held_out.indptr))
    means: dict[str, float] = {}
    for metric in metrics:
        k = int(metric.partition("@")[2])
        means[metric] = float(accuracy(lists[scored, :k], held_out[scored])[metric].mean())
    return means


def fit_settings(heard: csr_matrix, settings: Settings, order: CsrRows | None = None) -> tuple[Settings, Race]:
    """Settings with the recipe that a first training on these plays chooses, and the race."""
    race = run_race(
        InteractionRows(heard, order),
        _numbered_ids(heard.shape[1]),
        EPOCH,
        settings.interactions.half_life_days,
        settings.als,
        settings.ranking.candidates,
    )
    return settings.model_copy(update={"als": race.settings}), race


def fit(
    heard: csr_matrix,
    settings: Settings,
    order: CsrRows | None = None,
    parent: Model | None = None,
    iterations: int | None = None,
) -> Model:
    """Train on a part of a split as `train_als` does, without tables, by the recipe of the settings."""
    als = settings.als if iterations is None else settings.als.model_copy(update={"iterations": iterations})
    return train(
        InteractionRows(heard, order),
        _numbered_ids(heard.shape[1]),
        EPOCH,
        settings.interactions.half_life_days,
        als,
        parent,
    ).model


def rank_listeners(model: Model, heard: csr_matrix, settings: Settings, order: CsrRows | None = None) -> Lists:
    """Every listener's list as `rank_users` makes it, without tables; -1 where it is short.

    Args:
        order: items that each listener heard, oldest first; None if that is not known.
    """
    everything = Markets({None: 0}, 0, np.ones((1, len(model.item_indexes)), dtype=np.bool_), ("",))
    laid_out = lay_out_items(model.factors, model.score_multipliers, np.arange(len(model.item_indexes)))
    ranker = Ranker(model, laid_out, everything, None, EPOCH, settings.ranking, audit_share=0.0).prepare()
    ranked = []
    for batch in InteractionRows(heard, order):
        lists = ranker.rank(batch, Aligned(iter(())).of(batch.column("user_id")), RankingStats()).lists
        ranked.append(lists.select(["user_id", "items"]))
    users, items = (_numbered_ids(count) for count in heard.shape)
    return lists_array(pa.concat_tables(ranked), users, items, settings.ranking.top_k)


@dataclass(frozen=True)
class InteractionRows:
    """A matrix of plays as rows of `interactions`; can be iterated over again.

    Attributes:
        order: items that each listener heard, oldest first, as if one a day; None if that is not known.
    """

    heard: csr_matrix
    order: CsrRows | None = None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for first in range(0, self.heard.shape[0], _ROWS_AT_ONCE):
            heard = self.heard[first : first + _ROWS_AT_ONCE]
            listeners = np.arange(first, first + heard.shape[0])
            order = CsrRows.empty(len(listeners)) if self.order is None else self.order.take(listeners)
            yield _interaction_batch(heard, first, order)


def _interaction_batch(heard: csr_matrix, first: int, order: CsrRows) -> pa.RecordBatch:
    listeners = heard.shape[0]
    offsets = pa.array(heard.indptr.astype(np.int32))
    plays = pa.ListArray.from_arrays(offsets, pa.array(heard.data.astype(np.int64) * UNIT))
    days = pa.repeat(pa.scalar(EPOCH), heard.nnz)
    age = np.repeat(order.offsets[1:], order.lengths) - np.arange(len(order.positions))
    recent, age = order.where(age <= WINDOW_LISTENS), age[age <= WINDOW_LISTENS]
    recent_offsets = pa.array(recent.offsets.astype(np.int32))
    times = pa.array(-age * np.timedelta64(1, "D") + np.datetime64(EPOCH, "us"), pa.timestamp("us", "UTC"))
    return pa.RecordBatch.from_pydict(
        {
            "user_id": _numbered_ids(listeners, first),
            "market": pa.nulls(listeners, pa.string()),
            "period": pa.repeat(pa.scalar(0, pa.int32()), listeners),
            "item_indexes": pa.ListArray.from_arrays(offsets, pa.array(heard.indices.astype(np.int32))),
            "play_sums": plays,
            "second_sums": plays,
            "last_heard": pa.ListArray.from_arrays(offsets, days),
            "recent_items": pa.ListArray.from_arrays(recent_offsets, pa.array(recent.positions.astype(np.int32))),
            "recent_times": pa.ListArray.from_arrays(recent_offsets, times),
            "digest": pa.repeat("", listeners),
        }
    )


def _numbered_ids(count: int, first: int = 0) -> pa.Array:
    """Numbers as ids whose order as texts is that of the numbers."""
    return pa.array([f"{number:09d}" for number in range(first, first + count)])


def _read_pairs(path: Path) -> list[tuple[str, str]]:
    return [(user, item) for user, items in read_part(path) for item in items]


def sort_ids(ids: set[str]) -> tuple[str, ...]:
    """Ids in the order of numbers if all are, else of texts."""
    numbers = all(id_.isdecimal() for id_ in ids)
    return tuple(sorted(ids, key=int) if numbers else sorted(ids))


def _matrix(pairs: Sequence[tuple[str, str]], user_places: dict[str, int], item_places: dict[str, int]) -> csr_matrix:
    rows, columns = [user_places[user] for user, _ in pairs], [item_places[item] for _, item in pairs]
    matrix = csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (len(user_places), len(item_places)))
    matrix.data[:] = 1
    matrix.sort_indices()
    return matrix
