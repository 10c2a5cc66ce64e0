#!/usr/bin/env bash
# The demonstration of `make night`: a small service, three nights of it, two listeners' lists and a steered one.
set -euo pipefail
cd "$(dirname "$0")/.."
nocturne=.venv/bin/nocturne
places=(--warehouse data/warehouse --cache lmdb:data/cache)

echo "1. simulate a service: 2,000 listeners, 1,000 items, ten nights"
$nocturne simulate --landing data/landing --listeners 2000 --items 1000 --nights 10 --seed 1 --start 2025-01-01

echo "2. run three of its nights"
$nocturne night --from 2025-01-01 --to 2025-01-03 --landing data/landing "${places[@]}"

echo "3. how they went"
$nocturne status "${places[@]}"

echo "4. read two listeners' lists from the serving cache"
for listener in u00000007 u00000042; do
    $nocturne list "$listener" --cache lmdb:data/cache --warehouse data/warehouse | head -n 13
done

echo "5. the first one asks for five tracks, no explicit one, rather what is new to them"
cat > data/plan.json <<PLAN
{"only": [{"content_types": ["track"]}], "never": [{"explicit": true}], "leanings": {"familiarity": -0.5}, "size": {"items": 5}}
PLAN
$nocturne steer u00000007 --cache lmdb:data/cache --plan data/plan.json --explain

cat <<TEXT

Go on:
  what comes next    $nocturne serve --cache lmdb:data/cache --landing data/landing
                     then http://127.0.0.1:8000/ in a browser, or in another terminal:
                     curl -s http://127.0.0.1:8000/v1/now-playing -H 'Content-Type: application/json' \\
                         -d '{"user_id": "u00000007", "playing": "t0000697"}'
  ask for a list     docs/steering.md
  any listener       $nocturne list u00000100 --cache lmdb:data/cache --warehouse data/warehouse --json
  the tables         .venv/bin/python -c "import polars; print(polars.read_delta('data/warehouse/ranked_lists'))"
  what was checked   $nocturne validations --warehouse data/warehouse --run-date 2025-01-03
                     or open data/warehouse/_data_docs/index.html
  models, backtests  make ten-nights, then README.md, "From an idea to live lists"
  Airflow            make airflow
  Redis              the same commands with --cache redis://localhost:6379/0
  everything else    make help; $nocturne --help; docs/
TEXT
