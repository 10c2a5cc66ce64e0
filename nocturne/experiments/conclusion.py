"""Conclusions: what people decide about an experiment, which ends it."""

import pyarrow as pa

from nocturne.core.experiment import Experiment
from nocturne.core.night import Night
from nocturne.storage import writing
from nocturne.storage.contracts import contract
from nocturne.storage.running_experiments import CONCLUSION


def record_conclusion(night: Night, experiment: Experiment, arm: str, why: str) -> None:
    """Write that an experiment ends before a night, in place of what was concluded of it before.

    Whoever calls this holds the lease.
    """
    row = {
        "run_date": night.run_date,
        "experiment": experiment.name,
        "treatment": arm,
        "kind": CONCLUSION,
        "name": arm,
        "role": "",
        "segment": "",
        "day": (night.run_date - experiment.start).days,
        "outcome": f"{arm} is for everyone from {night.run_date} on",
        "reasons": [why],
    }
    rows = pa.Table.from_pylist([row], schema=contract("experiment_results").arrow_schema)
    where = f"experiment = '{experiment.name}' AND kind = '{CONCLUSION}'"
    writing.replace_rows(rows, "experiment_results", night.warehouse, where)
