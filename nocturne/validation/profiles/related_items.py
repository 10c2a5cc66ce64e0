"""Profile of `related_items`: a sound row for every item and content type, by the catalogue's rules."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.masks import mask
from nocturne.core.night import Night
from nocturne.storage import fingerprints
from nocturne.storage.stored_rows import StoredRows
from nocturne.validation.profiles.arithmetic import Measured, Profile, share, total
from nocturne.validation.profiles.carried_related import EarlierRows, are_carried
from nocturne.validation.profiles.entry_loops import count_repeating
from nocturne.validation.profiles.known_items import KnownItems, RelatedBatch, numbers
from nocturne.validation.profiles.models import live_models
from nocturne.validation.profiles.recomputed_related import count_unlike

_REPEATING = (
    *("content_type", "build", "rankable"),
    *(f"{lists}.list.element.{name}" for lists in ("items", "reserve") for name in ("item_id", "source")),
)
_BATCH_ROWS = 65_536
_ROW_SOURCES = pa.array(["none", "creator", "model", "text"])
_ENTRY_SOURCES = pa.array(["creator", "factors", "neighbours", "both"])
_COUNTED = (
    *("rows_of_nothing", "related_to_itself", "rows_with_duplicates", "unordered", "not_finite", "ineligible_items"),
    *("other_type", "wrong_length", "wrong_source", "other_model", "outdated"),
)


def related_items(night: Night) -> Measured:
    """Of every item's related items."""
    known, live = KnownItems.of(night), live_models(night)
    version = live[0].version if len(live) == 1 else None
    earlier = EarlierRows.of(night, known)
    hashed = fingerprints.hashed_columns("related_items")
    columns = [*hashed, "computed_on", *(["reserve"] if earlier else [])]
    stored = StoredRows.at(night, "related_items", columns, batch_rows=_BATCH_ROWS, dictionaries=_REPEATING)
    counts: Counter[str] = Counter()
    row_hash = 0
    there = np.zeros(len(known.ids) * len(known.types), np.int64)
    with ThreadPoolExecutor(1) as beside:
        unlike = beside.submit(count_unlike, night, known)
        for rows in stored:
            row_hash += fingerprints.sum_of_hashes(rows.select(hashed))
            batch = RelatedBatch.of(rows, known)
            counts.update(_measure_places(batch))
            counts.update(_measure_rows(batch, night, version))
            counts["unlike_last_night"] += earlier.count_unlike(batch, night) if earlier else 0
            there += np.bincount(batch.keys, minlength=len(there))
    profile: Profile = {
        "rows_missing": int((there == 0).sum()),
        "duplicate_keys": int(np.maximum(there - 1, 0).sum()),
        **{name: counts[name] for name in _COUNTED},
        "unlike_last_night": counts["unlike_last_night"] if earlier else None,
        "unlike_recomputed": unlike.result(),
        "share_empty": share(counts["empty"], counts["rows"]),
    }
    return Measured(profile, fingerprints.as_text(row_hash))


def _measure_places(batch: RelatedBatch) -> dict[str, int]:
    known, row, entry, scores = batch.known, batch.row, batch.entry, batch.scores
    rising = (row[1:] == row[:-1]) & (scores[1:] > scores[:-1])
    is_known = entry >= 0
    return {
        "related_to_itself": len(np.unique(row[is_known & (entry == batch.item[row])])),
        "rows_with_duplicates": count_repeating(row, entry),
        "unordered": len(np.unique(row[1:][rising])),
        "not_finite": len(np.unique(row[~np.isfinite(scores)])),
        "ineligible_items": int((~is_known).sum() + (~known.listable[entry[is_known]]).sum()),
        "other_type": int((is_known & (known.type_of[entry] != batch.type[row])).sum()),
    }


def _measure_rows(batch: RelatedBatch, night: Night, version: str | None) -> dict[str, float]:
    rows, sound = batch.rows, batch.sound
    lengths = batch.lengths
    there_are = batch.known.there_are(batch.item[sound], batch.type[sound])
    of_model = batch.known.has_factors[batch.item]
    sources = numbers(rows["source"], _ROW_SOURCES)
    entry_sources = numbers(pc.struct_field(rows["items"].flatten(), "source"), _ENTRY_SOURCES)
    expected = np.where(of_model, np.where(batch.known.by_text[batch.item], 3, 2), 1)
    wrong = (sources != np.where(lengths == 0, 0, expected)) & sound
    wrong[batch.row[(entry_sources < 0) | ((entry_sources == 0) == of_model[batch.row])]] = True
    later = pc.greater(rows["computed_on"], pa.scalar(night.run_date, pa.date32()))
    carried = are_carried(rows, night.run_date)
    same_model = pc.equal(rows["model_version"], version) if version else pc.is_null(rows["model_version"])
    return {
        "rows": rows.num_rows,
        "empty": int((lengths == 0).sum()),
        "rows_of_nothing": int((~sound).sum()),
        "wrong_length": int((lengths[sound] != np.minimum(night.settings.related.depth, there_are)).sum()),
        "wrong_source": int(wrong.sum()),
        "other_model": int((~mask(same_model)).sum()),
        "outdated": total(later) + int((carried & ~of_model).sum()),
    }
