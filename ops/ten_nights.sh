#!/usr/bin/env bash
# The other seven nights of the demonstration: `make night` runs the first three.
set -euo pipefail
cd "$(dirname "$0")/.."
nocturne=.venv/bin/nocturne
places=(--warehouse data/warehouse --cache lmdb:data/cache)

if [ ! -d data/warehouse ]; then echo "there are no nights yet: run make night first" >&2; exit 2; fi
$nocturne night --from 2025-01-04 --to 2025-01-10 --landing data/landing "${places[@]}"
$nocturne status "${places[@]}"
