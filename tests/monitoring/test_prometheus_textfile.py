"""The textfile of Prometheus: of the newest night, bounded in its labels, replaced whole or not at all."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from nocturne.core.night import Night
from nocturne.monitoring import prometheus_textfile
from nocturne.monitoring.judge import judge
from nocturne.monitoring.night_verdict import NightVerdict
from nocturne.serving.cache.pointer import Generation, Pointer, to_json
from nocturne.serving.night_record import PUBLISHED, Manifest, NightRecord
from tests.fixtures import metric_years, two_listeners
from tests.monitoring.test_judge import deviation

DAY = 86_400


def published(run_date: date) -> dict[str, Any]:
    """A row of `nights`: one listener, served by one cache."""
    generation = f"{run_date}-8f14e45f"
    manifest = Manifest(run_date, generation, 1, None, None, "", "", {}, (), (), {}, {})
    pointers = {"lmdb:cache": to_json(Pointer(Generation(generation, run_date))).decode()}
    return NightRecord(manifest, manifest.checksum, PUBLISHED, None, (), pointers).to_row()


@pytest.fixture(scope="module")
def served(night_of_module: Any, tmp_path_factory: pytest.TempPathFactory) -> Night:
    """A night that is published and served, with metrics, costs and three alerts."""
    file = tmp_path_factory.mktemp("collector") / "nocturne.prom"
    tonight: Night = night_of_module(metric_years.MONDAY, f"monitoring.prometheus_textfile={file}")
    two_listeners.write(tonight, "nights", [published(tonight.run_date)])
    measured = [
        ("listens", "listens", "all", "", 12.0),
        ("listens", "listens", "market", "SE", 5.0),
        ("listens", "unwatched", "all", "", 1.0),
    ]
    names = ("table", "metric", "segment_kind", "segment", "value")
    of_night = {"run_date": tonight.run_date, "count": None}
    two_listeners.write(tonight, "night_metrics", [of_night | dict(zip(names, row, strict=True)) for row in measured])
    cost = {"seconds": 1.5, "rows_read": 3, "rows_written": 4, "bytes_written": 5}
    two_listeners.write(tonight, "costs", [cost | {"run_date": tonight.run_date, "stage": "train_als"}])
    alerts = judge(
        [deviation("listens.volume"), deviation("listens.volume", "SE"), deviation("listens.late")],
        tonight.run_date,
        metric_years.settings(),
        {},
    )
    two_listeners.write(tonight, "alerts", [alert.to_row() for alert in alerts])
    return tonight


def written(night: Night) -> dict[tuple[str, ...], float]:
    """Values by name and labels."""
    text = Path(night.settings.monitoring.prometheus_textfile).read_text()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name.removeprefix("nocturne_night_"), *sample.labels.values()): sample.value for sample in samples}


def test_a_published_night_is_told_with_its_alerts_watched_metrics_and_costs(served: Night) -> None:
    assert prometheus_textfile.write(served, NightVerdict.of(served, closed=False))
    values = written(served)
    midnight = (served.run_date - served.run_date.replace(1970, 1, 1)).days * DAY
    assert values["run_date_seconds",] == values["served_run_date_seconds",] == midnight
    assert (values["published",], values["gate_closed",], values["listeners",]) == (1, 0, 1)
    assert values["alerts_standing", "critical"] == 2
    assert values["alerts", "critical", "listens", "listens.volume"] == 2
    assert values["alerts", "warning", "listens", "listens.late"] == 1
    assert [key for key in values if key[0] == "metric"] == [("metric", "listens", "listens")]
    assert values["metric", "listens", "listens"] == 12
    of_stage = [values[f"stage_{name}", "train_als"] for name in ("seconds", "rows_read", "bytes_written")]
    assert of_stage == [1.5, 3, 5]


def test_nothing_but_the_file_is_left_beside_it(served: Night) -> None:
    prometheus_textfile.write(served, NightVerdict.of(served, closed=False))
    file = Path(served.settings.monitoring.prometheus_textfile)
    assert [path.name for path in file.parent.iterdir()] == ["nocturne.prom"]


def test_a_backfill_of_an_earlier_night_leaves_the_newest_one_told(served: Night) -> None:
    prometheus_textfile.write(served, NightVerdict.of(served, closed=False))
    before = written(served)
    earlier = served.on(served.run_date - timedelta(days=1))
    assert not prometheus_textfile.write(earlier, NightVerdict.of(earlier, closed=False))
    assert written(served) == before


def test_a_closed_gate_is_told_while_the_night_before_is_served(served: Night) -> None:
    failed = served.on(served.run_date + timedelta(days=1))
    assert prometheus_textfile.write(failed, NightVerdict.of(failed, closed=True, watched=False))
    values = written(failed)
    assert (values["published",], values["gate_closed",], values["alerts_standing", "critical"]) == (0, 1, 0)
    assert values["run_date_seconds",] - values["served_run_date_seconds",] == DAY
    assert ("listeners",) not in values


def test_without_a_setting_nothing_is_written(night_of_module: Any, served: Night) -> None:
    silent = night_of_module(served.run_date)
    assert not prometheus_textfile.write(silent, NightVerdict.of(silent, closed=False))
