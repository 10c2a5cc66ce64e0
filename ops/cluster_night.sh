#!/usr/bin/env bash
# One night on a real standalone cluster on this machine, then the same night in one process: are the tables equal?
# The workers run elsewhere, without this checkout on any path: they have what `make package` packed, and the tables.
set -euo pipefail
cd "$(dirname "$0")/.."
night=2025-01-01
scratch=$(mktemp -d -t nocturne-cluster-XXXXXX)
processes=()
clean_up() { kill "${processes[@]}" 2>/dev/null || true; wait; rm -rf "$scratch"; }
trap clean_up EXIT

JAVA_HOME=$(.venv/bin/python -m nocturne.core.spark.java)
export JAVA_HOME SPARK_LOCAL_IP=127.0.0.1
spark=$(.venv/bin/python -c 'import pathlib, pyspark; print(pathlib.Path(pyspark.__file__).parent)')
free_port() { .venv/bin/python -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# A Spark process that knows nothing of this shell and this folder.
start() {
    local name=$1; shift
    (cd "$scratch" && exec env -i PATH=/usr/bin:/bin HOME="$scratch" JAVA_HOME="$JAVA_HOME" SPARK_LOCAL_IP=127.0.0.1 \
        "$spark/bin/spark-class" "$@" >"$scratch/$name.log" 2>&1) &
    processes+=($!)
}

wait_for() {
    for _ in $(seq 120); do grep -qs "$1" "$scratch/$2.log" && return; sleep 0.5; done
    cat "$scratch/$2.log" >&2; echo "the $2 did not start" >&2; exit 5
}

echo "1. a service of 300 listeners and 200 items"
.venv/bin/nocturne simulate --landing "$scratch/landing" --listeners 300 --items 200 --nights 1 --seed 1 --start $night

echo "2. a master and two workers of one core"
master=spark://127.0.0.1:$(free_port)
start master org.apache.spark.deploy.master.Master --host 127.0.0.1 --port "${master##*:}" --webui-port 0
wait_for "I have been elected leader" master
for worker in worker-1 worker-2; do
    start $worker org.apache.spark.deploy.worker.Worker --cores 1 --memory 2g --host 127.0.0.1 --webui-port 0 \
        --work-dir "$scratch/$worker" "$master"
    wait_for "Successfully registered with master" $worker
done

echo "3. the night on the cluster, one spark-submit a stage"
for job in $(.venv/bin/python -c 'from nocturne.flow import NIGHTLY; print(*(stage.name for stage in NIGHTLY))'); do
    echo "   $job"
    "$spark/bin/spark-submit" --master "$master" \
        --driver-memory 1g --executor-memory 1g --executor-cores 1 --conf spark.cores.max=2 \
        --py-files dist/nocturne.zip --archives dist/environment.tar.gz#environment \
        --conf spark.pyspark.python=./environment/bin/python \
        --conf spark.pyspark.driver.python="$PWD/.venv/bin/python" \
        "jobs/$job.py" --validate --run-date $night \
        --landing "$scratch/landing" --warehouse "$scratch/cluster" --cache "lmdb:$scratch/cluster-cache" \
        2>"$scratch/submit.log" || { status=$?; tail -n 40 "$scratch/submit.log" >&2; exit $status; }
    grep -E '^($job|  )' "$scratch/submit.log" || true
done

echo "4. the same night in one process"
.venv/bin/nocturne night --run-date $night \
    --landing "$scratch/landing" --warehouse "$scratch/one-process" --cache "lmdb:$scratch/one-process-cache"

echo "5. all tables, row by row, apart from measured columns"
.venv/bin/python tests/tools/compare_warehouses.py "$scratch/cluster" "$scratch/one-process"
