#!/usr/bin/env bash
# Airflow on this machine only, with the DAGs, on the warehouse of `make night`. Not for production: no log-in.
#   ops/airflow.sh                      the UI, the scheduler and the rest, until Ctrl-C
#   ops/airflow.sh COMMAND ...          `airflow COMMAND ...` on the same Airflow
# AIRFLOW_HOME, PORT, LANDING, WAREHOUSE, CACHE and CONF may be set; nothing else of your shell reaches a task but OPENBLAS_* and JDK_JAVA_OPTIONS.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
home=${AIRFLOW_HOME:-$root/.airflow}
port=${PORT:-8080}
url=http://127.0.0.1:$port
mkdir -p "$home"

settings=(
    HOME="$HOME" PATH="$root/ops/loopback:$root/.venv/bin:$PATH" LANG=C.UTF-8
    JAVA_HOME="$("$root/.venv/bin/python" -m nocturne.core.spark.java)"
    NOCTURNE_BIN="$root/.venv/bin"
    PYSPARK_PYTHON="$root/.venv/bin/python"
    AIRFLOW_HOME="$home"
    PYTHONPATH="$root/ops/airflow_settings"
    AIRFLOW__CORE__DAGS_FOLDER="$root/dags"
    AIRFLOW__CORE__PLUGINS_FOLDER="$root/plugins"
    AIRFLOW__CORE__LOAD_EXAMPLES=False
    AIRFLOW__CORE__EXECUTOR=LocalExecutor
    AIRFLOW__CORE__PARALLELISM=4 # every task is a process of its own
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="sqlite:///$home/airflow.db?timeout=120"
    AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS=True
    AIRFLOW__CORE__EXECUTION_API_SERVER_URL="$url/execution/"
    AIRFLOW__API__HOST=127.0.0.1
    AIRFLOW__API__PORT="$port"
    AIRFLOW__API__BASE_URL="$url"
    AIRFLOW__API__WORKERS=1
    AIRFLOW_CONN_SPARK_DEFAULT='{"conn_type": "spark", "host": "local[2]"}'
    AIRFLOW_VAR_NOCTURNE_LANDING="${LANDING:-$root/data/landing}"
    AIRFLOW_VAR_NOCTURNE_WAREHOUSE="${WAREHOUSE:-$root/data/warehouse}"
    AIRFLOW_VAR_NOCTURNE_CACHE="${CACHE:-lmdb:$root/data/cache}"
    AIRFLOW_VAR_NOCTURNE_CONF="${CONF:-}"
)
# Which kernels BLAS runs decides the last bits of what is learned: let tasks run those of every other process here.
# Java reads its options from its own variable.
for name in ${!OPENBLAS_@} ${!JDK_JAVA_OPTIONS@}; do settings+=("$name=${!name}"); done
# SQLite takes one writer at a time: let readers not wait for it, and writers wait long enough for each other.
"$root/.venv/bin/python" -c "import sqlite3; sqlite3.connect('$home/airflow.db').execute('PRAGMA journal_mode = WAL')"
if [ $# -gt 0 ]; then exec env -i "${settings[@]}" airflow "$@"; fi

# What is shown can be pasted as it stands, into a terminal that has none of the settings of this one.
here="$root/ops/airflow.sh"
if [ ops/airflow.sh -ef "$here" ]; then here=ops/airflow.sh; fi
for name in CONF CACHE WAREHOUSE LANDING PORT AIRFLOW_HOME; do
    if [ -n "${!name:-}" ]; then here="$name=$(printf %q "${!name}") $here"; fi
done
mapfile -t days < <(find -L "${LANDING:-$root/data/landing}/events" -name _SUCCESS 2>/dev/null |
    sed -E 's|.*date=(.*)/_SUCCESS|\1|' | sort | tail -3)
echo "Airflow is starting; it answers in about a minute at $url (no log-in; this machine only; Ctrl-C ends it)." >&2
if [ ${#days[@]} -gt 0 ]; then
    cat >&2 <<MESSAGE
  a night by hand, here the last one that has landed (in the UI: the DAG nightly_lists, Trigger, name the night):
    $here dags unpause nightly_lists
    $here dags trigger nightly_lists --conf '{"run_date": "${days[-1]}"}'
  a backfill of several nights, oldest first:
    $here dags unpause nightly_lists
    $here backfill create --dag-id nightly_lists --from-date ${days[0]} --to-date ${days[-1]}
MESSAGE
else
    echo "  No landing day is complete in ${LANDING:-$root/data/landing}; make night simulates three." >&2
fi
echo "  The log of everything is $home/standalone.log." >&2
exec env -i "${settings[@]}" "$root/.venv/bin/python" "$root/ops/airflow_standalone.py" "$port" "$home/standalone.log"
