"""Tools that change what listeners get: only in the write scope, and only with what a person was handed."""

import json
import re
import shlex
from datetime import date

import pytest
from typer.testing import CliRunner

from nocturne.cli.main import app
from nocturne.serving import publications
from nocturne.serving.cache import open_cache
from nocturne.storage import tables
from tests.agents.conftest import calling_stdio
from tests.fixtures.agents_world import MONDAY, SUNDAY, TUESDAY, build_world

pytestmark = pytest.mark.slow

WHY = "Monday is all 'podcasts'"
BOLD = {"name": "bold", "arm": "control", "run_date": "2025-03-05", "why": "no effect worth having"}


@pytest.fixture(scope="module")
def key_file(tmp_path_factory):
    return write_key(tmp_path_factory.mktemp("keys") / "key", "k" * 32)


def write_key(file, content, mode=0o600):
    file.write_text(content)
    file.chmod(mode)
    return file


@pytest.fixture
def own_world(tmp_path):
    return build_world(tmp_path / "service")


@pytest.fixture
def change(own_world, key_file):
    """A client of a server with the write scope, on a service of its own."""
    with calling_stdio(*own_world.options, "--allow-writes", "--key-file", str(key_file)) as caller:
        yield caller


@pytest.fixture(scope="module")
def asked(world, key_file):
    """The same on a service that others read: nothing is confirmed here."""
    with calling_stdio(*world.options, "--allow-writes", "--key-file", str(key_file)) as caller:
        yield caller


def run(line, key_file, *more):
    """The command of `confirm_with`, as a person pastes it, with their key."""
    words = shlex.split(line.replace(" KEY", f" {shlex.quote(str(key_file))}"))
    assert words[0] == "nocturne"
    return CliRunner().invoke(app, [*words[1:], "--by", "ana", *more])


def served(world):
    with open_cache(world.cache, read_only=True) as store:
        return store.pointer()


def test_without_the_write_scope_nothing_that_changes_is_offered(ask):
    tools = ask.portal.call(ask.client.list_tools).tools
    assert {tool.annotations.read_only_hint for tool in tools} == {True}
    assert "Unknown tool" in ask.error("rollback", why="x")


def test_a_rollback_first_says_what_it_would_do_and_changes_nothing(asked, world):
    before = served(world)
    told = asked("rollback", why=WHY)
    assert told["state"] == "to confirm"
    assert told["effect"].startswith(f"listeners get the lists of night {SUNDAY} instead of {MONDAY}")
    assert told["confirm_with"].startswith("nocturne mcp confirm rollback --from 2025-03-03-20250303 --to ")
    assert served(world) == before


def test_a_person_confirms_and_the_rollback_is_made_once(change, own_world, key_file):
    answer = run(change("rollback", why=WHY)["confirm_with"], key_file)
    assert answer.exit_code == 0, answer.output
    assert "an agent may have 2025-03-02-20250302 served instead of 2025-03-03-20250303" in answer.stderr
    confirmation = answer.stdout.strip()
    told = change("rollback", why=WHY, confirmation=confirmation)
    assert (told["state"], told["confirmed_by"]) == ("done", "ana")
    pointer = served(own_world)
    assert (pointer.served.run_date, pointer.frozen_reason) == (SUNDAY, f"{WHY} (ana, by an agent)")
    records = {each.run_date: each.state for each in publications.all_records(own_world.warehouse)}
    assert records == {SUNDAY: "published", MONDAY: "rolled_back", TUESDAY: "gate_closed"}
    assert change("listen_list", user_id="ana")["receipt"]["run_date"] == str(SUNDAY)
    assert "held" in change.error("rollback", why=WHY, confirmation=confirmation)


def test_a_confirmation_is_for_its_own_arguments_alone(asked, world, key_file):
    before = served(world)
    confirmation = run(asked("rollback", why=WHY)["confirm_with"], key_file).stdout.strip()
    refused = asked.error("rollback", why="another reason", confirmation=confirmation)
    assert "the confirmation is refused" in refused
    assert "it is not for this action with these arguments" in refused
    assert "not for this action" in asked.error("conclude_experiment", **BOLD, confirmation=confirmation)
    for forged in ("ana.9999999999.0", "", ".", "ana", confirmation[:-1], confirmation.replace("ana", "bob")):
        assert "refused" in asked.error("rollback", why=WHY, confirmation=forged), forged
    assert served(world) == before


def test_a_confirmation_by_another_key_is_refused(asked, tmp_path):
    other = write_key(tmp_path / "other", "o" * 32)
    confirmation = run(asked("rollback", why=WHY)["confirm_with"], other).stdout.strip()
    assert "refused" in asked.error("rollback", why=WHY, confirmation=confirmation)


@pytest.mark.parametrize("why", ["a\nb", "a\u202eb", "a\\b", " ", "x" * 301])
def test_a_reason_that_a_person_would_not_see_as_it_is_is_refused(asked, why):
    assert asked.result("rollback", why=why).is_error


def test_an_experiment_is_concluded_with_a_confirmation(change, own_world, key_file):
    told = change("conclude_experiment", **BOLD)
    assert told["effect"] == "experiment bold ends: control is for everyone from night 2025-03-05 on"
    answer = run(told["confirm_with"], key_file, "--json")
    confirmation = json.loads(answer.stdout)["confirmation"]
    done = change("conclude_experiment", **BOLD, confirmation=confirmation)
    assert (done["state"], done["confirmed_by"]) == ("done", "ana")
    rows = tables.rows(own_world.warehouse, "experiment_results").to_pylist()
    (row,) = [row for row in rows if row["kind"] == "conclusion"]
    assert (row["run_date"], row["name"], row["reasons"]) == (
        date(2025, 3, 5),
        "control",
        ["no effect worth having (ana, by an agent)"],
    )
    (bold,) = change("experiments", run_date="2025-03-05")["experiments"]
    assert bold["state"] == "concluded: control"
    assert "used already" in change.error("conclude_experiment", **BOLD, confirmation=confirmation)


def test_what_cannot_be_concluded_is_told_before_anybody_is_asked(asked):
    assert "the experiment has no such arm" in asked.error("conclude_experiment", **BOLD | {"arm": "calm"})
    assert "there is no such experiment" in asked.error("conclude_experiment", **BOLD | {"name": "calmer"})


@pytest.mark.parametrize(("mode", "content"), [(0o644, "k" * 32), (0o600, "short")])
def test_a_key_that_others_may_know_is_refused(tmp_path, world, mode, content):
    file = write_key(tmp_path / "key", content, mode)
    words = ["mcp", *world.options, "--allow-writes", "--key-file", str(file)]
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 2
    assert re.search("others may read the key|the key of confirmations is too short", answer.stderr)


def test_the_write_scope_needs_a_key(world):
    answer = CliRunner().invoke(app, ["mcp", *world.options, "--allow-writes"])
    assert answer.exit_code == 2
    assert "need the key of confirmations" in answer.stderr
