"""`nocturne tune`: a search over settings."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nocturne import ROOT
from nocturne.errors import SettingsError
from nocturne.job import Conf, Json, Set
from nocturne.printing import print_json, print_rows, say

if TYPE_CHECKING:
    import optuna

SPACE = Path(str(ROOT / "conf" / "search.toml"))
_SHOWN = 10


def tune(
    study: Annotated[str, typer.Option(help="name of the search", metavar="NAME")],
    storage: Annotated[Path, typer.Option(help="file that remembers every trial", metavar="FILE")],
    trials: Annotated[int, typer.Option(min=1, help="trials in all, those of earlier runs among them")],
    split: Annotated[Path | None, typer.Option(help="search on train.txt and valid.txt of this archive")] = None,
    space: Annotated[Path, typer.Option(help="what varies", show_default="conf/search.toml")] = SPACE,
    metric: Annotated[str, typer.Option(help="what is maximised")] = "ndcg@20",
    seed: Annotated[int, typer.Option(help="of the proposals")] = 1,
    winner: Annotated[Path | None, typer.Option(help="write the best settings here, for --conf")] = None,
    conf: Conf = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Search the settings for the best lists: Optuna proposes, the pipeline's own stages train and rank.

    Stop it whenever you like: run again, it goes on where it was.

    Example: nocturne tune --split gowalla-lightgcn.tar.xz --study gowalla --storage data/search.log --trials 50
    """
    from nocturne import tuning
    from nocturne.evaluation.objectives import on_split
    from nocturne.evaluation.splits import read_split
    from nocturne.settings import load_settings

    if split is None:
        raise SettingsError("name what to search on", expected="--split PATH")
    base = load_settings(conf, set_ or ())
    what = tuning.Search(study, storage, tuning.read_space(space), seed)
    found = tuning.search(what, base, on_split(read_split(split), metric), trials, _Teller(trials, metric).tell)
    rows, top = tuning.rows_of(found), tuning.best(found)
    if top is None:
        raise SettingsError("no trial came to a value", where=str(storage), found=f"{len(rows)} trials were pruned")
    if winner is not None:
        winner.parent.mkdir(parents=True, exist_ok=True)
        remark = f"{metric} {top.value:.5f}: trial {top.number} of the search {study}"
        winner.write_text(tuning.settings_toml(top.params, remark), encoding="utf-8")
        say(f"the best settings are in {winner}")
    if as_json:
        print_json(rows)
    else:
        ranked = sorted(rows, key=lambda row: (row["value"] is None, -(row["value"] or 0)))
        print_rows(ranked[:_SHOWN], f"{study}: the best of {len(rows)} trials by {metric}")


class _Teller:
    """Progress of a search: a bar in a terminal, a line a trial in a log."""

    def __init__(self, trials: int, metric: str) -> None:
        self._trials, self._metric, self._started, self._first = trials, metric, time.monotonic(), -1

    def tell(self, study: "optuna.Study") -> None:
        from nocturne import tuning

        done, top = len(tuning.ended(study)), tuning.best(study)
        if self._first < 0:
            self._first = done
        pace = (time.monotonic() - self._started) / max(1, done - self._first)
        left = f", about {(self._trials - done) * pace / 60:.0f} min left" if done > self._first else ""
        best = f"best {self._metric} {top.value:.5f} (trial {top.number})" if top else "none has a value yet"
        end = "\n" if done >= self._trials or not sys.stderr.isatty() else ""
        print(f"\r{done} of {self._trials} trials, {best}{left}   ", file=sys.stderr, end=end, flush=True)
