"""UCI Online Retail: a shop's daily log, as dirty as it came. Customers listen, products are items."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from nocturne.core.errors import InputError
from nocturne.ingestion.importers.archive import open_source, read_table
from nocturne.ingestion.importers.landing_writer import (
    ImportSummary,
    Record,
    claim_landing,
    event_id,
    publish_calendar,
    publish_catalogue,
)

HEADER = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")


def import_online_retail(
    source: Path,
    landing: Path,
    default_date: date,  # noqa: ARG001 - all importers are called alike
) -> ImportSummary:
    """Land one day per file, each row an event, and the products as the catalogue.

    Days of the calendar without a file become empty complete days. A row lands on the day of its file.

    Args:
        source: online-retail.tar.xz or the unpacked folder of YYYY-MM-DD.csv files.
        landing: landing zone to write.
        default_date: not used: the source has dates.

    Raises:
        UsageError: no such source, or a landing zone of another producer.
        InputError: files are missing or not what the data set holds.
    """
    descriptions: defaultdict[str, Counter[str]] = defaultdict(Counter)
    with open_source(source) as files:
        day_files = {_day(path): files.find(path.name) for path in files.find_all("????-??-??.csv")}
        claim_landing(landing, "online-retail")
        first, last = min(day_files), max(day_files)
        rows = publish_calendar(
            landing, first, last, lambda day: _events(day_files[day], descriptions) if day in day_files else ()
        )
    items = publish_catalogue(landing, _catalogue(descriptions))
    empty = (last - first).days + 1 - len(day_files)
    note = f"{len(day_files)} days have a file; the {empty} others of the calendar are empty complete days"
    return ImportSummary((first, last), rows, items, note)


def _day(path: Path) -> date:
    try:
        return date.fromisoformat(path.stem)
    except ValueError as error:
        raise InputError("a file is named after no day", where=str(path), found=path.stem) from error


def _events(path: Path, descriptions: defaultdict[str, Counter[str]]) -> Iterator[Record]:
    """The rows of one file as events; counts each product's descriptions on the way."""
    for row in read_table(path, HEADER, delimiter=",", quoted=True):
        _, product, description, quantity, time, _, customer, country = row[: len(HEADER)]
        descriptions[product][description.strip()] += 1
        yield {
            "event_id": event_id(*row),
            "user_id": customer,
            "item_id": product,
            "listened_at": f"{time.replace(' ', 'T')}Z" if time else "",
            "plays": quantity,
            "market": country,
        }


def _catalogue(descriptions: dict[str, Counter[str]]) -> Iterator[Record]:
    """One row per product, titled by its most frequent description, ties by alphabet."""
    for product in sorted(filter(None, descriptions)):
        counts = descriptions[product]
        title = min(filter(None, counts), key=lambda text: (-counts[text], text), default="")
        yield {"item_id": product, "content_type": "other", "title": title}
