"""Help of every command and job: an example that can be pasted, a heading, and texts as they were written."""

import shlex
import sys
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from nocturne.cli import help as cli_help
from nocturne.cli.help import Command, folded, program
from nocturne.cli.jobs import job_app
from nocturne.cli.main import app
from nocturne.flow import NIGHTLY, VALIDATION

AT_80 = {"COLUMNS": "80", "TERMINAL_WIDTH": "80"}
WITHOUT_JSON = {
    "night": "has no data: it tells how it goes, and `nocturne nights` has what came of it",
    "serve": "answers over HTTP, in JSON",
}


def commands(group, path=()):
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = list(commands(typer.main.get_command(app)))
every_command = pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(path) for path, _ in COMMANDS])
every_job = pytest.mark.parametrize("stage", [stage.name for stage in (*NIGHTLY, VALIDATION)])


def require_pasteable(shown, command, path):
    """The help holds the example in one piece, and it is a call that the command understands."""
    example = folded(f"{program()} {command.example}")
    assert f"\n{example}\n" in shown
    assert max(map(len, example.splitlines())) <= 80
    words = shlex.split(example.replace("\\\n", ""))  # as a shell joins lines
    assert words == shlex.split(f"{program()} {command.example}")
    arguments = words[len(shlex.split(program())) :]
    assert tuple(arguments[: len(path)]) == path
    command.make_context(path[-1] if path else "job", arguments[len(path) :])


@every_command
def test_every_command_shows_an_example_of_itself_that_can_be_pasted(path, command):
    require_pasteable(CliRunner().invoke(app, [*path, "--help"], env=AT_80).stdout, command, path)


@every_job
def test_every_job_shows_an_example_of_itself_that_can_be_pasted(stage, monkeypatch):
    monkeypatch.setattr(sys, "argv", [f"jobs/{stage}.py", "--help"])
    job = job_app(stage)
    assert f" jobs/{stage}.py" in program()
    require_pasteable(CliRunner().invoke(job, ["--help"], env=AT_80).stdout, typer.main.get_command(job), ())


@every_command
def test_every_command_that_prints_data_prints_it_as_json(path, command):
    offered = {option for each in command.params for option in each.opts}
    assert ("--json" in offered) != (" ".join(path) in WITHOUT_JSON)


@pytest.mark.parametrize("name", typer.main.get_command(app).commands)
def test_every_command_stands_under_a_heading(name):
    heading = typer.main.get_command(app).commands[name].rich_help_panel
    shown = CliRunner().invoke(app, ["--help"], env=AT_80).stdout
    assert f"─ {heading} ─" in shown


def test_headings_begin_with_a_night():
    shown = CliRunner().invoke(app, ["--help"], env=AT_80).stdout
    places = [shown.index(f"─ {name} ─") for name in ("A night", "What is served", "Looking at nights", "Models")]
    assert places == sorted(places)


@every_command
def test_square_brackets_of_a_help_are_no_markup(path, command):
    shown = " ".join(CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "400"}).stdout.split())
    written = " ".join(command.callback.__doc__.partition("Example:")[0].split())
    assert written in shown


def test_square_brackets_are_no_markup_in_any_text():
    small = typer.Typer(cls=cli_help.Group, help="of [all]", epilog="see [end]")

    @small.command("a", cls=Command, help="of [als]\n\nas [expectations.listens] says [/x]")
    def _(limit: Annotated[int, typer.Option(help="of [tables]")] = 1): ...

    small.command("b", cls=Command, help="of [cache]")(lambda: None)
    shown = "".join(CliRunner().invoke(small, line, env=AT_80).stdout for line in (["--help"], ["a", "--help"]))
    for text in ("of [all]", "see [end]", "of [als]", "[expectations.listens] says [/x]", "of [tables]", "of [cache]"):
        assert text in shown


def test_a_paragraph_of_a_help_is_folded_to_the_terminal_not_to_the_source():
    assert "What\n is served" not in CliRunner().invoke(app, ["retain", "--help"], env=AT_80).stdout


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder with programs in .venv/bin, as current directory; nothing of it is on the PATH."""
    for name in ("nocturne", "python", "spark-submit"):
        file = tmp_path / ".venv" / "bin" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    for name in ("UV_RUN_RECURSION_DEPTH", "PYSPARK_GATEWAY_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "executable", f"{tmp_path}/.venv/bin/python")
    return tmp_path


@pytest.mark.parametrize("called", [".venv/bin/nocturne", "{checkout}/.venv/bin/nocturne"])
def test_a_program_of_the_checkout_is_named_by_its_path_from_here(checkout, monkeypatch, called):
    monkeypatch.setattr(sys, "argv", [called.format(checkout=checkout)])
    assert program() == ".venv/bin/nocturne"


def test_a_program_on_the_path_is_named_by_its_name(checkout, monkeypatch):
    monkeypatch.setenv("PATH", f"{checkout}/.venv/bin")
    monkeypatch.setattr(sys, "argv", [f"{checkout}/.venv/bin/nocturne"])
    assert program() == "nocturne"


def test_a_program_elsewhere_is_named_by_its_whole_path(checkout, monkeypatch):
    monkeypatch.setattr(sys, "argv", [f"{checkout}/.venv/bin/nocturne"])
    monkeypatch.chdir("/")
    assert program() == f"{str(checkout)[1:]}/.venv/bin/nocturne"
    monkeypatch.chdir(checkout / ".venv" / "bin")
    monkeypatch.setattr(sys, "argv", ["/opt/nocturne/bin/nocturne"])
    assert program() == "/opt/nocturne/bin/nocturne"


def test_a_program_that_uv_runs_is_run_by_uv(checkout, monkeypatch):
    monkeypatch.setenv("PATH", f"{checkout}/.venv/bin")  # for us alone, by uv
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    monkeypatch.setenv("UV", f"{checkout}/.uv/bin/uv")
    monkeypatch.setattr(sys, "argv", [f"{checkout}/.venv/bin/nocturne"])
    assert program() == ".uv/bin/uv run nocturne"


def test_a_job_is_named_with_what_ran_it(checkout, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["jobs/rank_users.py"])
    assert program() == ".venv/bin/python jobs/rank_users.py"
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    assert program() == ".venv/bin/spark-submit jobs/rank_users.py"


def test_whatever_else_runs_the_commands_is_called_nocturne(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["-c"])
    assert program() == "nocturne"


def test_a_long_line_is_folded_before_options_which_stay_beside_their_values():
    assert folded('nocturne rollback --cache lmdb:data/cache --why "all podcasts"', width=45) == (
        'nocturne rollback --cache lmdb:data/cache \\\n    --why "all podcasts"'
    )
