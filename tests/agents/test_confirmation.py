"""Confirmations: for one action with its arguments, for ten minutes, once."""

import pytest

from nocturne.agents.confirmation import SECONDS, Confirmations, make_key, read_key
from nocturne.core.errors import UsageError

ABOUT = {"from": "b", "to": "a", "why": "podcasts"}


class Clock:
    def __init__(self):
        self.now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def confirmations(clock):
    return Confirmations(b"k" * 32, clock)


def refused(confirmations, token, action="rollback", arguments=ABOUT):
    with pytest.raises(UsageError, match="the confirmation is refused") as error:
        confirmations.spend(token, action, arguments)
    return error.value.details["found"]


def test_it_is_good_until_its_time_is_over(confirmations, clock):
    (first, until), (second, _) = (confirmations.issue("rollback", ABOUT, who) for who in ("ana", "ben"))
    assert until == 1_000_000 + SECONDS
    clock.now = until
    assert confirmations.spend(first, "rollback", ABOUT) == "ana"
    clock.now = until + 1
    assert refused(confirmations, second) == "its time is over"


def test_it_is_taken_once(confirmations):
    token, _ = confirmations.issue("rollback", ABOUT, "ana")
    confirmations.spend(token, "rollback", ABOUT)
    assert refused(confirmations, token) == "it was used already"


def test_another_action_argument_person_or_time_is_refused(confirmations):
    token, _ = confirmations.issue("rollback", ABOUT, "ana")
    who, until, mac = token.split(".")
    for changed in (f"ben.{until}.{mac}", f"{who}.{int(until) + 1}.{mac}", f"{who}.{until}.{mac[::-1]}"):
        assert refused(confirmations, changed).startswith("it is not for this")
    assert refused(confirmations, token, "conclude").startswith("it is not for this")
    for name in ABOUT:
        assert refused(confirmations, token, arguments=ABOUT | {name: "other"}).startswith("it is not for this")


def test_a_name_may_have_dots(confirmations):
    token, _ = confirmations.issue("rollback", ABOUT, "jane.doe@example.org")
    assert confirmations.spend(token, "rollback", ABOUT) == "jane.doe@example.org"


def test_arguments_cannot_change_places(confirmations):
    token, _ = confirmations.issue("rollback", {"a": "b,c", "d": "e"}, "ana")
    assert refused(confirmations, token, arguments={"a": "b", "c,d": "e"}).startswith("it is not for this")


@pytest.mark.parametrize("token", ["", ".", "..", "ana", "ana.1", "ana.x.y", "ana.\uff11.y", "\ud800.1.y"])
def test_what_is_no_confirmation_is_refused(confirmations, token):
    assert refused(confirmations, token)


@pytest.mark.parametrize("who", ["", "a/b", "a b", "a" * 65, "ana\n"])
def test_a_person_has_a_plain_name(confirmations, who):
    with pytest.raises(UsageError, match="a name of letters"):
        confirmations.issue("rollback", ABOUT, who)


def test_a_key_is_made_once_for_its_owner_alone(tmp_path):
    file = tmp_path / "key"
    make_key(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(read_key(file)) == 64
    with pytest.raises(UsageError, match="the key of confirmations cannot be written"):
        make_key(file)
