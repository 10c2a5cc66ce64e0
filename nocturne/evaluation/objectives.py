"""Objectives of a search over settings: how a trial is scored, on a split or on nights."""

from collections.abc import Sequence

import numpy as np

from nocturne.core.errors import InputError, UsageError
from nocturne.core.night import Night
from nocturne.core.settings import Settings
from nocturne.evaluation.held_out import read_held_out
from nocturne.evaluation.metrics import accuracy
from nocturne.evaluation.splits import TRAIN, VALID, Split, fit, rank_listeners, score
from nocturne.evaluation.systems import recipe_system
from nocturne.evaluation.tuning import Objective, Report

METRICS = ("recall", "capped_recall", "ndcg", "map", "mrr", "hit_rate")
_FIRST_ITERATIONS = 3


def split_objective(split: Split, metric: str) -> Objective:
    """Score settings on the valid part of a split, trained on its train part: test is never looked at.

    A trial first trains a few iterations and says what they come to; if it is not pruned, it goes on from there.

    Args:
        metric: such as ndcg@20; its k is the longest list that is needed.

    Raises:
        InputError: the split has no valid part.
    """
    k = list_length(metric)
    if not split.valid.nnz:
        raise InputError(
            f"the split has no {VALID}, on which settings are chosen",
            expected=f"{TRAIN} and {VALID}",
            fix=f"take some of each user's items out of {TRAIN} and write them to {VALID}; test is for the end",
        )

    def objective(settings: Settings, report: Report) -> float:
        ranking = settings.ranking.model_copy(update={"top_k": k})
        settings = settings.model_copy(update={"ranking": ranking})

        def value() -> float:
            return score(rank_listeners(model, split.train, settings), split.valid, [metric])[metric]

        few = min(_FIRST_ITERATIONS, settings.als.iterations)
        model = fit(split.train, settings, iterations=few)
        report(value())
        if settings.als.iterations > few:
            model = fit(split.train, settings, parent=model, iterations=settings.als.iterations - few)
        return value()

    return objective


def nights_objective(nights: Sequence[Night], days: int, metric: str) -> Objective:
    """Score settings on rolling nights: trained on each night, scored on what was listened to afterwards.

    A trial says its mean after every night, and may be pruned then. Every night counts alike.

    Args:
        nights: with the settings that their warehouse fixes.
        days: nights after each whose listens are the truth.

    Raises:
        UsageError: nobody heard anything new after any of the nights.
    """
    k = list_length(metric)
    held_out_nights = [held_out for night in nights if len((held_out := read_held_out(night, days)).user_ids)]
    if not held_out_nights:
        raise UsageError(
            "no night can be searched on",
            where=nights[0].warehouse.path,
            found=f"nobody heard anything new in the {days} days after any of {len(nights)} nights",
            fix="choose other nights, or more --days",
        )

    def objective(settings: Settings, report: Report) -> float:
        trial, values = recipe_system("trial", settings), []
        for held_out in held_out_nights:
            lists = trial.rank(held_out, k)
            assert lists is not None
            values.append(accuracy(lists, held_out.relevant)[metric].mean())
            report(float(np.mean(values)))
        return float(np.mean(values))

    return objective


def list_length(metric: str) -> int:
    """Length that lists need for a metric: 20 for ndcg@20.

    Raises:
        UsageError: there is no such metric.
    """
    name, _, k = metric.partition("@")
    if name not in METRICS or not k.isdecimal() or int(k) < 1:
        raise UsageError("no such metric", found=metric, expected=f"one of {', '.join(METRICS)}, as in ndcg@20")
    return int(k)
