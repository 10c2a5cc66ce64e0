"""The house rules that no single module can break unnoticed."""

import ast
import logging.config
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

from docs.tools.document_tables import tables_page
from nocturne.flow import AFTER_PUBLICATION, GATED_TABLES, NIGHTLY, TABLES, VALIDATED_TABLES, VALIDATION
from nocturne.pipeline import stages
from nocturne.validation.suites import CRITICAL, metric_names

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "nocturne").rglob("*.py"))
BESIDE_DAGS = {
    "nocturne.flow",
    "airflow",
    "tasks",
    "deadlines",
    "upcoming_cron",
    "stage_deadline",
} | sys.stdlib_module_names


@cache
def syntax_tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path):
    """Every module that a file imports, wherever in the file."""
    for node in ast.walk(syntax_tree(path)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def outside(names, allowed):
    return [name for name in names if not any(f"{name}.".startswith(f"{root}.") for root in allowed)]


def lines_of_code(function):
    """Lines of the body, without the docstring."""
    first = function.body[1] if ast.get_docstring(function) and len(function.body) > 1 else function.body[0]
    return function.end_lineno - first.lineno + 1


def test_imports_keep_to_the_layers(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(logging.config, "dictConfig", lambda _: None)  # it would silence every logger there is
    assert lint_imports(no_cache=True, no_logo=True) == EXIT_STATUS_SUCCESS  # the broken chains are in the output


def test_dags_import_the_flow_airflow_and_the_standard_library_only():
    for path in sorted(path for folder in ("dags", "plugins") for path in (ROOT / folder).glob("*.py")):
        assert outside(imports(path), BESIDE_DAGS) == [], path


def test_jobs_import_nocturne_alone():
    for path in sorted((ROOT / "jobs").glob("*.py")):
        assert outside(imports(path), {"nocturne"}) == [], path


def test_every_table_has_a_contract_and_every_contract_a_table():
    assert {path.stem for path in (ROOT / "schemas").glob("*.sql")} == set(TABLES)


def test_every_validated_table_has_a_suite_and_every_suite_a_validated_table():
    assert {path.stem for path in (ROOT / "expectations").glob("*.json")} == set(VALIDATED_TABLES)


def test_a_table_that_no_list_waits_for_has_warnings_only():
    later = {table for stage in AFTER_PUBLICATION for table in stage.writes}
    assert set(VALIDATED_TABLES) - set(GATED_TABLES) == later
    assert [metric_names(table, CRITICAL) for table in later] == [set()] * len(later)


def test_every_stage_has_a_job_and_every_job_a_stage():
    names = {stage.name for stage in (*NIGHTLY, VALIDATION)}
    assert {path.stem for path in (ROOT / "jobs").glob("*.py")} == names
    assert list(stages.STAGES) == [stage.name for stage in NIGHTLY]


def test_a_stage_reads_nothing_that_neither_it_nor_an_earlier_stage_wrote():
    # Results of earlier nights say which experiments people have ended.
    written = {"landing", *VALIDATION.writes, "costs", "experiment_results", "tombstones"}
    for stage in NIGHTLY:
        written |= set(stage.writes)
        assert set(stage.reads) <= written, stage.name


@cache
def uses(path):
    """Functions of a file by the attribute or variable that they name, wherever in them; "" outside of any."""
    functions = defaultdict(set)

    def visit(node, function):
        function = node.name if isinstance(node, ast.FunctionDef) else function
        for name in (getattr(node, "attr", None), getattr(node, "id", None)):
            functions[name].add(function)
        for child in ast.iter_child_nodes(node):
            visit(child, function)

    visit(syntax_tree(path), "")
    return functions


OUR_CODE = sorted(path for folder in ("nocturne", "jobs", "dags", "plugins") for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("swap_pointer", {("rollout.py", "_move_pointer")}),
        ("_compare_and_set", {("base.py", "swap_pointer")}),
        ("_move_pointer", {("rollout.py", name) for name in ("refresh", "rollback", "release", "_recover_pointer")}),
    ],
)
def test_the_pointer_moves_in_one_function_only(name, allowed):
    assert {(path.name, function) for path in OUR_CODE for function in uses(path)[name]} == allowed


def test_nobody_but_the_stores_names_the_key_of_the_pointer():
    naming = {path.name for path in OUR_CODE if "nocturne:pointer" in path.read_text() or uses(path)["POINTER_KEY"]}
    assert naming <= {"store.py", "scripts.py"}


def test_the_pointer_moves_last_after_every_proof():
    tree = syntax_tree(ROOT / "nocturne" / "serving" / "rollout.py")
    (move,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "_move_pointer")
    calls = [node for node in ast.walk(move) if isinstance(node, ast.Call)]
    in_order = sorted(calls, key=lambda node: (node.lineno, node.col_offset))
    names = [getattr(node.func, "attr", getattr(node.func, "id", "")) for node in in_order]
    proofs = ["verify", "_require_whole", "_require_sample", "swap_pointer"]
    assert [name for name in names if name in proofs] == proofs
    assert not any(isinstance(node, ast.If | ast.Try | ast.While | ast.For) for node in ast.walk(move))


@pytest.mark.parametrize("name", ["utils", "util", "helpers", "common", "misc"])
def test_no_module_is_called_after_nothing(name):
    assert name not in {path.stem for path in MODULES} | {path.parent.name for path in MODULES}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 400
    functions = (node for node in ast.walk(syntax_tree(path)) if isinstance(node, ast.FunctionDef))
    assert [node.name for node in functions if lines_of_code(node) >= 60] == []


def test_a_docstring_begins_with_its_noun_or_its_verb():
    """Not with a question that only its reader can answer."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    riddles = [
        f"{path.relative_to(ROOT)}: {docstring.splitlines()[0]}"
        for path in [*OUR_CODE, *(ROOT / "tests").rglob("*.py")]
        for node in ast.walk(syntax_tree(path))
        if isinstance(node, documented) and (docstring := ast.get_docstring(node))
        if docstring.split()[0] in {"What", "Which", "Whether", "Whatever", "How"}
    ]
    assert riddles == []


def test_the_page_of_tables_is_what_the_contracts_say():
    assert (ROOT / "docs" / "tables.md").read_text(encoding="utf-8") == tables_page() + "\n"


def test_make_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = next(line for line in makefile.splitlines() if line.startswith(".PHONY:")).split()[1:]
    explained = [line.partition(":")[0] for line in makefile.splitlines() if " ## " in line]
    assert explained == phony
