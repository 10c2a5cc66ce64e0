"""The doctor tells what is wrong, how to mend it, and never stops at the first failure."""

import json

import pytest

from nocturne.cli import doctor
from nocturne.core.errors import ServiceError, UsageError
from nocturne.flow import ExitStatus


@pytest.fixture
def patient(monkeypatch):
    """Replaces the doctor's checks."""

    def with_checks(**checks):
        monkeypatch.setattr(doctor, "CHECKS", checks)

    return with_checks


def failing(error):
    def check():
        raise error

    return check


@pytest.mark.parametrize("name", doctor.CHECKS)
@pytest.mark.usefixtures("spark")
def test_this_machine_is_sound(name):
    assert doctor.CHECKS[name]()


def test_every_check_gets_a_line_though_an_earlier_one_failed(patient, capsys):
    patient(disk=failing(ServiceError("too little room", fix="free some")), python=lambda: "3.11.7")
    assert doctor.examine(None) == ExitStatus.SERVICE_FAILED
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["failed disk: too little room", "  what to do: free some", "ok     python: 3.11.7"]


def test_the_checks_as_json_are_a_row_each_with_its_status(patient, capsys):
    patient(disk=failing(ServiceError("too little room", fix="free some")), python=lambda: "3.11.7")
    doctor.examine(None, as_json=True)
    assert json.loads(capsys.readouterr().out) == [
        {"check": "disk", "status": 5, "found": "too little room\n  what to do: free some"},
        {"check": "python", "status": 0, "found": "3.11.7"},
    ]


def test_all_checks_passed_is_status_0(patient):
    patient(python=lambda: "3.11.7")
    assert doctor.examine(None) == ExitStatus.SUCCESS


def test_a_failed_service_weighs_more_than_what_is_to_be_set_up(patient):
    patient(java=failing(UsageError("no Java")), disk=failing(ServiceError("full")), jars=lambda: "there")
    assert doctor.examine(None) == ExitStatus.SERVICE_FAILED


def test_a_package_that_breaks_on_import_is_a_failure_with_a_fix(patient, capsys):
    patient(lmdb=failing(ImportError("undefined symbol")))
    assert doctor.examine(None) == ExitStatus.SERVICE_FAILED
    assert "ImportError: undefined symbol\n  what to do: run `make night`" in capsys.readouterr().err


def test_a_redis_that_does_not_answer_is_named_without_its_password(patient, capsys):
    patient()
    assert doctor.examine("redis://:secret@127.0.0.1:1/0") == ExitStatus.SERVICE_FAILED
    shown = capsys.readouterr().err
    assert "127.0.0.1:1" in shown
    assert "secret" not in shown


def test_too_little_memory_names_the_setting_to_lower(monkeypatch):
    monkeypatch.setattr(doctor, "MEMORY_BESIDE_THE_DRIVER_GB", 10**6)
    with pytest.raises(ServiceError, match=r"spark\.driver_memory=2g"):
        doctor.check_memory()


def test_too_little_room_on_the_disk_is_told(monkeypatch):
    monkeypatch.setattr(doctor, "FREE_DISK_GB", 10**9)
    with pytest.raises(ServiceError, match="too little room"):
        doctor.check_disk()
