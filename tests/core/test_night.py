"""A warehouse's folder: a name that Delta's libraries would misread is refused before anything is written."""

from pathlib import Path

import pytest

from nocturne.core.errors import UsageError
from nocturne.core.night import Warehouse
from nocturne.core.settings import load_settings

SETTINGS = load_settings()


@pytest.mark.parametrize("name", ["a[1]", "a%20b", "a{b,c}", "a*", "a?", "a\\b", "a^b", "a|b", "a\nb", "\udcff"])
def test_a_folder_that_would_be_taken_for_a_pattern_or_an_escape_is_refused_by_name(name: str) -> None:
    for path in (f"/data/{name}", f"/data/{name}/warehouse", name):
        with pytest.raises(UsageError, match="/data" if path.startswith("/") else Path.cwd().name):
            Warehouse(path, SETTINGS)


@pytest.mark.parametrize("name", ["a b", "a:b", "ü日", "a#b", "a+b", "a=b", "a,b;c", "a'b", "~", "s3://bucket/a%20b"])
def test_other_folders_are_fine(name: str) -> None:
    assert Warehouse(name, SETTINGS).path == name
