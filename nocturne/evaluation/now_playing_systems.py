"""Systems that say what comes next: ours, each of its parts alone, and the truth of a simulation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Protocol

import numpy as np
from scipy.sparse import csr_matrix

from nocturne.core.arrays import Codes, Factors, Floats, Mask, Positions
from nocturne.core.list_arrays import Lists, empty_lists
from nocturne.evaluation import session_baselines as baselines
from nocturne.evaluation.baselines import Requests, best_lists, popular
from nocturne.evaluation.session_truth import SessionTruth
from nocturne.evaluation.sessions import Questions, Sessions
from nocturne.serving.cache.rows import ServedRow
from nocturne.serving.full_ranking import rank_catalogue
from nocturne.serving.now_playing import Filters, not_let_back, now_playing
from nocturne.serving.reader import Served

OURS, TRUTH = "now playing", "the truth"


class System(Protocol):
    """A maker of lists, one a question; shape (questions, top_k)."""

    def __call__(self, questions: Questions, top_k: int, *, allow_heard: bool) -> Lists:
        """Lists for questions, with what their listeners heard before if that is allowed."""


@dataclass(frozen=True)
class Asked:
    """A night's generation, the sessions known on it, and questions of the days after.

    Attributes:
        items: how many have a number.
        rows: of the questions' listeners, as the generation has them; None of one whom it does not know.
        truth: of a simulation; None of real sessions.
    """

    served: Served
    items: int
    known: Sessions
    questions: Questions
    rows: tuple[ServedRow | None, ...]
    truth: SessionTruth | None

    @cached_property
    def plays(self) -> csr_matrix:
        """Listens known on the night, by listener and item."""
        return baselines.plays_of(self.known, self.items)

    @cached_property
    def markets(self) -> tuple[str | None, ...]:
        """Market of each listener: that of their listens, else that of their row."""
        heard_in = self.questions.markets.to_pylist()
        return tuple(
            market if market is not None or row is None else row.market
            for market, row in zip(heard_in, self.rows, strict=True)
        )

    @cached_property
    def classes(self) -> tuple[Mask, Codes]:
        """Items that may be listed in each market, shape (markets, items), and the place there of each listener's."""
        names = list(dict.fromkeys(self.markets))
        masks = np.array([self.served.items.may_list(name) for name in names])
        return masks, np.array([names.index(name) for name in self.markets], np.int32)

    @cached_property
    def creators(self) -> Codes:
        """Creator of each item by number; -1 where there is none; shape (items,)."""
        names = [self.served.items.describe(number).creator for number in range(self.items)]
        numbers = {name: number for number, name in enumerate(dict.fromkeys(filter(None, names)))}
        return np.array([-1 if name is None else numbers.get(name, -1) for name in names], np.int32)

    def new(self) -> Questions:
        """Questions whose next item their listener had not heard, neither up to the night nor after it."""
        nothing = np.zeros(0, np.int64)
        heard = [at * self.items + row.heard.astype(np.int64) for at, row in enumerate(self.rows) if row is not None]
        keys = self.questions.listener * self.items + self.questions.next_item
        known = np.isin(keys, np.concatenate([nothing, *heard]))
        return self.questions.take(np.flatnonzero(~known & ~self.questions.played_before))

    def requests(self, questions: Questions, *, allow_heard: bool) -> Requests:
        """Rules of each question's list: neither the session so far nor, unless allowed, anything heard is in it."""
        context = questions.context
        asked, place = np.unique(questions.listener, return_inverse=True)
        rows = [None if allow_heard else self.rows[at] for at in asked.tolist()]
        heard = [np.zeros(0, np.int32) if row is None else not_let_back(self.served.items, row) for row in rows]
        lengths = np.array([len(items) for items in heard])
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        of_listener = csr_matrix((np.ones(offsets[-1]), np.concatenate(heard), offsets), (len(asked), self.items))
        ones = np.ones(len(context.positions))
        played = csr_matrix((ones, context.positions, context.offsets), (len(questions), self.items))
        barred = (of_listener[place] + played).tocsr()
        masks, classes = self.classes
        return Requests(np.arange(len(questions)), barred, masks, classes[questions.listener])

    def law(self, questions: Questions, *, allow_heard: bool) -> Floats:
        """True probability of each item to come next, 0 for what may not be offered; shape (questions, items)."""
        assert self.truth
        requests = self.requests(questions, allow_heard=allow_heard)
        law = np.zeros((len(questions), self.items))
        for number in np.unique(requests.classes):
            some = np.flatnonzero(requests.classes == number)
            mask = requests.masks[number]
            law[some] = self.truth.next_items(questions.listener[some], questions.context.take(some), mask)
        law[np.repeat(np.arange(len(law)), np.diff(requests.heard.indptr)), requests.heard.indices] = 0
        return law


def systems_of(asked: Asked) -> Mapping[str, System]:
    """Systems by name, ours first."""

    def of_requests(answer: Callable[[Questions, Requests, int], Lists]) -> System:
        def system(questions: Questions, top_k: int, *, allow_heard: bool) -> Lists:
            return answer(questions, asked.requests(questions, allow_heard=allow_heard), top_k)

        return system

    systems: dict[str, System] = {
        OURS: partial(_ours, asked),
        "the listener's ranking": of_requests(partial(_personal, asked)),
        "co-occurrence": of_requests(
            lambda questions, requests, top_k: baselines.co_occurrence(
                asked.known, asked.plays, questions.context, requests, top_k
            )
        ),
        "sequential rules": of_requests(
            lambda questions, requests, top_k: baselines.session_rules(
                asked.known, asked.plays, questions.context, requests, top_k
            )
        ),
        "the creator's items": of_requests(
            lambda questions, requests, top_k: baselines.same_creator(
                asked.creators, asked.plays, questions.context, requests, top_k
            )
        ),
        "popular": of_requests(lambda _, requests, top_k: popular(asked.plays, requests, top_k)),
    }
    return systems | ({TRUTH: partial(_by_the_truth, asked)} if asked.truth else {})


def _ours(asked: Asked, questions: Questions, top_k: int, *, allow_heard: bool) -> Lists:
    """The answers of the service."""
    lists = empty_lists(len(questions), top_k)
    describe = asked.served.items.describe
    for place, listener in enumerate(questions.listener.tolist()):
        *recent, playing = (describe(number).item_id for number in questions.context.row(place).tolist())
        filters = Filters(limit=top_k, market=asked.markets[listener], allow_heard=allow_heard)
        answer = now_playing(asked.served.items, asked.rows[listener], playing, recent, filters)
        numbers = [suggestion.number for suggestion in answer.suggestions]
        lists[place, : len(numbers)] = numbers
    return lists


def _personal(asked: Asked, questions: Questions, requests: Requests, top_k: int) -> Lists:
    """The exact ranking of the catalogue for the listener; of one without factors what is popular."""
    items, lists = asked.served.items, popular(asked.plays, requests, top_k)
    for place, listener in enumerate(questions.listener.tolist()):
        row = asked.rows[listener]
        if row is None or row.factors is None:
            continue
        allowed = requests.masks[requests.classes[place]].copy()
        allowed[requests.heard[place].indices] = False
        numbers, _ = rank_catalogue(items, row, allowed, top_k)
        lists[place] = -1
        lists[place, : len(numbers)] = numbers
    return lists


def _by_the_truth(asked: Asked, questions: Questions, top_k: int, *, allow_heard: bool) -> Lists:
    """The most probable items: nobody can do better in the long run."""

    def score(some: Positions) -> Factors:
        return asked.law(questions.take(some), allow_heard=allow_heard).astype(np.float32)

    requests = asked.requests(questions, allow_heard=allow_heard)
    return best_lists(score, asked.plays, requests, top_k)
