"""Airflow reads its home when it is imported: a fresh one, before any test imports it."""

import os
import sys
import tempfile
from pathlib import Path

DAGS = Path(__file__).parents[2] / "dags"
PLUGINS = Path(__file__).parents[2] / "plugins"

os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-")
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(DAGS)
os.environ["AIRFLOW__CORE__PLUGINS_FOLDER"] = str(PLUGINS)
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
sys.path[:0] = [str(DAGS), str(PLUGINS)]
