"""Readers who read all the time, while items are taken down and nights are refreshed; fewer than in the benchmark."""

import pytest

from benchmarks.takedown import Hammering, hammer


@pytest.mark.slow
@pytest.mark.parametrize(("http", "reads"), [(False, 20_000), (True, 1_000)])
def test_nobody_sees_an_item_a_second_after_its_takedown_and_lists_stay_full(cache_url, tmp_path, http, reads):
    told = hammer(Hammering(cache_url.partition(":")[0], http, reads), cache_url, tmp_path / "hammered")
    assert told["reads"] == reads
    assert told["reads_after_a_takedown"] > 0
    assert told["refreshes"] == 2
    assert told["lists_too_short"] == 0
    assert told["latest_seen_seconds"] is None or told["latest_seen_seconds"] <= 1
