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


def test_an_experiment_needs_each_column_and_its_past_and_the_covariances_within_a_metric():
    tried = experiment(metrics=METRICS)
    assert columns_of(tried) == (
        "before:minutes", "before:minutes:podcast", "before:plays:podcast",
        "minutes", "minutes:podcast", "plays:podcast",
    )  # fmt: skip
    assert pairs_of(tried) == (
        ("before:minutes", "minutes"),
        ("before:minutes:podcast", "before:plays:podcast"),
        ("before:minutes:podcast", "minutes:podcast"),
        ("before:minutes:podcast", "plays:podcast"),
        ("before:plays:podcast", "minutes:podcast"),
        ("before:plays:podcast", "plays:podcast"),
        ("minutes:podcast", "plays:podcast"),
    )
