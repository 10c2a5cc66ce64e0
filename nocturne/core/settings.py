"""Typed settings, one section per stage. Values live in conf/*.toml; types and ranges here."""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nocturne import ROOT
from nocturne.core.errors import UsageError

PositiveInt = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]


class Section(BaseModel):
    """A group of settings: frozen, and strict about names and types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ListenSettings(Section):
    """The rules by which an event counts as a listen."""

    late_days: Annotated[int, Field(ge=0, le=365, description="days back that an event may be late")]
    dedup_nights: Annotated[int, Field(ge=0, description="nights back in which an event_id counts as seen")]
    unknown_items: Annotated[
        Literal["keep", "quarantine"], Field(description="what becomes of events whose item is not in the catalogue")
    ]
    max_id_bytes: Annotated[
        int, Field(ge=1, description="longest id of an event, listener or item, bytes of UTF-8; LMDB holds 511")
    ]
    max_ms_played: Annotated[int, Field(ge=1, description="longest listening time of one event, milliseconds")]
    max_plays: Annotated[int, Field(ge=1, description="most plays that one event may stand for")]
    basket_rows: Annotated[
        int, Field(ge=1, description="rows of one listener and minute that count towards their rate")
    ]
    bot_rows: Annotated[int, Field(ge=1, description="rows a day, baskets capped, above which a listener is a bot")]


class InteractionSettings(Section):
    """The fading of past listening."""

    half_life_days: Annotated[float, Field(ge=1, le=36_500, description="days after which a play counts half")]


OPERATIONAL = frozenset({"recipe", "retrain_every_nights", "warm_start", "threads", "matrix_memory_mb"})
"""Settings of training that are about when, where and whether by a race; all others make the recipe of a model."""


class AlsSettings(Section):
    """The recipe of the matrix factorization, and what its training may take."""

    recipe: Annotated[
        Literal["fit", "settings"],
        Field(description="fit: a race chooses, in first trainings and `nocturne models train`; settings: these stand"),
    ]
    factors: Annotated[int, Field(ge=1, le=4096, description="length of a factor vector")]
    iterations: Annotated[int, Field(ge=1, description="alternations of a training")]
    regularization: Annotated[float, Field(gt=0, description="ridge term of every solve")]
    regularization_exponent: Annotated[
        float,
        Field(
            ge=0,
            le=2,
            description="a listener's ridge term is regularization x items heard ^ this, "
            "when listeners are solved for ranking",
        ),
    ]
    alpha: Annotated[float, Field(gt=0, description="confidence of a strength of 1")]
    play_weight: Annotated[float, Field(ge=0, description="strength of one play")]
    minute_weight: Annotated[float, Field(ge=0, description="strength of one minute listened")]
    transform: Annotated[
        Literal["linear", "log1p", "sqrt", "binary"], Field(description="how strength becomes confidence")
    ]
    recency: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="confidence in an item is multiplied by this for each listen after its last one, "
            "when listeners are solved for ranking; 1: order does not count",
        ),
    ]
    popularity_exponent: Annotated[
        float, Field(ge=0, le=2, description="confidences are multiplied by listeners of the item ^ -this")
    ]
    activity_exponent: Annotated[
        float, Field(ge=0, le=2, description="confidences are multiplied by items of the listener ^ -this")
    ]
    score_exponent: Annotated[
        float, Field(ge=-2, le=2, description="scores are multiplied by listeners of the item ^ this")
    ]
    neighbours: Annotated[
        int, Field(ge=0, le=1000, description="most similar items kept of each item, for the second stage; 0: none")
    ]
    neighbour_exponent: Annotated[
        float,
        Field(ge=0, le=2, description="similarities and successions are divided by listeners of either item ^ this"),
    ]
    neighbour_weights: Annotated[
        Literal["similarity", "regression", "succession"],
        Field(description="similar items by similarity, the same by regression, or those that the item is heard after"),
    ]
    neighbour_ridge: Annotated[float, Field(gt=0, description="ridge term of the regression, in listeners")]
    neighbour_weight: Annotated[
        float, Field(ge=0, description="weight of the neighbourhood beside the factors in the second stage")
    ]
    sample_share: Annotated[Share, Field(description="share of listeners trained on, picked by hash")]
    min_item_listeners: Annotated[int, Field(ge=1, description="listeners an item needs to get factors")]
    min_item_coverage: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="share of the items with enough listeners that must keep enough of them in the sample; "
            "a sample that covers less is doubled",
        ),
    ]
    retrain_every_nights: Annotated[int, Field(ge=1, description="age in nights at which the live model is replaced")]
    warm_start: Annotated[bool, Field(description="start from the live model's item factors")]
    seed: Annotated[int, Field(ge=0, lt=2**32, description="seed of the initial factors and of the sample")]
    threads: Annotated[int, Field(ge=1, description="threads of implicit; its BLAS always has one")]
    matrix_memory_mb: Annotated[
        int, Field(ge=1, description="largest training matrix, with its transpose and the listeners' factors, MiB")
    ]

    @property
    def recipe_settings(self) -> dict[str, Any]:
        """The settings that decide what is learned: all that are not in OPERATIONAL."""
        return self.model_dump(exclude=set(OPERATIONAL))

    def with_recipe(self, recipe: Mapping[str, Any]) -> "AlsSettings":
        """These settings with the recipe of others."""
        return AlsSettings.model_validate(self.model_dump() | dict(recipe))


class RankingSettings(Section):
    """The content of a list, and what computing it may take."""

    top_k: Annotated[int, Field(ge=1, le=10_000, description="items in a full list")]
    let_back_after_days: Annotated[
        int, Field(ge=0, description="days after which a heard item may be listed again; 0: never")
    ]
    explicit_blocked_markets: Annotated[
        tuple[str, ...], Field(strict=False, description='markets whose lists hold no explicit item; "*": every market')
    ]
    candidates: Annotated[
        int, Field(ge=1, le=10_000, description="best items by factors that a list is chosen from, if more than top_k")
    ]
    reserve: Annotated[
        int, Field(ge=0, le=10_000, description="items kept behind the candidates, to fill in for what is withdrawn")
    ]
    carry_over: Annotated[bool, Field(description="keep the pools of the night before that cannot have changed")]
    audit_share: Annotated[
        float, Field(ge=0, le=1, description="share of listeners whose pools are proved every night, by hash")
    ]
    audit_at_least: Annotated[int, Field(ge=0, description="listeners whose pools are proved, however few there are")]
    items_memory_mb: Annotated[int, Field(ge=1, description="largest model that a machine's workers share, MiB")]
    batch_memory_mb: Annotated[int, Field(ge=1, description="memory of one batch of listeners, MiB")]


class PromotionSettings(Section):
    """The proof that a candidate gives before it is made live."""

    top_k: Annotated[int, Field(ge=1, le=10_000, description="items of a list that are scored")]
    metrics: Annotated[
        tuple[Literal["recall", "capped_recall", "ndcg", "map", "mrr", "hit_rate"], ...],
        Field(strict=False, min_length=1, description="metrics that decide, each of the first top_k items"),
    ]
    nights: Annotated[int, Field(ge=1, description="nights compared at most, the last ones")]
    margin: Annotated[
        float,
        Field(
            ge=0, le=1, description="share of the live model's metric that the candidate's interval may reach below it"
        ),
    ]
    segment_margin: Annotated[
        float, Field(ge=0, le=1, description="share of the live model's metric that a segment may lose")
    ]
    min_listeners: Annotated[int, Field(ge=1, description="listeners that a segment needs to decide")]


class RerankingSettings(Section):
    """The choice of a list from the best candidates, beside their scores; none is made where every value is neutral."""

    max_per_creator: Annotated[int, Field(ge=0, description="items of one creator in a list; 0: any number")]
    diversity: Annotated[float, Field(ge=0, le=1, description="strength of unlikeness within a list; 0: none")]
    type_calibration: Annotated[
        float, Field(ge=0, le=1, description="strength of the listener's own mix of content types; 0: none")
    ]
    genre_calibration: Annotated[
        float, Field(ge=0, le=1, description="strength of the listener's own mix of genres, which are tags; 0: none")
    ]
    fresh_slots: Annotated[int, Field(ge=0, description="new items that a list holds at least, if there are so many")]
    fresh_nights: Annotated[int, Field(ge=1, description="nights that an item is new, its first one among them")]
    exploration_places: Annotated[
        tuple[PositiveInt, ...],
        Field(strict=False, description="places of the list, from 1, whose items are drawn at random"),
    ]
    exploration: Annotated[
        Literal["uniform", "softmax"], Field(description="how likely a candidate is drawn: all alike, or by score")
    ]
    exploration_temperature: Annotated[
        float,
        Field(ge=0.01, le=100, description="of softmax, of scores from 0, the worst candidate, to 1, the best"),
    ]
    seed: Annotated[int, Field(ge=0, lt=2**32, description="seed of what is drawn")]

    @property
    def neutral(self) -> bool:
        """True if lists are the heads of their candidates."""
        strengths = self.max_per_creator, self.diversity, self.type_calibration, self.genre_calibration
        return not (any(strengths) or self.fresh_slots or self.exploration_places)


class CacheSettings(Section):
    """The serving cache: its connection, and how it is filled."""

    generations: Annotated[
        int, Field(ge=2, le=30, description="nights kept in the cache: the one served and those to roll back to")
    ]
    lists_per_second: Annotated[
        int, Field(ge=0, description="lists loaded into Redis, or deleted from it, a second; 0: as many as it takes")
    ]
    user: Annotated[str, Field(description="user of the Redis server; empty: its default user")]
    password_file: Annotated[str, Field(description="file that holds the password of the Redis server; empty: none")]
    ca_file: Annotated[
        str, Field(description="certificate authority of a rediss:// server, PEM; empty: those of the system")
    ]


class RetentionSettings(Section):
    """The time that tables keep what nights wrote."""

    nights: Annotated[
        dict[str, PositiveInt], Field(strict=False, description="nights whose rows a table keeps, by table")
    ]
    removed_files_hours: Annotated[
        int,
        Field(
            ge=0,
            description="hours that a file stays after no table needs it, for readers that opened it; 0 is for tests: "
            "a rollback writes without the lease",
        ),
    ]


class TableSettings(Section):
    """The layout of tables."""

    buckets: Annotated[int, Field(ge=1, le=100_000, description="hash buckets of users; fixed for a warehouse's life")]


class SparkSettings(Section):
    """The Spark session, where spark-submit does not decide."""

    master: Annotated[str, Field(description="where Spark runs, unless spark-submit says")]
    driver_memory: Annotated[str, Field(pattern=r"^\d+[mg]$", description="heap of the driver, such as 3g")]
    shuffle_partitions: Annotated[int, Field(ge=1, description="partitions of a shuffle")]


class Settings(Section):
    """Everything that can be set."""

    listens: ListenSettings
    interactions: InteractionSettings
    als: AlsSettings
    ranking: RankingSettings
    reranking: RerankingSettings
    promotion: PromotionSettings
    cache: CacheSettings
    retention: RetentionSettings
    tables: TableSettings
    spark: SparkSettings
    expectations: Annotated[
        dict[str, dict[str, float]],
        Field(strict=False, description="thresholds of each table's suite, by table and parameter"),
    ]


def load_settings(conf: str | None = None, overrides: Sequence[str] = ()) -> Settings:
    """Read conf/default.toml, lay the given file over it and `section.key=value` overrides over both.

    Raises:
        UsageError: a file is missing or no TOML, a name is unknown, or a value is out of range.
    """
    values = _parse((ROOT / "conf" / "default.toml").read_text(encoding="utf-8"), "conf/default.toml")
    if conf:
        try:
            text = Path(conf).read_text(encoding="utf-8")
        except OSError as error:
            raise UsageError("the settings file cannot be read", where=conf, found=str(error)) from error
        values = _overlay(values, _parse(text, conf))
    for override in overrides:
        values = _overlay(values, _parse_override(override))
    return _validate(values, conf or "conf/default.toml and --set")


def with_values(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """The same settings with some values changed, given by `section.key`.

    Example: `with_values(settings, {"als.factors": 64})`.

    Raises:
        UsageError: a name is unknown, or a value is out of range.
    """
    changed = settings.model_dump()
    for name, value in values.items():
        section, _, key = name.partition(".")
        changed = _overlay(changed, {section: {key: value}})
    return _validate(changed)


def _validate(values: Mapping[str, Any], where: str = "") -> Settings:
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise UsageError(
            "the settings are not valid",
            where=where,
            found="; ".join(_explain_problem(problem) for problem in error.errors()),
            fix="`nocturne settings` lists every setting with its meaning",
        ) from error


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError("the settings are not TOML", where=where, found=str(error)) from error


def _parse_override(override: str) -> dict[str, Any]:
    name, separator, value = override.partition("=")
    if not separator or "." not in name:
        raise UsageError("an override is malformed", found=override, expected="--set section.key=value")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    for key in reversed(name.strip().split(".")):
        parsed = {key: parsed}
    return dict(parsed)


def _overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both_tables = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _overlay(merged[key], value) if both_tables else value
    return merged


def _explain_problem(problem: Any) -> str:
    location = ".".join(str(part) for part in problem["loc"])
    if problem["type"] != "extra_forbidden":
        return f"{location} = {problem['input']!r}: {problem['msg'].lower()}"
    section: Any = Settings
    for part in problem["loc"][:-1]:
        section = section.model_fields[part].annotation
    close = difflib.get_close_matches(str(problem["loc"][-1]), section.model_fields, n=1)
    return f"{location}: no such setting" + (f", did you mean {close[0]}?" if close else "")


def describe(settings: Settings) -> list[dict[str, Any]]:
    """One row per setting: its name, value, range and meaning, in the order of the sections."""
    schema = Settings.model_json_schema()
    rows = []
    for section, values in settings.model_dump(mode="json").items():
        model = schema["$defs"].get(schema["properties"][section].get("$ref", "").rpartition("/")[2])
        for name, value in values.items() if model else ():
            field = model["properties"][name]
            meaning = field["description"]
            rows.append({"setting": f"{section}.{name}", "value": value, "range": _range(field), "meaning": meaning})
    for table, parameters in settings.expectations.items():
        for name, value in parameters.items():
            meaning = f"see expectations/{table}.json"
            rows.append({"setting": f"expectations.{table}.{name}", "value": value, "range": "", "meaning": meaning})
    return rows


def _range(field: Mapping[str, Any]) -> str:
    if "enum" in field:
        return " | ".join(field["enum"])
    limits = {
        ">= ": "minimum",
        "> ": "exclusiveMinimum",
        "<= ": "maximum",
        "< ": "exclusiveMaximum",
        "like ": "pattern",
    }
    return ", ".join(f"{sign}{field[name]}" for sign, name in limits.items() if name in field)
