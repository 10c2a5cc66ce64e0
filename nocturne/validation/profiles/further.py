"""Further metrics of tables that are read in this process: catalogue, accounts, models, factors and embeddings."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Positions
from nocturne.core.night import Night
from nocturne.storage import tables
from nocturne.storage.history import previous_night
from nocturne.storage.stored_rows import StoredRows
from nocturne.validation.metrics import factors
from nocturne.validation.metrics.accounts import account_metrics, producer, reject_metrics
from nocturne.validation.metrics.catalogue import COLUMNS, catalogue_metrics
from nocturne.validation.metrics.metric import Metric
from nocturne.validation.metrics.sums import metric
from nocturne.validation.profiles.catalogue_rules import Catalogue
from nocturne.validation.profiles.model_items import cold_rows
from nocturne.validation.profiles.models import live_models

Metrics = tuple[Metric, ...]

_LISTENERS = 2_000
"""Whose rows say which items are heard together."""

_NEIGHBOURS = ("neighbours", "similarities")
_OF_INGESTS = ("rows_read", "listens", "duplicates", "quarantined", "late", "listeners")
_OF_EXPOSURES = ("lines", "accepted", "duplicates", "rejected", "late")


def items(night: Night) -> Metrics:
    """Of the night's catalogue."""
    columns = [*dict.fromkeys((*COLUMNS, *Catalogue.COLUMNS))]
    rows = tables.night_rows(night, "items", columns)
    blocked = night.settings.ranking.explicit_blocked_markets
    rules = Catalogue(rows, night.run_date, blocked, tables.night_rows(night, "takedowns", Catalogue.WORDS))
    nowhere = np.all([rules.barred(market) for market in (*sorted(rules.markets), None)], axis=0)
    previous = previous_night(night, "items")
    own = nowhere[: rows.num_rows]  # behind them stand items that are taken down and that the catalogue lacks
    return catalogue_metrics(rows, own, tables.night_rows(previous, "items", COLUMNS) if previous else None)


def quarantine(night: Night) -> Metrics:
    """Of the night's rejected events."""
    rows = tables.night_rows(night, "quarantine", ["reason", "file"])
    return reject_metrics(rows["reason"].to_pylist(), map(producer, rows["file"].to_pylist()))


def ingests(night: Night) -> Metrics:
    """Of the night's account."""
    rows = tables.night_rows(night, "ingests").to_pylist()
    if len(rows) != 1:
        return ()
    return account_metrics({name: rows[0][name] for name in _OF_INGESTS}, dict(rows[0]["reasons"]), "rows_read")


def exposure_rejects(night: Night) -> Metrics:
    """Of the night's rejected exposures."""
    rows = tables.night_rows(night, "exposure_rejects", ["reason", "writer"])
    return reject_metrics(rows["reason"].to_pylist(), rows["writer"].to_pylist(), "writer")


def exposure_ingests(night: Night) -> Metrics:
    """Of the night's accounts of writers."""
    rows = sorted(tables.night_rows(night, "exposure_ingests").to_pylist(), key=lambda row: str(row["writer"]))
    reasons: Counter[str] = Counter()
    for row in rows:
        reasons.update(dict(row["reasons"]))
    sums = {name: sum(row[name] for row in rows) for name in _OF_EXPOSURES}
    return (
        *account_metrics(sums, reasons, "lines"),
        *(metric("accepted", row["accepted"], "writer", row["writer"], row["lines"]) for row in rows),
    )


def models(night: Night) -> Metrics:
    """Of the live model."""
    live = live_models(night)
    if len(live) != 1:
        return ()
    metrics = [metric("loss", live[0].losses[-1], count=live[0].entries)] if live[0].losses else []
    spectrum = np.array(live[0].spectrum)
    return (*metrics, *factors.rank_metrics(spectrum))


def item_factors(night: Night) -> Metrics:
    """Of the factors of the live model."""
    rows = tables.night_rows(night, "item_factors", ["item_index", "factors", *_NEIGHBOURS]).combine_chunks()
    vectors, number = _vectors(rows["factors"]), rows["item_index"].to_numpy()
    if not len(vectors):
        return ()
    heard, offsets = _heard(night)
    one, other = factors.heard_together(_places(heard, number), offsets)
    neighbours = rows["neighbours"].combine_chunks()
    near = _places(pc.list_flatten(neighbours).to_numpy(), number)
    of_item = pc.list_parent_indices(neighbours).to_numpy()
    drawn = np.random.default_rng(len(near)).permutation(np.flatnonzero(near >= 0))[: factors.PAIRS]
    return (
        *factors.norm_metrics(vectors),
        *factors.collapse_metrics(vectors),
        *factors.agreement_metrics(vectors, one, other, "gain_of_heard_together"),
        *factors.agreement_metrics(vectors, of_item[drawn], near[drawn], "gain_of_neighbours"),
        *factors.weight_metrics(pc.list_flatten(rows["similarities"].combine_chunks()).to_numpy(zero_copy_only=False)),
        *_beside_last_model(night, vectors, number),
    )


def cold_factors(night: Night) -> Metrics:
    """Of the factors of items that the live model knows by their text alone."""
    live = live_models(night)
    if len(live) != 1:
        return ()
    rows = cold_rows(night, live[0].version, ["item_id", "factors"])
    vectors = _vectors(rows["factors"])
    return (*factors.norm_metrics(vectors), *_of_texts(night, vectors, rows["item_id"])) if len(vectors) else ()


def item_texts(night: Night) -> Metrics:
    """Of the embeddings that the night added."""
    rows = tables.night_rows(night, "item_texts", ["run_date", "item_id", "embedding"])
    rows = rows.filter(pc.equal(rows["run_date"], pa.scalar(night.run_date, pa.date32())))
    vectors = _vectors(rows["embedding"])
    return _of_texts(night, vectors, rows["item_id"]) if len(vectors) else ()


def _of_texts(night: Night, vectors: np.ndarray, item_ids: pa.ChunkedArray) -> Metrics:
    """Metrics of vectors that follow from texts: alike above all where they are of one creator."""
    catalogue = tables.night_rows(night, "items", ["item_id", "creator"])
    place = pc.index_in(item_ids, value_set=catalogue["item_id"].combine_chunks())
    creator = catalogue["creator"].combine_chunks().take(place.combine_chunks()).dictionary_encode()
    code = pc.fill_null(creator.indices, -1).to_numpy()
    order = np.argsort(code, kind="stable")
    order = order[code[order] >= 0]
    offsets = np.append(0, np.cumsum(np.bincount(code[order], minlength=len(creator.dictionary))))
    one, other = factors.heard_together(order, offsets)
    return (
        *factors.collapse_metrics(vectors),
        *factors.agreement_metrics(vectors, one, other, "gain_of_creators"),
    )


def _beside_last_model(night: Night, vectors: np.ndarray, number: Positions) -> Sequence[Metric]:
    """Vectors beside those of the model of the last night; nothing where that is the same one."""
    previous = previous_night(night, "interactions")
    versions = [[model.version for model in live_models(each)] for each in (night, previous) if each]
    if previous is None or versions[0] == versions[1] or not versions[1]:
        return ()
    rows = tables.night_rows(previous, "item_factors", ["item_index", "factors"])
    before = _vectors(rows["factors"])
    place = _places(number, rows["item_index"].to_numpy())
    both = place >= 0
    return factors.alignment_metrics(vectors[both], before[place[both]])


def _heard(night: Night) -> tuple[Positions, Positions]:
    """Items of the rows of the first listeners, by item index, and where each row begins."""
    rows = StoredRows.at(night, "interactions", ["item_indexes"]).head(_LISTENERS)["item_indexes"].combine_chunks()
    offsets = np.append(0, np.cumsum(pc.list_value_length(rows).to_numpy()))
    return pc.list_flatten(rows).to_numpy(), offsets


def _places(numbers: Positions, known: Positions) -> Positions:
    """Where each number stands among some that are known; -1 where it does not."""
    place = pc.index_in(pa.array(numbers), value_set=pa.array(known).cast(pa.array(numbers).type))
    places: Positions = pc.fill_null(place, -1).to_numpy().astype(np.int64)
    return places


def _vectors(lists: pa.ChunkedArray) -> np.ndarray:
    """Lists of numbers as a matrix; those of another length than the first are left out by 0."""
    together = lists.combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(together), 0).to_numpy()
    width = int(lengths[0]) if len(lengths) else 0
    vectors = np.zeros((len(lengths), width), np.float32)
    some = lengths == width
    flat = together.filter(pa.array(some)).flatten().to_numpy(zero_copy_only=False)
    vectors[some] = flat.reshape(-1, width) if width else vectors[some]
    return np.nan_to_num(vectors, nan=0.0, posinf=0.0, neginf=0.0)
