#!/usr/bin/env bash
# The demonstration of `make night`: a small service, three nights of it, and two listeners' lists.
set -euo pipefail
cd "$(dirname "$0")/.."
nocturne=.venv/bin/nocturne
places=(--warehouse data/warehouse --cache lmdb:data/cache)

echo "1. simulate a service: 2,000 listeners, 1,000 items, three nights"
$nocturne simulate --landing data/landing --listeners 2000 --items 1000 --nights 3 --seed 1 --start 2025-01-01

echo "2. run its three nights"
$nocturne night --from 2025-01-01 --to 2025-01-03 --landing data/landing "${places[@]}"

echo "3. read two listeners' lists from the serving cache"
for listener in u00000007 u00000042; do
    $nocturne list "$listener" --cache lmdb:data/cache --warehouse data/warehouse | head -n 13
done

# Set-up puts uv into .uv/ where there was none.
run="$(command -v uv >/dev/null && echo uv || echo .uv/bin/uv) run"

cat <<TEXT

Go on:
  any listener       $run nocturne list u00000100 --cache lmdb:data/cache --warehouse data/warehouse --json
  the tables         $run python -c "import polars; print(polars.read_delta('data/warehouse/ranked_lists'))"
  what was checked   $run nocturne validations --warehouse data/warehouse --run-date 2025-01-03
  Airflow            make airflow
  Redis              the same commands with --cache redis://localhost:6379/0
  real data          $run nocturne import lastfm-2k PATH --landing data/lastfm
  everything else    make help; $run nocturne --help; docs/
TEXT
