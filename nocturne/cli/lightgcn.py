"""`nocturne evaluate lightgcn`: a published split, scored as its authors score it."""

from pathlib import Path
from typing import Annotated

import typer

from nocturne.cli.options import Conf, Json, Set, require_writable
from nocturne.core.console import print_json, print_rows, say


def lightgcn(
    path: Annotated[Path, typer.Argument(help="archive or folder with train.txt, test.txt, perhaps valid.txt")],
    lists: Annotated[
        Path | None, typer.Option(help="write every listener's list here, Parquet", metavar="FILE")
    ] = None,
    conf: Conf = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Train on train and valid, rank, and score on test, by the pipeline's own training and ranking.

    A line of each file is a user and all their items, numbers. A race on a part of train and valid chooses the
    recipe, as a first training does; with als.recipe = "settings" it is that of --conf and --set, to be chosen on
    valid with `nocturne tune --split`. Test is scored here, once.

    Example: nocturne evaluate lightgcn gowalla-lightgcn.tar.xz --lists lists.parquet
    """
    import pyarrow.parquet as pq

    from nocturne.core.settings import load_settings
    from nocturne.evaluation.published_splits import evaluate_split, leaderboard_rows, lists_table
    from nocturne.evaluation.splits import TRAIN, VALID, read_split
    from nocturne.training.race import shown_entrant

    settings = load_settings(conf, set_ or ())
    require_writable(lists)
    split = read_split(path)
    if not split.valid.nnz:
        say(f"there is no {VALID}: trained on {TRAIN} alone")
    result = evaluate_split(split, settings)
    if lists is not None:
        pq.write_table(lists_table(result.lists, split), lists)
        say(f"{len(split.users):,} lists are in {lists}")
    metrics = {name: round(value, 5) for name, value in result.metrics.items()}
    if as_json:
        listeners, items = len(split.users), len(split.items)
        recipe = result.recipe.model_dump(mode="json")
        print_json({**metrics, "listeners": listeners, "items": items, "seconds": result.seconds, "als": recipe})
    else:
        print_rows(leaderboard_rows(split, metrics), "on test; recall is divided by the relevant items")
        if result.race.entrants:
            entrants = [shown_entrant(entrant.to_row()) for entrant in result.race.entrants]
            print_rows(entrants, "the race that chose the recipe")
        say("seconds: " + ", ".join(f"{stage} {seconds}" for stage, seconds in result.seconds.items()))
