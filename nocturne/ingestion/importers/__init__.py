"""Real data sets as landing zones, every dirty row passed on as it is."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

from nocturne.ingestion.importers.gowalla import import_gowalla
from nocturne.ingestion.importers.landing_writer import ImportSummary
from nocturne.ingestion.importers.lastfm_1k import import_lastfm_1k
from nocturne.ingestion.importers.lastfm_2k import import_lastfm_2k
from nocturne.ingestion.importers.online_retail import import_online_retail

__all__ = ["IMPORTERS", "ImportSummary"]

IMPORTERS: dict[str, Callable[[Path, Path, date], ImportSummary]] = {
    "lastfm-2k": import_lastfm_2k,
    "online-retail": import_online_retail,
    "lastfm-1k": import_lastfm_1k,
    "gowalla": import_gowalla,
}
"""By the name that `nocturne import` takes: (source archive or folder, landing zone, day of undated rows)."""
