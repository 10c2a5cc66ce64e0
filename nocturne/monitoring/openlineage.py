"""OpenLineage events of stages: START, then COMPLETE, FAIL or ABORT, with the tables read and written as datasets.

Events are lines of `FOLDER/<run_date>.ndjson`. Run ids follow from the warehouse, the night, the stage and the token of
the lease, which every process has its own of. Only the time of an event is measured. An event that cannot be written
is told once and fails nothing.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nocturne.core.code_version import code_version
from nocturne.core.errors import Interrupted, NocturneError
from nocturne.core.night import Night
from nocturne.flow import TABLES, Stage
from nocturne.storage import tables
from nocturne.storage.contracts import contract

if TYPE_CHECKING:
    from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run

NIGHT = "night"
"""Job that the runs of stages belong to."""

_IDS = uuid.uuid5(uuid.NAMESPACE_URL, "urn:nocturne")

_unwritable: set[str] = set()
"""Folders of which this process has told that they cannot be written."""


class Written(NamedTuple):
    """Rows, bytes and data files of a night in a table."""

    rows: int
    size_bytes: int
    files: int


@dataclass
class StageRun:
    """Tables that a run of a stage read and wrote, as far as they are known.

    Attributes:
        inputs: tables and `landing`.
        outputs: tables.
        written: by table; of those that are not in it nothing is known.
        expectations: rows of `validations` by table, where it validated.
    """

    inputs: Iterable[str]
    outputs: Iterable[str]
    written: Mapping[str, Written] = field(default_factory=dict)
    expectations: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)


@contextmanager
def told_as_run(
    night: Night, stage: Stage, tell: Callable[[str], None], inputs: Sequence[str] = ()
) -> Iterator[StageRun]:
    """Tell the start of a stage, and when the block ends how that went, if settings name a folder for it.

    Args:
        tell: is told why events cannot be written.
        inputs: tables of a stage that runs for some of those that it reads, and again for others.
    """
    run, part = StageRun(inputs or stage.reads, stage.writes), " ".join(inputs)
    if not night.settings.monitoring.openlineage_folder:
        yield run
        return
    events = _Events(night, stage, part, tell)
    events.emit("START", run)
    try:
        yield run
    except BaseException as error:
        stopped = isinstance(error, (KeyboardInterrupt, Interrupted))
        events.emit("ABORT" if stopped else "FAIL", run, error)
        raise
    events.emit("COMPLETE", run)


def night_run_id(night: Night) -> str:
    """Id of the run that all runs of a night's stages belong to, in whatever process they ran."""
    return str(uuid.uuid5(_IDS, f"{night.warehouse.folder}\n{night.run_date}"))


def stage_run_id(night: Night, stage: str, part: str = "") -> str:
    """Id of the run of a stage, or of a part of one, in the process that holds the lease of the night."""
    return str(uuid.uuid5(uuid.UUID(night_run_id(night)), f"{stage}\n{part}\n{night.warehouse.token}"))


class _Events:
    """The events of one run of a stage."""

    def __init__(self, night: Night, stage: Stage, part: str, tell: Callable[[str], None]) -> None:
        self._night, self._stage, self._part, self._tell = night, stage, part, tell

    def emit(self, kind: str, run: StageRun, error: BaseException | None = None) -> None:
        """Append an event to the night's file; whatever goes wrong with that is told, and no more."""
        folder = self._night.settings.monitoring.openlineage_folder
        try:
            self._emit(Path(folder), kind, run, error)
        except Exception as failure:  # noqa: BLE001 - lists do not wait for lineage
            if folder not in _unwritable:
                _unwritable.add(folder)
                self._tell(f"OpenLineage events cannot be written to {folder}: {failure}")

    def _emit(self, folder: Path, kind: str, run: StageRun, error: BaseException | None) -> None:
        from openlineage.client import OpenLineageClient
        from openlineage.client.event_v2 import RunEvent, RunState
        from openlineage.client.transport.file import FileConfig, FileTransport

        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self._night.run_date}.ndjson"
        state = RunState(kind)
        complete = state is RunState.COMPLETE
        event = RunEvent(
            eventType=state,
            eventTime=datetime.now(UTC).isoformat(timespec="milliseconds"),
            run=self._run(error),
            job=self._job(),
            inputs=[self._input(name, run.expectations.get(name)) for name in sorted(run.inputs)],
            outputs=[self._output(name, run.written.get(name), complete=complete) for name in run.outputs],
            producer=_producer(),
        )
        OpenLineageClient(transport=FileTransport(FileConfig(str(file), append=True))).emit(event)

    def _run(self, error: BaseException | None) -> "Run":
        from openlineage.client.event_v2 import Run
        from openlineage.client.facet_v2 import error_message_run, nominal_time_run, parent_run

        begins = datetime.combine(self._night.run_date, datetime.min.time(), UTC)
        parent = parent_run.Job(self._namespace, NIGHT)
        facets: dict[str, Any] = {
            "parent": parent_run.ParentRunFacet(
                parent_run.Run(night_run_id(self._night)), parent, producer=_producer()
            ),
            "nominalTime": nominal_time_run.NominalTimeRunFacet(
                begins.isoformat(), (begins + timedelta(days=1)).isoformat(), producer=_producer()
            ),
        }
        if error is not None:
            facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(
                _message(error), "python", producer=_producer()
            )
        return Run(stage_run_id(self._night, self._stage.name, self._part), facets)

    def _job(self) -> "Job":
        from openlineage.client.event_v2 import Job
        from openlineage.client.facet_v2 import documentation_job, job_type_job

        return Job(
            self._namespace,
            f"{NIGHT}.{self._stage.name}",
            {
                "documentation": documentation_job.DocumentationJobFacet(self._stage.does, producer=_producer()),
                "jobType": job_type_job.JobTypeJobFacet("BATCH", "NOCTURNE", "STAGE", producer=_producer()),
            },
        )

    @property
    def _namespace(self) -> str:
        return f"nocturne:{self._night.warehouse.folder}"

    def _input(self, name: str, expectations: list[dict[str, Any]] | None) -> "InputDataset":
        from openlineage.client.event_v2 import InputDataset
        from openlineage.client.facet_v2 import data_quality_assertions_dataset as quality

        facets: dict[str, Any] = {}
        if expectations:
            assertions = [
                quality.Assertion(
                    row["expectation"],
                    row["outcome"] == "success",
                    severity="error" if row["severity"] == "critical" else "warn",
                    expected=row["limit"],
                    actual=f"{row['observed']:g}",
                )
                for row in expectations
                if row["outcome"] != "skipped"
            ]
            facets["dataQualityAssertions"] = quality.DataQualityAssertionsDatasetFacet(
                assertions, producer=_producer()
            )
        return InputDataset(*self._dataset(name), facets=_about(name), inputFacets=facets)

    def _output(self, name: str, written: Written | None, *, complete: bool) -> "OutputDataset":
        from openlineage.client.event_v2 import OutputDataset
        from openlineage.client.facet_v2 import dataset_version_dataset, output_statistics_output_dataset

        about = _about(name)
        statistics: dict[str, Any] = {}
        if complete:
            version = tables.version(self._night.warehouse, name)
            about["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(str(version), producer=_producer())
        if written:
            statistics["outputStatistics"] = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
                written.rows, written.size_bytes, written.files, producer=_producer()
            )
        return OutputDataset(*self._dataset(name), facets=about, outputFacets=statistics)

    def _dataset(self, name: str) -> tuple[str, str]:
        """Namespace and name by the standard's naming of files and objects."""
        path = self._night.warehouse.table_path(name) if name in TABLES else self._night.landing
        scheme, there, rest = path.partition("://")
        if not there:
            return "file", str(Path(path).absolute())
        place, _, below = rest.partition("/")
        return f"{scheme}://{place}", below


def _producer() -> str:
    return f"urn:nocturne:{code_version()}"


def _about(name: str) -> dict[str, Any]:
    """Facets of a table that its contract tells; none of the landing zone."""
    from openlineage.client.facet_v2 import documentation_dataset, schema_dataset

    if name not in TABLES:
        return {}
    fields = [
        schema_dataset.SchemaDatasetFacetFields(column.name, column.type, column.comment)
        for column in contract(name).columns
    ]
    return {
        "schema": schema_dataset.SchemaDatasetFacet(fields, producer=_producer()),
        "documentation": documentation_dataset.DocumentationDatasetFacet(contract(name).comment, producer=_producer()),
    }


def _message(error: BaseException) -> str:
    """The first line of an error of ours, or the name of another one: what follows may quote a listener's id."""
    return error.what if isinstance(error, NocturneError) else type(error).__name__
