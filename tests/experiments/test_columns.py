"""Columns that a look needs, written out."""

from nocturne.experiments.columns import Columns, columns_of, columns_of_metric, pairs_of
from tests.experiments.worlds import experiment

METRICS = {
    "minutes": {"role": "success", "measure": "minutes", "minimum_effect": 0.02},
    "podcasts": {"role": "guardrail", "measure": "minutes", "per": "plays", "content_type": "podcast", "margin": 0.1},
}


def test_a_metric_has_a_numerator_and_may_have_a_denominator():
    metrics = experiment(metrics=METRICS).metrics
    assert columns_of_metric(metrics["minutes"]) == Columns("minutes")
    assert columns_of_metric(metrics["podcasts"]) == Columns("minutes:podcast", "plays:podcast")
    assert Columns("minutes", "plays").before == Columns("before:minutes", "before:plays")
    assert Columns("minutes").last == Columns("last:minutes")


def test_an_experiment_needs_each_column_and_its_past_and_the_covariances_within_a_metric():
    tried = experiment(metrics=METRICS)
    assert columns_of(tried) == (
        "before:minutes", "before:minutes:podcast", "before:plays:podcast",
        "last:minutes", "last:minutes:podcast", "last:plays:podcast",
        "minutes", "minutes:podcast", "plays:podcast",
    )  # fmt: skip
    pairs = pairs_of(tried)
    assert [pair for pair in pairs if "minutes" in pair] == [("before:minutes", "minutes"), ("last:minutes", "minutes")]
    assert len(pairs) == 3 + 15  # of three columns, and of six
    assert ("minutes", "plays:podcast") not in pairs
