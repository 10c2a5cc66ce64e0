"""What a search over settings is scored by."""

from nocturne.evaluation.splits import Split, fit, lists_of, score
from nocturne.settings import Settings
from nocturne.tuning import Objective, Report

_FIRST_ITERATIONS = 3


def on_split(split: Split, metric: str) -> Objective:
    """Score settings on the valid part of a split, trained on its train part: test is never looked at.

    A trial first trains a few iterations and says what they come to; if it is not pruned, it goes on from there.

    Args:
        metric: such as ndcg@20; its k is the longest list that is needed.
    """
    k = int(metric.rpartition("@")[2])

    def objective(settings: Settings, report: Report) -> float:
        ranking = settings.ranking.model_copy(update={"top_k": k})
        settings = settings.model_copy(update={"ranking": ranking})

        def value() -> float:
            return score(lists_of(model, split.train, settings), split.valid, [k])[metric]

        few = min(_FIRST_ITERATIONS, settings.als.iterations)
        model = fit(split.train, settings, iterations=few)
        report(value())
        if settings.als.iterations > few:
            model = fit(split.train, settings, parent=model, iterations=settings.als.iterations - few)
        return value()

    return objective
