"""A warehouse as a whole: its tables are created here, and know the settings that are fixed for its life."""

from dataclasses import replace

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from nocturne.core.errors import SettingsError
from nocturne.core.night import Night
from nocturne.core.settings import load_settings
from nocturne.flow import TABLES
from nocturne.storage import fencing, tables
from nocturne.storage.contracts import contract

_FIXED = "nocturne."
_NAMES = ("interactions.half_life_days", "tables.buckets")


def create_missing(night: Night) -> None:
    """Create every table that the warehouse lacks, empty, as its contract says.

    Raises:
        SettingsError: the warehouse cannot be written, or was made with settings that are fixed for its life.
    """
    try:
        for table in TABLES:
            _create(night, table)
    except (OSError, DeltaError) as error:
        raise SettingsError(
            "the warehouse cannot be written",
            where=night.warehouse,
            found=str(error).strip(),
            expected="a folder that this user may write",
            fix="give another --warehouse, or change its permissions",
        ) from error


def keep_out_late_writers(night: Night) -> None:
    """Stamp every table with the night's token: what an earlier process still has in hand is refused."""
    assert night.token is not None
    for table in TABLES:
        fencing.raise_around(tables.opened(night, table), night.token)


def settled(night: Night) -> Night:
    """The night with the settings that are fixed for the life of its warehouse, as they are stored there."""
    tables.require_warehouse(night)
    stored = DeltaTable(tables.table_path(night, "interactions")).metadata().configuration
    found = [f"{name}={stored[f'{_FIXED}{name}']}" for name in _NAMES if f"{_FIXED}{name}" in stored]
    fixed = load_settings(overrides=found)
    settings = night.settings.model_copy(update={"interactions": fixed.interactions, "tables": fixed.tables})
    return replace(night, settings=settings)


def _create(night: Night, table: str) -> None:
    path, promised, fixed = tables.table_path(night, table), contract(table), _fixed_settings(night, table)
    if not DeltaTable.is_deltatable(path):
        DeltaTable.create(
            path,
            promised.arrow_schema,
            partition_by=list(promised.partitioned_by),
            description=promised.comment,
            configuration=promised.plain_properties | fixed,
            raise_if_key_not_exists=False,
        )
    delta = DeltaTable(path)
    found, expected = {field.name for field in delta.schema().fields}, {column.name for column in promised.columns}
    if found != expected:
        raise SettingsError(
            "the warehouse was made by another release",
            where=path,
            found=f"columns {', '.join(sorted(found ^ expected))} in one of them only",
            expected=f"the columns of schemas/{table}.sql",
            fix="run the nights into a new warehouse: CHANGELOG.md says which releases read each other's",
        )
    properties = delta.metadata().configuration
    for name, value in fixed.items():
        if properties.get(name) != value:
            raise SettingsError(
                f"{name.removeprefix(_FIXED)} is fixed for the life of a warehouse",
                where=path,
                found=f"{properties.get(name)} in the table, {value} in the settings",
                fix="keep the setting, or run the nights into a new warehouse",
            )
    absent = {
        name: check for name, check in promised.constraints.items() if f"delta.constraints.{name}" not in properties
    }
    if absent:
        delta.alter.add_constraint(absent)


def _fixed_settings(night: Night, table: str) -> dict[str, str]:
    """Settings that the stored rows depend on, kept as properties of the table."""
    fixed = {}
    if table in tables.BUCKETED:
        fixed["tables.buckets"] = str(night.settings.tables.buckets)
    if table == "interactions":
        fixed["interactions.half_life_days"] = str(night.settings.interactions.half_life_days)
    return {f"{_FIXED}{name}": value for name, value in fixed.items()}
