"""The page of metrics names what watches are about."""

import json
import re

import pytest

from nocturne import ROOT
from nocturne.monitoring.watches import WATCHES

PAGE = (ROOT / "docs" / "monitoring-metrics.md").read_text(encoding="utf-8")


def documented() -> dict[str, set[str]]:
    """Names of metrics by table: of the page's sections, and of the suites that judge them."""
    names: dict[str, set[str]] = {}
    for section in PAGE.split("\n## ")[1:]:
        title, *_ = section.splitlines()
        metrics = set(re.findall(r"`([a-z_]+)`", section))
        for table in re.split(r", | and ", title):
            names.setdefault(table.strip(" `"), set()).update(metrics)
    for suite in (ROOT / "expectations").glob("*.json"):
        judged = json.loads(suite.read_text())["expectations"]
        names.setdefault(suite.stem, set()).update(each["kwargs"]["column"] for each in judged)
    return names


@pytest.mark.parametrize("watch", WATCHES, ids=lambda watch: watch.cause)
def test_a_watch_is_about_a_metric_that_is_measured(watch):
    metrics = documented()[watch.table]
    changed = re.sub(r"^share_changed(_\w+)$", r"\1", watch.metric)  # the page lists what follows `share_changed`
    assert {watch.metric, changed} & metrics
