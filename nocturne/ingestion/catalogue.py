"""The landed catalogue -> items. Unlike events it must be right as a whole: every list of the night depends on it."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from nocturne.core.errors import InputError

CONTENT_TYPES = ("track", "podcast_episode", "audiobook", "other")

_EXAMPLES = 3


def parse_items(landed: DataFrame) -> DataFrame:
    """Parse the catalogue's fields into the types of `items`.

    Args:
        landed: as from `landing.read_catalogue`.

    Returns:
        The columns of `items` without run_date, and `problem`: the reason why a row cannot be used, or null.
    """
    text = {name: F.when(F.trim(name) != "", F.trim(name)) for name in _TYPED}
    typed = {name: text[name].try_cast(kind) for name, kind in _TYPED.items()}
    unreadable = [
        F.when(text[name].isNotNull() & typed[name].isNull(), f"{name} is no {_TYPED[name]}") for name in _TYPED
    ]
    problem = F.coalesce(
        F.when(~F.col("parsed"), "unparsable"),
        F.when(F.col("item_id").isNull() | (F.trim("item_id") == ""), "missing item_id"),
        F.when(F.col("content_type").isNull() | ~F.col("content_type").isin(*CONTENT_TYPES), "unknown content_type"),
        *unreadable,
    )
    return landed.select(
        "item_id",
        "content_type",
        "title",
        "creator",
        "tags",
        *(typed[name].alias(name) for name in ("duration_ms", "explicit")),
        "markets",
        *(typed[name].alias(name) for name in ("available_from", "available_until")),
        problem.alias("problem"),
        "file",
    )


def require_usable_items(items: DataFrame, where: str) -> None:
    """Raise InputError where a row of `parse_items` has a problem or shares its item_id with another."""
    unusable = (
        items.groupBy("item_id")
        .agg(F.count("*").alias("rows"), F.min("problem").alias("problem"), F.min("file").alias("file"))
        .where(F.col("problem").isNotNull() | (F.col("rows") > 1))
        .orderBy("item_id")
        .limit(_EXAMPLES)
        .collect()
    )
    if unusable:
        examples = [f"item {row.item_id!r} in {row.file}: {row.problem or f'{row.rows} times'}" for row in unusable]
        raise InputError(
            "the catalogue cannot be used",
            where=where,
            found="; ".join(examples) + ("; perhaps more" if len(examples) == _EXAMPLES else ""),
            expected=f"one row per item, with a content_type of {', '.join(CONTENT_TYPES)}",
            fix="ask the producer to land it again; docs/landing.md says how",
        )


_TYPED = {"duration_ms": "bigint", "explicit": "boolean", "available_from": "date", "available_until": "date"}
