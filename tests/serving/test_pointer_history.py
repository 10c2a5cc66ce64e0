"""The pointer's history, searched: nights, reruns, rollbacks, releases and accidents in any order, on two caches.

A model of a few lines says what `nights` and the caches must come to; everything else is real.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from nocturne.core.errors import GateClosed, InputError, ServiceError, UsageError
from nocturne.core.night import Night
from nocturne.serving import manifest, publications, rollout
from nocturne.serving.cache import Cache, Pointer, open_cache
from nocturne.serving.cache.lmdb.store import LmdbCache
from nocturne.serving.night_record import PUBLISHED, ROLLED_BACK, STALE, SUPERSEDED
from nocturne.serving.refresh_cache import refresh_cache
from nocturne.storage import writing
from tests.fixtures import tiny_nights
from tests.fixtures.tiny_nights import FIRST_NIGHT, LISTENERS, TABLES, Lists, generation, lists_of

pytestmark = pytest.mark.slow

CACHES = st.sampled_from(["one", "other"])
BACK = st.sampled_from([0, 0, 1, 1, 2, 3])
"""Nights back from the next one: 0 is the next, 1 the newest again."""
MOST_NIGHTS = 5
VARIANTS = st.integers(0, 3)
KILLED_AT = st.integers(1, 6)


class Killed(BaseException):
    """The end of a process: nothing that it could handle."""


@dataclass
class ModelOfCache:
    """A cache as it must be.

    Attributes:
        served: every generation that it came to serve, in order.
        held: whether the last move on record left it held.
        emptied: whether nothing was served since it was emptied.
    """

    served: list[str] = field(default_factory=list)
    held: bool = False
    emptied: bool = True

    @property
    def now(self) -> str | None:
        return None if self.emptied else self.served[-1]


@dataclass
class ModelOfNight:
    """A night as its tables are.

    Attributes:
        lists: in `ranked_lists`.
        validated: names of the expectations that were evaluated.
        sound: whether they hold.
        current: generation that `nights` has for these tables; None if the gate closed, or before the last stage.
    """

    lists: Lists
    validated: frozenset[str]
    sound: bool
    current: str | None = None


class PointerHistory(RuleBasedStateMachine):
    """Two caches and their warehouse."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tiny_nights.new_folder("history-")
        self.service = tiny_nights.service_in(self.folder)
        self.records = publications.Nights(self.service.warehouse)
        self.names = {"sound"}
        self.token = 0
        self.nights: dict[date, ModelOfNight] = {}
        self.states: dict[str, str] = {}
        self.closed: set[date] = set()
        self.lists: dict[str, Lists] = {}
        self.caches = {"one": ModelOfCache(), "other": ModelOfCache()}
        self.players: dict[str, Cache] = {}
        self.running = tiny_nights.without_spark(lambda: dict.fromkeys(TABLES, self.names))
        self.running.__enter__()

    @initialize(variants=st.tuples(VARIANTS, VARIANTS))
    def run_two_nights(self, variants: tuple[int, int]) -> None:
        for variant in variants:
            self.run_night("one", 0, variant)
        self.run_last_stage_again("other", 1)

    # What people and accidents do

    @rule(cache=CACHES, back=BACK, variant=VARIANTS)
    def run_night(self, cache: str, back: int, variant: int) -> None:
        night = self.night(cache, back)
        self.write(night, lists_of(variant))
        self.run_last_stage(cache, night)

    @rule(cache=CACHES, back=BACK, variant=VARIANTS)
    def run_night_whose_gate_closes(self, cache: str, back: int, variant: int) -> None:
        night = self.night(cache, back)
        self.write(night, lists_of(variant), sound=False)
        self.run_last_stage(cache, night)

    @rule(cache=CACHES, back=st.integers(1, 3))
    def run_last_stage_again(self, cache: str, back: int) -> None:
        self.run_last_stage(cache, self.night(cache, back))

    @rule(cache=CACHES, back=BACK, variant=VARIANTS, at=KILLED_AT)
    def kill_night_and_run_it_again(self, cache: str, back: int, variant: int, at: int) -> None:
        night = self.night(cache, back)
        self.write(night, lists_of(variant))
        with killed_at(at):
            self.refresh(night)
        self.run_last_stage(cache, night)

    @rule(cache=CACHES, late=BACK, back=BACK, variant=VARIANTS)
    def wake_late_writer_after_a_night(self, cache: str, late: int, back: int, variant: int) -> None:
        """A writer stops before its last stage; when it wakes, a night has been run under a later token."""
        stopped = self.night(cache, late)
        self.write(stopped, lists_of(variant))
        self.run_night(cache, back, (variant + 1) % 4)
        with pytest.raises(ServiceError):
            self.refresh(stopped)

    @rule(cache=CACHES)
    def roll_back(self, cache: str) -> None:
        """To the one before."""
        self.roll_back_to(cache, None)

    @rule(cache=CACHES, place=st.integers(0, 2))
    def roll_back_to(self, cache: str, place: int | None) -> None:
        """To one that is named, if there are as many."""
        pointer = self.pointer(cache)
        earlier = [each.name for each in pointer.earlier] if pointer else []
        to = earlier[place] if place is not None and place < len(earlier) else None
        target = to or next(iter(earlier), None)
        model = self.caches[cache]
        if pointer is None or model.held or target is None:
            expected: type[Exception] | None = UsageError
        else:
            expected = InputError if self.states[target] == ROLLED_BACK else None
        with self.opened(cache) as store, raises(expected):
            rollout.rollback(self.service.warehouse, store, "too much jazz", to)
        if expected is None:
            assert pointer
            assert target
            names = [each.name for each in pointer.retained]
            since = model.served[_last(model.served, target) + 1 :] if target in model.served else model.served
            for name in {*names[: names.index(target)], *since} - {target}:
                self.states[name] = ROLLED_BACK
            model.served.append(target)
            model.held = True

    @rule(cache=CACHES)
    def let_go(self, cache: str) -> None:
        model = self.caches[cache]
        with self.opened(cache) as store, raises(UsageError if model.emptied else None):
            rollout.release(self.service.warehouse, store)
        if not model.emptied and model.held:
            model.served.append(model.served[-1])
            model.held = False

    @rule(cache=CACHES)
    def empty(self, cache: str) -> None:
        if player := self.players.pop(cache, None):
            player.close()
        shutil.rmtree(self.folder / cache, ignore_errors=True)
        self.caches[cache].emptied = True

    @rule()
    def change_suites(self) -> None:
        """A critical expectation comes, or goes."""
        self.names = self.names ^ {"of_tomorrow"}

    # What must be so after each of them

    @invariant()
    def players_read_the_lists_of_the_generation_that_is_served(self) -> None:
        for name, model in self.caches.items():
            pointer = self.pointer(name)
            assert (pointer.served.name if pointer else None) == model.now
            if pointer:
                assert (pointer.frozen_reason is not None) == model.held
            served = self.lists[model.now] if model.now else {}
            for user in (*LISTENERS, "nobody"):
                found = self.player(name).get(user)
                assert (found.item_ids if found else None) == served.get(user)

    @invariant()
    def nights_are_what_became_of_them(self) -> None:
        records = self.records.records()
        assert {each.generation: each.state for each in records if each.generation} == self.states
        assert {each.run_date for each in records if each.generation is None} == self.closed
        of_dates = {each.run_date: each for each in records}  # of each the last, which counts
        assert {day: each.generation for day, each in of_dates.items()} == {
            day: night.current for day, night in self.nights.items() if night.current or day in self.closed
        }
        for record in records:
            file = json.loads(manifest.file_path(self.service, record.manifest).read_bytes())
            assert file["manifest"] == record.checksum == record.manifest.checksum
        recorded = publications.recorded_pointers(records)
        for name, model in self.caches.items():
            if not model.emptied:
                assert recorded[self.url(name)] == self.pointer(name)

    def teardown(self) -> None:
        try:
            if self.nights:  # or hypothesis has given up before the first one
                self.end_well()
        finally:
            for player in self.players.values():
                player.close()
            self.running.__exit__(None, None, None)
            shutil.rmtree(self.folder)

    def end_well(self) -> None:
        """Running the newest night again, and letting go where a cache is held, has everybody served it."""
        newest = self.night("one", 1)
        lists = self.nights[newest.run_date].lists
        self.write(newest, lists)
        for cache in self.caches:
            self.run_last_stage(cache, self.night(cache, 1))
        held = [cache for cache, model in self.caches.items() if model.held]
        for cache in held:
            self.let_go(cache)
        for cache in self.caches if held else ():
            self.run_last_stage(cache, self.night(cache, 1))
        for model in self.caches.values():
            assert model.now == generation(newest.run_date, lists)
        self.records = publications.Nights(self.service.warehouse)  # read as by whoever comes anew
        self.players_read_the_lists_of_the_generation_that_is_served()
        self.nights_are_what_became_of_them()

    # How they do it, and what the model makes of it

    def night(self, cache: str, back: int) -> Night:
        """A night of the service under a new token; the first, or the last, where it would be another."""
        day = min(max(len(self.nights) - back, 0), MOST_NIGHTS - 1)
        self.token += 1
        night = replace(self.service, run_date=FIRST_NIGHT + timedelta(days=day), cache=self.url(cache))
        return replace(night, warehouse=replace(night.warehouse, token=self.token))

    def write(self, night: Night, lists: Lists, *, sound: bool = True) -> None:
        tiny_nights.write_night(night, lists, dict.fromkeys(TABLES, self.names), sound=sound)
        before = self.nights.get(night.run_date)
        current = before.current if before else None
        self.nights[night.run_date] = ModelOfNight(lists, frozenset(self.names), sound, current)

    def refresh(self, night: Night) -> None:
        refresh_cache(None, night, lambda *_: None)

    def run_last_stage(self, cache: str, night: Night) -> None:
        of_night = self.nights[night.run_date]
        if not (of_night.sound and self.names <= of_night.validated):
            with pytest.raises(GateClosed):
                self.refresh(night)
            self.supersede(night.run_date, None)
            self.closed.add(night.run_date)
            of_night.current = None
            return
        self.refresh(night)
        name = generation(night.run_date, of_night.lists)
        self.lists[name] = of_night.lists
        held = any(model.held for model in self.caches.values())
        withdrawn = held and self.states.get(name) == ROLLED_BACK
        if of_night.current != name:
            self.make_later_nights_stale(night.run_date)
        self.supersede(night.run_date, name)
        self.states[name] = ROLLED_BACK if withdrawn else PUBLISHED
        self.closed.discard(night.run_date)
        of_night.current = name
        self.follow(self.caches[cache], name, withdrawn=withdrawn)

    def supersede(self, day: date, name: str | None) -> None:
        for other, state in self.states.items():
            if other.startswith(f"{day}-") and other != name and state != ROLLED_BACK:
                self.states[other] = SUPERSEDED

    def make_later_nights_stale(self, day: date) -> None:
        for other, state in self.states.items():
            if state == PUBLISHED and date.fromisoformat(other[:10]) > day:
                self.states[other] = STALE

    def follow(self, model: ModelOfCache, name: str, *, withdrawn: bool) -> None:
        """The pointer after a night was published."""
        if model.held:
            model.emptied = False
        elif not withdrawn and (model.emptied or (name[:10] >= model.served[-1][:10] and name != model.served[-1])):
            model.served.append(name)
            model.emptied = False

    def url(self, cache: str) -> str:
        return f"lmdb:{self.folder / cache}"

    def opened(self, cache: str) -> Cache:
        return open_cache(self.url(cache))

    def player(self, cache: str) -> Cache:
        if cache not in self.players:
            self.players[cache] = open_cache(self.url(cache), read_only=True)
        return self.players[cache]

    def pointer(self, cache: str) -> Pointer | None:
        return self.player(cache).pointer()


@contextmanager
def raises(expected: type[Exception] | None) -> Iterator[None]:
    with pytest.raises(expected) if expected else nullcontext():
        yield


@contextmanager
def killed_at(number: int) -> Iterator[None]:
    """Killed before the commit of that number: of `nights`, of a manifest's file, or of a pointer."""
    left = number

    def counted(function: Callable[..., object]) -> Callable[..., object]:
        def commit(*arguments: object, **options: object) -> object:
            nonlocal left
            left -= 1
            if not left:
                raise Killed
            return function(*arguments, **options)

        return commit

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publications.writing, "replace_rows", counted(writing.replace_rows))
        patch.setattr(manifest, "write_file", counted(manifest.write_file))
        patch.setattr(LmdbCache, "swap_pointer", counted(LmdbCache.swap_pointer))
        with suppress(Killed):
            yield


def _last(names: list[str], name: str) -> int:
    return len(names) - 1 - names[::-1].index(name)


PointerHistory.TestCase.settings = settings(max_examples=11, stateful_step_count=20)
TestPointerHistory = PointerHistory.TestCase
