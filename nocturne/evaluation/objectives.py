"""What a search over settings is scored by."""

from collections.abc import Sequence

import numpy as np

from nocturne.core.errors import SettingsError
from nocturne.core.night import Night
from nocturne.core.settings import Settings
from nocturne.evaluation.held_out import held_out_of
from nocturne.evaluation.metrics import accuracy
from nocturne.evaluation.splits import Split, fit, lists_of, score
from nocturne.evaluation.systems import of_recipe
from nocturne.evaluation.tuning import Objective, Report

METRICS = ("recall", "capped_recall", "ndcg", "map", "mrr", "hit_rate")
_FIRST_ITERATIONS = 3


def on_split(split: Split, metric: str) -> Objective:
    """Score settings on the valid part of a split, trained on its train part: test is never looked at.

    A trial first trains a few iterations and says what they come to; if it is not pruned, it goes on from there.

    Args:
        metric: such as ndcg@20; its k is the longest list that is needed.
    """
    k = length_of(metric)

    def objective(settings: Settings, report: Report) -> float:
        ranking = settings.ranking.model_copy(update={"top_k": k})
        settings = settings.model_copy(update={"ranking": ranking})

        def value() -> float:
            return score(lists_of(model, split.train, settings), split.valid, [metric])[metric]

        few = min(_FIRST_ITERATIONS, settings.als.iterations)
        model = fit(split.train, settings, iterations=few)
        report(value())
        if settings.als.iterations > few:
            model = fit(split.train, settings, parent=model, iterations=settings.als.iterations - few)
        return value()

    return objective


def on_nights(nights: Sequence[Night], days: int, metric: str) -> Objective:
    """Score settings on rolling nights: trained on each night, scored on what was listened to afterwards.

    A trial says its mean after every night, and may be pruned then. Every night counts alike.

    Args:
        nights: with the settings that their warehouse fixes.
        days: nights after each whose listens are the truth.

    Raises:
        SettingsError: nobody heard anything new after any of the nights.
    """
    k = length_of(metric)
    held_out = [each for each in (held_out_of(night, days) for night in nights) if len(each.user_ids)]
    if not held_out:
        raise SettingsError(
            "no night can be searched on",
            where=nights[0].warehouse,
            found=f"nobody heard anything new in the {days} days after any of {len(nights)} nights",
            fix="choose other nights, or more --days",
        )

    def objective(settings: Settings, report: Report) -> float:
        recipe, values = of_recipe("trial", settings), []
        for each in held_out:
            lists = recipe.rank(each, k)
            assert lists is not None
            values.append(accuracy(lists, each.relevant)[metric].mean())
            report(float(np.mean(values)))
        return float(np.mean(values))

    return objective


def length_of(metric: str) -> int:
    """How long lists have to be for a metric such as ndcg@20.

    Raises:
        SettingsError: there is no such metric.
    """
    name, _, k = metric.partition("@")
    if name not in METRICS or not k.isdecimal() or int(k) < 1:
        raise SettingsError("no such metric", found=metric, expected=f"one of {', '.join(METRICS)}, as in ndcg@20")
    return int(k)
