"""Tables and records at terminals of any width, and in logs: no value is ever cut."""

import fcntl
import io
import json
import os
import struct
import termios
from datetime import date

import pytest

from nocturne.core import console

NIGHTS = [
    {
        "run_date": date(2025, 1, day),
        "state": "gate_closed",
        "generation": f"2025-01-0{day}-b4f9588b",
        "listeners": 1362,
        "reason": "listens.rows: 0 rows of [listens], where at least 10 were expected after a day like yesterday",
        "als.settings": None,
        "model_version": "als-2025-01-01-1fd95f57",
    }
    for day in (1, 2)
]
KEYS = ("2025-01-01", "gate_closed", "2025-01-02-b4f9588b", "als-2025-01-01-1fd95f57", "listens.rows:", "[listens],")


@pytest.fixture
def at_width(monkeypatch, capsys):
    """Prints rows as at a terminal of so many columns, or in a log; returns the lines on stdout."""

    def printed(width, rows, secondary=()):
        monkeypatch.setattr(console, "terminal_width", lambda _stream: width)
        console.print_rows(rows, "data/warehouse", secondary=secondary)
        return capsys.readouterr().out.splitlines()

    return printed


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160, None])
def test_no_key_is_cut_at_any_width(at_width, width):
    text = "\n".join(at_width(width, NIGHTS))
    assert "…" not in text
    for key in KEYS:
        assert key in text


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160])
def test_no_line_is_wider_than_the_terminal(at_width, width):
    assert max(map(len, at_width(width, NIGHTS))) <= width


def test_text_of_several_words_folds_before_anything_else_gives_way(at_width):
    title, _, head, _, first, *_ = at_width(120, NIGHTS)
    assert title == "data/warehouse"
    assert head.split()[:3] == ["run", "date", "state"]
    assert first.startswith("2025-01-01  gate_closed  2025-01-01-b4f9588b       1362  listens.rows: 0")


def test_a_row_that_fits_no_table_is_a_block_of_lines(at_width):
    assert at_width(50, NIGHTS[:1])[2:] == [
        "run date       2025-01-01",
        "state          gate_closed",
        "generation     2025-01-01-b4f9588b",
        "listeners      1362",
        "reason         listens.rows: 0 rows of [listens],",
        "               where at least 10 were expected",
        "               after a day like yesterday",
        "model version  als-2025-01-01-1fd95f57",
        "",
    ]


def test_secondary_columns_go_before_rows_are_broken_up_and_it_is_said(at_width, monkeypatch, capsys):
    row = {"run_date": date(2025, 1, 1), "generation": "2025-01-01-b4f9588b", "manifest": "4fd5ee0f0448"}
    assert at_width(40, [row], ["manifest", "generation"])[-2:] == ["2025-01-01  2025-01-01-b4f9588b", ""]
    monkeypatch.setattr(console, "terminal_width", lambda _stream: 40)
    console.print_rows([row], "data/warehouse", secondary=["manifest"])
    assert capsys.readouterr().err == "a wider terminal, or --json, shows manifest as well\n"


def test_a_log_gets_a_row_as_one_line_however_long_and_nothing_behind_it(at_width):
    row = {"run_date": date(2025, 1, 1), "reason": "word " * 200 + "end"}
    lines = at_width(None, [row, row | {"reason": None}])
    assert lines[4] == f"2025-01-01  {'word ' * 200}end"
    assert lines[5] == "2025-01-01"


def test_a_word_longer_than_the_terminal_stays_whole(at_width):
    assert "x" * 70 in at_width(40, [{"run_date": date(2025, 1, 1), "path": "x" * 70}])[3]


def test_rows_may_lack_columns_that_others_have(at_width):
    lines = at_width(None, [{"a": 1}, {"a": 2, "b": "two"}])
    assert [line.split() for line in lines[2:6]] == [["a", "b"], [lines[3].strip()], ["1"], ["2", "two"]]


def test_values_are_written_as_settings_take_them(at_width):
    values = {"on": True, "list": ["ndcg", "recall"], "map": {"items": 9}, "share": 0.1234567, "none": None, "no": []}
    assert at_width(None, [{"setting": name, "value": value} for name, value in values.items()])[4:10] == [
        "on       true",
        "list     ndcg, recall",
        "map      items = 9",
        "share    0.123457",
        "none",
        "no",
    ]


def test_square_brackets_and_the_title_are_printed_as_they_are(at_width):
    assert at_width(80, [{"title": "[b]book[/b]"}])[4] == "[b]book[/b]"


def test_a_record_has_its_lists_of_rows_as_tables_and_no_representation_of_python(monkeypatch, capsys):
    monkeypatch.setattr(console, "terminal_width", lambda _stream: 40)
    record = {
        "model_version": "als-1",
        "parent": None,
        "losses": [0.5, 0.25] * 5,
        "settings": {"warm_start": True, "factors": 64},
        "moves": [{"number": 1, "state": "live"}],
        "comparisons": [],
    }
    console.print_record(record, "als-1")
    lines = [line for line in capsys.readouterr().out.splitlines() if line and set(line) != {"─"}]
    assert lines == [
        "als-1",
        "model_version  als-1",
        "losses         0.5, 0.25, 0.5, 0.25,",
        "               0.5, 0.25, 0.5, 0.25,",
        "               0.5, 0.25",
        "settings",
        "warm_start  true",
        "factors     64",
        "moves",
        "number  state",
        "     1  live",
    ]


def test_json_holds_every_column_whatever_the_width(monkeypatch, capsys):
    monkeypatch.setattr(console, "terminal_width", lambda _stream: 40)
    console.print_rows(NIGHTS, "data/warehouse", as_json=True, secondary=["generation"])
    assert json.loads(capsys.readouterr().out) == [row | {"run_date": str(row["run_date"])} for row in NIGHTS]


@pytest.mark.parametrize(("columns", "width"), [(60, 60), (0, 80)])
def test_the_width_is_that_of_the_terminal_which_is_written_to(columns, width):
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(theirs, "w") as stream:
        assert console.terminal_width(stream) == width
    os.close(ours)


def test_what_is_no_terminal_has_no_width():
    assert console.terminal_width(io.StringIO()) is None
