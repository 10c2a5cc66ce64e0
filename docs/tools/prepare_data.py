"""Turn public data sets, as they are published, into the folders that `nocturne import` reads: docs/data.md.

    .venv/bin/python -m docs.tools.prepare_data online-retail data.csv data/sets/online-retail
    .venv/bin/python -m docs.tools.prepare_data lastfm-1k lastfm-dataset-1K/userid-*.tsv data/sets/lastfm-1k
    .venv/bin/python -m docs.tools.prepare_data gowalla train.txt data/sets/gowalla

Rows are passed on as they are, dirty ones too. Last.fm 2k needs no preparation.
"""

import argparse
import csv
import random
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pandas as pd

WITHHELD = 0.1
"""Share of the visits of each Gowalla user that become valid.txt."""


def prepare_online_retail(source: Path, folder: Path) -> None:
    """Split the sheet, as CSV, into a file a day; every time in ISO 8601."""
    rows = pd.read_csv(source, dtype=str, keep_default_na=False)
    times = pd.to_datetime(rows["InvoiceDate"], format="mixed")
    rows["InvoiceDate"] = times.dt.strftime("%Y-%m-%d %H:%M:%S")
    for day, rows_of_day in rows.groupby(times.dt.date):
        rows_of_day.to_csv(folder / f"{day}.csv", index=False)


def prepare_lastfm_1k(source: Path, folder: Path) -> None:
    """Rewrite single listens as `listener-song before,song-artist,label,epoch milliseconds`, with numbers for ids."""
    songs: dict[tuple[str, str], int] = {}
    artists: dict[str, int] = {}
    with source.open(encoding="utf-8", newline="") as file, (folder / "listens.csv").open("w") as listens:
        for user, time, _, artist, _, title in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            song = songs.setdefault((artist, title), len(songs))
            epoch_ms = round(datetime.fromisoformat(time).timestamp() * 1000)
            pair = f"{song}-{artists.setdefault(artist, len(artists))}"
            listens.write(f"{user.removeprefix('user_')}-,{pair},1,{epoch_ms}\n")


def prepare_gowalla(source: Path, folder: Path) -> None:
    """Split train.txt into train.txt and valid.txt, a tenth of each user's visits, drawn with a seed; copy test.txt."""
    draw = random.Random(1)  # noqa: S311 - a split, no secret
    with (folder / "train.txt").open("w") as train, (folder / "valid.txt").open("w") as valid:
        for line in source.read_text(encoding="utf-8").splitlines():
            user, *items = line.split()
            withheld = set(draw.sample(range(len(items)), round(WITHHELD * len(items))))
            for file, wanted in ((train, False), (valid, True)):
                chosen = [item for place, item in enumerate(items) if (place in withheld) is wanted]
                file.write(" ".join([user, *chosen]) + "\n")
    (folder / "test.txt").write_bytes(source.with_name("test.txt").read_bytes())


PREPARE: dict[str, Callable[[Path, Path], None]] = {
    "online-retail": prepare_online_retail,
    "lastfm-1k": prepare_lastfm_1k,
    "gowalla": prepare_gowalla,
}


def main() -> None:
    """Prepare one data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=list(PREPARE))
    parser.add_argument("source", type=Path, help="the file as it is published, unpacked")
    parser.add_argument("folder", type=Path, help="folder to write, for `nocturne import`")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    PREPARE[options.name](options.source, options.folder)


if __name__ == "__main__":
    main()
