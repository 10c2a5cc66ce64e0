"""`nocturne tune`: a search over settings."""

import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nocturne import ROOT
from nocturne.cli.jobs import Conf, From, Json, Set, To
from nocturne.core.console import print_json, print_rows, say
from nocturne.core.errors import SettingsError

if TYPE_CHECKING:
    import optuna

    from nocturne.core.night import Night
    from nocturne.core.settings import Settings
    from nocturne.evaluation.tuning import Space

SPACE = Path(str(ROOT / "conf" / "search.toml"))
_SHOWN = 5


def tune(
    study: Annotated[str, typer.Option(help="name of the search", metavar="NAME")],
    storage: Annotated[Path, typer.Option(help="file that remembers every trial", metavar="FILE")],
    trials: Annotated[int, typer.Option(min=1, help="trials in all, those of earlier runs among them")],
    split: Annotated[
        Path | None, typer.Option(help="search on train.txt and valid.txt of this archive or folder", metavar="PATH")
    ] = None,
    warehouse: Annotated[str | None, typer.Option(help="search on nights of this warehouse", metavar="DIR")] = None,
    first: From = None,
    last: To = None,
    days: Annotated[int, typer.Option(help="days after each night whose listens are the truth", min=1)] = 1,
    space: Annotated[Path, typer.Option(help="what varies", show_default="conf/search.toml")] = SPACE,
    metric: Annotated[str, typer.Option(help="what is maximised")] = "ndcg@20",
    seed: Annotated[int, typer.Option(help="of the proposals")] = 1,
    winner: Annotated[Path | None, typer.Option(help="write the best settings here, TOML", metavar="FILE")] = None,
    report: Annotated[Path | None, typer.Option(help="write a page for people here", metavar="FILE.html")] = None,
    conf: Conf = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Search the settings for the best lists: Optuna proposes, the pipeline's own stages train and rank.

    On a warehouse the winner is trained on the last night and put into the registry, a candidate. Stop it whenever
    you like: run again, it goes on where it was.

    Example: nocturne tune --warehouse data/warehouse --from 2025-01-01 --to 2025-01-02 --study ours
    --storage data/search.log --trials 50
    """
    from nocturne.core.settings import load_settings, with_values
    from nocturne.evaluation import tuning
    from nocturne.evaluation.objectives import on_nights, on_split
    from nocturne.evaluation.splits import read_split

    base = load_settings(conf, set_ or ())
    what = tuning.Search(study, storage, tuning.read_space(space), seed)
    nights = _nights(warehouse, first, last, days, base, what.space) if warehouse else []
    if (split is None) == (warehouse is None):
        raise SettingsError("name what to search on", expected="--split PATH, or --warehouse W --from D1 --to D2")
    objective = on_split(read_split(split), metric) if split else on_nights(nights, days, metric)
    found = tuning.search(what, base, objective, trials, _Teller(trials, metric).tell)
    rows, top = tuning.rows_of(found), tuning.best(found)
    if top is None:
        raise SettingsError("no trial came to a value", where=str(storage), found=f"{len(rows)} trials were pruned")
    remark = f"{metric} {top.value:.5f}: trial {top.number} of the search {study}"
    if winner is not None:
        winner.parent.mkdir(parents=True, exist_ok=True)
        winner.write_text(tuning.settings_toml(top.params, remark), encoding="utf-8")
        say(f"the best settings are in {winner}")
    if report is not None:
        from nocturne.evaluation.search_report import page

        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(page(found, metric), encoding="utf-8")
        say(f"the report is in {report}")
    if nights:
        say(f"candidate {_register(nights[-1], with_values(base, top.params), remark)}")
    if as_json:
        print_json(rows)
    else:
        whole = sorted((row for row in rows if row["state"] == "complete"), key=lambda row: -row["value"])
        columns = {f"trial {row['trial']}": row | {metric: row["value"]} for row in whole[:_SHOWN]}
        by_setting = [
            {"setting": name}
            | {
                trial: f"{row[name]:.5g}" if isinstance(row[name], float) else row[name]
                for trial, row in columns.items()
            }
            for name in (metric, *top.params)
        ]
        print_rows(by_setting, f"{study}: the best of {len(rows)} trials by {metric}")


def _nights(
    warehouse: str, first: datetime | None, last: datetime | None, days: int, base: "Settings", space: "Space"
) -> list["Night"]:
    """The nights to search on."""
    from nocturne.core.night import Night
    from nocturne.evaluation.held_out import nights_between
    from nocturne.storage.warehouse import settled

    if first is None or last is None or first > last:
        raise SettingsError("name the nights to search on", expected="--from D1 --to D2")
    if others := sorted(name for name in space if not name.startswith("als.")):
        raise SettingsError(
            "a model keeps the settings of its training only",
            found=", ".join(others),
            expected="a space of [als] alone",
        )
    night = settled(Night(last.date(), landing="", warehouse=warehouse, cache="", settings=base))
    nights, left_out = nights_between(night, first.date(), last.date(), days, every=1)
    if left_out:
        say(f"{len(left_out)} nights from {left_out[0]} on have no {days} days of listens after them, and are left out")
    return nights


def _register(night: "Night", settings: "Settings", why: str) -> str:
    """Train the winner on the night, and put it into the registry as a candidate; returns its version."""
    from nocturne.storage.leased import leased
    from nocturne.training import registry

    with leased([night]) as (tonight,):
        return registry.add(tonight, registry.train(tonight, settings.als), origin="tune", by="nocturne tune", why=why)


class _Teller:
    """Progress of a search: a bar in a terminal, a line a trial in a log."""

    def __init__(self, trials: int, metric: str) -> None:
        self._trials, self._metric, self._started, self._first = trials, metric, time.monotonic(), -1

    def tell(self, study: "optuna.Study") -> None:
        from nocturne.evaluation import tuning

        done, top = len(tuning.ended(study)), tuning.best(study)
        if self._first < 0:
            self._first = done
        pace = (time.monotonic() - self._started) / max(1, done - self._first)
        left = f", about {(self._trials - done) * pace / 60:.0f} min left" if done > self._first else ""
        best = f"best {self._metric} {top.value:.5f} (trial {top.number})" if top else "none has a value yet"
        end = "\n" if done >= self._trials or not sys.stderr.isatty() else ""
        print(f"\r{done} of {self._trials} trials, {best}{left}   ", file=sys.stderr, end=end, flush=True)
