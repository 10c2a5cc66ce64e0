"""Typed settings, one section per stage: `sections` has types and ranges, conf/*.toml the values."""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from nocturne import ROOT
from nocturne.core.erasure import ErasureSettings
from nocturne.core.errors import UsageError
from nocturne.core.monitoring_section import MonitoringSettings
from nocturne.core.sections import (
    AlsSettings,
    ContentSettings,
    EvaluationSettings,
    ExperimentSettings,
    InteractionSettings,
    ListenSettings,
    NowPlayingSettings,
    PromotionSettings,
    RankingSettings,
    RelatedSettings,
    RerankingSettings,
    RetentionSettings,
    Section,
    SparkSettings,
    TableSettings,
)
from nocturne.core.service_sections import (
    CacheSettings,
    ServiceSettings,
    WordsSettings,
)


class Settings(Section):
    """Everything that can be set."""

    listens: ListenSettings
    interactions: InteractionSettings
    content: ContentSettings
    als: AlsSettings
    ranking: RankingSettings
    reranking: RerankingSettings
    related: RelatedSettings
    now_playing: NowPlayingSettings
    evaluation: EvaluationSettings
    experiments: ExperimentSettings
    promotion: PromotionSettings
    cache: CacheSettings
    service: ServiceSettings
    words: WordsSettings
    monitoring: MonitoringSettings
    retention: RetentionSettings
    erasure: ErasureSettings
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
    rows = _described(schema, schema, settings.model_dump(mode="json"))
    for table, parameters in settings.expectations.items():
        for name, value in parameters.items():
            meaning = f"see expectations/{table}.json"
            rows.append({"setting": f"expectations.{table}.{name}", "value": value, "range": "", "meaning": meaning})
    return rows


def _described(
    schema: Mapping[str, Any], model: Mapping[str, Any], values: Mapping[str, Any], above: str = ""
) -> list[dict[str, Any]]:
    """Rows of the settings of a section, those of sections in it last."""
    rows, inner = [], []
    for name, value in values.items():
        field = model["properties"][name]
        if "$ref" in field:
            inner += _described(schema, schema["$defs"][field["$ref"].rpartition("/")[2]], value, f"{above}{name}.")
        elif above:
            meaning = field["description"]
            rows.append({"setting": above + name, "value": value, "range": _range(field), "meaning": meaning})
    return rows + inner


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
