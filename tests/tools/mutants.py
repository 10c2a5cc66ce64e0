"""Mutants: small faults put into the code that decides what is served, which the quick tests have to notice.

python -m tests.tools.mutants --mutants 200 --seed 1

mutmut says which faults there are (`+` for `-`, `<` for `<=`, None for an argument ...). It leaves out whatever is
decorated, and with it every compiled loop; here these are mutated too, and run as plain Python. A process imports the
tests once. A child of it notes which functions each test of `make check` calls; then a child for each mutant runs the
tests that call the mutated function, until one fails. Progress is on stderr. Ends with a diff for every survivor and
`mutants seed=... drawn=... killed=... timed_out=... unreached=... share=...`; status 1 if the share is under the least.
"""

import argparse
import inspect
import os
import pickle
import random
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from functools import partial
from importlib import import_module
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import libcst as cst
import numba
import pytest
from _pytest.runner import runtestprotocol
from libcst.metadata import MetadataWrapper
from mutmut.mutation.file_mutation import Mutation, MutationVisitor, deep_replace
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import IgnoredCode

ROOT = Path(__file__).parents[2]
MUTATED = (
    *sorted(path.relative_to(ROOT) for path in (ROOT / "nocturne" / "kernel").glob("[a-z]*.py")),
    Path("nocturne/validation/gate.py"),
    Path("nocturne/ranking/eligibility.py"),
    Path("nocturne/ingestion/row_merge.py"),
    Path("nocturne/serving/cache/pointer.py"),
)
"""The files whose mutants are drawn: ranking with its bounds and merges, the gate, eligibility, rows, the pointer."""
TESTS = ("kernel", "ranking", "validation", "ingestion", "serving/cache", "serving/test_*.py", "steering/test_*.py")
"""Tests below tests/; of each, what `make check` runs."""
STAY_COMPILED = ("nocturne.core.hashing", "nocturne.core.xxhash")
"""Loops that are not mutated, count on wrap-around, and would take minutes as plain Python."""
LEAST_SHARE = 0.8
GRACE = 20
"""Seconds for a mutant beside three times what its tests took: what is not over then never ends, and is killed."""


class EveryFunction(MutationVisitor):
    """Mutations of decorated functions too: the code of a function is replaced under its decorators."""

    def _skip_node_and_children(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.FunctionDef) and node.decorators:
            return False
        return bool(super()._skip_node_and_children(node))


@dataclass(frozen=True)
class Mutant:
    """One fault in one function.

    Attributes:
        qualname: of the function, within its module.
        source: the mutated function, without decorators.
        diff: of the function, for people.
    """

    path: Path
    qualname: str
    source: str
    diff: str

    @property
    def module(self) -> str:
        """Module of the file."""
        return ".".join(self.path.with_suffix("").parts)

    def apply(self) -> None:
        """Give the function the mutated code, for everyone who has imported it."""
        function = function_of(self.module, self.qualname)
        scope: dict[str, Any] = dict(function.__globals__)
        exec(compile(self.source, str(self.path), "exec"), scope)
        mutated = scope[function.__name__]
        function.__code__, function.__defaults__ = mutated.__code__, mutated.__defaults__
        function.__kwdefaults__ = mutated.__kwdefaults__


def function_of(module: str, qualname: str) -> FunctionType:
    """The plain function under its decorators."""
    owner: Any = import_module(module)
    *classes, name = qualname.split(".")
    for each in classes:
        owner = getattr(owner, each)
    found: Any = vars(owner)[name]
    for inside in ("fget", "func", "__func__", "py_func"):
        found = getattr(found, inside, None) or found
    plain: FunctionType = inspect.unwrap(found)
    return plain


def mutations_of(path: Path) -> list[tuple[Path, cst.Module, Mutation]]:
    """Every mutation within the functions of a file, in the order of its lines."""
    wrapper = MetadataWrapper(cst.parse_module((ROOT / path).read_text(encoding="utf-8")))
    visitor = EveryFunction(mutation_operators, IgnoredCode(set(), set(), set()))  # no comment spares a line
    module = wrapper.visit(visitor)
    return [
        (path, module, mutation)
        for mutation in visitor.mutations
        if isinstance(mutation.contained_by_top_level_function, cst.FunctionDef)
    ]


def mutant(path: Path, module: cst.Module, mutation: Mutation) -> Mutant:
    """The function with the mutation in it."""
    function = mutation.contained_by_top_level_function
    mutated = function and deep_replace(function, mutation.original_node, mutation.mutated_node)
    if not isinstance(function, cst.FunctionDef) or not isinstance(mutated, cst.FunctionDef):
        raise TypeError(f"a mutation in {path} leaves no function")
    owners = [each.name.value for each in module.body if isinstance(each, cst.ClassDef) and function in each.body.body]
    before, after = (
        cst.Module([each.with_changes(decorators=(), leading_lines=())]).code for each in (function, mutated)
    )
    diff = "\n".join(list(unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0))[2:])
    return Mutant(path, ".".join([*owners, function.name.value]), after, diff)


Reached = dict[str, set[tuple[str, str]]]


class Hunt:
    """A plugin of pytest: instead of running the tests once, runs those that count for each mutant."""

    def __init__(self, mutants: Sequence[Mutant], processes: int) -> None:
        self.mutants, self.processes = mutants, processes
        self.outcomes: dict[int, str] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Note what each test calls, then hunt."""
        items = {item.nodeid: item for item in session.items}
        with tempfile.TemporaryDirectory() as folder:
            told = Path(folder) / "calls"
            pid = _child(lambda: self._note_calls(session, told))
            os.waitpid(pid, 0)
            if not told.exists():
                raise pytest.UsageError("the tests ended before they told what they call")
            seconds, calls = pickle.loads(told.read_bytes())
        for name in items.keys() - seconds.keys():
            print(f"left out, since it does not pass unmutated: {name}", file=sys.stderr)
        tests: dict[tuple[str, str], list[str]] = defaultdict(list)
        for name in sorted(seconds, key=lambda name: (seconds[name], name)):
            for function in calls[name]:
                tests[function].append(name)
        print(f"{len(seconds)} of {len(items)} tests pass without compiled kernels", file=sys.stderr)
        running: dict[int, int] = {}
        for number, each in enumerate(self.mutants):
            names = tests[str(each.path), each.qualname]
            if not names:
                self.outcomes[number] = "unreached"
                continue
            limit = int(GRACE + 3 * sum(seconds[name] for name in names))
            while len(running) >= self.processes:
                self._await(running)
            chosen = [items[name] for name in names]
            running[_child(partial(self._attack, each, chosen, limit))] = number
        while running:
            self._await(running)
        return True

    def _await(self, running: dict[int, int]) -> None:
        pid, status = os.wait()
        number = running.pop(pid)
        if os.WIFSIGNALED(status):
            outcome = "timed_out" if os.WTERMSIG(status) == signal.SIGALRM else "killed"
        else:
            outcome = "killed" if os.WEXITSTATUS(status) else "survived"
        self.outcomes[number] = outcome
        each = self.mutants[number]
        print(f"{len(self.outcomes)}/{len(self.mutants)} {outcome} {each.module}.{each.qualname}", file=sys.stderr)

    def _note_calls(self, session: pytest.Session, told: Path) -> None:
        """Run every test; write the seconds of those that pass, and the mutated functions that each calls."""
        files = {str(ROOT / path): str(path) for path in MUTATED}
        seconds: dict[str, float] = {}
        calls: Reached = {}
        seen: dict[CodeType, None] = {}

        def note(frame: FrameType, event: str, _: object) -> None:
            if event == "call" and frame.f_code.co_filename in files:
                seen[frame.f_code] = None

        for place, item in enumerate(session.items):
            seen.clear()
            started = time.monotonic()
            sys.setprofile(note)
            passed = _passes(item, next(iter(session.items[place + 1 :]), None))
            sys.setprofile(None)
            if passed:
                seconds[item.nodeid] = time.monotonic() - started
                # A function within another one counts as the outer one.
                calls[item.nodeid] = {
                    (files[code.co_filename], code.co_qualname.partition(".<locals>")[0]) for code in seen
                }
        told.write_bytes(pickle.dumps((seconds, calls)))

    @staticmethod
    def _attack(each: Mutant, items: Sequence[pytest.Item], limit: int) -> None:
        signal.alarm(limit)
        each.apply()
        for place, item in enumerate(items):
            if not _passes(item, next(iter(items[place + 1 :]), None)):
                os._exit(1)


def _passes(item: pytest.Item, following: pytest.Item | None) -> bool:
    reports = runtestprotocol(item, log=False, nextitem=following)
    return all(not report.failed for report in reports) and any(report.passed for report in reports)


def _child(work: Callable[[], None]) -> int:
    """Fork; the child does the work, silently, and ends without what the parent would do at its end."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    try:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        work()
        os._exit(0)
    except BaseException:  # noqa: BLE001 - whatever a mutant throws, the child is over
        os._exit(1)


def main(argv: Sequence[str] | None = None) -> int:
    """Hunt, and print what survived."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mutants", type=int, default=200, help="how many are drawn; 0: all")
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    parser.add_argument("--file", default="", help="draw from files whose path contains this alone")
    parser.add_argument("--processes", type=int, default=2, help="mutants hunted at once")
    chosen = parser.parse_args(argv)
    every = [mutation for path in MUTATED if chosen.file in str(path) for mutation in mutations_of(path)]
    number = min(chosen.mutants or len(every), len(every))
    drawn = sorted(random.Random(chosen.seed).sample(range(len(every)), number))
    hunt = Hunt([mutant(*every[place]) for place in drawn], chosen.processes)
    for module in STAY_COMPILED:
        import_module(module)
    numba.config.DISABLE_JIT = 1
    quick = ["-s", "-m", "not slow", "--hypothesis-profile", "quick", "-p", "no:cacheprovider", "-p", "no:xdist"]
    paths = [str(path) for pattern in TESTS for path in sorted((ROOT / "tests").glob(pattern))]
    status = pytest.main([*quick, *paths], plugins=[hunt])
    if len(hunt.outcomes) < number:
        return int(status) or 2
    for place, each in enumerate(hunt.mutants):
        if hunt.outcomes[place] in {"survived", "unreached"}:
            print(f"{hunt.outcomes[place]}: {each.path} {each.qualname}\n{each.diff}\n")
    counts = {name: list(hunt.outcomes.values()).count(name) for name in ("killed", "timed_out", "unreached")}
    share = (counts["killed"] + counts["timed_out"]) / max(1, number)
    told = " ".join(f"{name}={count}" for name, count in counts.items())
    print(f"mutants seed={chosen.seed} of={len(every)} drawn={number} {told} share={share:.3f}")
    return int(share < LEAST_SHARE)


if __name__ == "__main__":
    sys.exit(main())
