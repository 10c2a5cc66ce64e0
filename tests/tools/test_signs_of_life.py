"""The signs of life of the suite: whoever waits reads which test it waits for."""

from tests.fixtures.signs_of_life import SignsOfLife


def test_only_tests_that_take_their_time_are_named():
    signs = SignsOfLife(lambda _line: None)
    signs.pytest_runtest_logstart("tests/a.py::test_slow[1-x]")
    signs.pytest_runtest_logstart("tests/a.py::test_done")
    signs.pytest_runtest_logfinish("tests/a.py::test_done")
    began = signs._started["tests/a.py::test_slow[1-x]"]
    assert signs.line(began + 4) == ""
    assert signs.line(began + 61) == "  1 done; at work: test_slow (61 s)"
    signs.pytest_sessionfinish()
