"""The check's last lines name the first broken invariant in plain words."""

import pytest

from ops import check

LAYERS_BROKEN = """\
Contracts: 5 kept, 1 broken.

----------------
Broken contracts
----------------

Folders import downwards
------------------------

nocturne.kernel is not allowed to import nocturne.storage:

-   nocturne.kernel.places -> nocturne.storage.tables (l.42)

The ranking kernel needs neither Spark nor the tables
-----------------------------------------------------

nocturne.kernel is not allowed to import deltalake:

-   nocturne.kernel.places -> nocturne.storage.tables (l.42)
    nocturne.storage.tables -> deltalake (l.14, l.15)
"""
TESTS_BROKEN = """\
E       assert 3 == 2
=========================== short test summary info ============================
FAILED tests/ranking/test_eligibility.py::test_an_item_is_listed_where_it_is_licensed[DE] - assert 3 == 2
FAILED tests/test_structure.py::test_the_page_of_tables_is_what_the_contracts_say - AssertionError: assert ...
"""


@pytest.mark.parametrize(
    ("part", "printed", "sentence"),
    [
        (
            "layers",
            LAYERS_BROKEN,
            "nocturne.kernel.places imports nocturne.storage.tables (l.42): imports lead downwards only",
        ),
        (
            "layers",
            LAYERS_BROKEN.partition("-   nocturne.kernel.places")[2].partition("(l.42)\n\n")[2],
            (
                "nocturne.kernel.places imports nocturne.storage.tables (l.42), which imports deltalake: "
                "The ranking kernel needs neither Spark nor the tables"
            ),
        ),
        (
            "format",
            "Would reformat: nocturne/kernel/places.py\n1 file would be reformatted, 795 files already formatted\n",
            "nocturne/kernel/places.py is not as the formatter writes it",
        ),
        (
            "lint",
            "nocturne/kernel/places.py:42:8: F401 [*] `os` imported but unused\nFound 1 error.\n",
            "nocturne/kernel/places.py:42:8: F401 [*] `os` imported but unused",
        ),
        (
            "types",
            "nocturne/kernel/places.py:44: error: Incompatible types  [assignment]\nFound 1 error in 1 file\n",
            "nocturne/kernel/places.py:44: error: Incompatible types  [assignment]",
        ),
        (
            "quick tests",
            TESTS_BROKEN,
            "tests/ranking/test_eligibility.py: an item is listed where it is licensed [DE]: assert 3 == 2",
        ),
        (
            "quick tests",
            "ERROR tests/ranking/test_pools.py - ModuleNotFoundError: No module named 'nocturn'\n",
            "tests/ranking/test_pools.py: the file cannot be collected: ModuleNotFoundError: No module named 'nocturn'",
        ),
        ("quick tests", "INTERNALERROR> disk full\n\n", "INTERNALERROR> disk full"),
    ],
)
def test_the_first_broken_invariant_is_a_sentence(part, printed, sentence):
    parts = {each.name: each for each in (*check.CHEAP, check.TESTS)}
    assert parts[part].sentence(printed) == sentence


def test_a_broken_test_can_be_run_alone_by_what_is_pasted():
    assert check.run_alone(TESTS_BROKEN) == (
        "run it alone: .venv/bin/pytest "
        "'tests/ranking/test_eligibility.py::test_an_item_is_listed_where_it_is_licensed[DE]'"
    )


def test_a_document_that_is_out_of_step_is_written_by_make_docs():
    (line,) = (line for line in TESTS_BROKEN.splitlines() if "page_of_tables" in line)
    assert check.run_alone(line).startswith("write it with make docs; run it alone: ")


def test_the_broken_part_speaks_last_and_says_what_to_do(capfd):
    command = ("sh", "-c", "echo nocturne/x.py:1: error: broken; exit 1")
    part = check.Part("types", command, check.first_place, check.always("mend it"))
    assert not check.passes(part)
    assert capfd.readouterr().out.splitlines()[-2:] == [
        "check: types: nocturne/x.py:1: error: broken",
        "check: mend it",
    ]
