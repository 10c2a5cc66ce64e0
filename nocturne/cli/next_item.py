"""`nocturne evaluate next-item`: published sequences, the last item withheld, all items ranked."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from nocturne.cli.options import Conf, Json, Set
from nocturne.core.console import print_json, print_rows, say


def next_item(
    source: Annotated[Path, typer.Argument(help="file of sequences, or a folder or archive that holds it")],
    file: Annotated[
        str | None, typer.Option(help="the file inside of SOURCE, if there are several", metavar="NAME")
    ] = None,
    part: Annotated[Literal["valid", "test"] | None, typer.Option(help="look for these items only")] = None,
    top_k: Annotated[int, typer.Option(help="length of the lists", min=1)] = 10,
    conf: Conf = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Look for each listener's next item in lists made from all their items before it.

    The metrics are hit rate (HR@k) and NDCG@k, all items ranked. A line is a user and their items, oldest first. The
    last item is test, the one before it valid, from which lists of test are made too. SOURCE may also hold
    test/input.txt and test/output.txt, lines without a user.

    Beside ours: popularity, item-kNN of the last five items and of the last one, and what followed the last five.

    Example: nocturne evaluate next-item sequences.tar.xz --file Beauty.txt --part test
    """
    from nocturne.core.settings import load_settings
    from nocturne.evaluation.next_item import OURS, PARTS, evaluate_next_item, summary
    from nocturne.evaluation.sequences import read_sequences

    settings = load_settings(conf, set_ or ())
    sequences = read_sequences(source, file)
    counts = {"listeners": len(sequences.users), "items": len(sequences.items), "events": len(sequences.heard)}
    parts = {}
    for name in [part] if part else PARTS:
        parts[name] = result = evaluate_next_item(sequences, settings, name, top_k)
        if not as_json:
            print_rows(summary(result), f"{name}; intervals (95 %) are of the difference to {OURS}")
        if result.unreachable:
            share = f"{result.unreachable:,} of {result.listeners:,} items"
            say(f"{name}: {share} cannot be found: the same listener had heard them before, or nobody had")
    if as_json:
        print_json({**counts, "top_k": top_k} | {name: asdict(result) for name, result in parts.items()})
    else:
        say(", ".join(f"{count:,} {name}" for name, count in counts.items()))
