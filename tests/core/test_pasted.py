"""A command that is printed does what it says where it is pasted."""

import shlex
from datetime import date

import pytest

from nocturne.core.pasted import job_command


@pytest.mark.parametrize(
    ("cache", "told"),
    [("lmdb:/srv/ana@home/cache", "lmdb:/srv/ana@home/cache"), ("redis://:secret@127.0.0.1:6379/0", "URL")],
)
def test_a_job_is_told_with_its_places_and_without_a_password(cache: str, told: str):
    command = job_command("rank_users", date(2025, 3, 2), "my landing", "data/warehouse", cache)
    _, job, *options = shlex.split(command)
    assert job.endswith("jobs/rank_users.py")
    assert options == [
        *("--run-date", "2025-03-02", "--landing", "my landing"),
        *("--warehouse", "data/warehouse", "--cache", told),
    ]
