"""`nocturne evaluate lightgcn`: a published split, scored as its authors score it."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from nocturne import ROOT
from nocturne.cli.jobs import Json, Set
from nocturne.core.console import print_json, print_rows, say

RECIPE = Path(str(ROOT / "conf" / "recipes" / "gowalla.toml"))


def lightgcn(
    path: Annotated[Path, typer.Argument(help="archive or folder with train.txt, valid.txt and test.txt")],
    lists: Annotated[
        Path | None, typer.Option(help="write every listener's list here, Parquet", metavar="FILE")
    ] = None,
    conf: Annotated[
        Path, typer.Option(help="the recipe", show_default="conf/recipes/gowalla.toml", metavar="FILE")
    ] = RECIPE,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Fit on train and valid, rank, and score on test, through the pipeline's own stages.

    Choose settings on valid, with `nocturne tune --split`; test is scored here, once.

    Example: nocturne evaluate lightgcn gowalla-lightgcn.tar.xz --lists lists.parquet
    """
    import pyarrow.parquet as pq

    from nocturne.core.settings import load_settings
    from nocturne.evaluation.published_splits import beside, evaluate, lists_table
    from nocturne.evaluation.splits import read_split

    settings = load_settings(str(conf), set_ or ())
    split = read_split(path)
    with tempfile.TemporaryDirectory(prefix="nocturne-") as folder:
        outcome = evaluate(path, split, settings, Path(folder))
    if lists is not None:
        lists.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(lists_table(outcome.lists, split), lists)
        say(f"{len(split.users):,} lists are in {lists}")
    metrics = {name: round(value, 5) for name, value in outcome.metrics.items()}
    if as_json:
        listeners, items = len(split.users), len(split.items)
        recipe = settings.als.model_dump(mode="json")
        print_json({**metrics, "listeners": listeners, "items": items, "seconds": outcome.seconds, "als": recipe})
    else:
        print_rows(beside(split, metrics), "on test; recall is divided by the relevant items")
        say("seconds: " + ", ".join(f"{stage} {seconds}" for stage, seconds in outcome.seconds.items()))
